"""A folder that was exported for bake, built by buildx: the images are those of a build."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import settings
from jetson_containers.engine.docker import DockerEngine
from jetson_containers.engine.probe import ProbedHost
from jetson_containers.export import bake
from jetson_containers.export.jobs import TargetPlans
from jetson_containers.plan.stage import StageKind
from tests.real.conftest import PREFIX, scratch
from tests.real.test_builder import Workplace, states

if TYPE_CHECKING:
    from pathlib import Path

    from tests.real.conftest import NewerEngine

pytestmark = pytest.mark.engine


def test_bake_builds_what_a_build_finds(tmp_path: Path, newer_engine: NewerEngine, busybox: Path) -> None:
    """After `docker buildx bake` a build only tests, for every stage has its name, key and labels."""
    engine = DockerEngine(settings.load({}, files=()), host=ProbedHost.real(newer_engine.env))
    place = Workplace(tmp_path, scratch(engine, busybox, f"{PREFIX}/scratch:1", None), engine)
    low = place.stage("low", "RUN echo low >/low", test="cat /low")
    made = place.stage("made", "RUN mkdir /artifacts && echo x >/artifacts/x", parent=low, kind=StageKind.ARTIFACT)
    top = place.stage("top", f"COPY --from={made.image} /artifacts/x /x", parent=low, needs=(made.key,), test="cat /x")
    plan = place.plan(low, made, top)
    file = bake.write([TargetPlans(target="", plans=(plan,))], tmp_path / "out", "")
    argv = ["docker", "buildx", "bake", "--file", file.name, "stages", "default"]
    done = subprocess.run(argv, cwd=file.parent, env=newer_engine.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert engine.image(plan.final) is not None
    report, _ = place.run(plan)
    assert states(report) == {"low": ("cached", "passed"), "made": ("cached", "none"), "top": ("cached", "passed")}
