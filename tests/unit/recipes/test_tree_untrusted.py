"""Recipes that mean harm, or are broken beyond what a reader expects: each disables itself only, with its reason.

Most stand in one tree, which is read once; what is good in it must be there as if it stood alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from jetson_containers.cli import main
from jetson_containers.core.errors import RecipeError, RequirementSyntaxError, TargetError
from jetson_containers.core.versions import pep440, version_key
from jetson_containers.dockerfile import parser
from jetson_containers.plan import keys
from jetson_containers.plan.plan import PlanOptions, make
from jetson_containers.platforms.detect import detect, parse_target
from jetson_containers.platforms.target import from_env
from jetson_containers.recipes import cache, templating, yaml_lines
from jetson_containers.recipes.budget import bounded
from jetson_containers.recipes.catalog import Catalog, load
from jetson_containers.recipes.rules import parse
from jetson_containers.recipes.schema import build_flags
from jetson_containers.recipes.tree import scan
from jetson_containers.recipes.upstream import config_py
from jetson_containers.resolver.solve import solve
from tests.unit.treemaker import ORIN, dockerfile, write

if TYPE_CHECKING:
    from collections.abc import Callable

CPU = detect(Path("/"), {}, "cpu")  # as the commands below have it
GOOD = dockerfile("docs: x")
DIGITS = "9" * 5000
ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{here}: &{here} [{', '.join([f'*{above}'] * 9)}]\n" for above, here in zip("abcdefgh", "bcdefghi", strict=True)
)
WRITES = "import os\nfor fd in range(3, 30):\n  try: os.write(fd, {data})\n  except OSError: pass\n"
FLOODS = (
    "import os\nfor fd in range(3, 30):\n  try:\n    while True: os.write(fd, b'x' * 65536)\n  except OSError: pass\n"
)
THREAD = (
    "import os, threading\nstop = threading.Event()\ndef run():\n  while not stop.wait(0.001):\n"
    "    for fd in range(3, 30):\n      try: os.write(fd, b'late\\n')\n      except OSError: pass\n"
    "threading.Thread(target=run, daemon=True).start()\n"
)


def u(code: str) -> dict[str, str]:
    """A package of upstream's format."""
    return {"Dockerfile": GOOD, "config.py": code}


# A directory's files, and the reason with which it is left out.
BAD: dict[str, tuple[dict[str, str], str]] = {
    "bomb-config": ({"Dockerfile": GOOD, "config.yaml": ALIASES}, "more than 10000 values"),
    "bomb-header": ({"Dockerfile": ALIASES}, "more than 10000 values"),
    "long-alias": (
        {"Dockerfile": GOOD,
         "config.yaml": f"notes: &n {'x' * 9000}\nargs: {{{', '.join(f'A{i}: *n' for i in range(300))}}}"},
        "1 MiB of text",
    ),
    "deep": ({"Dockerfile": GOOD, "config.yaml": f"source: {'{a: ' * 40}x{'}' * 40}"}, "nested too deeply"),
    "long-yaml": ({"Dockerfile": GOOD, "config.yaml": f"notes: {'x' * (1 << 18)}"}, "more than 256 KiB of YAML"),
    "loops": (
        {"Dockerfile": "args: {A: '{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}'}"},
        "take too much work",
    ),
    "many-small-loops": (
        {"Dockerfile":
         "args: {" + ", ".join(f"A{i}: '{{% for i in range(9999) %}}x{{% endfor %}}'" for i in range(99)) + "}"},
        "take too much work",
    ),
    "product": (
        {"Dockerfile": "variants: {" + ", ".join(f"v{i}: {{}}" for i in range(60)) + "}",
         "config.yaml": "versions:\n" + "".join(f"- version: '{i}'\n" for i in range(60))},
        "more than 1000 packages",
    ),
    "digits-version": (
        {"Dockerfile": GOOD, "config.yaml": f"versions: [{{version: '{DIGITS}'}}]"}, "`version` must be a name"),
    "digits-requires": ({"Dockerfile": f"requires: '>=r{DIGITS}'"}, "is not a valid `requires` rule"),
    "digits-depends": ({"Dockerfile": f"depends: 'a>={DIGITS}'"}, "is not a package name or version range"),
    "digits-memory": ({"Dockerfile": f"memory_per_job: '{DIGITS}'"}, "`memory_per_job` must be a size"),
    "digits-timeout": ({"Dockerfile": f"timeout: '{DIGITS}'"}, "`timeout` must be a time"),
    "digits-python": (u(f"package['name'] = 'x:{DIGITS}'"), "is not a package name"),
    "digits-rule-python": (u(f"package['requires'] = '>=cu{DIGITS}'"), "is not a valid `requires` rule"),
    "long-name": ({"Dockerfile": f"name: {'n' * 300}"}, "is not a package name"),
    "long-dockerfile": ({"Dockerfile": f"dockerfile: {'n' * 300}"}, "is not there"),
    "long-config": ({"Dockerfile": f"config: {'n' * 300}"}, "which is not there"),
    "json-list": (
        {"Dockerfile": GOOD, "config.json": '{"dockerfile": ["a"]}'}, "`dockerfile` of `json-list` must be text"),
    "json-named-list": (
        {"Dockerfile": GOOD, "x.json": '{"json-named-list": {"dockerfile": ["a"]}, "other": {"docs": {"a": 1}}}'},
        "must be text, and is a",
    ),
    "json-name": ({"Dockerfile": GOOD, "x.json": '{"name": ["a"]}'}, "`name` must be text, and is a list"),
    "json-path": ({"x.json": f'{{"path": "{"p" * 300}"}}'}, "which is not a directory"),
    "secret": ({"Dockerfile": "build_flags: --secret id=k,src=/root/.ssh/id_rsa"}, "may not ask for `--secret`"),
    "secret-rendered": (
        {"Dockerfile": "build_flags: \"{{ '--sec' ~ 'ret=id=k' }}\""}, "may not ask for `--secret=id=k`"),
    "secret-python": (
        u("package['build_flags'] = ['--shm-size', '1g', '--ssh', 'default']"), "may not ask for `--ssh`"),
    "secret-version": (
        {"Dockerfile": GOOD, "config.yaml": "versions: [{version: '1', build_flags: --output=/}]"},
        "may not ask for `--output=/`",
    ),
    "host-network": ({"Dockerfile": "network: host"}, "`network` must be `none`, `bridge`"),
    "container-network": (u("package['network'] = 'container:db'"), "`network` must be `none`, `bridge`"),
    "out-dockerfile": ({"Dockerfile": "dockerfile: ../../../../Dockerfile"}, "leads out of the package tree"),
    "out-absolute": ({"Dockerfile": "dockerfile: /etc/passwd"}, "`/etc/passwd` leads out of the package tree"),
    "out-artifacts": ({"Dockerfile": "artifacts: ../../../../etc/passwd"}, "leads out of the package tree"),
    "out-rendered": ({"Dockerfile": "dockerfile: '/etc/{{ \"passwd\" }}'"}, "leads out of the package tree"),
    "out-config": ({"Dockerfile": "config: ../../../x.yaml"}, "leads out of the package tree"),
    "out-test": ({"Dockerfile": "test: [\"'../../../x.py' --quick\"]"}, "leads out of the package tree"),
    "out-docs": ({"Dockerfile": "docs: ../../../README.md"}, "leads out of the package tree"),
    "out-path-python": (u("package['path'] = '/etc'"), "`/etc` leads out of the package tree"),
    "out-dockerfile-python": (u("package['dockerfile'] = '/etc/passwd'"), "leads out of the package tree"),
    "out-test-python": (u("package['test'] = '../../../x.sh'"), "leads out of the package tree"),
    "out-docs-python": (u("package['docs'] = '../../../x.md'"), "leads out of the package tree"),
    "pipe-garbage": (u(WRITES.format(data=r"b'x\n'")), "wrote to the pipe"),
    "pipe-number": (u(WRITES.format(data=r"b'5\n'")), "wrote to the pipe"),
    "pipe-start": (u(WRITES.format(data=r"""b'{"start": 999}\n'""")), "wrote to the pipe"),
    "pipe-forged": (
        u(WRITES.format(data=r"""b'{"done": 0, "definitions": [], "notes": [], "files": [], "environ": []}\n'""")),
        "wrote to the pipe",
    ),
    "pipe-torn": (u(WRITES.format(data=r"b'no newline'")), "wrote to the pipe"),
    "pipe-flood": (u(FLOODS), "answers with more than"),
    "fork-exec": (
        u("import _posixsubprocess as p\np.fork_exec([b'/bin/sh'], [b'/bin/sh'])"), "`_posixsubprocess.fork_exec`"),
    "fork-exec-anew": (
        u("import sys\nsys.modules.pop('_posixsubprocess')\nimport _posixsubprocess"), "may not run or write"),
    "parent": (u("import os\nopen(f'/proc/{os.getppid()}/environ')"), "may not look into other processes"),
}  # fmt: skip

# Files that are none, by name, with the reason.
ODD: tuple[tuple[str, Callable[[Path], object], str], ...] = (
    ("fifo", os.mkfifo, "is a FIFO, not a file"),
    ("zero", lambda path: path.symlink_to("/dev/zero"), "leads out of the package tree"),
    ("link", lambda path: path.symlink_to("/etc/passwd"), "leads out of the package tree"),
    ("sparse", lambda path: (path.touch(), os.truncate(path, 20 << 30)), "is larger than 1 MiB"),
)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them in one tree, with good ones between."""
    root = tmp_path_factory.mktemp("hostile") / "packages"
    for name in ("a-good", "m-good", "z-good"):
        write(root / "g" / name, {"Dockerfile": GOOD})
        write(root / "g" / f"{name}-python", u("package['docs'] = 'fine'"))
    write(root / "g" / "n-late", u(THREAD))  # which may be caught at it or not
    for name, (files, _) in BAD.items():
        write(root / "g" / name, files)
    for kind, make_odd, _ in ODD:
        for name in ("Dockerfile", "config.yaml", "config.py"):
            folder = root / "g" / f"{kind}-{name}"
            folder.mkdir()
            if name != "Dockerfile":
                (folder / "Dockerfile").write_text(GOOD)
            make_odd(folder / name)
    write(root.parent / "outside", {"Dockerfile": GOOD})
    (root / "g/link-out").symlink_to(root.parent / "outside")
    return root


@pytest.fixture(scope="module")
def catalog(tree: Path) -> Catalog:
    """The tree as read, for the platform of the commands below."""
    return load([tree], CPU, cache=tree.parent / "cache")


def reasons(catalog: Catalog, name: str) -> list[str]:
    return [error.message for error in catalog.broken if name in error.path.parts]


def test_untrusted_tree_keeps_its_good_recipes(catalog: Catalog) -> None:
    """The good recipes beside bad ones are there."""
    good = [name for name in catalog.available if name not in {"other", "n-late"}]
    assert good == ["a-good", "a-good-python", "m-good", "m-good-python", "z-good", "z-good-python"]
    assert {catalog.available[name].docs for name in good} == {"x", "fine"}


@pytest.mark.parametrize("name", BAD)
def test_untrusted_recipe_is_left_out_with_its_reason(catalog: Catalog, name: str) -> None:
    """A bad recipe is left out with its reason."""
    found = reasons(catalog, name)
    assert any(BAD[name][1] in message for message in found), found
    assert all(len(message) < 500 for message in found)


@pytest.mark.parametrize("name", ["Dockerfile", "config.yaml", "config.py"])
@pytest.mark.parametrize(("kind", "reason"), [(kind, reason) for kind, _, reason in ODD])
def test_definition_that_is_not_a_file_of_the_tree_is_not_read(
    catalog: Catalog, kind: str, reason: str, name: str
) -> None:
    """A device, a pipe or a link out of the tree is not read."""
    (message,) = reasons(catalog, f"{kind}-{name}")
    assert reason in message


def test_directory_that_is_a_link_out_of_the_tree_is_refused(catalog: Catalog) -> None:
    """A directory that is a link out of the tree is refused."""
    (error,) = [error for error in catalog.broken if error.path.name == "link-out"]
    assert "is a link out of the package tree" in error.message
    assert "--package-dirs" in str(error.hint)


def test_index_of_an_untrusted_tree_is_read_again(catalog: Catalog, tree: Path) -> None:
    """The index of such a tree is read again."""
    identity = cache.identity_of([tree], CPU)
    contents = cache.read(cache.file_for(tree.parent / "cache", identity), cache.Key(scan([tree]), identity))
    assert contents is not None
    assert len(contents.broken) == len(catalog.broken)


@pytest.mark.parametrize("words", [("list",), ("search", "x"), ("build", "--dry-run", "a-good")])
def test_commands_work_beside_untrusted_recipes(
    catalog: Catalog, tree: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Commands go on beside bad recipes."""
    monkeypatch.setenv("PATH", str(tree))
    monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(tree.parent / "cache"))
    assert main.main([*words, "--target", "cpu", "--packages", str(tree)]) == 0
    out, err = capsys.readouterr()
    assert "a-good" in out
    assert {error.message for error in catalog.broken} == {
        line.partition("left out: ")[2] for line in err.splitlines() if "recipe left out: " in line
    }


def test_lint_reports_each_right_that_a_recipe_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`lint` reports what builds refuse."""
    write(tmp_path / "g", {
        "a/Dockerfile": "build_flags: --device=/dev/sda", "b/Dockerfile": GOOD + "RUN --security=insecure id\n",
        "c/Dockerfile": "dockerfile: /etc/passwd", "d/Dockerfile": GOOD,
    })  # fmt: skip
    os.mkfifo(tmp_path / "g/d/config.yaml")
    (tmp_path / "g/out").symlink_to("/etc")
    assert main.main(["lint", "--no-shellcheck", "--packages", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    for reason in (
        "`--device=/dev/sda`",
        "is a FIFO",
        "--security=insecure",
        "leads out of the package tree",
        "link out of the package tree",
    ):
        assert reason in out


def test_config_py_that_closes_the_pipe_and_stays_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config.py that closes the pipe and stays is stopped."""
    code = "import os, signal\nsignal.setitimer(signal.ITIMER_REAL, 0)\nos.closerange(0, 30)\nwhile True: pass\n"
    tree = write(tmp_path, {"g/stays/Dockerfile": GOOD, "g/stays/config.py": code})
    monkeypatch.setattr(config_py, "SECONDS", 0.1)
    monkeypatch.setattr(config_py, "GRACE", 0.1)
    monkeypatch.setattr(config_py.run, "__kwdefaults__", {**config_py.run.__kwdefaults__, "seconds": 0.1})
    assert list(load([tree], ORIN).available) == []


# Build flags, rights.


@pytest.mark.parametrize(
    "text",
    [
        "--secret id=a", "--secret=id=a", "'--secret' id=a", "--se''cret=id=a", "--ssh default", "--network host",
        "--network=host", "--file /etc/passwd", "-f/etc/passwd", "-f /etc/passwd", "--allow all",
        "--build-context a=/root",
        "--output type=local,dest=/", "-o /", "--device /dev/sda", "--privileged", "-v /:/host", "--security-opt x",
        "--add-host a:1.2.3.4", "--cgroup-parent /", "--iidfile /etc/x", "--metadata-file /etc/x",
        "--cache-to type=local,dest=/",
        "--cache-from evil", "--tag ubuntu", "-t ubuntu", "--push", "--builder x", "--label io.jetson-containers.key=x",
        "--shm-size 1g /root", "--no-cache /root", "--no-cache=/root", "--", "-", "''", "--build-arg HF_TOKEN",
        "--build-arg=HF_TOKEN", "--shm-size", "--shm-size=", "--secre=id=a", "--ulimit nofile=1 --secret id=a",
        "--no-cache\n--ssh=x",
        "--no-cache 'x",
    ],
)  # fmt: skip
def test_build_flags_that_only_a_user_may_give_are_refused(text: str) -> None:
    """Build flags that only a user may give are refused."""
    with pytest.raises(ValueError, match=r"."):
        build_flags(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("--shm-size '1 g' --no-cache", ["--shm-size", "1 g", "--no-cache"]),
        ("--ulimit=nofile=1024 --pull=false", ["--ulimit=nofile=1024", "--pull=false"]),
        ("--build-arg A=--secret", ["--build-arg", "A=--secret"]),
        ("--target --secret", ["--target", "--secret"]),  # docker, too, takes the next word for the value
    ],
)
def test_build_flags_that_a_recipe_may_ask_for_are_accepted(text: str, words: list[str]) -> None:
    """Build flags that a recipe may ask for are accepted."""
    assert build_flags(text) == words


@pytest.mark.parametrize(
    ("run", "right"),
    [
        ("RUN --security=insecure id", "security.insecure"),
        ('RUN --mount=type=cache,target=/x --security="insecure" id', "security.insecure"),
        ("RUN --network=host id", "network.host"),
        ("RUN --device=nvidia.com/gpu=all id", "device"),
    ],
)
def test_run_with_rights_of_the_host_is_refused(tmp_path: Path, run: str, right: str) -> None:
    """A RUN with rights of the host needs the user's consent."""
    catalog = load([write(tmp_path, {"g/a/Dockerfile": f"{GOOD}{run}\n"})], ORIN)
    with pytest.raises(RecipeError, match="only a user can give") as caught:
        make(solve(catalog, ("a",)), ORIN, PlanOptions(base="b:1"))
    assert caught.value.line == 6
    assert f"--allow {right}" in str(caught.value.hint)
    plan = make(solve(catalog, ("a",)), ORIN, PlanOptions(base="b:1", build_flags=("--allow", right)))
    assert plan.packages == ("a",)


@pytest.mark.parametrize("run", ["RUN --mount=type=bind,from=debian:12 id", "COPY --from=debian:12 /etc/os-release /x"])
def test_context_files_leave_out_what_comes_from_an_image(tmp_path: Path, run: str) -> None:
    """What comes from an image is not a file of the host."""
    write(tmp_path, {"Dockerfile": GOOD, "etc/os-release": "x"})
    assert keys.context_files(tmp_path, f"{GOOD}{run}\n") == ()


# Contexts.


def test_context_beyond_the_largest_size_is_refused(tmp_path: Path) -> None:
    """A context has a largest size."""
    write(tmp_path, {"g/a/Dockerfile": f"{GOOD}COPY . /x\n", "g/a/small.txt": "x"})
    big = tmp_path / "g/a/big.bin"
    big.touch()
    os.truncate(big, 50 << 30)
    catalog = load([tmp_path], ORIN)
    with pytest.raises(RecipeError, match=r"takes 53\.7 GB into the build \(largest: `big\.bin`\)"):
        make(solve(catalog, ("a",)), ORIN, PlanOptions(base="b:1"))
    (tmp_path / "g/a/.dockerignore").write_text("big.*\n")
    assert make(solve(catalog, ("a",)), ORIN, PlanOptions(base="b:1")).notices == ()


def test_context_that_is_large_gets_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large context gets a notice."""
    monkeypatch.setattr(keys, "NOTED_CONTEXT", 1000)
    write(tmp_path, {"g/a/Dockerfile": f"{GOOD}COPY x.txt /x\n", "g/a/x.txt": "x" * 2000})
    (notice,) = make(solve(load([tmp_path], ORIN), ("a",)), ORIN, PlanOptions(base="b:1")).notices
    assert notice.startswith("`a`: 2.0 kB beside its Dockerfile")


def test_dockerignore_that_is_a_fifo_is_refused(tmp_path: Path) -> None:
    """A .dockerignore that never ends is refused."""
    os.mkfifo(tmp_path / ".dockerignore")
    with pytest.raises(RecipeError, match="is a FIFO"):
        keys.context_files(tmp_path, f"{GOOD}COPY . /x\n")


def test_context_patterns_that_would_take_forever_count_all_files(tmp_path: Path) -> None:
    """Patterns that would take forever count every file."""
    write(tmp_path, {"a" * 250: "x", "keep": "x", ".dockerignore": "*a*a*a*a*a*a*a*a*b\nkeep\n!*a*a*a*a*a*a*c\n"})
    found = keys.context_files(tmp_path, f"{GOOD}COPY *a*a*a*a*a*a*a*a*b **/**/**/**/**/**/**/x /x\n")
    assert [file.path for file in found] == ["a" * 250, "keep"]


# Readers alone.

TEMPLATES = [
    "{{ 'a' * (10 ** 10) }}", "{{ 10 ** 10 ** 10 }}", "{{ 'a'.center(10 ** 10) }}", "{{ 'a'.zfill(10 ** 10) }}",
    "{{ '%9999999999d' % 1 }}", "{{ '%*d' % (10 ** 10, 1) }}", "{{ '%9999999999d' | format(1) }}",
    "{{ '{:>9999999999}'.format(1) }}", "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "{{ lipsum(10 ** 9) }}",
    "{% block a %}{{ self.a() }}{{ self.a() }}{% endblock %}",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x={}) %}{% for i in range(99) %}{% set n.x = {1: n.x, 2: n.x} %}{% endfor %}{{ n.x == n.x }}",
    "{% set n = namespace(x=[1]) %}{% for i in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x=9) %}{% for i in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
    "{% set n = namespace(x='a') %}{% for i in range(99) %}{% set n.x = '%s%s' % (n.x, n.x) %}{% endfor %}",
    "{% set a %}{% for i in range(9999) %}{{ 'a' * 999 }}{% endfor %}{% endset %}", "{{ range(10 ** 12) | list }}",
    "{{ ('a' * 60000).replace('', 'b' * 60000) }}", "{{ ('a' * 60000) | replace('a', 'b' * 60000) }}",
    "{{ ('a' * 9999) | list | join('b' * 60000) }}", "{{ ('b' * 60000).join('a' * 9999) }}",
    "{{ 1 | round(10 ** 9, 'ceil') }}",
    "{{ (1).to_bytes(10 ** 10) }}", "{{ 'a' | indent(10 ** 10) }}", "{{ [1] | batch(10 ** 10, 0) | list }}",
    "{{ range(9999) | map('replace', '', 'x' * 60000) | list }}", "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "{{ " + DIGITS + " }}", "{% if 1 %}" * 200 + "{% endif %}" * 200, "{% for i in [1] %}" * 30 + "{% endfor %}" * 30,
    "{{ cycler(1).next() }}", "{% import 'x' as y %}", "{% raw %}" + "x" * (1 << 20) + "{% endraw %}",
]  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES, ids=range(len(TEMPLATES)))
def test_template_that_would_not_end_is_refused(template: str) -> None:
    """A template that would not end is refused."""
    with pytest.raises(templating.TemplateFailure) as caught:
        templating.render(template, {"sm": [87]})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("template", "result"),
    [
        ("{% for a in sm %}{{ loop.index }}:{{ a ~ '-' ~ loop.length }}{{ '' if loop.last else ';' }}{% endfor %}",
         "1:80-2;2:87-2"),
        ("{{ sm | map('string') | map('replace', '8', '9') | join(';') }}", "90;97"),
        ("{{ sm | select('gt', 80) | list }}{{ sm | sum }}{{ sm | max }}", "[87]16787"),
        ("{{ '%s-%02d' % ('a', 3) }}{{ 2 ** 10 }}{{ 7 // 2 }}{{ 'ab' * 2 }}", "a-0310243abab"),
        ("{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}{% set a, b = 1, 2 %}{{ a + b }}", "a13"),
        ("{{ x | default('y') | upper }}{{ '36.4'.split('.')[0] }}{{ ' a '.strip() }}{{ 'a-b'.replace('-', '_') }}",
         "Y36aa_b"),
        ("{% set x %}{{ sm[0] }}{% endset %}{{ x }}{% filter upper %}a{% endfilter %}{{ range(3) | list | length }}",
         "80A3"),
        ("{{ 87 in sm and none is none and x is not defined }}{{ sm | first if sm else '' }}", "True80"),
    ],
)  # fmt: skip
def test_template_of_usual_recipes_is_rendered(template: str, result: str) -> None:
    """What recipes usually write is rendered."""
    assert templating.render(template, {"sm": [80, 87]}) == result


def test_template_budget_is_one_for_the_whole_recipe() -> None:
    """One recipe has one budget."""
    template = "{% for i in range(9999) %}{{ i }}{% endfor %}"
    alone = [templating.render(template, {}) for _ in range(40)]
    rendered = 0
    with bounded(), pytest.raises(templating.TemplateFailure, match="too much work"):  # noqa: PT012
        for rendered in range(40):  # noqa: B007
            templating.render(template, {})
    assert len(alone) == 40
    assert 1 < rendered < 39


def test_parse_skips_a_line_of_only_a_backslash() -> None:
    """A backslash alone is not an instruction."""
    assert [step.keyword for step in parser.parse("FROM x\n\\\n")] == ["FROM"]
    assert [step.keyword for step in parser.parse("FROM x\n\\\n\\\n\nRUN y\n")] == ["FROM", "RUN"]
    with pytest.raises(RecipeError, match="no FROM"):
        parser.parse("\\\n")


def test_parse_reads_long_directives_and_many_empty_lines() -> None:
    """Long directives and many empty lines are read within the time limit of the tests."""
    text = "# syntax=a" + " " * 200_000 + "b\nFROM x\n"
    assert parser.directives(text.split("\n"))["syntax"].endswith("b")
    assert parser.parse("FROM x\nCOPY " + "[" * 50_000 + "\n")[1].words == ("[" * 50_000,)


@pytest.mark.parametrize("text", [DIGITS, f"1.{DIGITS}", f"1!{DIGITS}", "²", "1.²", "x" * 5000, f"b{DIGITS}"])
def test_version_of_another_form_is_sorted_first(text: str) -> None:
    """A text that is not a version is sorted before all versions."""
    assert pep440(text) is None
    assert version_key(text) < version_key("0.1")


@pytest.mark.parametrize(
    "rule", [f">=r{DIGITS}", f"cu{DIGITS}", f"sm{DIGITS}", f"py{DIGITS}", "cu12٣", f"{'>=r36,' * 99}r36"]
)
def test_rule_with_too_many_digits_is_refused(rule: str) -> None:
    """A rule of another form is refused."""
    with pytest.raises(RequirementSyntaxError, match="is not a valid `requires` rule"):
        parse(rule)


@pytest.mark.parametrize(
    "target", [f"r{DIGITS}", f"r36.{DIGITS}", f"cu{DIGITS}", "r٣", "x86_64,cu12٣", "py3.1٣", "-" * 9000]
)
def test_target_with_too_many_digits_is_refused(target: str) -> None:
    """A target of another form is refused."""
    with pytest.raises(TargetError, match="unknown target component") as caught:
        parse_target(target)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("name", ["L4T_VERSION", "CUDA_VERSION", "PYTHON_VERSION", "JETPACK_VERSION", "LSB_RELEASE"])
def test_environment_variable_with_too_many_digits_is_refused(name: str) -> None:
    """A variable that holds no version is refused."""
    with pytest.raises(Exception, match=rf"^\${name}: `9+\.\.\.` is no"):
        from_env({name: DIGITS})


def test_index_with_wrong_types_is_ignored(tmp_path: Path) -> None:
    """An index with wrong types is ignored."""
    tree = write(tmp_path / "tree", {"g/a/Dockerfile": GOOD})
    load([tree], ORIN, cache=tmp_path)
    file = cache.file_for(tmp_path, cache.identity_of([tree], ORIN))
    right = file.read_text()
    for old, new in (('"name":"a"', '"name":5'), ('"docs":"x"', '"docs":["x"]'), ('"requires":[', '"requires":[5,')):
        assert old in right
        file.write_text(right.replace(old, new))
        assert list(load([tree], ORIN, cache=tmp_path).available) == ["a"]
    file.write_text("[" * 100_000)
    assert list(load([tree], ORIN, cache=tmp_path).available) == ["a"]


# Made up.

FUZZ = limits(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


TEMPLATE_WORDS = [
    "{{",
    "}}",
    "{%",
    "%}",
    "for",
    "i",
    "in",
    "range(99)",
    "endfor",
    "'a'",
    "*",
    "~",
    "+",
    "|",
    "join",
    "if",
    "x",
    "[",
    "]",
    "(",
    ")",
    "sm",
    "set",
    "=",
    "%",
    "9",
    ".",
    "endset",
    "namespace(x=1)",
    ",",
    "replace",
    "{",
    "}",
    ":",
    "loop",
    "is",
    "defined",
]
YAML_WORDS = [*"[]{}|?#~-\0\t\n'\"", ": ", "  ", "- ", "a", "&a ", "*a", "<<: ", ", ", "!!int ", "---"]
DOCKERFILE_WORDS = [
    *"\\\n# []\"'`$\ufeff",
    "\n",
    "FROM x",
    "RUN ",
    "COPY ",
    "<<EOF",
    "EOF",
    "--from=",
    "ARG A",
    "escape=`",
]


def messages(read: Callable[[], object], failure: type[Exception]) -> str:
    """What a reader says of text that it refuses; any other exception fails the test."""
    try:
        read()
    except failure as error:
        return str(error) or "nothing"
    return ""


@FUZZ
@given(st.lists(st.sampled_from(TEMPLATE_WORDS), max_size=25).map(" ".join))
def test_template_of_any_text_renders_or_says_why(text: str) -> None:
    """Any template renders or says why not."""
    said = messages(lambda: templating.render(text, {"sm": [87], "x": "y"}), templating.TemplateFailure)
    assert said == "" or said.startswith("template `")


@FUZZ
@given(st.lists(st.sampled_from(YAML_WORDS), max_size=30).map("".join), st.booleans())
def test_yaml_of_any_text_parses_or_says_why(text: str, native: bool) -> None:
    """Any YAML parses or says why not."""
    said = messages(lambda: yaml_lines.parse(text, Path("x.yaml"), native=native), RecipeError)
    assert said == "" or said.startswith("x.yaml")


@FUZZ
@given(st.lists(st.sampled_from(DOCKERFILE_WORDS), max_size=25).map("".join))
def test_dockerfile_of_any_text_parses_or_says_why(text: str) -> None:
    """Any Dockerfile parses or says why not."""
    said = messages(lambda: [step.words for step in parser.parse(text)], RecipeError)
    assert said == "" or said.startswith("Dockerfile")
