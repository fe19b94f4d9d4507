"""Plans → one graph of stages: shared stages once, their dependents, and how long each still takes to the end."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.plan.stage import StageKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.plan.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Node:
    """A stage with what the plans around it say. `number` counts from 1 in build order."""

    stage: Stage
    plan: BuildPlan  # the first plan that holds it: its platform and base
    number: int
    packages: tuple[str, ...]  # in the image up to this stage, in order
    last: bool  # the top of a plan: what a user gets
    images: tuple[str, ...] = ()  # of the stages that it builds on or copies from


@dataclass(frozen=True, kw_only=True)
class Graph:
    """All stages of all plans by key, in an order in which each stands after what it needs.

    `needs` and `dependents` are the same edges in both directions. On `test_only_stages` nothing stands (a meta package
    amid a chain has its own image only to be tested): the top of their plan waits for them, because a final image is
    named when everything in it is tested.
    """

    nodes: Mapping[str, Node]
    needs: Mapping[str, tuple[str, ...]]
    dependents: Mapping[str, tuple[str, ...]]
    test_only_stages: frozenset[str] = frozenset()

    def above(self, key: str) -> tuple[str, ...]:
        """All stages that need this one, directly or not, in build order."""
        found: set[str] = set()
        waiting = [key]
        while waiting:
            for dependent in self.dependents[waiting.pop()]:
                if dependent not in found:
                    found.add(dependent)
                    waiting.append(dependent)
        return tuple(name for name in self.nodes if name in found)


def merge(plans: Sequence[BuildPlan]) -> Graph:
    """Merge plans: a stage they share appears once, at the place of its first occurrence."""
    stages: dict[str, tuple[Stage, BuildPlan]] = {}
    for plan in plans:
        for stage in plan.stages:
            stages.setdefault(stage.key, (stage, plan))
    tops = {plan.top.key for plan in plans}
    nodes = {
        key: Node(
            stage=stage,
            plan=plan,
            number=number,
            packages=chain(stage, plan),
            last=key in tops,
            images=_images(stage, stages),
        )
        for number, (key, (stage, plan)) in enumerate(stages.items(), 1)
    }
    needs = {key: [name for name in dict.fromkeys(node.stage.depends) if name in nodes] for key, node in nodes.items()}
    aside = frozenset(key for plan in plans for key in _aside(plan))
    for plan in plans:
        for key in _aside(plan):
            if nodes[key].number < nodes[plan.top.key].number and key not in needs[plan.top.key]:
                needs[plan.top.key].append(key)
    dependents: dict[str, list[str]] = {key: [] for key in nodes}
    for key, names in needs.items():
        for name in names:
            dependents[name].append(key)
    return Graph(nodes=nodes, needs=_frozen(needs), dependents=_frozen(dependents), test_only_stages=aside)


def _images(stage: Stage, stages: Mapping[str, tuple[Stage, BuildPlan]]) -> tuple[str, ...]:
    return tuple(stages[key][0].image for key in dict.fromkeys(stage.depends) if key in stages)


def _aside(plan: BuildPlan) -> list[str]:
    stood_on = {key for stage in plan.stages for key in stage.depends}
    return [stage.key for stage in plan.stages if stage.key not in stood_on and stage is not plan.top]


def _frozen(edges: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {key: tuple(names) for key, names in edges.items()}


def chain(stage: Stage, plan: BuildPlan) -> tuple[str, ...]:
    """Name the packages in a stage's image, bottom first: those of its parents, then its own."""
    by_key = {other.key: other for other in plan.stages}
    names: list[str] = []
    current: Stage | None = stage
    while current is not None:
        names.append(current.package)
        current = by_key.get(current.parent) if current.parent else None
    return tuple(reversed(names))


def plan_key(plan: BuildPlan) -> str:
    """Digest of a plan, for the `plan` label: the same stages in the same order give the same."""
    text = "\n".join([*(stage.key for stage in plan.stages), *plan.packages])
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def priorities(graph: Graph, keys: AbstractSet[str], seconds: Mapping[str, float]) -> dict[str, float]:
    """Seconds from the start of each stage to the end of the longest chain above it.

    `seconds` are recorded times by `weight_name`; a stage that was never timed counts as the median of those
    that were, or 1.
    """
    known = sorted(seconds.values())
    default = known[len(known) // 2] if known else 1.0
    remaining: dict[str, float] = {}
    for key in reversed(list(graph.nodes)):
        if key not in keys:
            continue
        own = seconds.get(weight_name(graph.nodes[key].stage), default)
        after = max((remaining.get(name, 0.0) for name in graph.dependents[key]), default=0.0)
        remaining[key] = own + after
    return remaining


def work(graph: Graph, keys: AbstractSet[str], seconds: Mapping[str, float]) -> tuple[float, float]:
    """Seconds of the longest chain among some stages, and of all together; one without a time counts as none."""
    remaining: dict[str, float] = {}
    for key in reversed(list(graph.nodes)):
        if key in keys:
            after = max((remaining.get(name, 0.0) for name in graph.dependents[key]), default=0.0)
            remaining[key] = seconds.get(key, 0.0) + after
    return max(remaining.values(), default=0.0), sum(seconds.get(key, 0.0) for key in keys)


def weight_name(stage: Stage) -> str:
    """Name under which a stage's time is recorded; not its key, which changes with every edit of the recipe."""
    return f"{stage.package} ({stage.kind.value})" if stage.kind is not StageKind.LAYER else stage.package
