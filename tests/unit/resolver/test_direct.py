"""Decisions that are never taken back are those of resolvelib, and cost no more than what is decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.core.errors import JetsonError
from jetson_containers.recipes.catalog import Catalog
from jetson_containers.resolver import direct, search
from jetson_containers.resolver.demands import Demands
from jetson_containers.resolver.search import VersionSearch
from tests.unit.resolver.test_solve import catalogs
from tests.unit.treemaker import ORIN, package

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.demands import Demand
    from jetson_containers.resolver.solution import Solution


def of(packages: Iterable[Package]) -> Catalog:
    return Catalog(platform=ORIN, available={item.name: item for item in packages})


def decided(catalog: Catalog, *requests: str, kept: tuple[Package, ...] = ()) -> Solution | None:
    demands = Demands(catalog)
    return direct.decide(demands, demands.requested(requests), kept)


def searched(catalog: Catalog, *requests: str) -> Solution | None:
    """What resolvelib alone chooses."""
    demands = Demands(catalog)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search.direct, "decide", lambda *_: None)
        try:
            return VersionSearch(demands, requests)._searched(demands.requested(requests), None)
        except JetsonError:
            return None


@pytest.mark.long
@settings(deadline=None, max_examples=150)
@given(catalogs(), st.data())
def test_decide_gives_what_resolvelib_gives_or_nothing(packages: list[Package], data: st.DataObject) -> None:
    """Choices, demands on each, and the order of both."""
    catalog = of(packages)
    names = sorted({word for item in packages for word in (item.name, item.family)})
    requests = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=4))
    ours = decided(catalog, *requests)
    if ours is not None:
        theirs = searched(catalog, *requests)
        assert theirs is not None
        assert list(ours.chosen.items()) == list(theirs.chosen.items())
        assert ours.wanted == theirs.wanted


SERIES = (package("x:1"), package("x:2", default=True), package("x:3"))


@pytest.mark.parametrize(
    ("packages", "requests", "expected"),
    [
        ([*SERIES, package("a", "x")], ["a"], "a x:2"),
        ([*SERIES, package("a", "x>=3"), package("b", "x")], ["b", "a"], "a b x:3"),  # known before it is decided
        ([*SERIES, package("a", "x:1"), package("b", "x:1")], ["a", "b"], "a b x:1"),
        ([*SERIES, package("y", "x:1"), package("a", "y", "x")], ["x", "a"], None),  # `x` is decided before `y`
        ([*SERIES, package("a", "x:1"), package("b", "x:3")], ["a", "b"], None),
        ([*SERIES, package("a", "nowhere")], ["a"], None),
        ([package("a", "b"), package("b", "a")], ["a"], "a b"),  # a cycle is for the order to find
    ],
)
def test_decide_takes_the_preferred_version_that_all_accept(
    packages: list[Package], requests: list[str], expected: str | None
) -> None:
    """There is an answer exactly where no decision is contradicted afterwards."""
    catalog = of(packages)
    found = decided(catalog, *requests)
    assert (None if found is None else " ".join(sorted(item.name for item in found.chosen.values()))) == expected


def test_decide_keeps_the_versions_of_the_image() -> None:
    """What the image holds is chosen although another version is preferred."""
    catalog = of(SERIES)
    found = decided(catalog, "x", kept=(catalog.available["x:1"],))
    assert found is not None
    assert found.chosen["x"].name == "x:1"
    assert decided(catalog, "x>=2", kept=(catalog.available["x:1"],)) is None


def test_decide_looks_for_candidates_once_for_each_kind_of_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base that hundreds depend on costs no more with each of them."""
    users = [package(f"user{number}", "zz", "zz>=1" if number % 2 else "zz:2") for number in range(300)]
    catalog = of([package("zz:1"), package("zz:2"), *users])
    calls = []
    real = direct.candidates_for

    def counted(demands: Demands, wants: Sequence[Demand], kept: Sequence[Package]) -> list[Package]:
        calls.append(wants)
        return real(demands, wants, kept)

    monkeypatch.setattr(direct, "candidates_for", counted)
    found = decided(catalog, *(item.name for item in users))
    assert found is not None
    assert len(found.chosen) == 301
    assert len(found.wanted["zz"]) == 600
    assert len(calls) <= 303
