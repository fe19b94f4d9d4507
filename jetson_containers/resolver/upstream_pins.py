"""One version per family where recipes of upstream's format pin several.

Such recipes were written for a list of names in which pins replace each other, so contradictions between them are
common: one asks for `llvm:20`, another for `llvm:22`. Upstream stacks both, or never ends. Here the pin nearest to
the request counts and the others give way, with a notice. Pins of the request and of recipes in our format always hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jetson_containers.resolver.solution import candidates_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jetson_containers.core.errors import JetsonError
    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.demands import Demand, Demands

MAX_ROUNDS = 25


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A choice for every key, the demands on each, and those that gave way with the ones they gave way to."""

    chosen: Mapping[str, Package]
    wanted: Mapping[str, tuple[Demand, ...]]
    overridden: tuple[tuple[Demand, Demand], ...] = ()


@dataclass(kw_only=True)
class _Round:
    wanted: dict[str, list[Demand]] = field(default_factory=dict)
    chosen: dict[str, Package] = field(default_factory=dict)
    overridden: list[tuple[Demand, Demand]] = field(default_factory=list)


def settle(demands: Demands, wanted: Sequence[Demand]) -> Settled | JetsonError | None:
    """Choose, going outward from the request until nothing changes.

    An error or None where that gives no answer: a demand is for what does not exist here, which the error says; or
    what must hold contradicts itself, or every choice leads to another. The search then tries other versions.
    """
    before: dict[str, Package] = {}
    for _ in range(MAX_ROUNDS):
        now = _Round(wanted=_walk(demands, wanted, before))
        missing = next((wants[0] for wants in now.wanted.values() if wants[0].error), None)
        for key, wants in now.wanted.items():
            if wants[0].error:
                continue
            choice = _choose(demands, wants, now.overridden)
            if choice is None:
                return None
            now.chosen[key] = choice
        if now.chosen == before:
            if missing is not None and missing.error is not None:
                return missing.error
            fixed = {key: tuple(wants) for key, wants in now.wanted.items()}
            return Settled(chosen=now.chosen, wanted=fixed, overridden=tuple(now.overridden))
        before = now.chosen
    return None


def _walk(demands: Demands, wanted: Sequence[Demand], chosen: Mapping[str, Package]) -> dict[str, list[Demand]]:
    """All demands, the nearest to the request first, as far as the choices made so far lead."""
    result: dict[str, list[Demand]] = {}
    seen: set[str] = set()
    level = list(wanted)
    while level:
        further: list[Demand] = []
        for demand in level:
            wants = result.setdefault(demand.key, [])
            if demand not in wants:
                wants.append(demand)
            package = chosen.get(demand.key) or next(iter(candidates_for(demands, [demand])), None)
            if package is not None and package.name not in seen:
                seen.add(package.name)
                further += demands.made(package.depends, package.name)
        level = further
    return result


def _choose(demands: Demands, wants: Sequence[Demand], overridden: list[tuple[Demand, Demand]]) -> Package | None:
    """The package for one key that satisfies all demands, or else all that must hold and then the nearest."""
    fitting = candidates_for(demands, wants)
    if fitting:
        return fitting[0]
    kept = [demand for demand in wants if not _gives_way(demands, demand)]
    if kept and not candidates_for(demands, kept):
        return None
    for demand in wants:
        if demand in kept:
            continue
        if candidates_for(demands, [*kept, demand]):
            kept.append(demand)
        elif kept:
            stronger = next((other for other in kept if not candidates_for(demands, [other, demand])), kept[0])
            overridden.append((demand, stronger))
    return candidates_for(demands, kept)[0] if kept else None


def _gives_way(demands: Demands, demand: Demand) -> bool:
    return bool(demand.by) and demands.catalog.available[demand.by].adaptable
