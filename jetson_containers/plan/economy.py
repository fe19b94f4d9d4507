"""What building some plans takes: how often something is compiled, how many layers there are, and the least of each.

A stage compiles when it is an artifact, when its Dockerfile asks for the number of compile jobs, or when its recipe
says what a job needs and has no compile part. A recipe of upstream's format says none of it, so its layer counts as
compiling. All other layers install: packages of a distribution, wheels, files, or what an artifact holds.

Each package has to be compiled once. A layer is needed for each package, and for each set of packages that is an image
or that a compile part stands on, because no two sets end with the same stage: the larger number is the least.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.dockerfile.inject import takes_jobs
from jetson_containers.plan.stage import StageKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jetson_containers.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Economy:
    """Numbers of stages, those that plans share once. `repeated` are packages that compile more than once."""

    images: int
    stages: int
    artifacts: int
    compiles: int
    compile_bound: int
    layers: int
    layer_bound: int
    repeated: Mapping[str, int]

    def to_json(self) -> dict[str, int]:
        """The numbers as `totals` of plans: `lower_bound` is of `compiles`, `layer_bound` of `layers`."""
        return {
            "images": self.images,
            "stages": self.stages,
            "artifacts": self.artifacts,
            "compiles": self.compiles,
            "lower_bound": self.compile_bound,
            "layers": self.layers,
            "layer_bound": self.layer_bound,
        }


def of(plans: Sequence[Sequence[Stage]], *, images: int) -> Economy:
    """Count over the stages of all plans, each in build order; `images` is the number of their final images."""
    stages = {stage.key: stage for plan in plans for stage in plan}
    compiling = [stage for stage in stages.values() if compiles(stage)]
    layers = [stage for stage in stages.values() if stage.kind is StageKind.LAYER]
    often = Counter(stage.package for stage in compiling)
    return Economy(
        images=images,
        stages=len(stages),
        artifacts=sum(stage.kind is StageKind.ARTIFACT for stage in stages.values()),
        compiles=len(compiling),
        compile_bound=len(often),
        layers=len(layers),
        layer_bound=max(len({stage.package for stage in layers}), len(_sets(plans, stages))),
        repeated={name: count for name, count in sorted(often.items()) if count > 1},
    )


def compiles(stage: Stage) -> bool:
    """Whether a stage makes something of source code, as far as its recipe says."""
    if stage.kind is not StageKind.LAYER:
        return stage.kind is StageKind.ARTIFACT
    definition = stage.definition
    if definition is None or definition.artifacts is not None:
        return False
    return definition.adaptable or definition.memory_per_job is not None or takes_jobs(stage.dockerfile)


def _sets(plans: Sequence[Sequence[Stage]], stages: Mapping[str, Stage]) -> set[frozenset[str]]:
    """The packages with layers of each image, and of what each compile part stands on."""
    ends = [plan[-1] for plan in plans]
    ends += [stages[stage.parent] for stage in stages.values() if stage.kind is StageKind.ARTIFACT and stage.parent]
    return {_layers_below(end, stages) for end in ends} - {frozenset()}


def _layers_below(end: Stage, stages: Mapping[str, Stage]) -> frozenset[str]:
    found = set()
    stage: Stage | None = end
    while stage is not None:
        if stage.kind is StageKind.LAYER:
            found.add(stage.package)
        stage = stages.get(stage.parent) if stage.parent else None
    return frozenset(found)
