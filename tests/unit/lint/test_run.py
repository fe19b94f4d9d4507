"""What `lint` finds, and what it leaves alone: for each rule a recipe that breaks it and one that does not."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies

from jetson_containers.cli import main
from jetson_containers.core.errors import NothingMatchedError, NotReadyError
from jetson_containers.lint import programs, rules_definition, shell
from jetson_containers.lint.findings import RULES, suppressions
from jetson_containers.lint.run import lint
from jetson_containers.lint.shellcheck import ShellCheck
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CPU = ("x86_64-cpu",)
SHA = "0123456789abcdef" * 4
COMMIT = "0123456789" * 4
FINGERPRINT = COMMIT.upper()
FROM = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
GOOD_HEADER = "license: MIT\ndocs: A package.\ntest: test.sh\nsource: {apt: hello=1}\n"


def write(tree: Path, name: str, files: Mapping[str, str]) -> Path:
    for file, text in files.items():
        path = tree / "group" / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tree / "group" / name


def recipe(body: str = "RUN hello\n", header: str = GOOD_HEADER, base: str = FROM) -> str:
    lines = "".join(f"# {line}\n" for line in header.splitlines())
    return f"#---\n# name: pkg\n{lines}#---\n{base}{body}"


@pytest.fixture(autouse=True)
def _programs_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipes of these tests call what they do not bring; `test_programs` is about that."""
    monkeypatch.setattr(programs, "BROUGHT_BY", {})


def rules_of(tree: Path, *, targets: Sequence[str] = CPU, shellcheck: bool = False) -> list[str]:
    return [item.rule for item in lint([tree], targets=targets, shellcheck=shellcheck).findings]


def of_dockerfile(tmp_path: Path, dockerfile: str, **files: str) -> list[str]:
    named = {name.replace("_", ".", 1): text for name, text in files.items()}
    write(tmp_path, "pkg", {"Dockerfile": dockerfile, "test.sh": "set -e\nhello\n", **named})
    return rules_of(tmp_path)


# (rule, RUN that breaks it, RUN that does not)
RUNS = [
    ("git-unpinned", "git clone https://x.org/a", f"git clone https://x.org/a && git -C a checkout {COMMIT}"),
    ("git-unpinned", "git clone --branch main https://x.org/a", "git clone --depth 1 --branch v1.2 https://x.org/a"),
    ("git-unpinned", "git clone -q https://x.org/a b && git -C b checkout main", 'git clone -b "$REF" https://x.org/a'),
    ("git-unpinned", "cd a && git pull", f"git -C a fetch --depth 1 https://x.org/a {COMMIT}"),
    ("git-unpinned", "git fetch https://x.org/a HEAD", 'git fetch https://x.org/a "$COMMIT"'),
    ("git-unpinned", "git submodule update --init --remote", "git submodule update --init --recursive"),
    ("pip-unpinned", "pip install --no-cache-dir numpy", "pip install --no-cache-dir numpy==1.26.4"),
    ("pip-unpinned", "pip3 install --no-cache-dir 'numpy>=1,<2'", "pip3 install --no-cache-dir 'a[x]==1.0' b==2"),
    (
        "pip-unpinned",
        "python3 -m pip install --no-cache-dir -U pip",
        "python3 -m pip install --no-cache-dir --require-hashes -r /tmp/any.txt",
    ),
    (
        "pip-unpinned",
        "uv pip install --no-cache --index-url https://x.org torch",
        "uv pip install --no-cache --index-url https://x.org torch==2.8",
    ),
    ("pip-unpinned", "pip install --no-cache-dir -r /tmp/any.txt", "pip install --no-cache-dir --no-index any"),
    (
        "pip-unpinned",
        "pip install --no-cache-dir git+https://x.org/a@main",
        f"pip install --no-cache-dir git+https://x.org/a@{COMMIT}",
    ),
    ("pip-unpinned", "pip install --no-cache-dir .", "pip install --no-cache-dir --no-deps ."),
    (
        "pip-unpinned",
        'w=torch && pip install --no-cache-dir "$w"',
        'w="torch==$V" && pip install --no-cache-dir "$w"',
    ),
    (
        "pip-unpinned",
        'get() { pip install --no-cache-dir "$@"; } && get numpy',
        'get() { pip install --no-cache-dir "$@"; } && get numpy==1',
    ),
    ("pip-cache", "pip install numpy==1.26.4", "pip install numpy==1.26.4 && rm -rf ~/.cache"),
    ("pip-cache", "pip wheel a==1", "PIP_NO_CACHE_DIR=1 pip wheel a==1"),
    ("install-unpinned", "npm install -g pnpm", "npm install -g pnpm@9.1.0 @scope/a@1"),
    ("install-unpinned", "npm i pnpm@latest", "npm ci"),
    ("install-unpinned", "cargo install ripgrep", "cargo install --locked ripgrep@14.1.0"),
    ("install-unpinned", "go install x.org/a@latest", "go install x.org/a@v1.2.3"),
    (
        "download-unchecked",
        "curl -fsSLo a.tar https://x.org/a.tar && tar xf a.tar",
        'curl -fsSLo a.tar https://x.org/a.tar && echo "$SHA  a.tar" | sha256sum -c -',
    ),
    ("download-unchecked", "curl -fsSL https://x.org/i.sh | bash", "curl -fsS http://localhost:8000/health"),
    (
        "download-unchecked",
        'wget -q "$URL"',
        'wget -q "$URL" && sha512sum --check sums',
    ),
    (
        "download-unchecked",
        'sha256sum -c other; get() { curl -f -o a "$1"; }; get https://x.org/a',
        'get() { curl -f -o a "$1"; }; get https://x.org/a; sha256sum --check sums',
    ),
    (
        "download-unchecked",
        'a() { curl -f -o a "$1"; }; b() { curl -f -o b "$1"; sha256sum -c s; }; b x; a y',
        'check() { sha256sum -c s; }; a() { curl -f -o a "$1"; check; }; a y',
    ),
    (
        "download-unchecked",
        "python3 -c 'import urllib.request as u; u.urlretrieve(\"https://x.org/a\", \"a\")'",
        "python3 -c 'import urllib.request as u; u.urlretrieve(\"https://x.org/a\", \"a\")' && sha256sum -c s",
    ),
    (
        "key-unpinned",
        "curl -fsSL https://x.org/k.gpg | gpg --dearmor -o /usr/share/keyrings/k.gpg",
        "curl -fsSLo k.asc https://x.org/k.asc && gpg --show-keys --with-colons k.asc | grep -q F",
    ),
    ("key-unpinned", "apt-key add k", "gpg --verify a.sig a"),
    ("key-unpinned", "gpg --keyserver x.org --recv-keys 3BF863CC", f"gpg --recv-keys {FINGERPRINT}"),
    ("hidden-failure", "make || true", "make || exit 1"),
    ("hidden-failure", "make || :", "make || make clean"),
    ("hidden-failure", 'make || echo "failed"', 'make || { echo "failed" >&2; exit 1; }'),
    ("hidden-failure", "make || { echo failed; true; }", '[ -e a ] || echo "no a"'),
    ("hidden-failure", "make || exit 0", "command -v make || exit 0"),
    ("hidden-failure", "make; true", "if ! make; then true; fi && hello"),
    ("hidden-failure", "set +e; make", "set -e; make"),
    (
        "hidden-failure",
        "curl -sSLo a https://x.org/a && sha256sum -c s",
        "curl -fsSLo a https://x.org/a && sha256sum -c s",
    ),
    ("tls-off", "curl -fsSLk https://x.org/a | sha256sum -c", "curl -fsSL https://x.org/a | sha256sum -c"),
    (
        "tls-off",
        "wget --no-check-certificate https://x.org/a && sha256sum -c s",
        "wget https://x.org/a && sha256sum -c s",
    ),
    (
        "tls-off",
        "pip install --no-cache-dir --trusted-host x.org a==1",
        "pip install --no-cache-dir --cert /ca a==1",
    ),
    ("tls-off", "git -c http.sslVerify=false fetch https://x.org/a v1", "git fetch https://x.org/a v1"),
    ("tls-off", "git config --global http.sslVerify false", "git config --global http.sslCAInfo /ca"),
    ("tls-off", "GIT_SSL_NO_VERIFY=1 git fetch https://x.org/a v1", "GIT_SSL_CAINFO=/ca git fetch https://x.org/a v1"),
    ("tls-off", "echo 'deb [trusted=yes] https://x.org /' > l", "echo 'deb [signed-by=/k] https://x.org /' > l"),
    (
        "apt-lists",
        "apt-get update && apt-get install -y --no-install-recommends a",
        "apt-get update && apt-get install -y --no-install-recommends a && rm -rf /var/lib/apt/lists/*",
    ),
    (
        "apt-recommends",
        "apt-get install -y a && rm -rf /var/lib/apt/lists/*",
        "apt-get -o APT::Install-Recommends=false install -y a && rm -rf /var/lib/apt/lists/*",
    ),
    ("env-leak", "pip config set global.index-url https://x.org", "pip config set global.timeout 9"),
    ("env-leak", "echo 'index-url = https://x.org' > /etc/pip.conf", "echo 'timeout = 9' > /etc/pip.conf"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "bad", "_good"), RUNS, ids=lambda text: text[:40])
def test_rule_finds_a_run_that_breaks_it(tmp_path: Path, rule: str, bad: str, _good: str) -> None:
    """A RUN that breaks a rule is found."""
    assert rule in of_dockerfile(tmp_path, recipe(f"RUN {bad}\n"))


@pytest.mark.parametrize(("rule", "_bad", "good"), RUNS, ids=lambda text: text[:40])
def test_rule_leaves_a_correct_run_alone(tmp_path: Path, rule: str, _bad: str, good: str) -> None:
    """A RUN that does it right is left alone."""
    assert of_dockerfile(tmp_path, recipe(f"RUN {good}\n")) == []


# (rule, instructions that break it, instructions that do not)
INSTRUCTIONS = [
    ("recipe-broken", "RUX hello\n", "RUN hello\n"),
    ("buildkit-only", "RUN --mount=type=cache,target=/c hello\n", "RUN hello\n"),
    ("buildkit-only", "RUN <<EOF\nhello\nEOF\n", 'RUN ["hello"]\n'),
    ("base-unpinned", "FROM ubuntu\nRUN hello\n", "FROM ubuntu:24.04\nRUN hello\n"),
    ("base-unpinned", "FROM x.org:5000/a:latest\nRUN hello\n", f"FROM a@sha256:{SHA}\nRUN hello\n"),
    ("base-unpinned", "FROM a:main AS b\nFROM b\nRUN hello\n", "FROM scratch AS b\nFROM b\nRUN hello\n"),
    ("copy-all", "COPY . /src\n", "COPY test.sh /src/\n"),
    ("copy-all", "COPY ./ /src/\n", "COPY ./test.sh /src/\n"),
    ("copy-all", 'ADD ["/", "/src"]\n', "COPY --from=${BASE_IMAGE} / /\n"),
    ("download-unchecked", "ADD https://x.org/a.tar /a\n", f"ADD --checksum=sha256:{SHA} https://x.org/a.tar /a\n"),
    ("git-unpinned", "ADD https://x.org/a.git#main /a\n", f"ADD https://x.org/a.git#{COMMIT} /a\n"),
    ("env-leak", "ENV HF_TOKEN=1\n", "ENV TOKENIZERS_PARALLELISM=1\n"),
    ("env-leak", "ARG GITHUB_TOKEN\n", "ARG GITHUB_REF\n"),
    ("env-leak", "ENV A=1 PIP_INDEX_URL=https://x.org\n", "ENV PIP_NO_CACHE_DIR=1\n"),
    ("env-leak", "ENV DEBIAN_FRONTEND noninteractive\n", "ARG DEBIAN_FRONTEND=noninteractive\n"),
    ("env-leak", "ENV https_proxy=http://p\n", "ENV LANG C.UTF-8\n"),
]


@pytest.mark.parametrize(("rule", "bad", "_good"), INSTRUCTIONS, ids=lambda text: text[:40])
def test_rule_finds_an_instruction_that_breaks_it(tmp_path: Path, rule: str, bad: str, _good: str) -> None:
    """An instruction that breaks a rule is found."""
    assert rule in of_dockerfile(tmp_path, recipe(bad))


@pytest.mark.parametrize(("rule", "_bad", "good"), INSTRUCTIONS, ids=lambda text: text[:40])
def test_rule_leaves_a_correct_instruction_alone(tmp_path: Path, rule: str, _bad: str, good: str) -> None:
    """An instruction that does it right is left alone."""
    assert of_dockerfile(tmp_path, recipe(good)) == []


def header(**changed: str) -> str:
    given = {"license": "MIT", "docs": "A package.", "test": "test.sh", "source": "{apt: hello=1}", **changed}
    return "".join(f"{key}: {value}\n" for key, value in given.items() if value)


# (rule, header that breaks it, header that does not)
HEADERS = [
    ("licence-missing", header(license=""), header(license="Apache-2.0 OR MIT")),
    ("licence-missing", header(license="the usual"), header(license="LicenseRef-NVIDIA-EULA")),
    ("docs-missing", header(docs=""), header(docs="What it is.")),
    ("docs-missing", header(docs="README.md"), header(docs="lock.md")),
    ("test-missing", header(test="[]"), header(test="test.sh")),
    ("test-missing", header(test="absent.py"), header(test="test.sh --quick")),
    ("source-missing", header(source=""), header(source="{python: a==1, lock: a.lock}")),
    ("source-unpinned", header(source="{git: x.org, ref: v1}"), header(source=f"{{git: x.org, commit: {COMMIT}}}")),
    ("source-unpinned", header(source="{git: x.org, commit: 0123456}"), header(source="{host: the host brings it}")),
    ("source-unpinned", header(source="{url: x.org}"), header(source=f"{{url: x.org, sha256: {SHA}}}")),
    ("source-unpinned", header(source="{url: x.org, sha256: 12}"), header(source="{url: x.org, lock: [a.lock]}")),
    ("source-unpinned", header(source="{python: a==1}"), header(source="{python: a==1, lock: a.lock}")),
    ("source-unpinned", header(source="{lock: absent.lock}"), header(source="{lock: a.lock}")),
    ("source-unpinned", header(source="{apt: a, key: 3BF8}"), header(source=f"{{apt: a, key: {FINGERPRINT}}}")),
    ("lock-stale", header(source="{python: a==2, lock: a.lock}"), header(source="{python: a==1, lock: a.lock}")),
    (
        "platform-switch",
        header(depends="[\"{{ 'other' if cuda else '' }}\"]"),
        header(platforms="[{requires: cpu}, {requires: '!=cpu', depends: other}]"),
    ),
    ("platform-switch", header(notes="\"{{ cuda or 'none' }}\""), header(notes='"{{ arch }}, {{ sm | join }}"')),
    ("platform-switch", header(notes="\"{{ {'sbsa': 'a'}.get(arch) }}\""), header(notes='"{{ arch | upper }}"')),
    ("arg-unused", header(args="{NOWHERE: 1}"), header(args="{BASE_IMAGE: a}")),
    ("depends-dangling", header(depends="[nowhere]"), header(depends="[other]")),
    ("depends-dangling", header(depends="['other>=2']"), header(depends="['other>=1']")),
    ("depends-dangling", header(depends="['other:2']"), header(depends="['other:1.0']")),
    ("closure", header(depends="['other:1.0', newer]"), header(depends="['other:1.0', older]")),
    ("closure", header(depends="[pkg]"), header(depends="[]")),
    ("recipe-broken", header(licence="MIT"), header(license="MIT")),
    ("name-duplicate", header(alias="other"), header(alias="pkg2")),
]  # fmt: skip
OTHERS = {
    "other": {"config.yaml": "versions:\n- {version: '1.0'}\n- {version: '1.5', default: true}\n" + GOOD_HEADER},
    "older": {"config.yaml": GOOD_HEADER + "depends: ['other<1.5']\n"},
    "newer": {"config.yaml": GOOD_HEADER + "depends: ['other>1.0']\n"},
}


def of_header(tmp_path: Path, text: str) -> list[str]:
    for name, files in OTHERS.items():
        write(tmp_path, name, {"test.sh": "hello\n", **files})
    files = {"Dockerfile": recipe(header=text), "test.sh": "hello\n", "lock.md": "Docs.", "a.lock": "a==1"}
    write(tmp_path, "pkg", files)
    found = lint([tmp_path], ["pkg"], targets=CPU, shellcheck=False).findings
    return [item.rule for item in found]


@pytest.mark.parametrize(("rule", "bad", "_good"), HEADERS)
def test_rule_finds_a_definition_that_breaks_it(tmp_path: Path, rule: str, bad: str, _good: str) -> None:
    """A definition that breaks a rule is found."""
    assert of_header(tmp_path, bad) == [rule]


@pytest.mark.parametrize(("rule", "_bad", "good"), HEADERS)
def test_rule_leaves_a_correct_definition_alone(tmp_path: Path, rule: str, _bad: str, good: str) -> None:
    """A definition that is right is left alone."""
    assert of_header(tmp_path, good) == []


def test_rules_without_own_tests_are_in_a_table() -> None:
    """Every rule but those with tests of their own is in a table."""
    own = {"apt-absent", "two-defaults", "layers", "shellcheck", "context-size", "suppression", "suppression-unused"}
    own |= {"share-missing", "share-unused", "command-missing"}
    assert {row[0] for row in (*RUNS, *INSTRUCTIONS, *HEADERS)} == set(RULES) - own


SHARES = GOOD_HEADER + "share: git/fetch.sh\n"
TAKES = "COPY .jetson/shared/git/fetch.sh /tmp/\nRUN bash /tmp/fetch.sh\n"


@pytest.mark.parametrize(
    ("header_text", "body", "rules"),
    [
        (SHARES, TAKES, []),
        (SHARES, "RUN hello\n", ["share-unused"]),
        (SHARES.replace("fetch", "absent"), TAKES.replace("fetch", "absent"), ["recipe-broken", "share-missing"]),
        (SHARES.replace("test: test.sh", "test: .jetson/shared/git/fetch.sh"), "RUN hello\n", []),
        (GOOD_HEADER, TAKES, ["recipe-broken"]),
    ],
)
def test_share_rules_find_entries_that_are_missing_or_not_taken(
    tmp_path: Path, header_text: str, body: str, rules: list[str]
) -> None:
    """Entries of `share` that are missing or that nothing takes are found."""
    write(tmp_path, "pkg", {"Dockerfile": recipe(body, header_text), "test.sh": "set -e\nhello\n"})
    write(tmp_path, "user", {"Dockerfile": recipe(TAKES, SHARES).replace("pkg", "user"), "test.sh": "hello\n"})
    fetch = tmp_path / "shared/git/fetch.sh"
    fetch.parent.mkdir(parents=True)
    fetch.write_text("set -e\nhello\n")
    found = lint([tmp_path], ["pkg"], targets=CPU, shellcheck=False).findings
    assert sorted(item.rule for item in found) == rules


def test_share_unused_finds_files_that_no_recipe_names(tmp_path: Path) -> None:
    """Shared files that no recipe names are found."""
    write(tmp_path, "pkg", {"Dockerfile": recipe(TAKES, SHARES), "test.sh": "set -e\nhello\n"})
    for name in ("git/fetch.sh", "git/left.sh"):
        (tmp_path / "shared" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shared" / name).write_text("hello\n")
    found = lint([tmp_path], targets=CPU, shellcheck=False).findings
    assert [(item.rule, item.file.name) for item in found] == [("share-unused", "left.sh")]


def test_shared_script_is_judged_as_that_of_the_recipe(tmp_path: Path) -> None:
    """A shared script is judged as the recipe's own."""
    write(tmp_path, "pkg", {"Dockerfile": recipe(TAKES, SHARES), "test.sh": "set -e\nhello\n"})
    fetch = tmp_path / "shared/git/fetch.sh"
    fetch.parent.mkdir(parents=True)
    fetch.write_text("set -e\ngit clone https://x.org/a\n")
    found = lint([tmp_path], targets=CPU, shellcheck=False).findings
    assert [(item.rule, item.file) for item in found] == [("git-unpinned", fetch)]


APT = "RUN apt-get update && apt-get install -y --no-install-recommends git %s && rm -rf /var/lib/apt/lists/*\n"


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        (
            "libpolly-10-dev",
            "r35.4.1",
            "ubuntu:20.04 has no package `libpolly-10-dev`; it has `libclang-common-10-dev`",
        ),
        ("libpolly-${LLVM}-dev=1:15", "r36.4.3", "ubuntu:22.04 has no package `libpolly-15-dev`"),
        ("$POLLY", "r36.4.3", "ubuntu:22.04 has no package `libpolly-15-dev`"),
        ("llvm-18-dev", "x86_64,cpu,debian12", "debian:12 has no package `llvm-18-dev`"),
        ("libpolly-15-dev", "r38.2.0", ""),
        ("libpolly-15-dev", "r35.4.1", ""),  # not known
        ("$UNKNOWN libclang-common-15-dev", "r36.4.3", ""),
    ],
)
def test_apt_absent_finds_a_package_that_the_release_lacks(
    tmp_path: Path, name: str, target: str, message: str
) -> None:
    """An apt package that the release does not have is found."""
    header = GOOD_HEADER + "args: {LLVM: 15, POLLY: zlib1g-dev libpolly-15-dev}\n"
    body = "ARG LLVM\nARG POLLY\n" + APT % name
    write(tmp_path, "pkg", {"Dockerfile": recipe(body, header), "test.sh": "hello\n"})
    found = lint([tmp_path], targets=[target], shellcheck=False).findings
    assert [item.rule for item in found] == (["apt-absent"] if message else [])
    assert all(message in item.message for item in found)


def test_apt_absent_allows_a_script_to_ask_the_distribution(tmp_path: Path) -> None:
    """A script may ask the distribution which name it has."""
    script = "if grep -q focal /etc/os-release; then apt-get install -y --no-install-recommends libpolly-10-dev; fi\n"
    files = {"Dockerfile": recipe("COPY a.sh /a.sh\nRUN bash /a.sh && rm -rf /var/lib/apt/lists/*\n"), "a.sh": script}
    write(tmp_path, "pkg", {**files, "test.sh": "hello\n"})
    assert rules_of(tmp_path, targets=["r35.4.1"]) == []


VERSIONS = "versions:\n- {version: '1', default: true, requires: '%s'}\n- {version: '2', default: true}\n" + GOOD_HEADER


def test_two_defaults_are_found_with_their_platforms(tmp_path: Path) -> None:
    """Two defaults are found, with their platforms."""
    write(tmp_path, "pkg", {"config.yaml": VERSIONS % ">=r36", "test.sh": "hello\n"})
    found = lint([tmp_path], targets=("r35.4.1", "r36.2.0", "r36.4.3"), shellcheck=False).findings
    assert [(item.rule, item.line) for item in found] == [("two-defaults", 3)]
    assert "(on r36.2.0, r36.4.3)" in found[0].message


def test_two_defaults_on_different_platforms_are_allowed(tmp_path: Path) -> None:
    """Two defaults on different platforms are right."""
    text = (VERSIONS % "<r36").replace("default: true}\n" + GOOD_HEADER, "default: '>=r36'}\n" + GOOD_HEADER)
    write(tmp_path, "pkg", {"config.yaml": text, "test.sh": "hello\n"})
    assert rules_of(tmp_path, targets=("r35.4.1", "r36.4.3")) == []


@pytest.mark.parametrize(("count", "expected"), [(126, ["layers"]), (120, [])])
def test_layers_beyond_the_limit_of_the_storage_driver_are_found(
    tmp_path: Path, count: int, expected: list[str]
) -> None:
    """More layers than the storage driver stacks are found."""
    assert of_dockerfile(tmp_path, recipe("RUN hello\n" * count)) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(rules_definition.LARGE_CONTEXT + 1, ["context-size"]), (rules_definition.LARGE_CONTEXT // 2, [])],
)
def test_context_size_finds_a_large_context(tmp_path: Path, size: int, expected: list[str]) -> None:
    """A large context is found."""
    assert of_dockerfile(tmp_path, recipe(), data_bin="x" * size) == expected


def test_dockerfile_that_cannot_be_read_is_one_finding(tmp_path: Path) -> None:
    """A Dockerfile that cannot be read is one finding."""
    write(tmp_path, "pkg", {"Dockerfile": recipe("UNKNOWN x\n"), "test.sh": "hello\n"})
    [broken] = lint([tmp_path], targets=("cpu", "r36.4.3"), shellcheck=False).findings
    assert (broken.rule, "UNKNOWN" in broken.message) == ("recipe-broken", True)


def test_name_defined_by_two_directories_is_found(tmp_path: Path) -> None:
    """A name that two directories define is found."""
    for name in ("one", "two"):
        write(tmp_path, name, {"Dockerfile": recipe(), "test.sh": "hello\n"})
    found = lint([tmp_path], targets=CPU, shellcheck=False).findings
    assert [(item.rule, item.file.parent.name) for item in found] == [("name-duplicate", "two")]


class TestScripts:
    """Scripts are judged as part of the RUN that starts them; others only for failures and TLS."""

    def test_script_is_judged_where_it_is_run(self, tmp_path: Path) -> None:
        """A script is judged where it is run."""
        body = "COPY install.sh /tmp/\nRUN bash /tmp/install.sh\n"
        install = "set -e\n\ncurl -fo a https://x.org/a\n"
        write(tmp_path, "pkg", {"Dockerfile": recipe(body), "install.sh": install, "test.sh": "hello\n"})
        found = lint([tmp_path], targets=CPU, shellcheck=False).findings
        assert [(item.rule, item.file.name, item.line) for item in found] == [("download-unchecked", "install.sh", 3)]

    def test_script_rules_count_what_follows_in_the_run(self, tmp_path: Path) -> None:
        """What follows the script in the RUN counts."""
        run = "RUN . /tmp/install.sh && sha256sum -c sums\n"
        assert of_dockerfile(tmp_path, recipe(run), install_sh="curl -fo a https://x.org/a\n") == []

    def test_script_heredoc_with_a_program_is_judged(self, tmp_path: Path) -> None:
        """A program in a here-document is judged."""
        script = "python3 - <<'END'\nfrom urllib.request import urlretrieve\nurlretrieve('https://x.org/a', 'a')\nEND\n"
        assert of_dockerfile(tmp_path, recipe("RUN bash a.sh\n"), a_sh=script) == ["download-unchecked"]

    def test_script_sourced_file_is_followed(self, tmp_path: Path) -> None:
        """A sourced file is followed."""
        files = {"install_sh": ". lib.sh\n", "lib_sh": "pip install --no-cache-dir numpy\n"}
        assert of_dockerfile(tmp_path, recipe("RUN sh /tmp/install.sh\n"), **files) == ["pip-unpinned"]

    def test_script_that_starts_itself_is_read_once(self, tmp_path: Path) -> None:
        """A script that starts itself is read once."""
        assert of_dockerfile(tmp_path, recipe("RUN bash a.sh\n"), a_sh="bash a.sh\n") == []

    def test_script_may_fetch_but_not_hide_failures(self, tmp_path: Path) -> None:
        """A test may fetch but not hide failures."""
        write(tmp_path, "pkg", {"Dockerfile": recipe(), "test.sh": "pip install numpy || true\n"})
        assert rules_of(tmp_path) == ["hidden-failure"]

    def test_compile_part_may_leave_caches_behind(self, tmp_path: Path) -> None:
        """What a compile part leaves behind is thrown away."""
        build = FROM + "RUN apt-get update && pip install a==1\n"
        text = recipe(header=GOOD_HEADER + "artifacts: Dockerfile.build\n")
        assert of_dockerfile(tmp_path, text, Dockerfile_build=build) == []

    def test_pip_cache_turned_off_by_a_base_is_enough(self, tmp_path: Path) -> None:
        """A base that turns pip's cache off is enough."""
        files = {"Dockerfile": recipe("ENV PIP_NO_CACHE_DIR=1\n").replace("name: pkg", "name: py"), "test.sh": "a\n"}
        write(tmp_path, "py", files)
        text = recipe("RUN pip install a==1\n", GOOD_HEADER + "depends: [py]\n")
        assert of_dockerfile(tmp_path, text) == []

    def test_requirements_file_of_the_context_is_read(self, tmp_path: Path) -> None:
        """Requirements of the context are read."""
        run = "RUN pip install --no-cache-dir -r /tmp/{}.txt\n"
        good, bad = "# all\na==1 \\\n  --hash=sha256:1\n", "a==1\nb\n"
        files = {"good_txt": good, "bad_txt": bad}
        assert of_dockerfile(tmp_path / "1", recipe(run.format("good")), **files) == []
        assert of_dockerfile(tmp_path / "2", recipe(run.format("bad")), **files) == ["pip-unpinned"]

    def test_template_is_judged_as_it_is_rendered(self, tmp_path: Path) -> None:
        """A template is judged as it is rendered."""
        text = recipe("{% if arch %}\nRUN make || true\n{% endif %}\n", GOOD_HEADER)
        write(tmp_path, "pkg", {"Dockerfile.j2": text, "test.sh": "hello\n"})
        assert rules_of(tmp_path) == ["hidden-failure"]


class TestSuppression:
    """`# lint: RULE reason` declines one rule at one place."""

    @pytest.mark.parametrize(
        "body",
        [
            "# lint: hidden-failure the log is optional\nRUN make || true\n",
            "# lint: hidden-failure the log is optional\n# and so on\nRUN make || true\n",
            "# lint: hidden-failure the log is optional\nRUN hello \\\n && make || true\n",
            "RUN hello \\\n # lint: hidden-failure the log is optional\n && make || true\n",
        ],
        ids=["above", "above with more comments", "above its RUN", "inside"],
    )
    def test_suppression_in_a_dockerfile(self, tmp_path: Path, body: str) -> None:
        """A comment in a Dockerfile suppresses a finding."""
        assert of_dockerfile(tmp_path, recipe(body)) == []

    @pytest.mark.parametrize(
        "script", ["make || true # lint: hidden-failure optional\n", "# lint: hidden-failure optional\nmake || true\n"]
    )
    def test_suppression_in_a_script(self, tmp_path: Path, script: str) -> None:
        """A comment in a script suppresses a finding."""
        assert of_dockerfile(tmp_path, recipe("RUN bash a.sh\n"), a_sh=script) == []

    def test_suppression_at_the_run_covers_the_script(self, tmp_path: Path) -> None:
        """A comment at the RUN that starts a script covers the script."""
        body = "# lint: hidden-failure the log is optional\nRUN bash a.sh\n"
        assert of_dockerfile(tmp_path, recipe(body), a_sh="hello\nmake || true\n") == []

    def test_suppression_in_a_config(self, tmp_path: Path) -> None:
        """A comment in a config.yaml suppresses a finding."""
        config = (
            "versions:\n# lint: source-unpinned the vendor publishes no checksum\n- version: '1'\n  source: {url: a}\n"
        )
        assert of_dockerfile(tmp_path, recipe(), config_yaml=config) == []

    def test_suppression_reaches_one_instruction(self, tmp_path: Path) -> None:
        """A comment reaches one instruction and no further."""
        body = "# lint: hidden-failure the log is optional\nRUN make || true\nRUN make || true\n"
        assert of_dockerfile(tmp_path, recipe(body)) == ["hidden-failure"]

    @pytest.mark.parametrize(
        ("comment", "expected"),
        [
            ("hidden-failure", ["hidden-failure", "suppression"]),
            ("no-such-rule because", ["hidden-failure", "suppression"]),
            ("recipe-broken because", ["hidden-failure", "suppression"]),
            ("tls-off because", ["hidden-failure", "suppression-unused"]),
        ],
        ids=["no reason", "unknown rule", "cannot be declined", "declines nothing"],
    )
    def test_suppression_without_reason_rule_or_effect_is_found(
        self, tmp_path: Path, comment: str, expected: list[str]
    ) -> None:
        """A comment that does not do its job is found."""
        assert sorted(of_dockerfile(tmp_path, recipe(f"# lint: {comment}\nRUN make || true\n"))) == expected

    def test_suppressions_are_not_read_from_other_comments(self) -> None:
        """Other comments are not suppressions."""
        assert suppressions("# linting is good\n# lint tls-off\nlint: x\n") == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b; c", [("a", "b"), ("c",)]),
        ("a 'x; y' \"p && q\" # r; s\nb", [("a", "x; y", "p && q"), ("b",)]),
        ("a \\\n  b \\\n  c\nd", [("a", "b", "c"), ("d",)]),
        ("if a; then b; else c; fi", [("a",), ("b",), ("c",)]),
        ("cat > f <<'END'\nx || true\nEND\nb", [("cat",), ("b",)]),
        ("cat <<-END\n\tx\n\tEND\nb", [("cat",), ("b",)]),
        ('grep x <<< "$y"; b', [("grep", "x"), ("b",)]),
        ("v=$(a | b 'c)') d", [("a",), ("b", "c)"), ("d",)]),
        ('e "$(a "b c")" f', [("a", "b c"), ("e", '$(a "b c")', "f")]),
        ("[[ $a == b || ( c && d ) ]] && e", [("[[", "$a", "==", "b", "||", "(", "c", "&&", "d", ")", "]]"), ("e",)]),
        ("x=(a b\nc) y", [("y",)]),
        ("a > b 2>&1 < c d", [("a", "d")]),
        ("a ${b:-c d} $e", [("a", "${b:-c d}", "$e")]),
        ("case $a in b) c ;; esac", [("case", "$a", "in", "b"), ("c",)]),
    ],
)  # fmt: skip
def test_shell_is_read_as_simple_commands(text: str, expected: list[tuple[str, ...]]) -> None:
    """Shell is read as simple commands."""
    assert [command.words for command in shell.commands(text) if command.words] == expected


def test_shell_commands_know_line_function_and_operator() -> None:
    """Commands know their line, function and operator."""
    found = shell.commands("a &&\n  b ||\n\n  c\nf() {\n  d\n}\ne", line=10)
    assert [(c.name, c.line, c.before, c.function) for c in found if c.words != ("}",)] == [
        ("a", 10, "", ""),
        ("b", 11, "&&", ""),
        ("c", 13, "||", ""),
        ("d", 15, "\n", "f"),
        ("e", 17, "\n", ""),
    ]


@pytest.mark.parametrize("text", ["'", '"', "$(", "${", "`", "<<", "(", "a || ", "\\", "f() {", "}", "[[ a"])
def test_shell_that_is_broken_is_read_without_a_crash(text: str) -> None:
    """Broken shell is read to its end: a crash or an endless loop fails here."""
    shell.commands(text)


@given(strategies.text(alphabet="ab \n\t'\"`$(){}[]<>|&;#\\=-!1", max_size=40))
def test_shell_commands_of_any_text_have_lines_that_exist(text: str) -> None:
    """Any text is read to its end, with lines that exist."""
    found = shell.commands(text)
    assert all(1 <= command.line <= command.end <= text.count("\n") + 1 for command in found)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize(("script", "expected"), [("cd $1\n", {"shellcheck"}), ('cd "$1" || exit\n', set())])
def test_shellcheck_findings_are_taken_over(tmp_path: Path, script: str, expected: set[str]) -> None:
    """What shellcheck finds is taken over."""
    write(tmp_path, "pkg", {"Dockerfile": recipe(), "test.sh": f"#!/bin/bash\n{script}"})
    assert set(rules_of(tmp_path, shellcheck=True)) == expected


def test_shellcheck_that_is_missing_gets_a_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing shellcheck gets a notice."""
    write(tmp_path, "pkg", {"Dockerfile": recipe(), "test.sh": "cd $1\n"})
    monkeypatch.setenv("PATH", str(tmp_path))
    report = lint([tmp_path], targets=CPU)
    assert report.findings == ()
    assert "not installed" in report.notices[0]


def test_shellcheck_that_fails_is_an_error(tmp_path: Path) -> None:
    """A shellcheck that fails is an error."""
    broken = tmp_path / "shellcheck"
    broken.write_text("#!/bin/sh\necho no such option >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(NotReadyError, match="no such option"):
        ShellCheck([tmp_path / "a.sh"], str(broken)).findings()


class TestCommand:
    """`jetson-containers lint` as users meet it."""

    @staticmethod
    def run(tree: Path, *arguments: str) -> int:
        return main.main(["lint", "--packages", str(tree), "--no-shellcheck", "--target", "x86_64,cpu", *arguments])

    def test_lint_command_exits_1_for_an_error_and_says_what_to_do(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """An error exits 1 and says what to do."""
        write(tmp_path, "pkg", {"Dockerfile": recipe("RUN make || true\n"), "test.sh": "hello\n"})
        assert self.run(tmp_path) == 1
        captured = capsys.readouterr()
        assert "Dockerfile:10: error hidden-failure: `|| true` turns a failure into success" in captured.out
        assert "→ let it fail" in captured.out
        assert captured.err.endswith("1 errors, 0 warnings in 1 packages\n")

    def test_lint_command_exits_0_for_a_warning(self, tmp_path: Path) -> None:
        """A warning alone exits 0."""
        write(tmp_path, "pkg", {"Dockerfile": recipe(header=header(license="")), "test.sh": "hello\n"})
        assert self.run(tmp_path) == 0

    def test_lint_command_prints_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """The findings are printed as JSON."""
        folder = write(tmp_path, "pkg", {"Dockerfile": recipe("COPY . /a\n"), "test.sh": "hello\n"})
        assert self.run(tmp_path, "--json") == 1
        found = json.loads(capsys.readouterr().out)
        assert [list(row) for row in found] == [["file", "line", "rule", "severity", "message", "remedy"]]
        assert (found[0]["file"], found[0]["line"], found[0]["rule"]) == (str(folder / "Dockerfile"), 10, "copy-all")

    @pytest.mark.parametrize("pattern", ["pkg", "p*", "group/pkg", "folder"])
    def test_lint_command_takes_patterns(
        self, tmp_path: Path, pattern: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A pattern selects packages."""
        write(tmp_path, "folder" if pattern == "folder" else "pkg", {"Dockerfile": recipe(), "test.sh": "hello\n"})
        files = {"Dockerfile": recipe("COPY . /a\n").replace("name: pkg", "name: other"), "test.sh": "a\n"}
        write(tmp_path, "other", files)
        assert self.run(tmp_path, pattern) == 0

    def test_lint_command_refuses_a_pattern_that_matches_nothing(self, tmp_path: Path) -> None:
        """A pattern that matches nothing is an error."""
        write(tmp_path, "pkg", {"Dockerfile": recipe(), "test.sh": "hello\n"})
        with pytest.raises(NothingMatchedError, match="`nowhere`"):
            lint([tmp_path], ["nowhere"], targets=CPU)
        assert self.run(tmp_path, "nowhere") == 3

    def test_lint_command_lists_its_rules(self, capsys: pytest.CaptureFixture[str]) -> None:
        """The rules are listed."""
        assert main.main(["lint", "--rules"]) == 0
        listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]
        assert listed == list(RULES)


def test_lint_of_the_shipped_tree_finds_nothing() -> None:
    """The tree of this project has no finding."""
    report = lint([ROOT_DIR / "packages"])
    found = [f"{item.file}:{item.line}: {item.rule}: {item.message}" for item in report.findings]
    assert found == []
