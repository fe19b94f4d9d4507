"""What a run is expected to take, from what builds of the same packages took here before, else from their recipes.

Only honest builds were recorded: those of every command, to the end (see `StageBuilder`). A package has the same entry
on every parent and in every revision of its recipe, so this is an estimate and no more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.builder import resources
from jetson_containers.builder.graph import weight_name, work
from jetson_containers.builder.state import BuildState
from jetson_containers.plan.estimate import Estimate
from jetson_containers.plan.stage import StageKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.builder.decide import BuildDecision
    from jetson_containers.builder.graph import Graph
    from jetson_containers.builder.types import BuildOptions
    from jetson_containers.plan.stage import Stage


def of(graph: Graph, decision: BuildDecision, options: BuildOptions) -> Estimate | None:
    """Estimate what the stages of a graph take that a decision builds; None where there are none.

    The time is at least that of the longest chain, and at least that of all work divided among the stages that run at
    the same time.
    """
    keys = [key for key in graph.nodes if key in decision.build and graph.nodes[key].stage.kind is not StageKind.META]
    if not keys:
        return None
    state = BuildState(options.state)
    recorded, sizes = state.seconds(), state.sizes()
    seconds: dict[str, float] = {}
    space: dict[str, float] = {}
    stated = 0
    for key in keys:
        stage = graph.nodes[key].stage
        name, time = weight_name(stage), _stated(stage)[0]
        stated += name not in recorded and time is not None
        seconds |= _known(key, recorded.get(name, time))
        space |= _known(key, size(stage, sizes))
    longest, together = work(graph, frozenset(keys), seconds)
    slots = resources.detect(jobs=options.jobs, cores=options.cores, memory=options.memory).slots
    names = {key: weight_name(graph.nodes[key].stage) for key in keys}
    return Estimate(
        stages=len(keys),
        seconds=max(longest, together / slots),
        bytes=round(sum(max(count, 0.0) for count in space.values())),
        untimed=tuple(names[key] for key in keys if key not in seconds),
        unsized=tuple(names[key] for key in keys if key not in space),
        stated=stated,
    )


def size(stage: Stage, recorded: Mapping[str, float]) -> float | None:
    """Bytes that a stage adds, as recorded under its `weight_name`, else as its recipe states; None: not known."""
    return recorded.get(weight_name(stage), _stated(stage)[1])


def _stated(stage: Stage) -> tuple[float | None, float | None]:
    """Seconds and bytes by the recipe: the time is that of its compile part, the size that of its layer."""
    package = stage.definition
    if package is None:
        return None, None
    compiled = package.artifacts is not None
    timed = stage.kind is StageKind.ARTIFACT or not compiled
    return package.build_time if timed else None, package.build_size if stage.kind is StageKind.LAYER else None


def _known(key: str, value: float | None) -> dict[str, float]:
    return {} if value is None else {key: value}
