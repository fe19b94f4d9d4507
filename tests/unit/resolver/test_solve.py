"""Resolution: one consistent set in a stable order, or an error that says who wants what and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.core.errors import (
    CycleError,
    JetsonError,
    NothingMatchedError,
    RecipeError,
    RequirementSyntaxError,
    UnavailablePackageError,
    UnknownPackageError,
    UnsatisfiableError,
    UsageError,
)
from jetson_containers.recipes.catalog import Absent, Catalog, load
from jetson_containers.recipes.package import Artifacts
from jetson_containers.recipes.requirement import Dependency
from jetson_containers.resolver.demands import Demands
from jetson_containers.resolver.search import Provider
from jetson_containers.resolver.solution import PackageChoice
from jetson_containers.resolver.solve import Resolution, solve
from tests.unit.treemaker import ORIN, package, write

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from jetson_containers.recipes.package import Package


def catalog(*packages: Package, absent: tuple[Package, ...] = ()) -> Catalog:
    """A catalog in memory; absent packages are so because of one rule."""
    return Catalog(
        platform=ORIN,
        available={p.name: p for p in sorted(packages, key=lambda p: p.name)},
        absent={p.name: Absent(package=p, reason="CUDA 12.6 does not satisfy `>=cu128`") for p in absent},
    )


def versions(family: str, *names: str, default: str = "", **fields: Any) -> list[Package]:
    """Versions of a family; the default one has the family's name as alias, as `render` gives it."""
    return [
        package(
            f"{family}:{name}",
            *fields.get(f"d{name.replace('.', '_')}", ()),
            default=name == default,
            aliases=(family,) if name == default else (),
            coexist=bool(fields.get("coexist")),
        )
        for name in names
    ]


def names(resolution: Resolution) -> list[str]:
    return [p.name for p in resolution.packages]


CHAIN = catalog(
    package("build-essential"),
    package("python", "build-essential"),
    package("cmake", "python"),
    package("numpy", "python"),
    package("torch", "python", "numpy", "cmake"),
    package("app", "torch", "numpy"),
    package("tool", "cmake"),
    package("unrelated"),
)


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (["build-essential"], "build-essential"),
        (["python"], "build-essential python"),
        (["torch"], "build-essential python numpy cmake torch"),
        (["app"], "build-essential python numpy cmake torch app"),
        (["tool", "app"], "build-essential python cmake tool numpy torch app"),
        (["app", "tool"], "build-essential python numpy cmake torch app tool"),
        (["numpy", "cmake"], "build-essential python numpy cmake"),
        (["cmake", "numpy"], "build-essential python cmake numpy"),
        (["app", "app", "python"], "build-essential python numpy cmake torch app"),
        (["unrelated", "python"], "unrelated build-essential python"),
    ],
)
def test_solve_puts_dependencies_first_and_otherwise_as_declared(requests: list[str], expected: str) -> None:
    """Dependencies come first, and otherwise the order is the declared one."""
    assert names(solve(CHAIN, requests)) == expected.split()


def test_resolution_says_which_package_depends_on_which() -> None:
    """The resolution says who depends on whom."""
    resolution = solve(CHAIN, ["torch", "tool"])
    assert resolution.requested == ("torch", "tool")
    assert resolution.depends == {
        "build-essential": (),
        "python": ("build-essential",),
        "numpy": ("python",),
        "cmake": ("python",),
        "torch": ("python", "numpy", "cmake"),
        "tool": ("cmake",),
    }
    assert resolution.pulled_by == {
        "build-essential": ("python",),
        "python": ("numpy", "cmake", "torch"),
        "numpy": ("torch",),
        "cmake": ("torch", "tool"),
        "torch": (),
        "tool": (),
    }
    assert resolution.notices == ()


# --- which version

PYTORCH = versions("pytorch", "2.6", "2.8", "2.9", default="2.8")


@pytest.mark.parametrize(
    ("requests", "others", "expected"),
    [
        (["pytorch"], [], "pytorch:2.8"),
        (["pytorch:2.6"], [], "pytorch:2.6"),
        (["pytorch>=2.6"], [], "pytorch:2.8"),
        (["pytorch>2.8"], [], "pytorch:2.9"),
        (["pytorch<2.8"], [], "pytorch:2.6"),
        (["pytorch", "pytorch:2.6"], [], "pytorch:2.6"),
        (["pytorch:2.6", "pytorch"], [], "pytorch:2.6"),
        (["pytorch<2.9", "pytorch>=2.6"], [], "pytorch:2.8"),
        (["pytorch", "vision"], [package("vision", "pytorch:2.6")], "pytorch:2.6"),
        (["vision", "pytorch"], [package("vision", "pytorch:2.6")], "pytorch:2.6"),
        (["a", "b"], [package("a", "pytorch>=2.6"), package("b", "pytorch:2.9")], "pytorch:2.9"),
        (["a"], [package("a", "pytorch", "b"), package("b", "c"), package("c", "pytorch:2.6")], "pytorch:2.6"),
    ],
)
def test_solve_prefers_a_pin_to_the_default_and_the_default_to_the_newest(
    requests: list[str], others: list[Package], expected: str
) -> None:
    """A pin comes before the default and the default before the newest."""
    resolution = solve(catalog(*PYTORCH, *others), requests)
    assert [p.name for p in resolution.packages if p.family == "pytorch"] == [expected]


def test_alias_of_a_family_is_that_family() -> None:
    """An alias of a family is that family."""
    torches = [
        package("pytorch:2.6", family_aliases=("torch",), aliases=("torch:2.6",)),
        package("pytorch:2.8", family_aliases=("torch",), aliases=("pytorch", "torch", "torch:2.8"), default=True),
    ]
    found = catalog(*torches, package("a", "torch"), package("b", "torch<2.8"), package("c", "torch:2.6", "pytorch"))
    assert names(solve(found, ["torch"])) == ["pytorch:2.8"]
    assert names(solve(found, ["a", "b", "c"])) == ["pytorch:2.6", "a", "b", "c"]


def test_alias_of_one_version_pins_it() -> None:
    """An alias of one version pins it."""
    found = catalog(package("ros:humble", aliases=("desktop",)), package("ros:jazzy"), package("a", "desktop", "ros"))
    assert names(solve(found, ["a"])) == ["ros:humble", "a"]


def test_default_missing_gives_the_newest_with_a_notice() -> None:
    """A family without default gives its newest version and says so."""
    resolution = solve(catalog(*versions("ros", "1.9", "1.10")), ["ros"])
    assert names(resolution) == ["ros:1.10"]
    assert resolution.notices == ("`ros` has no default version here; `ros:1.10`, the newest, is taken",)


def test_default_not_taken_gets_a_notice() -> None:
    """Taking another version than the default gets a notice."""
    resolution = solve(catalog(*PYTORCH, package("vision", "pytorch<2.8"), package("a", "pytorch")), ["a", "vision"])
    assert resolution.notices == ("`pytorch:2.6` is taken instead of `pytorch:2.8`: `vision` wants pytorch<2.8",)


def test_default_that_is_unavailable_gives_way_with_a_notice() -> None:
    """A default that is unavailable gives way with a notice."""
    found = catalog(*versions("a", "1", "2", default="2", d2=("missing",)))
    resolution = solve(found, ["a"])
    assert names(resolution) == ["a:1"]
    assert resolution.notices == ("`a:1` is taken instead of `a:2`: that one does not go together with the rest",)


BUILDERS = catalog(
    package("x:1", aliases=("x",), default=True),
    package("x:1-builder", aliases=("x:builder",)),
    package("x:2"),
    package("x:2-builder"),
    package("plain", "x"),
    package("pinned", "x:1"),
    package("ranged", "x>=2"),
    package("only:builder"),
)


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (["x"], "x:1"),
        (["x:builder"], "x:1-builder"),
        (["x:2-builder"], "x:2-builder"),
        (["plain", "x:builder"], "x:1-builder plain"),
        (["pinned", "x:builder"], "x:1-builder pinned"),
        (["ranged"], "x:2 ranged"),
        (["ranged", "x:2-builder"], "x:2-builder ranged"),
        (["only:builder"], "only:builder"),
        (["only"], "only:builder"),
    ],
)
def test_variant_is_taken_only_where_it_is_named(requests: list[str], expected: str) -> None:
    """A variant is taken only where it is named."""
    assert names(solve(BUILDERS, requests)) == expected.split()


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        (["t*"], "build-essential python cmake tool numpy torch"),
        (["[ab]*"], "build-essential python numpy cmake torch app"),
        (["?pp"], "build-essential python numpy cmake torch app"),
    ],
)
def test_glob_means_each_default_package_it_matches(requests: list[str], expected: str) -> None:
    """A glob means every default package it matches."""
    assert sorted(names(solve(CHAIN, requests))) == sorted(expected.split())


def test_glob_without_versions_takes_one_of_each_family() -> None:
    """A glob does not ask for two versions unless it names versions."""
    found = catalog(*PYTORCH, *versions("py", "1", default="1"))
    assert names(solve(found, ["py*"])) == ["py:1", "pytorch:2.8"]
    assert names(solve(found, ["pytorch:*.6"])) == ["pytorch:2.6"]
    with pytest.raises(UnsatisfiableError):
        solve(found, ["pytorch:*"])


# --- coexist

LLVM = versions("llvm", "18", "20", "22", default="22", coexist=True)


@pytest.mark.parametrize(
    ("others", "requests", "expected"),
    [
        ([], ["llvm:18", "llvm:20"], "llvm:18 llvm:20"),
        ([], ["llvm"], "llvm:22"),
        ([], ["llvm", "llvm:20"], "llvm:20"),
        ([], ["llvm<19", "llvm>21"], "llvm:18 llvm:22"),
        ([package("a", "llvm:18"), package("b", "llvm:20"), package("c", "llvm")], ["a", "b", "c"],
         "llvm:18 a llvm:20 b c"),
        ([package("a", "llvm>=20"), package("b", "llvm:20")], ["a", "b"], "llvm:20 a b"),
    ],
)  # fmt: skip
def test_coexisting_versions_are_both_in_the_resolution(
    others: list[Package], requests: list[str], expected: str
) -> None:
    """Versions that coexist stand together."""
    assert names(solve(catalog(*LLVM, *others), requests)) == expected.split()


# --- skip


@pytest.mark.parametrize(
    ("requests", "skip", "expected"),
    [
        (["app"], ["torch"], "build-essential python numpy app"),
        (["app"], ["numpy"], "build-essential python cmake torch app"),
        (["app"], ["python", "cmake"], "numpy torch app"),
        (["app", "tool"], ["app"], "build-essential python cmake tool"),
        (["app"], ["t*"], "build-essential python numpy app"),
        (["torch"], ["c*", "n*"], "build-essential python torch"),
    ],
)
def test_skip_leaves_out_packages_and_what_only_they_need(requests: list[str], skip: list[str], expected: str) -> None:
    """Skipping leaves out packages and what only they need."""
    assert names(solve(CHAIN, requests, skip=skip)) == expected.split()


def test_skip_knows_aliases_and_versions_and_dissolves_conflicts() -> None:
    """Skipping knows aliases and versions and dissolves conflicts."""
    torches = [package("pytorch:2.8", "gone", family_aliases=("torch",), aliases=("pytorch", "torch"), default=True)]
    found = catalog(*torches, package("a", "pytorch"), package("b", "pytorch:2.6"))
    assert names(solve(found, ["a"], skip=["torch"])) == ["a"]
    assert names(solve(found, ["a"], skip=["gone", "x*"])) == ["pytorch:2.8", "a"]
    assert names(solve(found, ["a", "b"], skip=["pytorch*"])) == ["a", "b"]
    both = catalog(*PYTORCH, package("a", "pytorch"))
    assert names(solve(both, ["a"], skip=["pytorch:2.8"])) == ["a"]


def test_skip_pattern_without_effect_gets_a_notice() -> None:
    """A pattern to skip that matches nothing gets a notice."""
    assert solve(CHAIN, ["app"], skip=["zzz*", "torch"]).notices == ("nothing to skip matches `zzz*`",)


def test_skip_of_everything_is_a_usage_error() -> None:
    """Skipping everything is a usage error."""
    with pytest.raises(UsageError, match="everything requested is skipped: app"):
        solve(CHAIN, ["app"], skip=["app"])


# --- errors


@pytest.mark.parametrize(
    ("requests", "kind", "message"),
    [
        ([], UsageError, "no package was named"),
        (["toch"], UnknownPackageError, "there is no package `toch`"),
        (["zzz*"], NothingMatchedError, "no package here matches `zzz*`"),
        (["a b"], RequirementSyntaxError, "`a b` is not a package name or version range"),
        (["numpy:3"], UnknownPackageError, "package `numpy` has no `numpy:3`"),
        (["numpy>=3"], UnknownPackageError, "no version of `numpy` on this platform satisfies `numpy>=3`"),
    ],
)
def test_solve_refuses_a_request_that_means_nothing(requests: list[str], kind: type[JetsonError], message: str) -> None:
    """A request that means nothing is refused."""
    with pytest.raises(kind) as caught:
        solve(CHAIN, requests)
    assert caught.value.message == message


def test_missing_dependency_says_who_asked() -> None:
    """A missing dependency says who asked."""
    found = catalog(package("a", "b"), package("b", "nonesuch"))
    with pytest.raises(UnknownPackageError) as caught:
        solve(found, ["a"])
    assert caught.value.message == "there is no package `nonesuch`, which `b` asks for"


def test_absent_dependency_says_who_asked_and_which_rule() -> None:
    """An absent dependency says who asked and which rule makes it absent."""
    found = catalog(package("a", "cuda"), absent=(package("cuda:12.8"),))
    with pytest.raises(UnavailablePackageError) as caught:
        solve(found, ["a"])
    assert caught.value.message == (
        "package `cuda`, which `a` asks for, is not available on this platform: CUDA 12.6 does not satisfy `>=cu128`"
    )


def test_range_of_only_absent_versions_says_why_they_are_absent() -> None:
    """A range that only absent versions satisfy says why they are absent."""
    found = catalog(*PYTORCH, package("a", "pytorch>=3"), absent=(package("pytorch:3.0"),))
    with pytest.raises(UnavailablePackageError) as caught:
        solve(found, ["a"])
    assert caught.value.message == "no version of `pytorch` on this platform satisfies `pytorch>=3`, which `a` asks for"
    assert caught.value.details == ("pytorch:3.0: CUDA 12.6 does not satisfy `>=cu128`",)
    assert caught.value.hint == "available here: pytorch:2.8, pytorch:2.9, pytorch:2.6"


def test_broken_dependency_reports_the_recipe(tmp_path: Path) -> None:
    """A broken dependency reports the recipe."""
    tree = write(tmp_path, {"g/a/Dockerfile": "depends: b", "g/b/Dockerfile": "bad: x"})
    with pytest.raises(RecipeError, match=r"b/Dockerfile:2: unknown key `bad` \(in a package, which `a` asks for\)"):
        solve(load([tree], ORIN), ["a"])


def test_conflict_names_both_demanders_and_ways_out_that_work() -> None:
    """A conflict names both packages and ways out that work."""
    found = catalog(
        *PYTORCH,
        package("a", "pytorch:2.6"),
        *versions("b", "1", "2", default="2", d1=("pytorch<2.8",), d2=("c",)),
        package("c", "pytorch>=2.8"),
    )
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, ["a", "c"])
    assert caught.value.message == "no version of `pytorch` satisfies everything that is wanted"
    assert caught.value.details == (
        "`a` wants `pytorch:2.6`",
        "`c` wants `pytorch>=2.8`",
        "1. make two images: `./build.sh a` and `./build.sh c`",
        "2. change `depends` of `a` (/packages/a/config.yaml:1) or `c` (/packages/c/config.yaml:1)",
    )


def test_conflict_through_a_chain_shows_the_chain_and_other_versions() -> None:
    """A conflict through a chain shows the chain and other versions."""
    found = catalog(
        *PYTORCH,
        package("top", "middle", "x:2"),
        package("middle", "pytorch:2.6"),
        *versions("x", "1", "2", default="2", d1=("pytorch<2.8",), d2=("pytorch>=2.8",)),
        package("other", "x:2"),
    )
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, ["top"])
    assert caught.value.details[:2] == (
        "`middle` wants `pytorch:2.6` (through top -> middle)",
        "`x:2` wants `pytorch>=2.8` (through top -> x:2)",
    )
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, ["middle", "x:2"])
    assert "take `x:1` instead of `x:2`: `./build.sh middle x:1`" in "\n".join(caught.value.details)


def test_conflict_with_a_pin_suggests_to_leave_it_open() -> None:
    """A pin in the request can be left open."""
    found = catalog(*PYTORCH, package("a", "pytorch:2.6"))
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, ["a", "pytorch:2.9"])
    assert caught.value.details[:2] == ("the request wants `pytorch:2.9`", "`a` wants `pytorch:2.6`")
    assert any("leave the version open: `./build.sh a pytorch`" in line for line in caught.value.details)


def test_conflict_of_two_versions_in_one_request() -> None:
    """Two versions of one family in a request conflict."""
    with pytest.raises(UnsatisfiableError) as caught:
        solve(catalog(*PYTORCH), ["pytorch:2.6", "pytorch:2.8"])
    assert "make two images: `./build.sh pytorch:2.6` and `./build.sh pytorch:2.8`" in caught.value.details[2]


@pytest.mark.parametrize(
    ("packages", "request_", "chain"),
    [
        ([package("a", "a")], "a", "a -> a"),
        ([package("a", "b"), package("b", "a")], "a", "a -> b -> a"),
        ([package("a", "b"), package("b", "c"), package("c", "b")], "a", "b -> c -> b"),
        ([*versions("x", "1", default="1", d1=("y",)), package("y", "x")], "y", "y -> x:1 -> y"),
    ],
)
def test_cycle_is_printed_as_a_chain(packages: list[Package], request_: str, chain: str) -> None:
    """A cycle is printed as a chain."""
    with pytest.raises(CycleError) as caught:
        solve(catalog(*packages), [request_])
    assert caught.value.message == f"packages depend on each other: {chain}"
    assert caught.value.details[0].startswith(chain.partition(" -> ")[0] + ": /packages/")


# --- compile parts


def compiled(name: str, *depends: str, needs: tuple[str, ...] = (), **fields: Any) -> Package:
    artifacts = Artifacts("Dockerfile.build", tuple(Dependency.parse(text) for text in needs))
    return package(name, *depends, artifacts=artifacts, **fields)


def closures(resolution: Resolution) -> dict[str, list[str]]:
    return {name: [p.name for p in packages] for name, packages in resolution.build_closures.items()}


def test_compile_part_has_only_its_own_dependencies() -> None:
    """A compile part has only its own dependencies."""
    found = catalog(
        package("python"),
        package("numpy", "python"),
        package("cmake", "python"),
        package("unrelated"),
        compiled("torch", "numpy", needs=("cmake",)),
        compiled("app", "torch"),
    )
    resolution = solve(found, ["unrelated", "app"])
    assert names(resolution) == ["unrelated", "python", "numpy", "torch", "app"]
    assert closures(resolution) == {
        "torch": ["python", "cmake"],  # what it says compiling needs, and nothing of the image beside it
        "app": ["python", "numpy", "torch"],  # it says nothing: its own dependencies
    }
    assert closures(solve(found, ["torch"]))["torch"] == closures(resolution)["torch"]


def test_compile_part_of_a_compile_dependency_is_planned_too() -> None:
    """What only compiling needs has its compile part too."""
    found = catalog(compiled("a", needs=("b",)), compiled("b", needs=("c",)), package("c"))
    resolution = solve(found, ["a"])
    assert names(resolution) == ["a"]
    assert closures(resolution) == {"a": ["b"], "b": ["c"]}


def test_compile_part_uses_the_versions_of_the_image() -> None:
    """A compile part uses the versions of the image."""
    found = catalog(*PYTORCH, compiled("a", "pytorch", needs=("b",)), package("b", "pytorch"))
    assert closures(solve(found, ["a"])) == {"a": ["pytorch:2.8", "b"]}
    assert closures(solve(found, ["a", "pytorch:2.6"])) == {"a": ["pytorch:2.6", "b"]}


def test_compile_part_that_needs_another_version_than_the_image_is_a_conflict() -> None:
    """A compile part that needs another version than the image has is a conflict."""
    found = catalog(
        *PYTORCH, compiled("a", needs=("tool",)), package("tool", "pytorch:2.6"), package("b", "pytorch>2.6")
    )
    with pytest.raises(UnsatisfiableError) as caught:
        solve(found, ["a", "b"])
    assert caught.value.message == "no version of `pytorch` satisfies everything that is wanted to compile `a`"
    assert caught.value.details[:2] == (
        "`tool` wants `pytorch:2.6` (through a -> tool)",
        "the image itself has `pytorch:2.8` (`b`: `pytorch>2.6`)",
    )
    assert "1. make two images: `./build.sh a` and `./build.sh b`" in caught.value.details


def test_compile_part_may_have_two_versions_that_coexist() -> None:
    """A compile part may have two versions that coexist."""
    found = catalog(
        *LLVM, compiled("a", "llvm:18", needs=("llvm:18", "llvm:20")), compiled("b", "llvm:18", needs=("llvm",))
    )
    assert closures(solve(found, ["a"])) == {"a": ["llvm:18", "llvm:20"]}
    assert closures(solve(found, ["b"])) == {"b": ["llvm:18"]}


@pytest.mark.parametrize(
    ("packages", "chain"),
    [
        ([compiled("a", needs=("b",)), package("b", "a")], "packages depend on each other: a -> b -> a"),
        (
            [compiled("a", needs=("b",)), compiled("b", needs=("a",))],
            "packages depend on each other when they are compiled: a -> b -> a",
        ),
    ],
)
def test_compile_part_that_depends_on_itself_is_a_cycle(packages: list[Package], chain: str) -> None:
    """A package cannot be compiled on itself."""
    with pytest.raises(CycleError) as caught:
        solve(catalog(*packages), ["a"])
    assert caught.value.message == chain


def test_missing_compile_dependency_says_who_asked() -> None:
    """A missing compile dependency says who asked."""
    with pytest.raises(UnknownPackageError, match="there is no package `cmake`, which `a` asks for"):
        solve(catalog(compiled("a", needs=("cmake",))), ["a"])


def test_skip_holds_for_compile_parts() -> None:
    """Skipping holds for compile parts."""
    found = catalog(compiled("a", needs=("b", "c")), package("b"), package("c"))
    assert closures(solve(found, ["a"], skip=["b"])) == {"a": ["c"]}


# --- properties


@st.composite
def catalogs(draw: st.DrawFn) -> list[Package]:
    """Families f0…f9 with up to three versions; a version depends on families before its own: no cycles."""
    result: list[Package] = []
    for index in range(draw(st.integers(1, 9))):
        tags = draw(st.sampled_from([[""], ["1"], ["1", "2"], ["1", "2", "3"]]))
        default = draw(st.sampled_from(tags))
        for tag in tags:
            depends = [
                f"f{other}" + draw(st.sampled_from(["", "", ":1", ":2", ">=2", "<3", "!=2"]))
                for other in draw(st.lists(st.integers(0, index - 1), unique=True, max_size=4))
            ] if index else []  # fmt: skip
            name = f"f{index}:{tag}" if tag else f"f{index}"
            aliases = (f"f{index}",) if tag and tag == default else ()
            made = compiled if draw(st.booleans()) else package
            result.append(made(name, *depends, default=tag == default, aliases=aliases))
    return result


def outcome(found: Catalog, requests: list[str]) -> Resolution | tuple[type[JetsonError], str, tuple[str, ...]]:
    try:
        return solve(found, requests)
    except JetsonError as error:
        return type(error), error.message, error.details


@settings(deadline=None, max_examples=200)
@given(catalogs(), st.data())
def test_resolution_is_consistent_complete_and_ordered(packages: list[Package], data: st.DataObject) -> None:
    """A resolution is consistent, complete and ordered."""
    found = catalog(*packages)
    requests = data.draw(st.lists(st.sampled_from([p.name for p in packages]), min_size=1, max_size=4, unique=True))
    try:
        resolution = solve(found, requests)
    except (UnsatisfiableError, UnknownPackageError):
        return
    position = {name: index for index, name in enumerate(names(resolution))}
    families = [p.family for p in resolution.packages]
    assert len(families) == len(set(families))
    assert set(requests) <= set(position)
    for p in resolution.packages:
        assert all(position[need] < position[p.name] for need in resolution.depends[p.name])
        wanted = {d.family: d for d in p.depends}
        chosen = {found.available[need].family: found.available[need] for need in resolution.depends[p.name]}
        assert set(wanted) == set(chosen)
        assert all(d.accepts(chosen[f].version) and d.version in (None, chosen[f].version) for f, d in wanted.items())
    assert set(position) == reachable(resolution)
    image = {p.family: p.name for p in resolution.packages}
    for closure in resolution.build_closures.values():
        assert all(image.get(p.family, p.name) == p.name for p in closure)


def reachable(resolution: Resolution) -> set[str]:
    todo, seen = list(resolution.requested), set[str]()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo.extend(resolution.depends[name])
    return seen


@settings(deadline=None, max_examples=100)
@given(catalogs(), st.randoms(use_true_random=False))
def test_solve_does_not_depend_on_the_order_of_the_catalog(packages: list[Package], rng: random.Random) -> None:
    """The order of the catalog does not matter."""
    requests = [packages[-1].name, packages[0].name]
    expected = outcome(catalog(*packages), requests)
    for _ in range(3):
        shuffled = packages[:]
        rng.shuffle(shuffled)
        again = Catalog(platform=ORIN, available={p.name: p for p in shuffled})
        assert outcome(again, requests) == expected


@settings(deadline=None, max_examples=100)
@given(catalogs())
def test_conflict_hints_that_name_a_command_work(packages: list[Package]) -> None:
    """Every way out that names a command works."""
    found = catalog(*packages)
    for request in ([p.name for p in packages][-3:], [packages[-1].name]):
        try:
            solve(found, request)
        except UnsatisfiableError as error:
            for line in error.details:
                for command in line.split("`./build.sh ")[1:]:
                    solve(found, command.split("`")[0].split())
        except UnknownPackageError:
            pass


def test_provider_keeps_what_was_refused_for_a_key_without_demands() -> None:
    """resolvelib asks so after a step back, when the demand has gone with the package that made it."""
    found = catalog(package("a:1"), package("a:2", default=True))
    provider = Provider(Demands(found), ())
    refused = PackageChoice(key="a", name="a:2", package=found.available["a:2"])
    assert [c.name for c in provider.find_matches("a", {"a": iter(())}, {"a": iter([refused])})] == ["a:1"]
    assert provider.find_matches("a", {"a": iter(())}, {"a": iter(())}) == []


def test_solve_takes_a_long_chain() -> None:
    """A chain of 300 packages resolves within the time limit of the tests."""
    chain = [package("p0"), *(package(f"p{index}", f"p{index - 1}") for index in range(1, 300))]
    assert len(solve(catalog(*chain), ["p299"]).packages) == 300
