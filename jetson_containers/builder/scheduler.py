"""Which stage starts next: a ready queue, the longest remaining chain first, within slots and memory.

Pure bookkeeping without threads or clocks; `loop` drives it. At any time the memory reserved for running stages
is within the budget, unless a single stage that alone exceeds it runs by itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from jetson_containers.builder import resources
from jetson_containers.builder.graph import weight_name
from jetson_containers.dockerfile.inject import takes_jobs
from jetson_containers.plan.stage import StageKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jetson_containers.builder.graph import Graph
    from jetson_containers.builder.resources import Resources, Share, StageLoad


class Scheduler:
    """Hands out each of `keys` once, when all it depends on among them is finished.

    `seconds` are recorded times by `weight_name`.
    """

    def __init__(
        self,
        graph: Graph,
        keys: Iterable[str],
        priorities: Mapping[str, float],
        available: Resources,
        seconds: Mapping[str, float],
    ) -> None:
        self._graph = graph
        self._priorities = priorities
        self._available = available
        wanted = set(keys)
        self._blockers = {key: set(graph.needs[key]) & wanted for key in graph.nodes if key in wanted}
        self._running: dict[str, Share] = {}
        self._loads = loads(graph, self._blockers, seconds)

    @property
    def running(self) -> Mapping[str, Share]:
        """Stages that were handed out and are not finished, with what they hold."""
        return self._running

    @property
    def reserved(self) -> int:
        """Bytes the running stages hold."""
        return sum(held.memory for held in self._running.values())

    def next(self) -> tuple[str, Share] | None:
        """Start the most urgent stage that fits now, or None when one must finish first."""
        ready = self._ready()
        if not ready or len(self._running) >= self._available.slots:
            return None
        for key in ready:
            if self._fits(key):
                held = resources.share(
                    self._loads[key],
                    self._available,
                    running=[(self._loads[name], given) for name, given in self._running.items()],
                    waiting=[self._loads[name] for name in ready if name != key],
                )
                del self._blockers[key]
                self._running[key] = held
                return key, held
        return None

    def finish(self, key: str) -> None:
        """Take note that a stage is complete: what waited for it may start."""
        del self._running[key]
        for blockers in self._blockers.values():
            blockers.discard(key)

    def fail(self, key: str) -> tuple[str, ...]:
        """Take note that a stage failed, and drop what needs it: those keys, in build order."""
        del self._running[key]
        lost = tuple(name for name in self._graph.above(key) if name in self._blockers)
        for name in lost:
            del self._blockers[name]
        return lost

    def stop(self) -> tuple[str, ...]:
        """Start nothing more: the keys that were still waiting."""
        left = tuple(self._blockers)
        self._blockers.clear()
        return left

    def _ready(self) -> list[str]:
        free = [key for key, blockers in self._blockers.items() if not blockers]
        return sorted(free, key=lambda key: (-self._priorities.get(key, 0.0), self._graph.nodes[key].number))

    def _fits(self, key: str) -> bool:
        least = resources.least_memory(self._loads[key].memory_per_job)
        return not self._running or self.reserved + least <= self._available.memory


class CallScheduler(Scheduler):
    """Hands out stages in groups, each of which one command of the engine builds; the next one when all have ended.

    `alone` are stages that the command cannot build with others. `begin` is told each group before it is handed out.
    """

    def __init__(
        self,
        graph: Graph,
        keys: Iterable[str],
        available: Resources,
        seconds: Mapping[str, float],
        *,
        alone: frozenset[str],
        begin: Callable[[Sequence[str]], None],
    ) -> None:
        super().__init__(graph, keys, {}, available, seconds)
        self._alone = alone
        self._begin = begin
        self._group: list[tuple[str, Share]] = []

    def next(self) -> tuple[str, Share] | None:
        """Hand out the next stage of the group, and begin another one when nothing runs."""
        if not self._group and not self._running and self._blockers:
            memory = {key: resources.least_memory(self._loads[key].memory_per_job) for key in self._blockers}
            chains = group(self._graph, memory, self._available, self._alone)
            members = [key for key in self._blockers if any(key in chain for chain in chains)]
            self._group = [(key, self._share(key, chains)) for key in members]
            self._begin(members)
        if not self._group:
            return None
        key, share = self._group.pop(0)
        del self._blockers[key]
        self._running[key] = share
        return key, share

    def _share(self, key: str, chains: Sequence[Sequence[str]]) -> Share:
        """Divide the machine among the heaviest stages of the chains: any of them may run beside this one."""
        others = [max((self._loads[name] for name in chain), key=_weight) for chain in chains if key not in chain]
        return resources.share(self._loads[key], self._available, running=(), waiting=others)


def group(
    graph: Graph, waiting: Mapping[str, int], available: Resources, alone: frozenset[str] = frozenset()
) -> list[list[str]]:
    """Choose stages to build by one command, as chains: of each only one stage runs at a time.

    `waiting` stands in build order, with the bytes that each takes at least. The engine starts everything that can
    start, so there are no more chains than slots, nor than memory for one compile job of each. A stage of `alone` makes
    a group by itself.
    """
    first = next(iter(waiting))
    if first in alone:
        return [[first]]
    chains: list[list[str]] = []
    chosen: set[str] = set()
    most = 0
    for key, memory in waiting.items():
        needs = [name for name in graph.needs[key] if name in waiting]
        if key in alone or not chosen.issuperset(needs):
            continue
        below = next((chain for chain in chains if chain[-1] in needs), None)
        most = max(most, memory)
        wide = len(chains) + (below is None)
        if wide > 1 and (wide > available.slots or wide * most > available.memory):
            continue
        if below is None:
            chains.append([key])
        else:
            below.append(key)
        chosen.add(key)
    return chains


def _weight(load: StageLoad) -> tuple[bool, float, int]:
    return load.compiles, math.inf if load.seconds is None else load.seconds, load.memory_per_job or 0


def loads(graph: Graph, keys: Iterable[str], seconds: Mapping[str, float]) -> dict[str, StageLoad]:
    """What each stage is expected to need.

    A stage compiles when its Dockerfile asks for the number of jobs, or its recipe says what one job needs and has no
    other stage that could be meant: a package's layer often only unpacks what its artifact stage compiled.
    """
    by_artifact = {node.stage.package for node in graph.nodes.values() if node.stage.kind is StageKind.ARTIFACT}
    found = {}
    for key in keys:
        stage = graph.nodes[key].stage
        per_job = stage.definition.memory_per_job if stage.definition else None
        stated = per_job is not None and (stage.kind is StageKind.ARTIFACT or stage.package not in by_artifact)
        found[key] = resources.StageLoad(
            memory_per_job=per_job,
            compiles=stage.kind is not StageKind.META and (stated or takes_jobs(stage.dockerfile)),
            seconds=seconds.get(weight_name(stage)),
        )
    return found
