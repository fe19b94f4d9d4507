"""Which version of a family the search prefers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.resolver.demands import Demands
from jetson_containers.resolver.search import Provider
from jetson_containers.resolver.solution import PackageChoice
from jetson_containers.resolver.solve import solve
from tests.unit.resolver.helpers import LLVM, PYTORCH, catalog, names, versions
from tests.unit.treemaker import package

if TYPE_CHECKING:
    from jetson_containers.recipes.package import Package


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


def test_provider_keeps_what_was_refused_for_a_key_without_demands() -> None:
    """resolvelib asks so after a step back, when the demand has gone with the package that made it."""
    found = catalog(package("a:1"), package("a:2", default=True))
    provider = Provider(Demands(found), ())
    refused = PackageChoice(key="a", name="a:2", package=found.available["a:2"])
    assert [c.name for c in provider.find_matches("a", {"a": iter(())}, {"a": iter([refused])})] == ["a:1"]
    assert provider.find_matches("a", {"a": iter(())}, {"a": iter(())}) == []
