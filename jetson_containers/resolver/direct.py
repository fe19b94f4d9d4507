"""The set where no choice has to be taken back: most requests, in time that grows with what they hold.

The order of decisions and what is chosen are those of resolvelib with `search.Provider`, which looks at everything
again after each decision. Where a later demand speaks against a choice, there is no answer here, and resolvelib looks
for one.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from typing import TYPE_CHECKING

from jetson_containers.resolver.solution import Solution, candidates_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.demands import Demand, Demands


def decide(demands: Demands, wanted: Sequence[Demand], kept: Sequence[Package]) -> Solution | None:
    """What satisfies the demands and all that follow from them; None where a choice would have to be taken back.

    A package of `kept` is the only choice for its family, or the first of versions that coexist.
    """
    decisions = _Decisions(demands, kept)
    if not all(map(decisions.add, wanted)):
        return None
    while (key := decisions.next()) is not None:
        package = decisions.candidates[key][0]
        decisions.chosen[key] = package
        if not all(map(decisions.add, demands.made(package.depends, package.name))):
            return None
    wanted_by_key = {key: tuple(decisions.wants[key]) for key in decisions.chosen}
    return Solution(demands=demands, chosen=decisions.chosen, wanted=wanted_by_key)


class _Decisions:
    """What was chosen, and what may be decided next."""

    def __init__(self, demands: Demands, kept: Sequence[Package]) -> None:
        self.chosen: dict[str, Package] = {}
        self.wants: defaultdict[str, list[Demand]] = defaultdict(list)
        self.candidates: dict[str, list[Package]] = {}
        self._demands = demands
        self._kept = kept
        self._seen: set[tuple[str, str, str]] = set()
        self._open: list[tuple[int, str]] = []

    def add(self, demand: Demand) -> bool:
        """Take in a demand; False where it cannot be satisfied with what was chosen."""
        if demand.error is not None:
            return False
        key = demand.key
        self.wants[key].append(demand)
        if key in self.chosen:
            return demand.accepts(self.chosen[key])
        kind = (key, demand.exact, demand.dependency.specifier)
        if kind not in self._seen:  # one more of a kind accepts just the same
            self._seen.add(kind)
            self.candidates[key] = candidates_for(self._demands, self.wants[key], self._kept)
            heapq.heappush(self._open, (demand.freedom, key))
        return bool(self.candidates[key])

    def next(self) -> str | None:
        """The key with the least choice; ties by name, so that the decisions are always the same."""
        while self._open:
            _, key = heapq.heappop(self._open)
            if key not in self.chosen:
                return key
        return None
