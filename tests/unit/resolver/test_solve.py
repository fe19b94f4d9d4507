"""Resolution: one consistent set in a stable order, or an error that says who wants what and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.core.errors import (
    CycleError,
    JetsonError,
    UnknownPackageError,
    UnsatisfiableError,
)
from jetson_containers.recipes.catalog import Catalog
from jetson_containers.resolver.solve import Resolution, solve
from tests.unit.resolver.helpers import CHAIN, LLVM, PYTORCH, catalog, catalogs, closures, compiled, names, versions
from tests.unit.treemaker import ORIN, package

if TYPE_CHECKING:
    import random

    from jetson_containers.recipes.package import Package


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


def outcome(found: Catalog, requests: list[str]) -> Resolution | tuple[type[JetsonError], str, tuple[str, ...]]:
    try:
        return solve(found, requests)
    except JetsonError as error:
        return type(error), error.message, error.details


@pytest.mark.long
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


@pytest.mark.long
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


def test_solve_takes_a_long_chain() -> None:
    """A chain of 300 packages resolves within the time limit of the tests."""
    chain = [package("p0"), *(package(f"p{index}", f"p{index - 1}") for index in range(1, 300))]
    assert len(solve(catalog(*chain), ["p299"]).packages) == 300
