"""The search for a consistent set: resolvelib's provider over a catalog, and the solution it ends with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.errors import UnsatisfiableError
from jetson_containers.resolver_conflict import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jetson_containers.demands import Demand, Demands
    from jetson_containers.package import Package

MAX_ROUNDS = 20_000


@dataclass(frozen=True)
class Choice:
    """resolvelib's candidate: a package chosen for one key."""

    key: str
    name: str
    package: Package = field(compare=False)


@dataclass(frozen=True)
class Solution:
    """What the search chose for each key."""

    demands: Demands
    chosen: Mapping[str, Package]
    wanted: Mapping[str, tuple[Demand, ...]]  # all demands on each key
    overridden: tuple[tuple[Demand, Demand], ...] = ()  # pins of upstream's format that gave way, each with to which

    def choice(self, demand: Demand) -> Package:
        """The package that satisfies a demand; of versions that coexist, one that somebody pinned comes first."""
        package = self.chosen[demand.key]
        if demand.exact or not self.demands.coexists(demand.family):
            return package
        pinned = {self.chosen[key].name for key, wants in self.wanted.items() if wants[0].exact}
        members = self.demands.catalog.members(demand.family)
        return next((m for m in members if m.name in pinned and demand.accepts(m)), package)

    def depends(self, package: Package) -> list[Package]:
        """The packages a package depends on, as declared, without those that are skipped."""
        choices = [self.choice(demand) for demand in self.demands.made(package.depends, package.name)]
        return [choice for choice in choices if not self.demands.skips(choice)]

    def notices(self, packages: Iterable[Package]) -> list[str]:
        """Where the choice is not what the name alone would have meant."""
        packages = list(packages)
        notices = self._given_way({package.name for package in packages})
        for package in packages:
            wants = self.wanted.get(package.family, ())
            usual = self.demands.catalog.members(package.family)[0]
            if not wants or any(demand.exact for demand in wants):
                continue
            if usual.name != package.name:
                notices.append(f"`{package.name}` is taken instead of `{usual.name}`: {_because(wants, usual)}")
            elif not usual.default and usual.version and any(not d.dependency.specifier for d in wants):
                notices.append(f"`{package.family}` has no default version here; `{usual.name}`, the newest, is taken")
        return notices

    def _given_way(self, names: set[str]) -> list[str]:
        if not self.overridden:
            return []
        from jetson_containers import legacy_pins  # noqa: PLC0415 - only upstream's format has any

        return [
            legacy_pins.notice(demand, stronger, self.chosen[demand.key])
            for demand, stronger in self.overridden
            if demand.by in names
        ]


def _because(wants: Iterable[Demand], usual: Package) -> str:
    against = [f"{demand.demander} wants {demand.spelled}" for demand in wants if not demand.accepts(usual)]
    return ", ".join(dict.fromkeys(against)) or "that one does not go together with the rest"


class Search:
    """Solves sets of demands against one catalog.

    `requests` is what the user typed and `attempt` tells whether another request would resolve: both for explaining
    a failure, which is done only with `explain`.
    """

    def __init__(
        self, demands: Demands, requests: tuple[str, ...], attempt: Callable[[Sequence[str]], bool] | None = None
    ) -> None:
        self.demands = demands
        self.requests = requests
        self.explain = attempt is not None
        self.attempt = attempt or (lambda _: False)

    def run(
        self,
        wanted: Sequence[Demand],
        *,
        compiling: Package | None = None,
        image: Solution | None = None,
        pinned: Mapping[str, Package] | None = None,
    ) -> Solution:
        """Find the set.

        `compiling` is the package whose compile part this is for; then every family keeps the version it has in the
        image (`pinned`, by name). Raises the error of a demand that nothing satisfies, or UnsatisfiableError.
        """
        if compiling is None and self.demands.catalog.adaptable:
            from jetson_containers import legacy_pins  # noqa: PLC0415 - only upstream's format needs it

            settled = legacy_pins.settle(self.demands, wanted)
            if settled is not None:
                return Solution(self.demands, settled.chosen, settled.wanted, settled.overridden)
        import resolvelib  # noqa: PLC0415 - start-up time of the commands that resolve nothing

        provider: Any = Provider(self.demands, tuple((pinned or {}).values()))
        resolver: Any = resolvelib.Resolver(provider, resolvelib.BaseReporter())
        try:
            result = resolver.resolve(wanted, max_rounds=MAX_ROUNDS)
        except resolvelib.ResolutionImpossible as failure:
            causes = [cause.requirement for cause in failure.causes]
            kept = tuple((pinned or {}).values())
            raise Conflict(self, tuple(causes), compiling, image, kept).error() from None
        except resolvelib.resolvers.ResolutionTooDeep:
            raise UnsatisfiableError(
                f"no consistent set was found in {MAX_ROUNDS} steps", hint="pin some versions, as in `pytorch:2.8`"
            ) from None
        chosen = {key: choice.package for key, choice in result.mapping.items()}
        demands = {key: tuple(result.criteria[key].iter_requirement()) for key in chosen}
        return Solution(self.demands, chosen, demands)


class Provider:
    """What resolvelib asks. Not derived from its `AbstractProvider`, which would import it at start-up."""

    def __init__(self, demands: Demands, pinned: Sequence[Package]) -> None:
        self._demands = demands
        self._pinned = pinned

    def identify(self, requirement_or_candidate: Demand | Choice) -> str:
        """The key of a demand or choice."""
        return requirement_or_candidate.key

    def get_preference(
        self, identifier: str, *, information: Mapping[str, Iterator[Any]], **_: object
    ) -> tuple[int, str]:
        """Decide first what leaves the least choice; ties by name, so that the search is always the same."""
        return min(_freedom(info.requirement) for info in information[identifier]), identifier

    def narrow_requirement_selection(self, identifiers: Iterable[str], **_: object) -> Iterable[str]:
        """Everything may be decided next; `get_preference` tells what is."""
        return identifiers

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Demand]],
        incompatibilities: Mapping[str, Iterator[Choice]],
    ) -> list[Choice]:
        """The choices for a key, the preferred first."""
        refused = list(incompatibilities[identifier])
        wants = list(requirements[identifier])
        if not wants and not refused:
            return []
        # After a step back nobody may demand the key any more, and what was refused before still counts.
        family = wants[0].family if wants else refused[0].package.family
        packages = candidates_for(self._demands, wants, self._pinned, family=family)
        names = {choice.name for choice in refused}
        return [Choice(identifier, package.name, package) for package in packages if package.name not in names]

    def is_satisfied_by(self, requirement: Demand, candidate: Choice) -> bool:
        """Whether a choice satisfies a demand on its key."""
        return requirement.error is None and requirement.accepts(candidate.package)

    def get_dependencies(self, candidate: Choice) -> list[Demand]:
        """What choosing a package demands in turn."""
        return self._demands.made(candidate.package.depends, candidate.package.name)


def _freedom(demand: Demand) -> int:
    if demand.error is not None:
        return 0
    return 1 if demand.exact else 2 if demand.dependency.specifier else 3


def candidates_for(
    demands: Demands, wants: Sequence[Demand], pinned: Sequence[Package] = (), *, family: str = ""
) -> list[Package]:
    """The packages that satisfy all demands on one key, the preferred first; `family` where there may be no demand.

    A variant (`-builder`) is a candidate only where somebody names one, or where the family has nothing else.
    """
    if any(demand.error for demand in wants):
        return []
    family = family or wants[0].family
    members = list(demands.catalog.members(family))
    kept = [package for package in pinned if package.family == family]
    if kept and not demands.coexists(family):
        members = [package for package in members if package in kept]
    elif kept:
        members.sort(key=lambda package: package not in kept)
    else:
        members = _without_variants(demands, members, wants)
    return [package for package in members if all(demand.accepts(package) for demand in wants)]


def _without_variants(demands: Demands, members: list[Package], wants: Sequence[Demand]) -> list[Package]:
    named = {demand.exact for demand in wants if demand.exact and demands.catalog.available[demand.exact].variant}
    plain = [package for package in members if package.variant is None or package.name in named]
    return plain or members
