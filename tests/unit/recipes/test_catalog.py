"""The catalog: what is found under which name, and what is absent and why."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.core.errors import (
    ConfigError,
    NothingMatchedError,
    RecipeError,
    UnavailablePackageError,
    UnknownPackageError,
    UsageError,
)
from jetson_containers.core.versions import version_key
from jetson_containers.recipes import catalog
from jetson_containers.recipes.catalog import Absent, Catalog, load, load_each, matching, preferred
from jetson_containers.recipes.package import read_directory
from jetson_containers.resolver.solve import solve
from tests.unit.recipes.catalog_examples import BASIC, TREES
from tests.unit.treemaker import NANO, ORIN, PC_CPU, XAVIER, package, write

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.reader import Recipe


UPSTREAM = TREES / "upstream"


def test_load_reads_a_tree_at_any_depth(orin: Catalog) -> None:
    """A tree is read at any depth."""
    assert list(orin.available) == [
        "cmake",
        "cuda:12.6",
        "deep-tool",
        "llama_cpp:b8000",
        "llama_cpp:b8000-builder",
        "llama_cpp:b9016",
        "llama_cpp:b9016-builder",
        "meta",
        "pytorch:2.6",
        "pytorch:2.6-builder",
        "pytorch:2.8",
        "pytorch:2.8-builder",
        "ros:humble",
        "ros:jazzy",
    ]
    assert {name: package.group for name, package in orin.available.items() if package.family in {"cmake", "meta"}} == {
        "cmake": "foundation",
        "meta": "",
    }


def test_absent_packages_have_their_reason(orin: Catalog) -> None:
    """Absent packages have their reason."""
    assert {name: absent.reason for name, absent in orin.absent.items()} == {
        "cuda:10.2": "CUDA 12.6 does not satisfy `cu102`",
        "old": "disabled",
        "pytorch:1.10": "L4T 36.4.3 does not satisfy `<r34`; Python 3.10 does not satisfy `<py37`",
        "pytorch:1.10-builder": "L4T 36.4.3 does not satisfy `<r34`; Python 3.10 does not satisfy `<py37`",
    }
    rules = orin.absent["pytorch:1.10"].rules
    assert [(rule.rule, rule.ok) for rule in rules] == [("<r34", False), ("<py37", False)]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("cmake", "cmake"),
        ("pytorch", "pytorch:2.8"),
        ("torch", "pytorch:2.8"),
        ("pytorch:2.6", "pytorch:2.6"),
        ("torch:2.6", "pytorch:2.6"),
        ("pytorch:builder", "pytorch:2.8-builder"),
        ("torch:builder", "pytorch:2.8-builder"),
        ("pytorch:2.6-builder", "pytorch:2.6-builder"),
        ("torch:2.6-builder", "pytorch:2.6-builder"),
        ("llama_cpp", "llama_cpp:b9016"),
        ("cuda", "cuda:12.6"),
        ("ros", "ros:jazzy"),  # no default: the newest
        ("desktop", "ros:humble"),
    ],
)
def test_find_by_name_alias_family_and_version(orin: Catalog, name: str, found: str) -> None:
    """Packages are found by name, alias, family and version."""
    assert orin.find(name).name == found


@pytest.mark.parametrize(("where", "found"), [(ORIN, "pytorch:2.8"), (XAVIER, "pytorch:2.6"), (NANO, "pytorch:1.10")])
def test_find_gives_the_default_of_the_platform(where: Platform, found: str) -> None:
    """The default depends on the platform."""
    assert load([BASIC], where).find("torch").name == found


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("lama_cpp", "there is no package `lama_cpp`", "did you mean `llama_cpp`?"),
        ("llama-cpp", "there is no package `llama-cpp`", "did you mean `llama_cpp`?"),
        ("PyTorch", "there is no package `PyTorch`", "did you mean `pytorch` or `torch` (alias of `pytorch:2.8`)?"),
        ("desktp", "there is no package `desktp`", "did you mean `desktop` (alias of `ros:humble`)?"),
        ("roz:humble", "there is no package `roz:humble`", "did you mean `ros:humble`"),
        ("chaos:humble", "there is no package `chaos:humble`", "`jetson-containers list` shows all packages"),
        ("zzzzzz", "there is no package `zzzzzz`", "`jetson-containers list` shows all packages"),
        ("pytorch:9", "package `pytorch` has no `pytorch:9`", "there is `pytorch:2.8`, `pytorch:2.6`"),
        ("cuda:11", "package `cuda` has no `cuda:11`", "there is `cuda:12.6`"),
        ("cmake:3", "package `cmake` has no `cmake:3`", "there is `cmake`"),
    ],
)
def test_find_suggests_what_was_meant(orin: Catalog, name: str, message: str, hint: str) -> None:
    """An unknown name suggests what was meant."""
    with pytest.raises(UnknownPackageError) as caught:
        orin.find(name)
    assert caught.value.message == message
    assert (caught.value.hint or "").startswith(hint)


def test_missing_dependency_hint_leaves_out_who_asks(tmp_path: Path) -> None:
    """The hint for a missing dependency leaves out who asks."""
    files = {"x/xfoo/Dockerfile": "alias: [foob, xfoo:bar]\ndepends: [foo]", "x/bar/Dockerfile": ""}
    catalog = load([write(tmp_path, files)], ORIN)
    assert "`xfoo`" in str(catalog._not_found("foo", "").hint)
    for asked_by, hint in (("xfoo", "`jetson-containers list`"), ("bar", "did you mean `xfoo`")):
        with pytest.raises(UnknownPackageError) as caught:
            catalog.find("foo", asked_by=asked_by)
        assert str(caught.value.hint).startswith(hint)


def test_find_says_who_asked_for_a_missing_package(orin: Catalog) -> None:
    """A missing dependency says who asked."""
    with pytest.raises(UnknownPackageError, match=r"^there is no package `foo`, which `bar` asks for$"):
        orin.find("foo", asked_by="bar")
    with pytest.raises(UnavailablePackageError, match=r"^package `cuda:10\.2`, which `bar` asks for, is not"):
        orin.find("cuda:10.2", asked_by="bar")


@pytest.mark.parametrize(
    ("name", "message", "details"),
    [
        ("cuda:10.2", "package `cuda:10.2` is not available on this platform: CUDA 12.6 does not satisfy `cu102`", ()),
        (
            "torch:1.10",
            "package `torch:1.10` is not available on this platform: L4T 36.4.3 does not satisfy `<r34`",
            (),
        ),
        ("old", "package `old` is not available on this platform: disabled", ()),
    ],
)
def test_find_says_which_rule_excludes_an_absent_package(
    orin: Catalog, name: str, message: str, details: tuple[str, ...]
) -> None:
    """An absent package says which rule excludes it."""
    with pytest.raises(UnavailablePackageError) as caught:
        orin.find(name)
    assert caught.value.message.startswith(message)
    assert caught.value.details == details
    assert "jetson-containers why" in (caught.value.hint or "")


def test_find_lists_each_version_of_an_absent_family() -> None:
    """A family absent altogether lists every version."""
    with pytest.raises(UnavailablePackageError) as caught:
        load([BASIC], PC_CPU).find("cuda")
    assert caught.value.message == "no version of `cuda` is available on this platform"
    assert caught.value.details == (
        "cuda:10.2: this platform is CPU only, without CUDA, and does not satisfy `cu102`",
        "cuda:12.6: this platform is CPU only, without CUDA, and does not satisfy `cu126`",
    )


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["cmake"], ["cmake"]),
        (["torch"], ["pytorch:2.8"]),
        (["pytorch:*"], ["pytorch:2.6", "pytorch:2.6-builder", "pytorch:2.8", "pytorch:2.8-builder"]),
        (["torch*", "!*builder"], ["pytorch:2.6", "pytorch:2.8"]),
        (["c*"], ["cmake", "cuda:12.6"]),
        (["[cm]*", "!cuda*"], ["cmake", "meta"]),
        (["ros"], ["ros:humble", "ros:jazzy"]),
        (["meta", "cmake"], ["cmake", "meta"]),
        (["C*"], ["cmake", "cuda:12.6"]),
        (["PyTorch:*", "!*Builder"], ["pytorch:2.6", "pytorch:2.8"]),
    ],
)
def test_match_by_globs_over_names_and_aliases(orin: Catalog, patterns: list[str], names: list[str]) -> None:
    """Patterns match names and aliases."""
    assert [package.name for package in orin.match(patterns)] == names


@pytest.mark.parametrize("everything", [["*"], ["all"], [""], [], ["!nothing*"][:0]])
def test_match_has_four_spellings_of_everything(orin: Catalog, everything: list[str]) -> None:
    """Everything has four spellings."""
    assert [package.name for package in orin.match(everything)] == list(orin.available)


def test_match_of_only_negative_patterns_takes_from_everything(orin: Catalog) -> None:
    """Negative patterns alone take away from everything."""
    assert len(orin.match(["!pytorch*"])) == len(orin.available) - 4


@pytest.mark.parametrize(
    ("patterns", "message", "hint"),
    [
        (["cmake", "nothing*"], "no package here matches `nothing*`", "`jetson-containers list`"),
        (["!nothing*"], "no package here matches `nothing*`", "`jetson-containers list`"),
        (["cuda:10*"], "no package here matches `cuda:10*`", "absent on this platform: cuda:10.2"),
        (["pytroch"], "no package here matches `pytroch`", "did you mean `pytorch`"),
        (["old"], "no package here matches `old`", "`old` is absent on this platform"),
    ],
)
def test_match_names_a_pattern_that_matches_nothing(
    orin: Catalog, patterns: list[str], message: str, hint: str
) -> None:
    """A pattern that matches nothing is named."""
    with pytest.raises(NothingMatchedError) as caught:
        orin.match(patterns)
    assert caught.value.message == message
    assert (caught.value.hint or "").startswith(hint)


def test_hint_for_what_nothing_has_names_the_tree_of_upstream(orin: Catalog) -> None:
    """A pattern and a name that nothing here has may be upstream's."""
    with pytest.raises(NothingMatchedError) as pattern:
        orin.match(["moveit*"])
    with pytest.raises(UnknownPackageError) as name:
        orin.find("zzzzzz")
    assert "`--upstream master`" in str(pattern.value.hint)
    assert pattern.value.hint == name.value.hint


def test_added_directory_wins_a_name_of_the_built_in_tree_with_a_notice(tmp_path: Path) -> None:
    """An added directory wins a name of the built-in tree, with a notice."""
    ours = write(tmp_path / "ours", {"a/numpy/Dockerfile": "docs: ours"})
    mine = write(tmp_path / "mine", {"b/numpy/Dockerfile": "docs: mine", "b/scipy/Dockerfile": "docs: more"})
    other = write(tmp_path / "other", {"c/numpy/Dockerfile": "docs: other"})
    catalog = load([ours, mine, other], ORIN)
    assert catalog.find("numpy").docs == "mine"
    assert catalog.find("scipy").docs == "more"
    origin = f"{mine}/b/numpy/Dockerfile:2"
    assert catalog.notices == (
        f"`numpy` of {ours}/a/numpy/Dockerfile:2 is ignored: {origin} takes its place",
        f"`numpy` of {other}/c/numpy/Dockerfile:2 is ignored: {origin} defines it already",
    )
    assert solve(catalog, ["numpy"]).notices == (
        f"`numpy` is that of {origin}, in place of {ours}/a/numpy/Dockerfile:2",
    )


NUMPY = {
    "a/numpy/config.yaml": "versions: [{version: '1'}, {version: '2', default: true}]",
    "a/numpy/Dockerfile": "name: numpy",
    "a/scipy/Dockerfile": "depends: [numpy]",
    "a/pandas/Dockerfile": "depends: ['numpy>=1']",
}


def test_added_directory_with_a_bare_name_replaces_the_family(tmp_path: Path) -> None:
    """A bare name of an added directory stands for the family."""
    ours = write(tmp_path / "ours", NUMPY)
    mine = write(tmp_path / "mine", {"x/Dockerfile": "name: numpy"})
    catalog = load([ours, mine], ORIN, cache=tmp_path / "cache")
    assert catalog == load([ours, mine], ORIN, cache=tmp_path / "cache")
    assert catalog.find("numpy").path == mine / "x"
    resolution = solve(catalog, ["scipy"])
    assert [package.name for package in resolution.packages] == ["numpy", "scipy"]
    assert resolution.notices == (
        (
            f"`numpy` is that of {mine}/x/Dockerfile:2, in place of {ours}/a/numpy/config.yaml:1; "
            "`numpy:2` asks for that one"
        ),
    )
    for request, taken in (("numpy:2", "numpy:2"), ("numpy:1", "numpy:1"), ("pandas", "numpy:2")):
        assert solve(catalog, [request]).packages[0].name == taken


@pytest.mark.parametrize(
    "files",
    [
        {"x/Dockerfile": "name: numpy\nrequires: <r36"},
        {"x/Dockerfile": "name: numpy\nrequires: <r36", "x/config.yaml": "versions: [{version: '2'}]"},
        {"x/Dockerfile": "name: numpy", "x/config.yaml": "versions: [{version: '0.5'}]"},
        {"x/Dockerfile": "name: numpy", "y/config.py": "", "y/Dockerfile": ""},
    ],
    ids=["absent here", "absent here, same version", "another version", "upstream's format"],
)
def test_added_directory_with_new_names_changes_no_plan(tmp_path: Path, files: dict[str, str]) -> None:
    """What an added directory only adds changes no plan."""
    ours = write(tmp_path / "ours", NUMPY)
    mine = write(tmp_path / "mine", files)
    for request in ("numpy", "scipy", "numpy:2"):
        assert solve(load([ours, mine], ORIN), [request]) == solve(load([ours], ORIN), [request])


def test_tree_given_twice_is_read_once() -> None:
    """The same tree twice is one tree."""
    assert load([BASIC, BASIC], ORIN).notices == load([BASIC], ORIN).notices


def test_tree_added_by_the_user_adds_versions_and_dependencies() -> None:
    """A further tree adds versions, and dependencies cross trees."""
    catalog = load([BASIC, UPSTREAM], ORIN)
    assert catalog.find("sample-llm").group == "llm"


def test_tree_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """A missing tree is an error."""
    with pytest.raises(ConfigError, match="is not a directory"):
        load([tmp_path / "none"], ORIN)


def test_alias_claimed_twice_gets_a_notice_and_a_real_name_wins(tmp_path: Path) -> None:
    """An alias claimed twice gets a notice, and a real name wins."""
    tree = write(
        tmp_path,
        {
            "g/a/Dockerfile": "alias: [shared, c]",
            "g/b/Dockerfile": "alias: shared",
            "g/c/Dockerfile": "docs: x",
        },
    )
    catalog = load([tree], ORIN)
    assert catalog.find("shared").name == "a"
    assert catalog.find("c").name == "c"
    assert catalog.notices == (
        "`c` is claimed by `a` too; it means `c`",
        "`shared` is claimed by `b` too; it means `a`",
    )


def test_package_context_is_not_searched_for_packages_without_a_header(tmp_path: Path) -> None:
    """The context of a package is not searched for packages without header."""
    tree = write(
        tmp_path,
        {
            "g/a/Dockerfile": "docs: x",
            "g/a/src/Dockerfile": "FROM scratch\n",
            "g/a/src/config.yaml": "anything: goes",
            "g/a/sub/Dockerfile": "docs: a package below another",
            "g/__pycache__/Dockerfile": "docs: no",
            "g/.git/Dockerfile": "docs: no",
        },
    )
    catalog = load([tree], ORIN)
    assert list(catalog.available) == ["a", "sub"]
    assert catalog.broken == ()


def test_link_that_leads_back_up_does_not_hang(tmp_path: Path) -> None:
    """A link that leads back up does not hang."""
    tree = write(tmp_path / "tree", {"g/a/Dockerfile": "docs: x"})
    (tree / "g/up").symlink_to("..")
    (tree / "linked").symlink_to(write(tree / "g/.other", {"b/Dockerfile": "docs: x"}))
    assert list(load([tree], ORIN).available) == ["a", "b"]


def test_broken_recipe_disables_only_itself(tmp_path: Path) -> None:
    """A broken recipe disables only itself."""
    tree = write(
        tmp_path,
        {
            "g/good/Dockerfile": "docs: x",
            "g/bad/Dockerfile": "name: worse\ndepend: x",
            "g/ugly/Dockerfile": "docs: '",
            "g/user/Dockerfile": "depends: worse",
        },
    )
    catalog = load([tree], ORIN)
    assert list(catalog.available) == ["good", "user"]
    assert [(error.path.parent.name, error.line) for error in catalog.broken] == [("bad", 3), ("ugly", 3)]
    for name in ("bad", "worse", "worse:1.0"):
        with pytest.raises(RecipeError, match="unknown key `depend`"):
            catalog.find(name)
    with pytest.raises(
        RecipeError, match=r"Dockerfile:3: unknown key `depend` \(in a package, which `user` asks for\)"
    ):
        catalog.find("worse", asked_by="user")


def test_broken_recipe_is_taken_from_the_next_tree(tmp_path: Path) -> None:
    """A recipe broken in one tree is taken from the next."""
    first = write(tmp_path / "one", {"g/a/Dockerfile": "bad: x"})
    second = write(tmp_path / "two", {"g/a/Dockerfile": "docs: good"})
    assert load([first, second], ORIN).find("a").docs == "good"


def test_broken_recipes_include_a_directory_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that cannot be read is a broken recipe."""
    tree = write(tmp_path, {"g/a/Dockerfile": "docs: x", "g/b/Dockerfile": "docs: x"})
    for name in ("scandir", "listdir"):  # root may read everything, so the system call is made to fail
        real = getattr(os, name)

        def fail(path: Path, real: Callable[[Path], object] = real) -> object:
            if Path(path).name == "a":
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(os, name, fail)
    catalog = load([tree], ORIN)
    assert [str(error) for error in catalog.broken] == [f"{tree}/g/a: cannot be read: Permission denied"]
    assert list(catalog.available) == ["b"]


def test_load_does_not_depend_on_the_order_of_directory_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of directory entries does not matter."""
    expected = load([BASIC], ORIN)
    real = os.scandir

    class Shuffled(list):  # type: ignore[type-arg]
        def __enter__(self) -> Shuffled:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    def scandir(path: Path) -> Shuffled:
        with real(path) as entries:
            listed = Shuffled(entries)
        random.shuffle(listed)
        return listed

    monkeypatch.setattr(os, "scandir", scandir)
    for _ in range(5):
        again = load([BASIC], ORIN)
        assert list(again.available.items()) == list(expected.available.items())
        assert list(again.absent) == list(expected.absent)


VERSIONS = st.one_of(
    st.none(), st.from_regex(r"b?[0-9]{1,4}(\.[0-9]{1,2}){0,2}", fullmatch=True), st.text("ab1", max_size=3)
)


@pytest.mark.long
@given(st.lists(VERSIONS, max_size=6), st.randoms())
def test_versions_of_any_kind_have_one_order(versions: list[str | None], rng: random.Random) -> None:
    """Any versions can be ordered, always the same way."""
    packages = [package(f"p:{index}", version=version) for index, version in enumerate(versions)]
    shuffled = packages[:]
    rng.shuffle(shuffled)
    assert preferred(shuffled) == preferred(packages)


def test_versions_are_ordered_by_their_numbers() -> None:
    """Versions are ordered by their numbers."""
    ordered = [None, "b999", "b9016", "humble", "jazzy", "1.9", "1.10rc1", "1.10", "2"]
    shuffled = ordered[:]
    random.Random(1).shuffle(shuffled)
    assert sorted(shuffled, key=version_key) == ordered


def test_load_imports_neither_jinja_nor_resolvelib_without_need(tmp_path: Path) -> None:
    """Loading imports neither jinja nor resolvelib without need."""
    tree = write(tmp_path, {"g/a/Dockerfile": "docs: x"})
    code = (
        "import sys, pathlib\nfrom tests.unit.treemaker import ORIN\nfrom jetson_containers.recipes import catalog; "
        "from jetson_containers.resolver import solve as resolver\n"
        "assert catalog.load([pathlib.Path(sys.argv[1])], ORIN).find('a')\n"
        "print(sorted({'jinja2', 'resolvelib', 'docker', 'rich', 'huggingface_hub'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tree)], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("llama_cpp", "llama_cpp"),
        ("Llama-CPP", "llama_cpp"),
        ("llama cpp", "llama_cpp"),
        ("Llama-CPP:b9016", "llama_cpp:b9016"),
        ("PyTorch>=2.6", "pytorch>=2.6"),
        ("!CUDA", "!cuda"),
        ("deep_tool", "deep-tool"),
        ("Nonsense", "Nonsense"),
        ("Llama*", "Llama*"),
        ("PyTorch : 2.6 ", "pytorch:2.6"),
        ("", ""),
    ],
)
def test_spelled_ignores_case_blanks_and_hyphens(orin: Catalog, request_: str, expected: str) -> None:
    """The name alone is spelled as the packages spell it; patterns and unknown names stay."""
    assert orin.spelled(request_) == expected


def test_spelled_takes_an_exact_name_first_and_never_guesses() -> None:
    """Two packages whose names read alike: each is found exactly, a third spelling is refused."""
    found = Catalog(platform=ORIN, available={name: package(name) for name in ("my-tool", "my_tool")})
    assert [found.spelled(name) for name in ("my-tool", "my_tool")] == ["my-tool", "my_tool"]
    with pytest.raises(UsageError, match="`my-tool` or `my_tool`"):
        found.spelled("My Tool")


def test_matching_takes_names_as_they_are_first() -> None:
    """A pattern means names as they are spelled; only where it fits none, those that read alike."""
    assert matching(["Tool-a", "tool_b"], "tool*") == ["tool_b"]
    assert matching(["tool-a", "tool_b"], "TOOL *") == ["tool-a", "tool_b"]
    assert matching(["tool-a"], "other*") == []


def test_spelled_knows_versions_too() -> None:
    """Case, blanks, `-` and `_` make no difference in a version; an exact one comes first."""
    names = ("tool:v1.2-Full_Cuda", "tool:b77", "tool:x-y", "tool:x_y")
    found = Catalog(platform=ORIN, available={name: package(name) for name in names})
    assert found.spelled("Tool:B77") == "tool:b77"
    assert found.spelled("tool:V1.2 full-cuda") == "tool:v1.2-Full_Cuda"
    assert found.spelled("tool:x-y") == "tool:x-y"
    assert found.spelled("tool:b78") == "tool:b78"
    with pytest.raises(UsageError, match="`tool:x-y` or `tool:x_y`"):
        found.spelled("tool:X Y")


def test_spelled_finds_what_is_absent_or_broken() -> None:
    """The reason for which a package is not available is said, whatever the spelling."""
    absent = {"cuda:13": catalog.Absent(package=package("cuda:13"), reason="no")}
    error = RecipeError("broken", path=Path("x"))
    found = Catalog(
        platform=ORIN, available={}, absent=absent, broken=(error,), notices=(), broken_names={"bro-ken": error}
    )
    assert (found.spelled("CUDA:13"), found.spelled("Bro_Ken")) == ("cuda:13", "bro-ken")


def test_spelled_prefers_the_family_to_its_aliases() -> None:
    """An alias that reads like its own family is not a second candidate."""
    found = Catalog(platform=ORIN, available={"my_tool": package("my_tool", aliases=("my-tool",))})
    assert found.spelled("MY-TOOL") == "my_tool"


def test_find_among_many_absent_packages_compares_none(orin: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a platform excludes is found by name, alias and family without a look at everything else."""
    excluded = {
        f"fam{number}:{tag}": replace(
            orin.absent["cuda:10.2"],
            package=replace(
                orin.absent["cuda:10.2"].package, name=f"fam{number}:{tag}", family=f"fam{number}", version=tag,
                aliases=(f"alias{number}",) if tag == "1.5" else (), family_aliases=(f"other{number}",),
            ),
        )
        for number in range(40)
        for tag in ("1.4", "1.5")
    }  # fmt: skip
    found = Catalog(platform=ORIN, available={}, absent=excluded)
    compared = []
    monkeypatch.setattr(Absent, "__eq__", lambda self, other: compared.append(other) or self is other)
    meant = {
        name: [item.package.name for item in found.absent_of(name)]
        for name in ("fam7", "other7", "alias7", "fam7:1", "other7:1.4", "fam7:1.5.0", "fam7:3", "nothing")
    }
    assert meant == {
        "fam7": ["fam7:1.4", "fam7:1.5"],
        "other7": ["fam7:1.4", "fam7:1.5"],
        "alias7": ["fam7:1.5"],
        "fam7:1": ["fam7:1.4", "fam7:1.5"],
        "other7:1.4": ["fam7:1.4"],
        "fam7:1.5.0": ["fam7:1.5"],
        "fam7:3": [],
        "nothing": [],
    }
    assert compared == []


def test_load_each_reads_a_recipe_once_and_gives_what_load_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes do not depend on the platform; what is made of them is the same as one load after the other makes."""
    single = [load([BASIC, UPSTREAM], platform) for platform in (ORIN, NANO, PC_CPU)]
    read = []

    def counted(path: Path, **rest: Any) -> Recipe | None:
        read.append(path)
        return read_directory(path, **rest)

    monkeypatch.setattr("jetson_containers.recipes.package.read_directory", counted)
    assert list(load_each([BASIC, UPSTREAM], [ORIN, NANO, PC_CPU])) == single
    assert read
    assert len(read) == len(set(read))
