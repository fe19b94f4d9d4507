"""The canonical order: dependencies first, the same for an image whatever else is built, never worse for the whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.plan import plan
from jetson_containers.plan.order import CanonicalOrder
from jetson_containers.plan.request import Request, assemble
from jetson_containers.recipes.catalog import load
from jetson_containers.resolver.solve import Resolution
from tests.unit.treemaker import ORIN, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.package import Package

FROM = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"


def tree(path: Path, depends: Mapping[str, str], meta: str = "") -> Catalog:
    """One package for each name, in that order; `meta` has no content."""
    files = {
        f"ml/{name}/Dockerfile": f"#---\n# name: {name}\n# depends: [{needs}]\n#---\n{'' if name == meta else FROM}"
        for name, needs in depends.items()
    }
    return load([write(path / "tree", files)], ORIN)


def plans(catalog: Catalog, *names: str, order: str = "canonical") -> dict[str, BuildPlan]:
    options = plan.PlanOptions(base="base:1", order=order)
    made = assemble(Request(packages=names or ("*",), multiple=True), ORIN, lambda _: catalog, options)
    assert not made.errors
    return {one.request[0]: one for one in made.plans}


def test_order_puts_what_most_images_hold_first(tmp_path: Path) -> None:
    """`b a d` and `a b e` share two layers where both begin with the package that more images hold."""
    catalog = tree(tmp_path, {"a": "", "b": "", "d": "", "e": "", "x": "b, a, d", "y": "a, b, e", "z": "a"})
    declared, canonical = plans(catalog, order="declared"), plans(catalog)
    assert declared["x"].packages == ("b", "a", "d", "x")
    assert canonical["x"].packages == ("a", "b", "d", "x")
    assert plan.count([*declared.values()]).layers == 11
    assert plan.count([*canonical.values()]).layers == 10


def test_order_of_an_image_does_not_depend_on_what_else_is_built(tmp_path: Path) -> None:
    """Alone, an image has the keys that it has among all: stages are found again."""
    catalog = tree(tmp_path, {"a": "", "b": "", "c": "", "x": "c, b, a", "y": "a, b", "z": "b"})
    for name, whole in plans(catalog).items():
        (alone,) = plans(catalog, name).values()
        assert [stage.key for stage in alone.stages] == [stage.key for stage in whole.stages]


def test_order_of_several_packages_in_one_image_goes_down_the_same_tree(tmp_path: Path) -> None:
    """An image that no package of the catalog is shares with those that are."""
    catalog = tree(tmp_path, {"a": "", "b": "", "x": "b, a", "y": "a", "z": "a"})
    options = plan.PlanOptions(base="base:1", order="canonical")
    made = assemble(Request(packages=("x", "y")), ORIN, lambda _: catalog, options).plans[0]
    assert made.packages[:2] == ("a", "b")
    assert made.final.startswith("y:")  # named after the last one requested, as ever


def test_order_leaves_declared_plans_alone(tmp_path: Path) -> None:
    """`declared` is the default, and its keys are those without any order."""
    catalog = tree(tmp_path, {"a": "", "b": "", "x": "b, a"})
    made = assemble(Request(packages=("x",)), ORIN, lambda _: catalog, plan.PlanOptions(base="base:1"))
    assert made.plans[0].packages == ("b", "a", "x")


def test_order_puts_a_meta_package_behind_what_it_names(tmp_path: Path) -> None:
    """A package without content shares nothing, and parts nothing."""
    catalog = tree(tmp_path, {"a": "", "b": "", "both": "b, a", "x": "both", "y": "a"}, meta="both")
    assert plans(catalog)["x"].packages == ("a", "b", "both", "x")


def test_order_of_compile_parts_is_canonical_too(tmp_path: Path) -> None:
    """What a compile part stands on shares with images."""
    build = "#---\n# name: t\n# depends: [a]\n# artifacts: {dockerfile: Dockerfile.build, depends: [b, a]}\n#---\n"
    installs = "ARG ARTIFACT_IMAGE\nARG BASE_IMAGE\nFROM ${ARTIFACT_IMAGE} AS artifact\nFROM ${BASE_IMAGE}\n"
    files = {f"ml/{name}/Dockerfile": f"#---\n# name: {name}\n#---\n{FROM}" for name in ("a", "b")}
    files |= {"ml/t/Dockerfile": build + installs, "ml/t/Dockerfile.build": FROM}
    files |= {"ml/y/Dockerfile": f"#---\n# name: y\n# depends: [a]\n#---\n{FROM}"}
    catalog = load([write(tmp_path / "tree", files)], ORIN)
    assert [stage.package for stage in plans(catalog)["t"].stages] == ["a", "b", "t", "t"]


def test_order_keeps_that_of_upstreams_format() -> None:
    """Recipes of upstream lean on what stands before them in `depends`."""
    one = Resolution(requested=("x",), packages=packages("b", "a", adaptable=True), depends={"a": (), "b": ()})
    other = Resolution(requested=("a",), packages=packages("a"), depends={"a": ()})
    assert CanonicalOrder([one, other, other]).arrange(one) == one


def packages(*names: str, **fields: bool) -> tuple[Package, ...]:
    from tests.unit.builder.helpers import package

    return tuple(package(name, **fields) for name in names)


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=2, max_size=10))
def test_order_is_topological_and_complete(needs: list[list[int]]) -> None:
    """Every package comes after what it needs, and all are there once."""
    depends = {f"p{n}": tuple(sorted({f"p{m}" for m in below if m < n})) for n, below in enumerate(needs)}
    images = [
        Resolution(requested=(name,), packages=packages(*held(name, depends)), depends=depends) for name in depends
    ]
    order = CanonicalOrder(images)
    for image in images:
        names = [package.name for package in order.arrange(image).packages]
        assert sorted(names) == sorted(package.name for package in image.packages)
        for place, name in enumerate(names):
            assert set(depends[name]) <= set(names[:place])


def held(name: str, depends: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A package with all that it needs, in declared order."""
    found: list[str] = []
    for need in depends[name]:
        found += [other for other in held(need, depends) if other not in found]
    return [*found, name]


@pytest.mark.long
@pytest.mark.parametrize("target", ["r36.4.0", "x86_64,cpu"])
def test_order_needs_fewer_stages_for_our_own_packages(target: str) -> None:
    """All images of the built-in recipes take fewer layers, compile nothing twice, and are as large as before."""
    from jetson_containers.platforms import detect
    from tests.paths import ROOT_DIR

    platform = detect.parse_target(target)
    catalog = load([ROOT_DIR / "packages"], platform)
    counted = []
    for order in ("declared", "canonical"):
        options = plan.PlanOptions(order=order)
        made = assemble(Request(packages=(), multiple=True), platform, lambda _: catalog, options)
        counted.append((plan.count(made.plans), {one.final: sorted(one.packages) for one in made.plans}))
    (declared, images), (canonical, same) = counted
    assert images == same
    assert canonical.layer_bound == declared.layer_bound <= canonical.layers < declared.layers
    assert canonical.compiles == declared.compiles == declared.compile_bound
