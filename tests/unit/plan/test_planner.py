"""From a resolution to stages: chains, meta packages, compile parts, and the CUDA in an image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from packaging.version import Version

from jetson_containers.core.errors import CycleError, RecipeError, UnavailablePackageError, UsageError
from jetson_containers.images import labels
from jetson_containers.plan.plan import (
    BuildPlan,
    PlanOptions,
    StageKind,
    make,
)
from jetson_containers.recipes.package import Artifacts
from jetson_containers.resolver.solve import Resolution
from tests.unit import treemaker
from tests.unit.plan.helpers import HEAD, ORIN, Tree

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform


def shape(plan: BuildPlan) -> list[tuple[str, str, str, list[str]]]:
    """Kind, package, what it stands on and all it needs, by names."""
    label = {stage.key: f"{stage.kind.value} {stage.package}" for stage in plan.stages}
    return [
        (stage.kind.value, stage.package, label.get(stage.parent or "", "base"), [label[key] for key in stage.depends])
        for stage in plan.stages
    ]


class TestChains:
    def test_chain_puts_each_package_on_the_one_before(self, tree: Tree) -> None:
        """Each package is built on the one before."""
        tree.add("a"), tree.add("b"), tree.add("c")
        plan = tree.plan("a", "b", "c")
        assert shape(plan) == [
            ("layer", "a", "base", []),
            ("layer", "b", "layer a", ["layer a"]),
            ("layer", "c", "layer b", ["layer b"]),
        ]
        assert [stage.base for stage in plan.stages] == ["ubuntu:22.04", plan.stages[0].image, plan.stages[1].image]
        assert plan.top.package == "c"
        assert plan.packages == ("a", "b", "c")

    def test_chain_gives_a_stage_its_base(self, tree: Tree) -> None:
        """A stage is told its base by an argument."""
        tree.add("a"), tree.add("b")
        plan = tree.plan("a", "b")
        assert [stage.build_args["BASE_IMAGE"] for stage in plan.stages] == ["ubuntu:22.04", plan.stages[0].image]

    def test_meta_package_is_its_parent_under_another_name(self, tree: Tree) -> None:
        """A meta package is its parent under another name."""
        tree.add("a"), tree.add("all", None)
        plan = tree.plan("a", "all")
        assert shape(plan)[1] == ("meta", "all", "layer a", ["layer a"])
        assert plan.layers == plan.stages[0].layers

    def test_meta_package_in_between_changes_nothing_above_it(self, tree: Tree) -> None:
        """A meta package in between changes nothing above it."""
        tree.add("a"), tree.add("all", None), tree.add("b")
        with_meta, without = tree.plan("a", "all", "b"), tree.plan("a", "b")
        assert with_meta.top == without.top

    def test_meta_package_alone_is_the_base(self, tree: Tree) -> None:
        """A meta package alone is the base under another name."""
        tree.add("all", None)
        assert shape(tree.plan("all")) == [("meta", "all", "base", [])]

    def test_plan_without_packages_is_a_usage_error(self, tree: Tree) -> None:
        """A plan without packages is a usage error."""
        with pytest.raises(UsageError, match="nothing to build"):
            make(Resolution(requested=(), packages=(), depends={}), ORIN, PlanOptions(base="x"))

    def test_plan_without_a_base_takes_that_of_the_platform(self, tree: Tree) -> None:
        """Without a base the one of the platform is taken."""
        tree.add("a")
        assert tree.plan("a", base="").base == "ubuntu:22.04"

    def test_stage_template_is_rendered_for_the_platform(self, tree: Tree) -> None:
        """A template is rendered for the platform."""
        package = tree.add("a", files={"Dockerfile.j2": HEAD + "ENV SM={{ sm | join(';') }} V={{ version }}\n"})
        tree.packages["a"] = replace(package, dockerfile="Dockerfile.j2", version="7")
        assert tree.plan("a").top.dockerfile == HEAD + "ENV SM=87 V=7\n"

    def test_stage_without_its_dockerfile_is_an_error(self, tree: Tree) -> None:
        """A Dockerfile that is missing is an error."""
        tree.packages["a"] = replace(tree.add("a"), dockerfile="Dockerfile.gone")
        with pytest.raises(RecipeError, match=r"Dockerfile\.gone"):
            tree.plan("a")


class TestArtifacts:
    def test_artifact_stage_stands_on_its_closure_and_comes_before_its_layer(self, tree: Tree) -> None:
        """The compile part is built on its closure and comes before its layer."""
        tree.add("base"), tree.add("extra"), tree.compiled("torch")
        plan = tree.plan("base", "extra", "torch", closures={"torch": ("base",)})
        assert shape(plan) == [
            ("layer", "base", "base", []),
            ("layer", "extra", "layer base", ["layer base"]),
            ("artifact", "torch", "layer base", ["layer base"]),
            ("layer", "torch", "layer extra", ["layer extra", "artifact torch"]),
        ]

    def test_artifact_key_does_not_depend_on_the_position(self, tree: Tree) -> None:
        """The key of a compile part does not depend on its position."""
        tree.add("base"), tree.add("extra"), tree.compiled("torch")
        closures = {"torch": ("base",)}
        first = tree.plan("base", "torch", closures=closures)
        second = tree.plan("extra", "base", "torch", closures=closures)
        by_kind = [{s.kind: s.key for s in plan.stages if s.package == "torch"} for plan in (first, second)]
        assert by_kind[0][StageKind.ARTIFACT] == by_kind[1][StageKind.ARTIFACT]
        assert by_kind[0][StageKind.LAYER] != by_kind[1][StageKind.LAYER]

    def test_artifact_image_is_passed_to_the_layer(self, tree: Tree) -> None:
        """The layer is told the image of the artifact."""
        tree.compiled("torch")
        artifact, layer = tree.plan("torch").stages
        assert layer.build_args == {"BASE_IMAGE": "ubuntu:22.04", "ARTIFACT_IMAGE": artifact.image}
        assert artifact.dockerfile.endswith("FROM scratch\nCOPY --from=jetson-artifacts /artifacts /artifacts\n")
        assert (artifact.layers, artifact.depth) == (1, 1)

    def test_artifacts_in_a_closure_are_made_first(self, tree: Tree) -> None:
        """Artifacts in a closure are made first."""
        tree.compiled("torch"), tree.compiled("vision")
        plan = tree.plan("torch", "vision", closures={"vision": ("torch",)})
        assert shape(plan) == [
            ("artifact", "torch", "base", []),
            ("layer", "torch", "base", ["artifact torch"]),
            ("artifact", "vision", "layer torch", ["layer torch"]),
            ("layer", "vision", "layer torch", ["layer torch", "artifact vision"]),
        ]

    def test_artifact_dependencies_are_not_in_the_image(self, tree: Tree) -> None:
        """What only compiling needs is not in the image."""
        tree.add("compiler"), tree.compiled("torch")
        plan = tree.plan("torch", closures={"torch": ("compiler",)})
        assert [line[:3] for line in shape(plan)] == [
            ("layer", "compiler", "base"),
            ("artifact", "torch", "layer compiler"),
            ("layer", "torch", "base"),
        ]
        assert plan.packages == ("torch",)
        assert plan.layers == 1

    def test_artifact_that_needs_itself_prints_the_chain(self, tree: Tree) -> None:
        """Compiling that needs itself prints the chain."""
        tree.compiled("a"), tree.compiled("b")
        with pytest.raises(CycleError, match="a -> b -> a"):
            tree.plan("a", closures={"a": ("b",), "b": ("a",)})

    def test_artifacts_without_a_dockerfile_that_installs_them_are_an_error(self, tree: Tree) -> None:
        """Artifacts that nothing installs are an error."""
        tree.packages["a"] = replace(tree.add("a", None), artifacts=Artifacts("Dockerfile.build"))
        with pytest.raises(RecipeError, match="no Dockerfile that installs"):
            tree.plan("a")


@pytest.mark.parametrize(
    ("where", "held", "tag"),
    [
        (ORIN, "12.6", "r36.4-cu126-22.04"),
        (ORIN, "12.6.1", "r36.4-cu126-22.04"),
        (ORIN, "12.8", "r36.4-cu128-22.04"),
        (ORIN, "12.2", "r36.4-cu122-22.04"),
        (treemaker.PC, "13.2", "x86_64-cu132-24.04"),
        (treemaker.PC_CPU, "12.9", "x86_64-cu129-24.04"),
    ],
)
def test_cuda_in_name_and_labels_is_the_one_in_the_image(tmp_path: Path, where: Platform, held: str, tag: str) -> None:
    """The name and the labels say the CUDA that is in the image."""
    made = make(of_cuda(tmp_path, held), where, PlanOptions(base="base:1"))
    assert made.final == f"app:{tag}"
    label = labels.platform_value(made.platform)
    assert label["cuda"] == ".".join(held.split(".")[:2])
    foreign = where.cuda is None or str(where.cuda) != label["cuda"]
    assert any("its name and labels say CUDA" in notice for notice in made.notices) == foreign


@pytest.mark.parametrize(
    ("where", "held", "runs"),
    [
        (ORIN, "13.2", "L4T 36.4.0, which runs CUDA 12.2, 12.4, 12.5, 12.6, 12.8, 12.9"),
        (replace(treemaker.NANO, driver_cuda=Version("10.2")), "11.4", "L4T 32.7.4, which runs CUDA 10.2"),
        (replace(treemaker.PC, driver_cuda=Version("12.8")), "13.0", "this target, whose driver runs CUDA 12.8"),
    ],
)
def test_cuda_that_the_driver_does_not_run_is_refused(tmp_path: Path, where: Platform, held: str, runs: str) -> None:
    """A CUDA that the driver does not run is refused."""
    with pytest.raises(UnavailablePackageError) as caught:
        make(of_cuda(tmp_path, held), where, PlanOptions(base="base:1"))
    assert caught.value.message == f"`cuda:{held}` cannot run on {runs}"


def of_cuda(root: Path, version: str) -> Resolution:
    (root / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    packages = [
        replace(treemaker.package(name), path=root, dockerfile="Dockerfile") for name in (f"cuda:{version}", "app")
    ]
    return Resolution(requested=("app",), packages=tuple(packages), depends={})
