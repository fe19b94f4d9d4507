"""What a CI service runs: jobs of stages that stand on each other, then one job for each final image.

A job holds as many stages as there are between two places where the graph forks or joins: its machine pulls what the
first stands on, and everything in between never travels. The level of a job is the length of the longest way to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers.builder import graph
from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jetson_containers.builder.graph import Graph
    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.plan.stage import Stage

RUNNERS = {"amd64": "ubuntu-24.04", "arm64": "ubuntu-24.04-arm"}  # of GitHub, by docker's architecture


@dataclass(frozen=True, kw_only=True)
class TargetPlans:
    """The plans for one `--target`; `""` is the machine that exports."""

    target: str
    plans: tuple[BuildPlan, ...]


@dataclass(frozen=True, kw_only=True)
class CiJob:
    """One job. Without a `stage` it makes the final image of its request; `stage` is what `build --stage` takes."""

    name: str
    target: str
    architecture: str  # docker's: amd64, arm64
    request: tuple[str, ...]
    level: int
    needs: tuple[str, ...]  # names of jobs
    key: str  # of the topmost stage
    packages: tuple[str, ...] = ()  # of the stages that it builds, bottom first
    stage: str = ""


@dataclass(frozen=True, kw_only=True)
class CiOptions:
    """What the files for CI services say besides the jobs."""

    stage_registry: str
    options: tuple[str, ...] = ()  # further options of every `build`, for instance --package-dirs
    push: str = ""  # registry namespace of the final images; "" leaves them on the runner
    runners: Mapping[str, str] = field(default_factory=lambda: dict(RUNNERS))  # by docker's architecture

    def command(self, job: CiJob) -> list[str]:
        """The `build` of a job, from the root of the checkout."""
        words = ["./jetson-containers", "build", *self.options]
        words += [f"--target={job.target}"] if job.target else []
        words += [f"--stage-registry={self.stage_registry}"]
        if job.stage:
            words += ["--push-stages", f"--stage={job.stage}"]
        elif self.push:
            words += [f"--push={self.push}"]
        return [*words, *job.request]

    def runner(self, job: CiJob) -> str:
        """Name the kind of machine for a job. Raises UsageError where none is given for its architecture."""
        if job.architecture not in self.runners:
            raise UsageError(
                f"no runner is known for {job.architecture}", hint=f"--runner {job.architecture}=LABEL names one"
            )
        return self.runners[job.architecture]


def jobs(targets: Sequence[TargetPlans]) -> list[CiJob]:
    """Cut plans into jobs, lowest level first; a stage that several targets share is built once."""
    plans = [plan for target in targets for plan in target.plans]
    targets_of = {id(plan): target.target for target in targets for plan in target.plans}
    merged = graph.merge(plans)
    runs = _runs(merged)
    names = _names([keys[-1] for keys in runs], merged)
    by_stage = {key: name for keys, name in zip(runs, names, strict=True) for key in keys}
    made: dict[str, CiJob] = {}
    for keys, name in zip(runs, names, strict=True):
        node = merged.nodes[keys[-1]]
        needs = _unique(by_stage[key] for key in merged.needs[keys[0]])
        made[name] = CiJob(
            name=name,
            target=targets_of[id(node.plan)],
            architecture=_architecture(node.plan),
            request=node.plan.request,
            level=max((made[need].level + 1 for need in needs), default=0),
            needs=needs,
            key=node.stage.key,
            packages=tuple(merged.nodes[key].stage.package for key in keys),
            stage=stage_name(node.stage, node.plan),
        )
    last = max((job.level for job in made.values()), default=0) + 1
    finals = [
        _final(plan, targets_of[id(plan)], last, by_stage[plan.top.key])
        for plan in {(targets_of[id(plan)], plan.final): plan for plan in plans}.values()
    ]
    return sorted([*made.values(), *_with_own_names(finals, made)], key=lambda job: job.level)


def stage_name(stage: Stage, plan: BuildPlan) -> str:
    """Name a stage as `build --stage` takes it: its package and its number in the plan."""
    return f"{stage.package}#{plan.stages.index(stage) + 1}"


def _runs(merged: Graph) -> list[list[str]]:
    """The keys of the stages of each job, in build order: one after the other as long as nothing forks or joins."""
    runs: dict[str, list[str]] = {}  # by the topmost stage so far
    for key, node in merged.nodes.items():
        needs = merged.needs[key]
        below = needs[0] if len(needs) == 1 else ""
        alone = below and len(merged.dependents[below]) == 1 and merged.nodes[below].plan.platform == node.plan.platform
        runs[key] = [*(runs.pop(below) if alone else []), key]
    order = list(merged.nodes)
    return sorted(runs.values(), key=lambda keys: order.index(keys[0]))


def _names(keys: Iterable[str], merged: Graph) -> list[str]:
    """Name each job after its topmost package and the beginning of its key."""
    return [f"{_slug(merged.nodes[key].stage.package)}-{key.removeprefix('sha256:')[:8]}" for key in keys]


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]+", "-", text).strip("-") or "job"


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _architecture(plan: BuildPlan) -> str:
    return plan.platform.docker_platform.split("/")[1]


def _final(plan: BuildPlan, target: str, level: int, top: str) -> CiJob:
    return CiJob(
        name=f"image-{_slug(plan.final)}",
        target=target,
        architecture=_architecture(plan),
        request=plan.request,
        level=level,
        needs=(top,),
        key=plan.top.key,
        packages=plan.packages,
    )


def _with_own_names(finals: Sequence[CiJob], taken: Iterable[str]) -> list[CiJob]:
    """Number the names that are taken already: two images may differ in nothing that a name may hold."""
    known, named = set(taken), []
    for job in finals:
        name, number = job.name, 1
        while name in known:
            number += 1
            name = f"{job.name}-{number}"
        known.add(name)
        named.append(replace(job, name=name))
    return named
