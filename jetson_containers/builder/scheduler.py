"""Which stage starts next: a ready queue, the longest remaining chain first, within slots and memory.

Pure bookkeeping without threads or clocks; `builder` drives it. At any time the memory reserved for running stages
is within the budget, unless a single stage that alone exceeds it runs by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.builder import resources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jetson_containers.builder.graph import Graph
    from jetson_containers.builder.resources import Resources, Share


class Scheduler:
    """Hands out each of `keys` once, when all it depends on among them is finished."""

    def __init__(
        self, graph: Graph, keys: Iterable[str], priorities: Mapping[str, float], available: Resources
    ) -> None:
        self._graph = graph
        self._priorities = priorities
        self._available = available
        wanted = set(keys)
        self._blockers = {key: set(graph.needs[key]) & wanted for key in graph.nodes if key in wanted}
        self._running: dict[str, Share] = {}

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
                    self._memory_per_job(key),
                    self._available,
                    reserved=self.reserved,
                    running=len(self._running),
                    waiting=len(ready),
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
        least = resources.least_memory(self._memory_per_job(key))
        return not self._running or self.reserved + least <= self._available.memory

    def _memory_per_job(self, key: str) -> int | None:
        return _memory_per_job(self._graph, key)


class CallScheduler(Scheduler):
    """Hands out stages in groups, each of which one command of the engine builds; the next one when all have ended.

    `alone` are stages that the command cannot build with others. `begin` is told each group before it is handed out.
    """

    def __init__(
        self,
        graph: Graph,
        keys: Iterable[str],
        available: Resources,
        *,
        alone: frozenset[str],
        begin: Callable[[Sequence[str]], None],
    ) -> None:
        super().__init__(graph, keys, {}, available)
        self._alone = alone
        self._begin = begin
        self._group: list[tuple[str, Share]] = []

    def next(self) -> tuple[str, Share] | None:
        """Hand out the next stage of the group, and begin another one when nothing runs."""
        if not self._group and not self._running and self._blockers:
            chains = group(self._graph, list(self._blockers), self._available, self._alone)
            members = [key for key in self._blockers if any(key in chain for chain in chains)]
            self._group = [(key, self._share(key, len(chains))) for key in members]
            self._begin(members)
        if not self._group:
            return None
        key, share = self._group.pop(0)
        del self._blockers[key]
        self._running[key] = share
        return key, share

    def _share(self, key: str, chains: int) -> Share:
        return resources.share(self._memory_per_job(key), self._available, reserved=0, running=0, waiting=chains)


def group(
    graph: Graph, waiting: Sequence[str], available: Resources, alone: frozenset[str] = frozenset()
) -> list[list[str]]:
    """Choose stages to build by one command, as chains: of each only one stage runs at a time.

    `waiting` stands in build order. The engine starts everything that can start, so there are no more chains than
    slots, nor than memory for one compile job of each. A stage of `alone` makes a group by itself.
    """
    if waiting[0] in alone:
        return [[waiting[0]]]
    chains: list[list[str]] = []
    chosen: set[str] = set()
    missing = set(waiting)
    most = 0
    for key in waiting:
        needs = [name for name in graph.needs[key] if name in missing]
        if key in alone or not chosen.issuperset(needs):
            continue
        below = next((chain for chain in chains if chain[-1] in needs), None)
        most = max(most, resources.least_memory(_memory_per_job(graph, key)))
        wide = len(chains) + (below is None)
        if wide > 1 and (wide > available.slots or wide * most > available.memory):
            continue
        if below is None:
            chains.append([key])
        else:
            below.append(key)
        chosen.add(key)
    return chains


def _memory_per_job(graph: Graph, key: str) -> int | None:
    definition = graph.nodes[key].stage.definition
    return definition.memory_per_job if definition else None
