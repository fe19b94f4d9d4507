"""Why no consistent set exists: both demanders, how they came in, and ways out that were tried and work."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from jetson_containers.core.errors import JetsonError, UnsatisfiableError, command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.demands import Demand, Demands
    from jetson_containers.resolver.solution import Solution

MAX_WAYS = 4


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A failed search. `causes` are the demands that met last; `kept` the image's packages a compile part must use."""

    demands: Demands
    requests: tuple[str, ...]  # what the user typed
    attempt: Callable[[Sequence[str]], bool] | None  # whether another request would resolve; None: no ways out
    causes: tuple[Demand, ...]
    compiling: Package | None = None
    image: Solution | None = None
    kept: tuple[Package, ...] = ()

    def error(self) -> JetsonError:
        """Make the error: that of a demand nothing can satisfy, else the conflict with its ways out."""
        for cause in self.causes:
            if cause.error is not None:
                return cause.error
        demands = self._opposed()
        family = demands[0].family
        part = f" to compile `{self.compiling.name}`" if self.compiling else ""
        details = [*map(self._described, demands), *self._kept_lines(family)]
        ways = self._ways_out(demands) if self.attempt else []
        details += [f"{number}. {way}" for number, way in enumerate(ways, 1)]
        return UnsatisfiableError(
            f"no version of `{family}` satisfies everything that is wanted{part}",
            details=details,
            hint="ways to resolve this are numbered above" if ways else None,
        )

    def _resolves(self, requests: Sequence[str]) -> bool:
        return self.attempt is not None and self.attempt(requests)

    def _opposed(self) -> list[Demand]:
        """The smallest set of causes on one key that exclude each other: two demands, if any two do."""
        groups: defaultdict[str, list[Demand]] = defaultdict(list)
        for cause in self.causes:
            if cause not in groups[cause.key]:
                groups[cause.key].append(cause)
        for group in groups.values():
            ordered = sorted(group, key=lambda demand: (demand.by, demand.spelled))
            for pair in combinations(ordered, 2):
                if not self._together(pair):
                    return list(pair)
        impossible = [group for group in groups.values() if not self._together(group)]
        return min(impossible or groups.values(), key=len)

    def _together(self, wants: Sequence[Demand]) -> bool:
        members = self.demands.catalog.members(wants[0].family)
        return any(all(demand.accepts(package) for demand in wants) for package in members)

    def _described(self, demand: Demand) -> str:
        chain = self._chain(demand.by) if demand.by else []
        through = f" (through {' -> '.join(chain)})" if len(chain) > 1 else ""
        return f"{demand.demander} wants `{demand.spelled}`{through}"

    def _kept_lines(self, family: str) -> Iterator[str]:
        for package in self.kept:
            if package.family == family and self.image:
                wants = self.image.wanted.get(family, ())
                by = ", ".join(dict.fromkeys(f"{demand.demander}: `{demand.spelled}`" for demand in wants))
                yield f"the image itself has `{package.name}`" + (f" ({by})" if by else "")

    def _chain(self, name: str) -> list[str]:
        """How a package came in: the shortest way to it from the request."""
        demands = self.demands
        todo: deque[tuple[Demand, list[str]]] = deque((d, []) for d in demands.requested(self.requests))
        seen: set[str] = set()
        while todo:
            demand, path = todo.popleft()
            for package in demands.catalog.members(demand.family):
                if package.name in seen or demand.error is not None or not demand.accepts(package):
                    continue
                if package.name == name:
                    return [*path, name]
                seen.add(package.name)
                compiling = package.artifacts.depends if package.artifacts else ()
                needs = demands.made((*package.depends, *compiling), package.name)
                todo.extend((need, [*path, package.name]) for need in needs)
        return [name]

    def _ways_out(self, wants: Sequence[Demand]) -> list[str]:
        """Requests that do resolve, then what a recipe's author can change."""
        tried = [*self._apart(), *self._other_versions(wants), *self._without_pin(wants)]
        return [*list(dict.fromkeys(tried))[: MAX_WAYS - 1], *self._for_authors(wants)]

    def _apart(self) -> Iterator[str]:
        requests = self.requests
        for index, request in enumerate(requests):
            others = [*requests[:index], *requests[index + 1 :]]
            if len(requests) == 2 and index:  # the same two images the other way round
                return
            if others and self._resolves([request]) and self._resolves(others):
                yield f"make two images: {_build(request)} and {_build(*others)}"

    def _other_versions(self, wants: Sequence[Demand]) -> Iterator[str]:
        catalog = self.demands.catalog
        for by in dict.fromkeys(demand.by for demand in wants if demand.by):
            demander = catalog.available[by]
            for other in catalog.members(demander.family):
                if other.name == by or other.variant != demander.variant:
                    continue
                requests = self._replaced(demander.family, other.name)
                if self._resolves(requests):
                    yield f"take `{other.name}` instead of `{by}`: {_build(*requests)}"
                    break

    def _without_pin(self, wants: Sequence[Demand]) -> Iterator[str]:
        for demand in wants:
            if not demand.by and demand.spelled != demand.family:
                requests = self._replaced(demand.family, demand.family)
                if self._resolves(requests):
                    yield f"leave the version open: {_build(*requests)}"

    def _replaced(self, family: str, request: str) -> list[str]:
        """The request with another entry for one family, which is added where there is none."""
        demands = self.demands
        result = [
            request if any(demand.family == family for demand in demands.requested([old])) else old
            for old in self.requests
        ]
        return list(dict.fromkeys(result if request in result else [*result, request]))

    def _for_authors(self, wants: Sequence[Demand]) -> Iterator[str]:
        available = self.demands.catalog.available
        origins = [f"`{d.by}` ({available[d.by].origin or available[d.by].path})" for d in wants if d.by]
        if origins:
            yield f"change `depends` of {' or '.join(dict.fromkeys(origins))}"


def _build(*requests: str) -> str:
    return command("./build.sh", *requests)
