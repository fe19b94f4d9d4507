"""The rules of upstream's format one by one: each case is a directory, and what it must come to.

All cases stand in one tree, so that the one child process is started once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.autotag.types import Wanted
from jetson_containers.core.errors import RecipeError, UnknownPackageError, UnsatisfiableError
from jetson_containers.plan import plan
from jetson_containers.plan.final_name import final_name
from jetson_containers.recipes.catalog import Catalog, load
from jetson_containers.recipes.tree import scan
from jetson_containers.recipes.upstream import reader
from jetson_containers.resolver.solve import solve
from tests.paths import ROOT_DIR
from tests.unit.treemaker import NANO, ORIN, PC, SERVER, THOR, XAVIER, dockerfile, platform, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.package import Package

DOCKERFILE = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"

# What a directory holds → what its packages are: names to fields. `{d}` is the directory's name.
FORMS: dict[str, tuple[dict[str, str], dict[str, dict[str, Any]]]] = {
    # 1.1 keys
    "no-header": ({"Dockerfile": DOCKERFILE}, {"no-header": {"requires": (">=32.6",), "group": "g", "aliases": ()}}),
    "texts-are-lists": (
        {"Dockerfile": "alias: tl\ndepends: sib\nrequires: '>=36'\ntest: run.sh --fast", "config.py": ""},
        {"texts-are-lists": {"aliases": ("tl",), "depends": ["sib"], "requires": (">=36",),
            "test": ("run.sh --fast",)}},
    ),
    "prose-as-lists": (
        {"Dockerfile": "notes: [a, b]\ndocs: [one, two]", "config.py": "assert package['notes'] == ['a', 'b']"},
        {"prose-as-lists": {"notes": "a; b", "docs": "one\ntwo"}},
    ),
    "everything": (
        {
            "Dockerfile": "group: x\nnotes: n\ndocs: some text\nprefix: pre\npostfix: post\nbuild_flags: --pull\n"
            "buildkit_device: true\ndisabled: false",
            "config.py": "assert package['buildkit_device'] is True",
        },
        {
            "everything": {
                "group": "x", "notes": "n", "docs": "some text", "prefix": "pre", "postfix": "post",
                "build_flags": "--pull", "disabled": False, "dockerfile": "Dockerfile",
            }
        },
    ),
    "native-values": (
        {
            "Dockerfile": "build_args: {I: 3, F: 1.85, V: 1.10, O: 010, B: on, N: 'no', Z: null}",
            "config.py": "args = package['build_args']\nassert args['I'] + 1 == 4\nassert args['F'] > 1.5\n"
            "assert args['B'] is True\nassert args.pop('Z') is None\nargs['P'] = args['I'] * 2\n",
        },
        {"native-values": {"build_args": {"I": "3", "F": "1.85", "V": "1.10", "O": "010", "B": "True", "N": "no",
                                          "P": "6"}}},
    ),
    "json-values": (
        {"Dockerfile": "", "x.json": '{\n\t"build_args": {"I": 3, "V": 1.10, "B": false, "T": "true"}\n}'},
        {"json-values": {"build_args": {"I": "3", "V": "1.10", "B": "False", "T": "true"}}},
    ),
    "meta": ({"config.py": "package['depends'] = ['sib']"}, {"meta": {"dockerfile": None, "depends": ["sib"]}}),
    "capital": ({"DOCKERFILE": dockerfile("notes: any case"), "config.py": ""},
        {"capital": {"dockerfile": "DOCKERFILE"}}),
    # 1.2 the header
    "two-blocks": (
        {"Dockerfile": "#---\n# notes: one\n#---\n# a comment\n#---\n# docs: two\n#---\n" + DOCKERFILE,
            "config.py": ""},
        {"two-blocks": {"notes": "one", "docs": "two"}},
    ),
    "header-ends": (
        {"Dockerfile": "#---\n# notes: one\n#---\nARG BASE_IMAGE\n#---\n# notes: late\n#---\nFROM x\n",
            "config.py": ""},
        {"header-ends": {"notes": "one"}},
    ),
    "after-a-blank-line": (
        {"Dockerfile": "\n#---\n# notes: one\n#---\nFROM x\n", "config.py": ""},
        {"after-a-blank-line": {"notes": ""}},
    ),
    # 1.2 data files of any name
    "nested-one": ({"Dockerfile": "", "a.yaml": "other-name:\n  notes: n"}, {"other-name": {"notes": "n"}}),
    "nested-many": (
        {"Dockerfile": "build_args: {A: 1}",
            "a.json": '{"many:1": {"notes": "x"}, "many:2": {"build_args": {"B": 2}}}'},
        {"many:1": {"notes": "x", "build_args": {"A": "1"}}, "many:2": {"notes": "", "build_args": {"B": "2"}}},
    ),
    "name-in-entry": (
        {"Dockerfile": "", "a.yaml": "key:1: {name: lost}\nkey:2: {notes: y}"},
        {"key:1": {}, "key:2": {"notes": "y"}},
    ),
    "own-dockerfile": (
        {"Dockerfile": "notes: parent", "Dockerfile.x": "name: lost\nnotes: own",
         "a.yaml": "own:1: {dockerfile: Dockerfile.x, notes: lost}\nown:2: {notes: kept}"},
        {"own:1": {"notes": "own", "dockerfile": "Dockerfile.x"}, "own:2": {"notes": "kept"}},
    ),
    "one-with-a-dockerfile": (
        {"Dockerfile": "", "Dockerfile.x": "notes: not read",
            "a.yaml": "single: {dockerfile: Dockerfile.x, notes: kept}"},
        {"single": {"notes": "kept", "dockerfile": "Dockerfile.x"}},
    ),
    "merge-keys": (
        {"Dockerfile": "", "a.yaml": "mk:1: &one {notes: n, docs: d}\nmk:2: {<<: *one, docs: e}\n"},
        {"mk:1": {"notes": "n", "docs": "d"}, "mk:2": {"notes": "n", "docs": "e"}},
    ),
    "unknown-key-in-data": (
        {"Dockerfile": "notes: header", "a.yaml": "notes: lost\ncolour: red"},
            {"unknown-key-in-data": {"notes": "header"}}
    ),
    "empty-data": ({"Dockerfile": "notes: h", "a.yaml": "", "b.json": "{}"}, {"empty-data": {"notes": "h"}}),
    "args-named-like-keys": (
        {"Dockerfile": "", "a.yaml": "build_args: {name: x, path: y}"},
        {"args-named-like-keys": {"build_args": {"name": "x", "path": "y"}}},
    ),
    # 1.3 merging: header, then files by name or as the header's `config` lists them, later ones win
    "header-replaces-found": (
        {"Dockerfile": "test: mine.sh", "test.py": "", "test.sh": "", "config.py": ""},
        {"header-replaces-found": {"test": ("mine.sh",)}},
    ),
    "found-tests": ({"test.py": "", "test.sh": "", "config.py": ""}, {"found-tests": {"test": ("test.py", "test.sh")}}),
    "files-by-name": (
        {"Dockerfile": "notes: 0", "a.yaml": "notes: 1\ndocs: a", "b.json": '{"notes": "2"}', "config.py":
         "package['docs'] += package['notes']", "z.yml": "notes: 3"},
        {"files-by-name": {"notes": "3", "docs": "a2"}},
    ),
    "listed-order": (
        {"Dockerfile": "config: [z.yaml, a.yaml]", "a.yaml": "notes: a", "m.yaml": "docs: not listed",
            "z.yaml": "notes: z"},
        {"listed-order": {"notes": "a", "docs": ""}},
    ),
    "not-listed": (
        {"Dockerfile": "config: a.yaml", "a.yaml": "notes: a", "config.py": "package['notes'] = 'not run'"},
        {"not-listed": {"notes": "a"}},
    ),
    "listed-none": ({"Dockerfile": "config: []\nnotes: h", "config.py": "boom"}, {"listed-none": {"notes": "h"}}),
    "python-of-another-name": (
        {"Dockerfile": "config: versions.py", "versions.py": "package['notes'] = __name__"},
        {"python-of-another-name": {"notes": "packages.g.python-of-another-name.versions"}},
    ),
    "several-python-files": (
        {"Dockerfile": "config:\n- one.py\n- more.yaml\n- two.py", "one.py": "package['notes'] = '1'",
         "more.yaml": "docs: yaml", "two.py": "package = [dict(package, name='sp:' + v) for v in 'ab']"},
        {"sp:a": {"notes": "1", "docs": "yaml"}, "sp:b": {"notes": "1", "docs": "yaml"}},
    ),
    "python-after-python": (
        {"Dockerfile": "config: [one.py, two.py]", "one.py": "package = [dict(package, name='pp:' + v) for v in 'ab']",
         "two.py": "assert len(package) == 2\npackage[0]['notes'] = 'second file'"},
        {"pp:a": {"notes": "second file"}, "pp:b": {"notes": ""}},
    ),
    "in-another-directory": (
        {"Dockerfile": "config: ../../shared/common.yaml"}, {"in-another-directory": {"notes": "of all"}}
    ),
    "config-below": (
        {"Dockerfile": "config: [sub/part.py, sub/more.yml]", "sub/part.py": "package['notes'] = 'below'",
         "sub/more.yml": "docs: as well"},
        {"config-below": {"notes": "below", "docs": "as well"}, "sub": {"docs": "as well"}},
    ),
    # 1.3 what `package` may be in the end
    "flat-name": ({"Dockerfile": "name: renamed:1", "config.py": ""}, {"renamed:1": {"family": "renamed",
        "version": "1"}}),
    "python-beats-header": (
        {"Dockerfile": "name: lost\nnotes: h", "config.py": "package['name'] = 'won'"}, {"won": {"notes": "h"}}
    ),
    "named-in-python": (
        {"Dockerfile": "notes: gone", "config.py": "package = {'np:1': {'notes': 'x'}, 'np:2': {}}"},
        {"np:1": {"notes": "x"}, "np:2": {"notes": "gone"}},
    ),
    "added-to-package": (
        {"Dockerfile": "", "config.py": "package['sub-of'] = {'notes': 'the parent vanishes'}"},
        {"sub-of": {"notes": "the parent vanishes"}},
    ),
    "yaml-then-python": (
        {"Dockerfile": "", "a.yaml": "yp:1: {notes: a}\nyp:2: {notes: b}",
            "config.py": "package['yp:1']['docs'] = 'py'"},
        {"yp:1": {"notes": "a", "docs": "py"}, "yp:2": {"notes": "b", "docs": ""}},
    ),
    "deep-lists": (
        {"Dockerfile": "",
            "config.py": "package = [[(dict(package, name='dl:1'), None)], [], ([dict(package, name='dl:2')],)]"},
        {"dl:1": {}, "dl:2": {}},
    ),
    "fresh-dict": (
        {"Dockerfile": "depends: sib", "config.py": "package = {'name': 'fresh', 'notes': 'no path, no requires'}"},
        {"fresh": {"depends": ["sib"], "requires": (">=32.6",), "dockerfile": "Dockerfile"}},
    ),
    "path": (
        {"sub/Dockerfile.x": DOCKERFILE, "config.py": "package.update(path='sub', dockerfile='Dockerfile.x')"},
        {"path": {"dockerfile": "Dockerfile.x"}},
    ),
    "no-rules": ({"Dockerfile": "", "config.py": "package['requires'] = []"}, {"no-rules": {"requires": ()}}),
    "empty-rule": ({"Dockerfile": "requires: ''", "config.py": ""}, {"empty-rule": {"requires": ()}}),
    "a-number-as-rule": ({"Dockerfile": "requires: 36.4", "config.py": ""},
        {"a-number-as-rule": {"requires": ("36.4",)}}),
    # 1.4 conventions
    "conventions": (
        {"Dockerfile": "", "config.py": (
            "def make(v, default=False):\n"
            "    pkg = dict(package, name=f'conv:{v}')\n"
            "    builder = dict(pkg, name=f'conv:{v}-builder', build_args={'FORCE_BUILD': 'on'})\n"
            "    if default:\n        pkg['alias'] = 'conv'\n        builder['alias'] = 'conv:builder'\n"
            "    return pkg, builder\n"
            "more = dict(package, name='conv:1.10-myst', depends='conv:1.10')\n"
            "package = [make('1.9'), make('1.10', True), more]\n")},
        {
            "conv:1.9": {"default": False}, "conv:1.9-builder": {"version": "1.9", "variant": "builder"},
            "conv:1.10": {"default": True}, "conv:1.10-builder": {"aliases": ("conv:builder",), "default": False},
            "conv:1.10-myst": {"family": "conv:1.10-myst"},
        },
    ),
}  # fmt: skip

SHARED = {"g/sib/Dockerfile": "docs: what others depend on", "shared/common.yaml": "notes: of all"}

BROKEN = {
    "unknown-header-key": ({"Dockerfile": "depend: sib", "config.py": ""}, "Dockerfile", 2, "unknown key `depend`"),
    "broken-header": ({"Dockerfile": "#---\n# a: [\n#---\nFROM x", "config.py": ""}, "Dockerfile", 3, "broken YAML"),
    "header-is-a-list": ({"Dockerfile": "- a", "config.py": ""}, "Dockerfile", 2, "a mapping of keys to values"),
    "ours-in-header": ({"Dockerfile": "versions: []", "config.py": ""}, "Dockerfile", 2, "cannot stand beside"),
    "listed-and-missing": ({"Dockerfile": "config: gone.py"}, "", None, "`config` names `gone.py`, which is not there"),
    "listed-and-alien": (
        {"Dockerfile": "config: [a.yaml, x.py]", "a.yaml": "color: red", "x.py": ""}, "a.yaml", 1,
            "unknown key `color`"
    ),
    "listed-and-broken": (
        {"Dockerfile": "config: [a.json, x.py]", "a.json": "{\n,", "x.py": ""}, "a.json", 2, "broken JSON"
    ),
    "depends-with-a-mapping": (
        {"Dockerfile": "depends:\n- sib\n- key: value", "config.py": ""}, "Dockerfile", 2, "holds a dict, not a package"
    ),
    "data-after-several": (
        {"config.py": "package = [dict(package, name='das:1')]", "z.yaml": "notes: x"}, "config.py", None,
            "several packages"
    ),
    "package-is-gone": ({"config.py": "del package"}, "config.py", None, "`package` is gone"),
    "rule": (
        {"Dockerfile": "requires: '>=py3x'", "config.py": ""},
        "Dockerfile",
        2,
        "`>=py3x` is not a valid `requires` rule",
    ),
    "illegal-name": ({"config.py": "package['name'] = 'a b'"}, "config.py", 1, "`a b` is not a package name"),
    "illegal-alias": ({"config.py": "package['alias'] = ['a/b']"}, "config.py", 1, "`a/b` is not a package name"),
    "args-as-list": ({"config.py": "package['build_args'] = ['A=1']"}, "config.py", 1, "must map names to values"),
    "test-with-a-mapping": ({"Dockerfile": "test: {quick: check.py}", "config.py": ""}, "Dockerfile", 2,
        "`test` of `test-with-a-mapping` must be text or a list"),
    "path-nowhere": ({"config.py": "package['path'] = 'nowhere'"}, "config.py", 1, "/nowhere`, which is not a dir"),
}  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    root = tmp_path_factory.mktemp("rules")
    files = dict(SHARED)
    for name, (contents, *_) in (*FORMS.items(), *BROKEN.items()):
        files |= {f"g/{name}/{file}": text for file, text in contents.items()}
    return load([write(root / "packages", files)], ORIN)


def fields(package: Package, wanted: dict[str, Any]) -> dict[str, Any]:
    found = {name: getattr(package, name) for name in wanted}
    if "depends" in found:
        found["depends"] = [str(item) for item in found["depends"]]
    return found


@pytest.mark.parametrize("case", FORMS)
def test_directory_gives_its_packages(tree: Catalog, case: str) -> None:
    """A directory gives the packages of its case."""
    everything = {**tree.available, **{name: item.package for name, item in tree.absent.items()}}
    here = {name for name, package in everything.items() if case in package.path.parts}
    expected = FORMS[case][1]
    assert here == set(expected)
    assert {name: fields(everything[name], wanted) for name, wanted in expected.items()} == expected


@pytest.mark.parametrize("case", BROKEN)
def test_directory_that_is_broken_says_what_is_wrong_and_where(tree: Catalog, case: str) -> None:
    """A broken directory says what is wrong and where."""
    _, file, line, message = BROKEN[case]
    (error,) = [error for error in tree.broken if case in error.path.parts]
    assert (error.path.name, error.line) == (file or case, line)
    assert message in error.message
    with pytest.raises(RecipeError):
        tree.find(case)


@pytest.mark.parametrize(
    "notice",
    [
        "near-miss/config.py: `config.json` is not a definition and has no effect",
        "alien-key/config.py: `alien-key` has a key `Dockerfile`, which has no effect; did you mean `dockerfile`?",
        "twice-here/config.py: `twice:1` is defined twice here; the last definition counts",
        "none-arg/config.py: `none-arg`: the build argument `A` is None, so the Dockerfile's default holds",
        "told/config.py:3: careful",
        "`devpi` of {root}/z/devpi/Dockerfile:1 is ignored: {root}/y/devpi/Dockerfile:1 defines it already",
        "`both` is claimed by `both:2`, `both:1-builder` too; it means `both:1`, which comes first",
        "`plain` is claimed by `plain:builder` too; it means `plain`, whose name that is",
        "patterns/Dockerfile:1: `tor*` in `depends` of `patterns` is `torch:1`, the first of 3 that match",
        "`torch:*` in `depends` of `patterns-of-one` is `torch:1`, the first of 2 that match",
        "outer/context/Dockerfile: does not build on `BASE_IMAGE`, so it is part of the package around it, and none",
    ],
)
def test_notices_tell_what_may_surprise(odd: Catalog, notice: str) -> None:
    """What may surprise gets a notice."""
    wanted = notice.replace("{root}", str(odd.available["both:1"].path.parent))
    assert [text for text in odd.notices if text.endswith(wanted)], "\n".join(odd.notices)


def test_notices_are_only_the_expected_ones(odd: Catalog) -> None:
    """There are no other notices."""
    assert len(odd.notices) == 11, "\n".join(odd.notices)


ODD = {
    "near-miss": {"config.py": "", "config.json": '{"architectures": []}'},
    "alien-key": {"Dockerfile": "docs: x", "config.py": "package['Dockerfile'] = 'Dockerfile.wget'"},
    "twice-here": {"config.py": "package = [dict(package, name='twice:1', notes=n) for n in 'ab']"},
    "none-arg": {"config.py": "package['build_args'] = {'A': None}"},
    "told": {"config.py": "from jetson_containers import *\nlog_info('not said')\nlog_warning('careful')"},
    "y/devpi": {"Dockerfile": "notes: first by path"},
    "z/devpi": {"Dockerfile": "notes: second"},
    "y/twin": {"Dockerfile": "name: left"},
    "z/twin": {"Dockerfile": "name: right"},
    "both": {"config.py": "package = [dict(package, name='both:' + v, alias='both') for v in ('1-builder', '1', '2')]"},
    "plain": {"config.py": "package = [package, dict(package, name='plain:builder', alias='plain')]"},
    "torch": {"config.py": "package = [dict(package, name=f'torch:{v}', alias='torch' * (v == 2)) for v in (1, 2)]"},
    "torchvision": {"Dockerfile": "depends: torch"},
    "patterns": {"Dockerfile": "depends: ['tor*', 'both:?', 'nothing-*']"},
    "patterns-of-one": {"Dockerfile": "depends: ['torch:*', 't?rch']"},
    "outer": {"Dockerfile": "docs: around"},
    "outer/inner": {"Dockerfile": DOCKERFILE},
    "outer/deep/er": {"Dockerfile": "FROM --platform=linux/arm64 $BASE_IMAGE\n"},
    "outer/context": {"Dockerfile": "FROM ubuntu:22.04\n"},
    "outer/by-yaml": {"config.yaml": "depends: torch"},
    "outer/by-python": {"config.py": "package['depends'] = 'torch'"},
    "outer/app": {"config.py": "raise SystemExit('the settings of some program')"},
    "no-default": {"config.py": "package = [dict(package, name=f'no-default:{v}') for v in ('1', '10', '9')]"},
}  # fmt: skip


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    files = {f"g/{name}/{file}": text for name, contents in ODD.items() for file, text in contents.items()}
    return load([write(tmp_path_factory.mktemp("odd") / "packages", files)], ORIN)


def test_nested_packages_need_no_header_and_sources_are_not_packages(odd: Catalog) -> None:
    """Nested packages need no header, and sources are not packages."""
    inner = {name for name, package in odd.available.items() if "outer" in package.path.parts}
    assert inner == {"outer", "inner", "er", "by-yaml", "by-python"}
    assert odd.broken == ()


def test_directories_of_one_name_count_by_the_first_path(odd: Catalog) -> None:
    """Of two directories of one name the first by path counts."""
    assert odd.available["devpi"].notes == "first by path"
    assert odd.available["twice:1"].notes == "b"


def test_directories_of_one_name_with_different_packages_are_both_read(odd: Catalog) -> None:
    """Upstream skips the second, which is whichever its threads come to later."""
    assert [odd.available[name].path.parts[-2:] for name in ("left", "right")] == [("y", "twin"), ("z", "twin")]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("both", "both:1"),
        ("plain", "plain"),
        ("torch", "torch:2"),
        ("no-default", "no-default:10"),
        ("both:1-builder", "both:1-builder"),
    ],
)
def test_bare_name_means_the_last_of_its_family(odd: Catalog, name: str, found: str) -> None:
    """A bare name means the package that upstream takes."""
    assert odd.find(name).name == found
    assert solve(odd, [name]).requested == (found,)


def test_depends_pattern_is_the_first_that_matches(odd: Catalog) -> None:
    """A pattern in depends is the first that matches."""
    assert [str(item) for item in odd.available["patterns"].depends] == ["torch:1", "both:1", "nothing-*"]
    assert [str(item) for item in odd.available["patterns-of-one"].depends] == ["torch:1", "torch"]
    assert [item.name for item in solve(odd, ["patterns-of-one"]).packages] == ["torch:1", "patterns-of-one"]
    with pytest.raises(UnknownPackageError, match=r"there is no package `nothing-\*`, which `patterns` asks for"):
        solve(odd, ["patterns"])


def test_depends_patterns_survive_the_index(tmp_path: Path) -> None:
    """Patterns survive the index."""
    files = {"g/a/config.py": "package['depends'] = ['none-*', 'b*']", "g/b/Dockerfile": "docs: x"}
    tree = write(tmp_path / "tree", files)
    cold, warm = (load([tree], ORIN, cache=tmp_path / "cache") for _ in range(2))
    assert cold.available == warm.available


def test_depends_patterns_are_refused_in_the_own_format(tmp_path: Path) -> None:
    """This project's format has no patterns."""
    (error,) = load([write(tmp_path, {"g/a/Dockerfile": "depends: 'b*'"})], ORIN).broken
    assert "`b*` is not a package name" in error.message


# --- a tree is upstream's as a whole, or ours

PINS = {
    "g/x/config.yaml": "versions: [{version: 1}, {version: 2}]",
    "g/x/Dockerfile": "docs: x",
    "g/a/Dockerfile": "depends: 'x:1'\nbuild_args: {B: on}",
    "g/b/Dockerfile": "depends: ['a', 'x:2']",
    "g/b/src/Dockerfile": DOCKERFILE,
}


@pytest.mark.parametrize("alien", [
    {"g/c/config.py": "package['notes'] = 'x'"},
    {"g/c/versions.py": "package['notes'] = 'x'", "g/c/Dockerfile": "config: versions.py"},
    {"g/c/Dockerfile": "config: ../common.yaml", "g/common.yaml": "notes: x"},
])  # fmt: skip
def test_headers_of_a_tree_with_a_form_of_upstream_are_of_upstream_too(tmp_path: Path, alien: dict[str, str]) -> None:
    """Headers of a tree with a form of upstream's are upstream's too."""
    theirs = load([write(tmp_path / "theirs", {**PINS, **alien})], ORIN)
    assert [item.name for item in solve(theirs, ["b"]).packages] == ["x:2", "a", "b"]
    assert dict(theirs.available["a"].build_args) == {"B": "True"}
    assert "src" in theirs.available


def test_tree_in_the_own_format_stays_so_beside_one_of_upstream(tmp_path: Path) -> None:
    """A tree in this project's format stays so beside one of upstream's."""
    ours, theirs = (
        write(tmp_path / "ours", PINS),
        write(tmp_path / "theirs", {"g/c/config.py": "package['notes'] = 'x'"}),
    )
    found = load([ours, theirs], ORIN)
    with pytest.raises(UnsatisfiableError):
        solve(found, ["b"])
    assert dict(found.available["a"].build_args) == {"B": "on"}
    assert "src" not in found.available


def test_data_file_alone_does_not_make_a_tree_of_upstream(tmp_path: Path) -> None:
    """A stray data file does not make a tree upstream's."""
    found = load([write(tmp_path, {**PINS, "g/b/web/about.json": '{"name": "a web page"}'})], ORIN)
    assert dict(found.available["a"].build_args) == {"B": "on"}
    with pytest.raises(UnsatisfiableError):
        solve(found, ["b"])


def test_config_py_inside_a_package_of_the_own_format_is_not_run(tmp_path: Path) -> None:
    """A program called config.py inside a package of this project's format is not run."""
    files = {**PINS, "g/b/app/config.py": "raise RuntimeError", "g/b/app/settings.json": '{"port": 80}'}
    found = load([write(tmp_path, files)], ORIN)
    assert (found.broken, sorted(found.available)) == ((), ["a", "b", "x:1", "x:2"])


def test_own_tree_is_in_the_own_format() -> None:
    """The tree of this project is in its own format."""
    root = ROOT_DIR / "packages"
    assert reader.drafts(scan([root]), [root], ORIN).items == {}


# --- what depends on the target


@pytest.mark.parametrize(
    ("where", "postfix"),
    [
        (ORIN, "r36.4.tegra-aarch64-cu126-22.04"),
        (platform(python="3.12"), "r36.4.tegra-aarch64-cp312-cu126-22.04"),
        (platform("36.3.0", "12.4"), "r36.3.0-cu124-22.04"),
        (XAVIER, "r35.4.1-cu114-20.04"),
        (NANO, "r32.7.4-cu102-18.04"),
        (THOR, "r38.2.arm64-sbsa-cu130-24.04"),
        (SERVER, "r39.1.arm64-sbsa-cu130-24.04"),
        (PC, "amd64.x86_64-cu128-24.04"),
    ],
)
def test_postfix_is_that_of_upstream(where: Platform, postfix: str) -> None:
    """Recipes can read upstream's postfix."""
    assert reader.default_postfix(where) == postfix


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        ("tegra-aarch64", "nano xavier orin"),  # never true upstream
        ("aarch64", "nano xavier orin thor"),
        ("==x86_64", "pc"),
        ("!=amd64", "nano xavier orin thor"),
        ("22.04", "orin"),
        ("!=24.04", "nano xavier orin"),  # compared with L4T upstream
        (">=cu126,<cu130", "orin pc"),
        ("cu126", "orin"),  # an error upstream, which loses the package
        (">=cu12", "orin thor pc"),  # compared with 126 upstream, so always true
        (">=py310", "orin thor pc"),
        ("==R35.*", "xavier"),
        ("36.4", "orin"),
        (">=34.1.0", "xavier orin thor pc"),
        ("jammy", "orin"),
    ],
)
def test_requires_is_read_in_both_kinds_of_definition(tmp_path: Path, rule: str, where: str) -> None:
    """`requires` is read in both kinds of definition."""
    tree = write(
        tmp_path, {"g/head/Dockerfile": f"requires: '{rule}'", "g/data/a.yaml": f"requires: ['>=32', '{rule}']"}
    )
    places = {"nano": NANO, "xavier": XAVIER, "orin": ORIN, "thor": THOR, "pc": PC}
    for name in ("head", "data"):
        assert " ".join(place for place, target in places.items() if name in load([tree], target).available) == where


# --- several definitions of one name, build arguments that are no text, further colons


def by_range(*rows: tuple[str, str, str]) -> str:
    """A `config.py` with one definition of each (name, requires, notes)."""
    return f"package = [dict(package, name=n, requires=r, notes=t, alias=n.split(':')[0]) for n, r, t in {list(rows)}]"


JUDGED = {
    "first": (("first:1", "==36.*", "six"), ("first:1", "<36", "five")),
    "middle": (("middle:1", "<36", "five"), ("middle:1", "==36.*", "six"), ("middle:1", ">=38", "seven")),
    "later": (("later:1", ">=34", "old"), ("later:2", ">=34", "other"), ("later:1", ">=36", "new")),
    "none": (("none:1", "<36", "five"), ("none:1", ">=38", "seven")),
}


@pytest.mark.parametrize(
    ("where", "name", "notes"),
    [
        (ORIN, "first:1", "six"),
        (XAVIER, "first:1", "five"),
        (ORIN, "middle:1", "six"),
        (XAVIER, "middle:1", "five"),
        (THOR, "middle:1", "seven"),
        (ORIN, "later:1", "new"),
        (XAVIER, "later:1", "old"),
    ],
)
def test_requires_is_judged_before_definitions_of_one_name_are_merged(
    tmp_path: Path, where: Platform, name: str, notes: str
) -> None:
    """`requires` is judged before definitions of one name are merged."""
    root = write(tmp_path, {f"g/{case}/config.py": by_range(*rows) for case, rows in JUDGED.items()})
    found = load([root], where)
    assert found.available[name].notes == notes
    assert found.find(name.partition(":")[0]).name == name
    twice = [notice for notice in found.notices if "defined twice" in notice]
    assert len(twice) == (where is not XAVIER)  # `later:1`, of which two are available


def test_requires_that_excludes_all_definitions_gives_the_reason_of_the_last(tmp_path: Path) -> None:
    """A name without a definition for the platform is absent, with the last one's reason."""
    found = load([write(tmp_path, {"g/none/config.py": by_range(*JUDGED["none"])})], ORIN)
    assert "none:1" not in found.available
    assert found.absent["none:1"].reason == "L4T 36.4.3 does not satisfy `>=38`"


def test_requires_is_judged_for_directories_of_one_name_too(tmp_path: Path) -> None:
    """Directories of one name are judged by `requires` too."""
    files = {"g/a/config.py": by_range(("same:1", "<36", "five")), "g/b/config.py": by_range(("same:1", ">=36", "six"))}
    root = write(tmp_path, files)
    assert load([root], ORIN).available["same:1"].notes == "six"
    assert load([root], XAVIER).available["same:1"].notes == "five"


def test_definition_in_the_own_format_is_never_replaced_by_one_of_upstream(tmp_path: Path) -> None:
    """A definition of this project's format is never replaced by one of upstream's."""
    ours = write(
        tmp_path / "ours", {"g/same/Dockerfile": "#---\n# name: same\n# requires: '>=38'\n#---\n" + DOCKERFILE}
    )
    theirs = write(tmp_path / "theirs", {"g/other/config.py": by_range(("same", ">=36", "six"))})
    assert "same" in load([ours, theirs], ORIN).absent


@pytest.mark.parametrize(
    ("value", "text", "kind"),
    [
        ("[87, 101]", "[87, 101]", "list"),
        ("(87,)", "(87,)", "tuple"),
        ("{'a': [1]}", "{'a': [1]}", "dict"),
        ("{'x'}", "{'x'}", "set"),
        ("True", "True", ""),
        ("8.7", "8.7", ""),
    ],
)
def test_build_arg_is_its_value_as_python_writes_it(tmp_path: Path, value: str, text: str, kind: str) -> None:
    """A build argument is its value as Python writes it."""
    found = load([write(tmp_path, {"g/foo/config.py": f"package['build_args'] = {{'A': {value}}}"})], ORIN)
    assert found.available["foo"].build_args == {"A": text}
    said = [notice for notice in found.notices if "the build argument `A`" in notice]
    assert [f"is a {kind}; the Dockerfile gets the text `{text}`" in notice for notice in said] == [True] * bool(kind)


def test_build_arg_that_is_a_list_in_a_data_file_is_text_too(tmp_path: Path) -> None:
    """A list of a data file is text as well."""
    files = {"g/foo/Dockerfile": DOCKERFILE, "g/foo/foo.yaml": "build_args: {A: [87, x]}\nnotes: x"}
    assert load([write(tmp_path, files)], ORIN).available["foo"].build_args == {"A": "[87, 'x']"}


COLONS = (
    "package = [dict(package, name=f'codec:{v}-torch:{t}{b}', **({'alias': 'codec'} if v == '0.11' and not b else {}))"
    " for v, t in (('0.9', '2.9.1'), ('0.11', '2.11')) for b in ('', '-builder')]"
)


def test_name_may_have_further_colons(tmp_path: Path) -> None:
    """A name may have further colons."""
    files = {"g/codec/config.py": COLONS, "g/codec/Dockerfile": DOCKERFILE,
             "g/audio/Dockerfile": f"#---\n# depends: codec:0.9-torch:2.9.1\n#---\n{DOCKERFILE}"}  # fmt: skip
    found = load([write(tmp_path, files)], ORIN)
    assert names(solve(found, ["audio"]).packages) == ["codec:0.9-torch:2.9.1", "audio"]
    assert names(solve(found, ["codec"]).packages) == ["codec:0.11-torch:2.11"]
    assert names(solve(found, ["codec:0.9-torch:2.9.1"]).packages) == ["codec:0.9-torch:2.9.1"]
    builder = found.available["codec:0.9-torch:2.9.1-builder"]
    assert (builder.family, builder.version, builder.variant) == ("codec", "0.9-torch:2.9.1", "builder")
    assert final_name(builder, ORIN) == "codec:0.9-torch-2.9.1-builder-r36.4-cu126-22.04"
    assert Wanted.parse("codec:0.9-torch:2.9.1").fits("0.9-torch:2.9.1")
    assert Wanted.parse("codec:0.9-torch:2.9.1").fits("0.9-torch-2.9.1-r36.4-cu126-22.04")


@pytest.mark.parametrize("name", ["a:b:", "a::b", ":a", "a:b:c d"])
def test_name_with_a_colon_without_words_on_both_sides_is_refused(tmp_path: Path, name: str) -> None:
    """A colon without a word on each side is not a name."""
    found = load([write(tmp_path, {"g/foo/config.py": f"package['name'] = '{name}'"})], ORIN)
    assert [error.message.partition(": ")[2] for error in found.broken] == [f"`{name}` is not a package name"]


def names(packages: Sequence[Package]) -> list[str]:
    return [package.name for package in packages]


# --- files that a helper of upstream's writes: they are in what is built, and not in the tree

RELEASES = (
    "from jetson_containers import nv_tegra_release\n"
    "nv_tegra_release(dst=__file__.replace('config.py', 'nv_tegra_release'))\n"
    "package = [dict(package, name=f'rel:{v}') for v in '12']"
)
COPIES = DOCKERFILE + "COPY nv_tegra_release /etc/nv_tegra_release\n"


def releases(root: Path, **files: str) -> Path:
    named = {f"g/rel/{name}": text for name, text in files.items()}
    return write(root, {"g/rel/config.py": RELEASES, "g/rel/Dockerfile": COPIES, **named})


def key(catalog: Catalog, name: str) -> str:
    made = plan.make(solve(catalog, [name]), catalog.platform, plan.PlanOptions(base="base:1"))
    return made.stages[-1].key


def test_helper_file_is_part_of_what_is_built(tmp_path: Path) -> None:
    """A file that a helper writes is part of what is built."""
    root = releases(tmp_path / "tree")
    found = load([root], ORIN, cache=tmp_path / "cache")
    warm = load([root], ORIN, cache=tmp_path / "cache")
    added = found.available["rel:1"].added
    assert added["nv_tegra_release"].startswith("# R36 (release), REVISION: 4.3, GCID: ")
    assert warm.available["rel:2"].added == added
    assert sorted(path.name for path in (root / "g/rel").iterdir()) == ["Dockerfile", "config.py"]
    assert key(found, "rel:1") == key(warm, "rel:1") == key(load([root], ORIN), "rel:1")
    assert key(found, "rel:1") != key(load([root], platform("36.4.0")), "rel:1")  # another release is another file


def test_helper_file_replaces_one_in_the_directory(tmp_path: Path) -> None:
    """A file that a helper writes takes the place of one that is there."""
    with_file = load([releases(tmp_path / "a", nv_tegra_release="old")], ORIN)
    without = load([releases(tmp_path / "b")], ORIN)
    assert key(with_file, "rel:1") == key(without, "rel:1")
    assert (tmp_path / "a/g/rel/nv_tegra_release").read_text() == "old"


def test_missing_file_that_no_helper_writes_is_an_error(tmp_path: Path) -> None:
    """A file that no helper writes is still missing."""
    root = write(tmp_path, {"g/rel/config.py": "package['docs'] = ''", "g/rel/Dockerfile": COPIES})
    with pytest.raises(RecipeError, match="takes `nv_tegra_release`, which is not in"):
        key(load([root], ORIN), "rel")


# --- files that are called like a definition


def test_settings_of_a_server_are_no_package_of_upstreams(tmp_path: Path) -> None:
    """A `config.yml` without a key of a definition, in a directory without a Dockerfile, is neither read nor broken."""
    write(tmp_path, {"a/x/config.py": "", "a/x/Dockerfile": DOCKERFILE, "a/serve/config.yml": "model_list: [a]\n"})
    catalog = load([tmp_path], ORIN)
    assert (set(catalog.available), catalog.broken) == ({"x"}, ())
    with pytest.raises(UnknownPackageError, match="there is no package `serve`"):
        catalog.find("serve")


def test_settings_of_a_program_beside_its_dockerfile_are_part_of_the_context(tmp_path: Path) -> None:
    """Upstream ignores them without a word, so the package is what its Dockerfile says."""
    files = {
        "a/x/config.py": "",
        "a/relay/Dockerfile": "depends: x",
        "a/relay/config.yml": "level: info\npaths: {}\nhls: on\n",
    }
    catalog = load([write(tmp_path, files)], ORIN)
    assert catalog.broken == ()
    assert [str(item) for item in catalog.available["relay"].depends] == ["x"]
    assert any("`config.yml` is not a definition and has no effect" in notice for notice in catalog.notices)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a/serve/config.yml": "name: serve\ndependz: [a]\n"}, "unknown key `dependz`"),
        ({"a/serve/config.yml": "dependz: [a]\n", "a/serve/Dockerfile": DOCKERFILE}, "unknown key `dependz`"),
        ({"a/serve/config.yml": "a: [\n"}, "broken YAML"),
    ],
    ids=["a misspelled key", "a Dockerfile", "broken"],
)
def test_definitions_with_a_mistake_are_still_broken(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """What may have been meant as a definition is said to be wrong."""
    catalog = load([write(tmp_path, {"a/x/config.py": "", "a/x/Dockerfile": DOCKERFILE, **files})], ORIN)
    (error,) = catalog.broken
    assert message in error.message
