"""A folder for buildx: targets linked as the plan is, with the labels and tags of a build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.export import bake
from jetson_containers.export.jobs import TargetPlans
from jetson_containers.images import labels
from jetson_containers.plan.stage import StageKind
from tests.unit.builder.helpers import package, plan, stage

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.plan.plan import BuildPlan

INSTALLS = "ARG ARTIFACT_IMAGE\nARG BASE_IMAGE\nFROM ${ARTIFACT_IMAGE} AS artifact\nFROM ${BASE_IMAGE}\n"


@pytest.fixture
def made(tmp_path: Path) -> BuildPlan:
    """A layer that takes an artifact, whose recipe has a file, a shared one and a number of jobs."""
    recipe = tmp_path / "packages" / "lib"
    recipe.mkdir(parents=True)
    (recipe / "patch.diff").write_text("+\n")
    definition = package("lib", path=recipe, added={"made.txt": "made\n"}, test=("t.sh",), network="none")
    low = stage("low", definition=package("low", path=recipe))
    compiled = stage("lib", parent=low, kind=StageKind.ARTIFACT, key="made", definition=definition)
    arguments = {"ARTIFACT_IMAGE": compiled.image, "MAX_JOBS": "3", "TEXT": "${HOME}"}
    layer = stage("lib", compiled, parent=low, definition=definition, dockerfile=INSTALLS, build_args=arguments)
    return plan(low, compiled, layer, stage("all", parent=layer, kind=StageKind.META, definition=definition))


def read(folder: Path, *plans: BuildPlan) -> dict[str, Any]:
    file = bake.write([TargetPlans(target="", plans=plans)], folder, "abc")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_bake_links_stages_as_the_plan_does(made: BuildPlan, tmp_path: Path) -> None:
    """A stage stands on targets; only the base image is not one."""
    targets = read(tmp_path / "out", made)["target"]
    tags = {name: target["tags"] for name, target in targets.items()}
    assert tags == {name: [f"jetson-containers/stage:{name}"] for name in ("low", "made", "lib", "all")} | {
        "all_1-x86_64-cpu": ["all:1-x86_64-cpu"]
    }
    assert targets["lib"]["contexts"] == {
        "jetson-containers/stage:low": "target:low",
        "jetson-containers/stage:made": "target:made",
    }
    assert "contexts" not in targets["low"]
    assert targets["lib"]["args"]["TEXT"] == "$${HOME}"
    assert "MAX_JOBS" not in targets["lib"]["args"]
    assert targets["lib"]["network"] == "none"


def test_bake_labels_images_as_a_build_does(made: BuildPlan, tmp_path: Path) -> None:
    """A stage is found by its key and known to be untested, and the final image as one of this plan."""
    targets = read(tmp_path / "out", made)["target"]
    layer, final = labels.read(targets["lib"]["labels"]), labels.read(targets["all_1-x86_64-cpu"]["labels"])
    assert (layer.key, layer.role, layer.tests["status"]) == ("sha256:lib", labels.STAGE, "pending")
    assert (final.key, final.role, final.packages) == ("sha256:all", labels.FINAL, made.packages)
    assert final.tests["packages"]["low"] == {"status": "none"}


def test_bake_writes_contexts_with_what_a_build_adds(made: BuildPlan, tmp_path: Path) -> None:
    """The files of a recipe and the texts added to them lie in the folder; a Dockerfile lies beside its context."""
    out = tmp_path / "out"
    target = read(out, made)["target"]["lib"]
    context = out / target["context"]
    assert (context / "patch.diff").read_text() == "+\n"
    assert (context / "made.txt").read_text() == "made\n"
    assert (context / target["dockerfile"]).resolve().read_text() == INSTALLS


def test_bake_has_the_final_images_as_default_group(made: BuildPlan, tmp_path: Path) -> None:
    """`docker buildx bake` alone makes the images, the group `stages` all stages."""
    groups = read(tmp_path / "out", made)["group"]
    assert groups["default"]["targets"] == ["all_1-x86_64-cpu"]
    assert groups["stages"]["targets"] == ["low", "made", "lib", "all"]


def test_bake_refuses_a_folder_that_is_there_and_flags(made: BuildPlan, tmp_path: Path) -> None:
    """Nothing is overwritten, and flags of a recipe are not dropped in silence."""
    with pytest.raises(UsageError, match="exists already"):
        bake.write([TargetPlans(target="", plans=(made,))], tmp_path, "")
    flagged = plan(stage("f", package={"build_flags": "--squash"}))
    with pytest.raises(UsageError, match="flags of `docker build`"):
        bake.write([TargetPlans(target="", plans=(flagged,))], tmp_path / "other", "")
