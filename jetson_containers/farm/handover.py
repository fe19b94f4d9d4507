"""When a stage is handed to Dask, and whether beside its parent: pure bookkeeping without threads or clocks.

Dask binds a task to a worker as soon as it can run, the one that has its parent, and moves it elsewhere later without a
look at priorities: an urgent stage then waits behind a long one while other workers take less urgent ones. Stages are
therefore handed over when a worker is free that can take them, the most urgent first, and Dask has nothing to queue.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jetson_containers.farm.labels import MEMORY, lacking

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PULL = 30.0  # seconds that pulling a parent is taken to cost: 3 GB at 100 MB/s


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A worker: its name, how many stages it builds at once, its resources, and the keys that Dask has given it."""

    name: str
    slots: int
    resources: Mapping[str, float]
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Due:
    """A stage whose turn it is. `beside`: a worker that has its parent is free."""

    key: str
    beside: bool = False


@dataclass(kw_only=True)
class _Room:
    """What a worker has left."""

    offer: Offer
    slots: int
    memory: float

    def holds(self, need: Mapping[str, float]) -> bool:
        """Whether a stage can begin here now."""
        return self.slots > 0 and self.memory >= need[MEMORY] and not lacking(need, [self.offer.resources])

    def take(self, need: Mapping[str, float]) -> None:
        """Count a stage in."""
        self.slots -= 1
        self.memory -= need[MEMORY]


@dataclass(kw_only=True)
class Handover:
    """Stages on their way through a farm.

    `parents` are the stages of this build that each stage stands on, `urgency` orders those that can start, and `needs`
    are the resources (`labels.needed`) of each.
    """

    parents: Mapping[str, Sequence[str]]
    urgency: Mapping[str, float]
    needs: Mapping[str, Mapping[str, float]]
    _given: set[str] = field(default_factory=set)
    _where: dict[str, str] = field(default_factory=dict)  # finished stages by key: the name of their worker
    _lost: set[str] = field(default_factory=set)

    @property
    def given(self) -> frozenset[str]:
        """Stages that were handed over and have not ended."""
        return frozenset(self._given)

    @property
    def going_on(self) -> bool:
        """Whether anything is left to hand over or to wait for."""
        return len(self._where) + len(self._lost) < len(self.parents)

    def due(self, offers: Sequence[Offer]) -> Iterator[Due]:
        """Stages to hand over now; each counts as given."""
        seen = frozenset().union(*(offer.keys for offer in offers))
        rooms = [self._room(offer) for offer in offers]
        for key in sorted(self._given - seen):  # on their way to a worker
            self._reserve(key, rooms)
        ready = self._ready()
        for key in [key for key in ready if key in seen]:  # another build asked for it: it waits for the same task
            ready.remove(key)
            self._given.add(key)
            yield Due(key=key)
        given = []
        while found := self._best(ready, rooms):
            key, room, beside = found
            room.take(self.needs[key])
            ready.remove(key)
            self._given.add(key)
            given.append(Due(key=key, beside=beside))
        # Dask places the others where nothing runs: those that have a place must have taken it.
        yield from sorted(given, key=lambda due: not due.beside)

    def finish(self, key: str, worker: str) -> None:
        """Take note that a worker has made a stage."""
        self._given.discard(key)
        self._where[key] = worker

    def fail(self, key: str) -> tuple[str, ...]:
        """Take note that a stage failed: its key and those of all that stand on it."""
        self._given.discard(key)
        lost = {key}
        for name, parents in self.parents.items():  # in build order
            if not lost.isdisjoint(parents):
                lost.add(name)
        self._lost |= lost
        return tuple(name for name in self.parents if name in lost)

    def _ready(self) -> list[str]:
        out = self._given | self._lost | self._where.keys()
        ready = [key for key, parents in self.parents.items() if key not in out and self._where.keys() >= set(parents)]
        return sorted(ready, key=lambda key: -self.urgency[key])

    def _holders(self, key: str) -> set[str]:
        return {self._where[name] for name in self.parents[key]}

    def _room(self, offer: Offer) -> _Room:
        used = sum(self.needs[key][MEMORY] for key in offer.keys if key in self.needs)
        left = offer.resources.get(MEMORY, 0.0) - used
        return _Room(offer=offer, slots=offer.slots - len(offer.keys), memory=left)

    def _reserve(self, key: str, rooms: Sequence[_Room]) -> None:
        """Count a stage in where it may be."""
        for room in rooms:
            if room.holds(self.needs[key]):
                room.take(self.needs[key])
                return

    def _best(self, ready: Sequence[str], rooms: Sequence[_Room]) -> tuple[str, _Room, bool] | None:
        """The stage that is next, its place, and whether that has a parent of it; a pull saved counts as urgency."""
        best: tuple[float, str, _Room, bool] | None = None
        for key in ready:  # the most urgent first
            if best is not None and self.urgency[key] + PULL <= best[0]:
                break
            free = [room for room in rooms if room.holds(self.needs[key])]
            holders = self._holders(key)
            place = next((room for room in free if room.offer.name in holders), None)
            urgency = self.urgency[key] + (PULL if place else 0.0)
            if free and (best is None or urgency > best[0]):
                best = (urgency, key, place or free[0], place is not None)
        return best[1:] if best else None
