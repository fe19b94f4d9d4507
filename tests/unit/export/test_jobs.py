"""What a CI service runs: jobs, levels and edges."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.export.jobs import CiJob, CiOptions, TargetPlans, jobs
from jetson_containers.plan.stage import StageKind
from tests.unit.builder.helpers import chain, plan, stage


def cut(*plans: TargetPlans) -> dict[str, CiJob]:
    return {job.name: job for job in jobs(plans)}


def diamond() -> TargetPlans:
    """Base, then compiler → artifact on one side and runtime on the other, joined by the layer."""
    below = stage("low")
    tools = stage("tools", parent=below)
    made = stage("lib", parent=tools, kind=StageKind.ARTIFACT, key="lib-made")
    python = stage("python", parent=below)
    return TargetPlans(target="r36.4.3", plans=(plan(below, tools, made, python, stage("lib", made, parent=python)),))


def test_jobs_hold_runs_of_stages_between_forks_and_joins() -> None:
    """A stage on which two stand begins two jobs; one that needs two begins a job of its own."""
    made = cut(diamond())
    shown = {job.packages: (job.level, [made[name].packages for name in job.needs]) for job in made.values()}
    assert shown == {
        ("low",): (0, []),
        ("tools", "lib"): (1, [("low",)]),
        ("python",): (1, [("low",)]),
        ("lib",): (2, [("python",), ("tools", "lib")]),
        ("low", "tools", "python", "lib"): (3, [("lib",)]),  # the final image
    }


def test_jobs_name_the_stage_as_build_takes_it() -> None:
    """The topmost stage of a job is named by package and number in its plan; an image has none."""
    made = jobs([diamond()])
    assert [job.stage for job in made] == ["low#1", "lib#3", "python#4", "lib#5", ""]


def test_jobs_of_a_chain_are_one_and_its_image() -> None:
    """Where nothing forks, nothing is handed on."""
    made = jobs([TargetPlans(target="", plans=(chain("a", "b", "c"),))])
    assert [(job.packages, job.level) for job in made] == [(("a", "b", "c"), 0), (("a", "b", "c"), 1)]


def test_jobs_build_once_what_targets_share() -> None:
    """A stage with the same key is one job, each target has its own image."""
    one, other = chain("a", "b", final="x:r36.4.0"), chain("a", "b", final="x:r36.4.3")
    made = jobs([TargetPlans(target="r36.4.0", plans=(one,)), TargetPlans(target="r36.4.3", plans=(other,))])
    assert [(job.target, job.name) for job in made if not job.stage] == [
        ("r36.4.0", "image-x-r36-4-0"),
        ("r36.4.3", "image-x-r36-4-3"),
    ]
    assert [job.target for job in made if job.stage] == ["r36.4.0"]


def test_jobs_have_names_of_their_own() -> None:
    """Images whose names differ in what a job's name cannot hold are numbered."""
    plans = (chain("a", final="x:1.2"), chain("b", final="x:1-2"))
    assert [job.name for job in jobs([TargetPlans(target="", plans=plans)])][2:] == ["image-x-1-2", "image-x-1-2-2"]


def test_options_make_the_command_of_a_job() -> None:
    """A stage is pushed to the registry of stages, an image to where images go."""
    first, *_, image = jobs([diamond()])
    options = CiOptions(stage_registry="r.example/s", push="r.example/i", options=("--package-dirs=own",))
    start = ["./jetson-containers", "build", "--package-dirs=own", "--target=r36.4.3", "--stage-registry=r.example/s"]
    assert options.command(first) == [*start, "--push-stages", "--stage=low#1", "lib"]
    assert options.command(image) == [*start, "--push=r.example/i", "lib"]


def test_options_refuse_an_architecture_without_a_runner() -> None:
    """A job for which no machine is named is refused with the option that names one."""
    (job, *_) = jobs([diamond()])
    with pytest.raises(UsageError, match="no runner is known for s390x"):
        CiOptions(stage_registry="r").runner(replace(job, architecture="s390x"))
