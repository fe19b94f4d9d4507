"""Trees in upstream's format: every form of definition, the helpers, and what a `config.py` may not do."""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import RecipeError
from jetson_containers.recipes.catalog import Catalog, load
from jetson_containers.recipes.upstream import config_py
from tests.unit.treemaker import NANO, ORIN, PC, PC_CPU, THOR, write

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.package import Package


def catalog(root: Path, files: dict[str, str], where: Platform = ORIN) -> Catalog:
    return load([write(root / "packages", files)], where)


def python(root: Path, code: str, where: Platform = ORIN, header: str = "group: g") -> Catalog:
    return catalog(root, {"g/foo/Dockerfile": header, "g/foo/config.py": code}, where)


def names(found: Catalog) -> list[str]:
    return list(found.available)


# --- the forms


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"config.yaml": "foo:a:\n  docs: x\nfoo:b:\n  docs: y\n"}, ["foo:a", "foo:b"]),
        ({"anything.yml": "docs: flat"}, ["foo"]),
        ({"anything.json": '{"bar": {"docs": "one"}}'}, ["bar"]),
        ({"a.json": '{"name": "first"}', "b.yaml": "name: second"}, ["second"]),
        ({"docker-compose.yml": "services: {a: {image: b}}"}, ["foo"]),
        ({"broken.json": "{"}, ["foo"]),
        ({"config.json": '{"architectures": ["LlamaForCausalLM"]}'}, ["foo"]),
        ({"config.py": "package['name'] = 'bar'"}, ["bar"]),
        ({"config.py": "package = None"}, []),
        ({"config.py": "package = []"}, []),
        ({"config.py": "package = [dict(package, name='a'), (dict(package, name='b'), [dict(package, name='c')])]"},
         ["a", "b", "c"]),
        ({"config.py": "package = {'x': dict(package), 'y': {}}"}, ["x", "y"]),
        ({"config.py": "package = dict(package, build_args={}, sub={'name': 'other', 'docs': 'x'})"}, ["sub"]),
        ({"config.py": "package['build_args'] = {}"}, ["foo"]),
        ({"config.py": "package = {'name': 'fresh', 'depends': []}"}, ["fresh"]),
        ({"x.yaml": "notes: from yaml", "config.py": "package['name'] = 'py'"}, ["py"]),
    ],
)  # fmt: skip
def test_reader_takes_each_form_of_definition(tmp_path: Path, files: dict[str, str], expected: list[str]) -> None:
    """Every form gives its packages."""
    found = catalog(
        tmp_path, {"g/foo/Dockerfile": "group: g", **{f"g/foo/{name}": text for name, text in files.items()}}
    )
    assert found.broken == ()
    assert names(found) == expected


def test_reader_gives_named_definitions_the_keys_of_parent_and_own_header(tmp_path: Path) -> None:
    """Several named definitions take the parent's keys and their own Dockerfile's header."""
    found = catalog(
        tmp_path,
        {
            "g/foo/Dockerfile": "group: robots\ndepends: [base]\nbuild_args: {A: 1}",
            "g/foo/Dockerfile.b": "notes: of its own\ndepends: [other]",
            "g/foo/config.yaml": "foo:a:\n  build_args: {B: 2}\nfoo:b:\n  dockerfile: Dockerfile.b\n  notes: lost\n",
        },
    )
    first, second = found.available["foo:a"], found.available["foo:b"]
    assert (first.group, dict(first.build_args), str(first.depends[0])) == ("robots", {"B": "2"}, "base")
    assert (second.dockerfile, second.notes, str(second.depends[0])) == ("Dockerfile.b", "of its own", "other")


def test_config_py_alone_is_a_package_and_sees_what_came_before(tmp_path: Path) -> None:
    """A config.py is enough for a package and sees what came before."""
    code = "assert package['docs'] == 'as json'\nassert package['test'] == ['test.sh']\npackage['notes'] = 'seen'\n"
    found = catalog(tmp_path, {"g/foo/a.json": '{"docs": "as json"}', "g/foo/test.sh": "", "g/foo/config.py": code})
    package = found.available["foo"]
    assert (package.notes, package.dockerfile, package.test) == ("seen", None, ("test.sh",))


VERSIONS = """
def make(version, default):
    pkg = dict(package, name=f'foo:{version}', alias=['foo', 'oof'] if default else [])
    builder = dict(package, name=f'foo:{version}-builder', alias=['foo:builder'] if default else [],
                   build_args={'FORCE_BUILD': 'on'})
    return pkg, builder
package = [make('1.0', False), make('2.0', True), dict(package, name='foo:2.0-all', depends=['foo:2.0'])]
"""


@pytest.mark.parametrize(
    ("name", "found"),
    [("foo", "foo:2.0"), ("oof", "foo:2.0"), ("foo:builder", "foo:2.0-builder"), ("foo:1.0", "foo:1.0"),
     ("foo:2.0-all", "foo:2.0-all")],
)  # fmt: skip
def test_find_knows_versions_builders_and_aliases(tmp_path: Path, name: str, found: str) -> None:
    """Versions, builders and aliases are found."""
    assert python(tmp_path, VERSIONS).find(name).name == found


def test_package_that_depends_on_its_own_family_is_not_a_version_of_it(tmp_path: Path) -> None:
    """What depends on its own family is not a version of it."""
    package = python(tmp_path, VERSIONS).available
    assert (package["foo:2.0-all"].family, package["foo:2.0-all"].variant) == ("foo:2.0-all", None)
    assert (package["foo:2.0-builder"].version, package["foo:2.0-builder"].variant) == ("2.0", "builder")


def test_build_args_are_text_and_none_is_left_to_the_dockerfile(tmp_path: Path) -> None:
    """Build arguments are text, and None is left to the Dockerfile."""
    found = python(tmp_path, "package['build_args'] = {'A': 1, 'B': True, 'C': None, 'D': L}".replace("L", "(1.5)"))
    assert dict(found.available["foo"].build_args) == {"A": "1", "B": "True", "D": "1.5"}
    assert any("`C` is None" in note for note in found.notices)


# --- what recipes import


@pytest.mark.parametrize(
    ("where", "values"),
    [
        (ORIN, "36.4.3 6.2 12.6 cu126 3.10 tegra-aarch64 aarch64 arm64 22.04 True False [87]"),
        (NANO, "32.7.4 7.2 10.2 cu102 3.6 tegra-aarch64 aarch64 arm64 18.04 True False [53, 62, 72]"),
        (THOR, "38.2.0 7.2 13.0 cu130 3.12 aarch64 aarch64 arm64 24.04 False True [110]"),
        (PC, "39.1.0 7.2 12.8 cu128 3.12 x86_64 x86_64 amd64 24.04 False False [80, 90, 120]"),
        (PC_CPU, "39.1.0 7.2 0.0 cu00 3.12 x86_64 x86_64 amd64 24.04 False False []"),
    ],
)
def test_config_py_sees_the_target(tmp_path: Path, where: Platform, values: str) -> None:
    """Recipes see the target."""
    exported = (
        "L4T_VERSION, JETPACK_VERSION, CUDA_VERSION, CUDA_SHORT_VERSION, PYTHON_VERSION, CUDA_ARCH, SYSTEM_ARCH, "
        "DOCKER_ARCH, LSB_RELEASE, IS_TEGRA, IS_SBSA, CUDA_ARCHITECTURES"
    )
    code = f"from jetson_containers import {exported}\npackage['docs'] = ' '.join(map(str, ({exported})))\n"
    assert python(tmp_path, code, where).available["foo"].docs == values


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("update_dependencies(['torch', 'cuda'], 'torch:2.6')", ["torch:2.6", "cuda"]),
        ("update_dependencies(['llvm:22'], ['llvm:20'])", ["llvm:20"]),
        ("update_dependencies('a', ['b'])", ["a", "b"]),
        ("update_dependencies(['torch:2.6', 'cuda'], ['torch'])", ["torch:2.6", "cuda"]),
        ("package_depends({'depends': ['torch', 'cuda']}, 'torch:2.6')['depends']", ["torch:2.6", "cuda"]),
        ("package_depends({'depends': 'a'}, 'b', ['c', 'a'])['depends']", ["a", "b", "c"]),
        (
            "package_requires({'requires': '>=34'}, '<36', system_arch='aarch64')['requires']",
            [">=34", "<36", "aarch64"],
        ),
        ("package_requires({'requires': ['x86_64']}, system_arch='aarch64')['requires']", ["x86_64"]),
        ("package_requires({'requires': ['>=36']}, 'cu126', unless='>=36')['requires']", [">=36"]),
        (
            "[p['requires'] for p in package_requires([{}, {'requires': 'x86_64'}], system_arch='aarch64')]",
            [["aarch64"], ["x86_64"]],
        ),
        ("[p['requires'] for p in package_requires(({}, [{}]), '>=36')[1]]", [[">=36"]]),
        ("find_container('torch', disable_sources=['build'])", None),
        ("[get_env('NOBODY_SET', 7), get_env(['NOBODY_SET', 'PEOPLE']), get_env('PEOPLE', type=int)]", [7, "9", 9]),
        (
            "[get_env_flag('NOBODY_SET'), get_env_flag('PEOPLE', True), to_bool('Off'), to_bool('enabled')]",
            [False, True, False, True],
        ),
        (
            "[check_arch('aarch64'), check_arch('arm64'), check_arch('x86_64'), 'amd64' in SYSTEM_ARCH_LIST]",
            [True, True, False, True],
        ),
        (
            "[check_requirement('>=36'), check_requirement('>=cu128'), check_requirements({'requires': ['<36']})]",
            [True, False, False],
        ),
        (
            "[get_l4t_base(), get_dir('Data')[-4:], get_dir('a', '/x'), get_dir('repo') == get_repo_dir()]",
            ["ubuntu:22.04", "data", "/x/a", True],
        ),
        (
            "[str(DEFAULT_PYTHON_VERSIONS[LSB_RELEASE]), Version('1.10').minor, L4T_VERSION in SpecifierSet('>=36')]",
            ["3.10", 10, True],
        ),
        (
            "[validate_dict({'notes': 1}), validate_dict({'x': 1}), validate_lists({'test': 'a.py'})['test']]",
            [True, False, ["a.py"]],
        ),
        (
            "group_packages({'a': {'group': 'g'}, 'b': {}}, 'group', 'none')",
            {"g": {"a": {"group": "g"}}, "none": {"b": {}}},
        ),
        # what a star import brings besides: modules and the silent part of the log
        (
            "[os.sep, re.sub('a', 'b', 'a'), copy.copy('c'), shlex.quote('d e'), colorize('f', 'red'), print_log('g')]",
            ["/", "b", "c", "'d e'", "f", None],
        ),
        ("[cuda_short_version(), cuda_short_version('12.4')]", ["cu126", "cu124"]),
        ("[get_cuda_arch(), get_cuda_arch(format=str)]", [[87], "8.7"]),
        ("sorted(find_packages(['b*', 'a'], skip=['bb']))", ["a", "ba"]),
        (
            "[find_package(name)['name'] for name in ('alias-of-a', 'a*', 'b?', '[!a]*')]",
            ["a", "a", "ba", "ba"],
        ),
        ("sorted(find_packages(['alias-*'], skip=['alias-of-a']))", ["a"]),  # exceptions are of names only
        ("[sorted(find_packages(all)) for all in ('', 'all', '*', [''], [])].count(['a', 'ba', 'bb'])", 5),
    ],
)
def test_config_py_helpers_give_what_upstreams_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: str, value: object
) -> None:
    """The helpers give what upstream's do."""
    monkeypatch.setenv("PEOPLE", "9")
    code = f"from jetson_containers import *\nimport json\npackage['docs'] = json.dumps({expression})\n"
    others = {"h/a/Dockerfile": "alias: alias-of-a", "h/ba/config.py": "", "h/bb/Dockerfile": "docs: x",
              "h/bc/config.py": "package['disabled'] = True"}  # fmt: skip
    found = catalog(tmp_path, {"g/foo/Dockerfile": "group: g", "g/foo/config.py": code, **others})
    assert [str(error) for error in found.broken] == []
    assert json.loads(found.available["foo"].docs) == value


def test_config_py_imports_version_files_of_the_tree(tmp_path: Path) -> None:
    """Version files are imported from the tree."""
    code = "from packages.g.bar.version import X\nfrom .version import Y\npackage['docs'] = X + Y\n"
    files = {"g/foo/config.py": code, "g/foo/version.py": "Y = 'y'", "g/bar/version.py": "X = 'x'"}
    assert catalog(tmp_path, files).available["foo"].docs == "xy"
    assert list(tmp_path.rglob("__pycache__")) == []


# --- what a config.py may not do


@pytest.mark.parametrize(
    ("code", "line", "reason"),
    [
        ("x = 1\npackage = (", 2, "SyntaxError"),
        ("\nundefined", 2, "NameError: name 'undefined' is not defined"),
        ("def f():\n    raise ValueError('why')\nf()", 2, "ValueError: why"),
        ("import sys\nsys.exit(1)", 2, "SystemExit"),
        ("import socket\nsocket.create_connection(('10.0.0.1', 80))", 2, "no network"),
        ("import socket\nsocket.socket()", 2, "no network"),
        ("import socket\nsocket.getaddrinfo('a.example', 80)", 2, "no network"),
        ("import urllib.request\nurllib.request.urlopen('http://a.example/')", 2, "no network"),
        ("from jetson_containers import github_latest_tag\n\ngithub_latest_tag('a/b')", 3, "no network"),
        ("from jetson_containers import github_latest_tag\ngithub_latest_tag('a')", 2, "no network"),
        ("open('x', 'w')", 1, "may not run or write"),
        ("import os\nos.open('x', os.O_CREAT | os.O_WRONLY)", 2, "may not run or write"),
        ("from pathlib import Path\nPath('x').write_text('')", 2, "may not run or write"),
        ("import shutil\nshutil.copyfile(__file__, __file__ + '2')", 2, "may not run or write"),
        ("import os\nos.remove(__file__)", 2, "may not run or write"),
        ("import os\nos.system('true')", 2, "may not run or write"),
        ("import subprocess\nsubprocess.run(['true'])", 2, "may not run or write"),
        ("import os\nos.fork()", 2, "may not run or write"),
        ("import os\nos._exit(3)", 2, "may not run or write"),
        ("x = bytearray(8 << 30)", 1, "MemoryError"),
        ("from jetson_containers import nonsense", 1, "ImportError"),
        ("from jetson_containers import find_package\nfind_package('nothing')", 2, "KeyError"),
        ("package = 'text'", None, "there is a str in it"),
        ("package['depends'] = [{'a': 1}]", 1, "holds a dict"),
        ("\npackage['depends'] = ['a b']", 2, "is not a package name"),
        ("\npackage['requires'] = 'moon'", 2, "`moon` is not a valid `requires` rule"),
        ("\npackage['dockerfile'] = 'none'", 2, "`none` is not there"),
    ],
)  # fmt: skip
def test_config_py_that_is_broken_disables_only_itself_and_says_where(
    tmp_path: Path, code: str, line: int | None, reason: str
) -> None:
    """A broken config disables only itself and says where."""
    files = {"g/foo/Dockerfile": "group: g", "g/foo/config.py": code, "g/good/config.py": "package['docs'] = 'fine'"}
    found = catalog(tmp_path, files)
    assert names(found) == ["good"]
    (error,) = found.broken
    assert (error.path, error.line) == (tmp_path / "packages/g/foo/config.py", line)
    assert reason in error.message
    with pytest.raises(RecipeError):
        found.find("foo")
    assert sorted(path.name for path in (tmp_path / "packages/g/foo").iterdir()) == ["Dockerfile", "config.py"]


def test_config_py_that_handles_a_refusal_gets_a_notice(tmp_path: Path) -> None:
    """A refusal that the recipe handles is a notice."""
    code = (
        "from jetson_containers import github_latest_tag\n"
        "try:\n    package['docs'] = github_latest_tag('a/b')\nexcept Exception:\n    package['docs'] = '1.0'\n"
    )
    found = python(tmp_path, code)
    assert found.available["foo"].docs == "1.0"
    (notice,) = found.notices
    assert notice.startswith(f"{tmp_path}/packages/g/foo/config.py:3: asked for the network (`github_latest_tag")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("while True:\n    pass", "takes longer than"),
        ("while True:\n    try:\n        while True: pass\n    except BaseException: pass", "takes longer than"),
        ("import faulthandler\nfaulthandler._sigsegv()", "signal 11"),
    ],
)
def test_config_py_that_hangs_or_crashes_disables_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    """What hangs or crashes disables only itself."""
    tree = write(tmp_path, {"a/config.py": "", "b/config.py": code, "c/config.py": ""})
    jobs = []
    for name in "abc":
        steps = [("python", tree / name / "config.py")]
        jobs.append(
            config_py.ConfigPyJob(
                directory=tree / name, module=f"packages.{name}", base={"name": name, "path": "/"}, steps=steps
            )
        )
    monkeypatch.setattr(config_py, "GRACE", 1.0)
    answers = config_py.run(jobs, [tree], ORIN, seconds=1.0).answers
    assert [bool(answer.definitions) for answer in answers] == [True, False, True]
    assert answers[1].failure is not None
    assert reason in answers[1].failure.reason


def test_config_py_gets_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are not given to recipes."""
    monkeypatch.setenv("HUGGINGFACE_TOKEN", "hf_do_not_tell")
    found = python(tmp_path, "import os\npackage['docs'] = str(os.environ.get('HUGGINGFACE_TOKEN'))")
    assert found.available["foo"].docs == "None"
    assert any("`HUGGINGFACE_TOKEN` looks like a secret" in note for note in found.notices)


# --- the index, and the order of things


def docs(tree: Path, cache: Path) -> str:
    return load([tree], ORIN, cache=cache).available["foo"].docs


def test_warm_load_starts_no_child_until_something_it_read_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A warm load starts no child until something it read changes."""
    code = "import os\nfrom packages.lib.version import V\npackage['docs'] = V + os.environ.get('FOO_VERSION', '-')\n"
    tree = write(tmp_path / "packages", {"g/foo/config.py": code, "lib/version.py": "V = 'one'"})
    monkeypatch.delenv("FOO_VERSION", raising=False)
    cache = tmp_path / "cache"
    assert docs(tree, cache) == "one-"
    with monkeypatch.context() as patch:
        patch.setattr(config_py, "run", lambda *_, **__: pytest.fail("a child was started"))
        patch.setenv("UNRELATED", "x")
        assert docs(tree, cache) == "one-"
    monkeypatch.setenv("FOO_VERSION", "2")
    assert docs(tree, cache) == "one2"
    (tree / "lib/version.py").write_text("V = 'other'")
    assert docs(tree, cache) == "other2"


def test_reader_does_not_depend_on_the_order_of_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the directory does not matter."""
    files = {f"g/p{i}/config.py": "from jetson_containers import find_packages\n"
             "package['docs'] = ','.join(find_packages(['p*']))" if i % 2 else "package['alias'] = 'shared'"
             for i in range(6)}  # fmt: skip
    tree = write(tmp_path / "packages", files)
    first = load([tree], ORIN)
    real_scandir = os.scandir

    class Listing(list):  # type: ignore[type-arg]
        def __enter__(self) -> Listing:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def scandir(path: object) -> Listing:
        with real_scandir(path) as entries:  # type: ignore[call-overload]
            listing = Listing(entries)
        random.shuffle(listing)
        return listing

    monkeypatch.setattr(os, "scandir", scandir)
    again = load([tree], ORIN)

    def summary(found: Catalog) -> list[tuple[str, Package]]:
        return list(found.available.items())

    assert summary(again) == summary(first)
    assert again.notices == first.notices
