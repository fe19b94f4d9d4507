"""The search for a consistent set: resolvelib's provider over a catalog, and the solution it ends with."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import JetsonError, UnavailablePackageError, UnsatisfiableError
from jetson_containers.core.versions import pep440
from jetson_containers.resolver import direct
from jetson_containers.resolver.solution import PackageChoice, Solution, candidates_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.demands import Demand, Demands
    from jetson_containers.resolver.explain import Conflict

MAX_ROUNDS = 20_000
ROUNDS_AFTER_WALK = 1_000  # where the walk knows what is missing
_NAMES_CUDA = r"cu([0-9]{2,})([0-9])"  # a version such as `cu126`


@dataclass(frozen=True, kw_only=True)
class BadGuess:
    """A package that is there only because it is the newest, and goes against what somebody chose."""

    package: Package
    by: str  # who wants its family; empty for the request
    against: str  # what was chosen
    reason: str  # what the guess says to that
    of_platform: bool = False
    of_request: bool = False


def bad_guess(solution: Solution) -> BadGuess | None:
    """The first guess of a solution that goes against what somebody chose; None where all are good.

    Chosen are defaults, the platform's CUDA, and in upstream's format the versions that the request names. A guess is
    a version of a family without a default and without a pin. What only guesses depend on is a guess too.
    """
    guesses = {key: package for key, package in solution.chosen.items() if _is_guess(solution, key, package)}
    for key, package in guesses.items():
        words = _other_cuda(solution, package)
        if words and _has_choice(solution, package):
            return BadGuess(
                package=package, by=solution.wanted[key][0].by, against=words[0], reason=words[1], of_platform=True
            )
    roots = _roots(solution, guesses)
    for key, package in solution.chosen.items():
        usual = solution.demands.catalog.members(package.family)[0]
        wants = solution.wanted.get(key, ())
        against = [demand for demand in wants if not demand.accepts(usual)]
        if not usual.default or package is usual or not against or any(demand.by not in roots for demand in against):
            continue
        guess = roots[against[0].by]
        # Of a family with a single version that one was meant, unless it takes the default from who asks for it.
        if _has_choice(solution, guesses[guess]) or any(demand.by not in roots for demand in wants):
            chosen = f"`{usual.name}`, the default of `{usual.family}` here"
            reason = f"`{against[0].by}` wants `{against[0].spelled}`"
            return BadGuess(package=guesses[guess], by=solution.wanted[guess][0].by, against=chosen, reason=reason)
    for demand, stronger in solution.overridden:
        guess = roots.get(demand.by, "")
        if not stronger.by and guess and _has_choice(solution, guesses[guess]):
            chosen = f"`{stronger.spelled}`, which the request names"
            reason = f"`{demand.by}` wants `{demand.spelled}`"
            return BadGuess(
                package=guesses[guess], by=solution.wanted[guess][0].by, against=chosen, reason=reason, of_request=True
            )
    return None


def _is_guess(solution: Solution, key: str, package: Package) -> bool:
    """Whether this version was not chosen: it is neither a default nor a pin."""
    members = solution.demands.catalog.members(package.family)
    return bool(
        package.version
        and not solution.demands.coexists(package.family)
        and not any(member.default for member in members)
        and solution.wanted.get(key)
        and not any(demand.exact for demand in solution.wanted[key])
    )


def _has_choice(solution: Solution, package: Package) -> bool:
    return sum(not member.variant for member in solution.demands.catalog.members(package.family)) > 1


def _roots(solution: Solution, guesses: Mapping[str, Package]) -> dict[str, str]:
    """Guesses and what only they want, by name, each with the key of the guess it came from.

    A default is not a guess.
    """
    roots = {package.name: key for key, package in guesses.items()}
    before = -1
    while len(roots) != before:
        before = len(roots)
        for key, package in solution.chosen.items():
            wants = solution.wanted.get(key, ())
            if package.name not in roots and not package.default and wants and all(d.by in roots for d in wants):
                roots[package.name] = roots[wants[0].by]
    return roots


def _other_cuda(solution: Solution, package: Package) -> tuple[str, str] | None:
    """Where a version names a CUDA that is not the platform's: that, and what the version says."""
    cuda = solution.demands.catalog.platform.cuda
    named = re.fullmatch(_NAMES_CUDA, package.version or "")
    version = pep440(f"{named[1]}.{named[2]}" if named else package.version if package.family == "cuda" else None)
    if version is None or cuda is None or version.release[:2] == cuda.release[:2]:
        return None
    return f"the platform's CUDA {cuda}", f"`{package.name}` is for CUDA {version.major}.{version.minor}"


def _no_guess(guesses: Sequence[BadGuess]) -> JetsonError:
    """The error where no version of a family without a default goes with what was chosen."""
    first = guesses[0]
    family = first.package.family
    asked = f", which `{first.by}` asks for," if first.by else ""
    details = [
        item.reason if f"`{item.package.name}`" in item.reason else f"`{item.package.name}`: {item.reason}"
        for item in guesses
        if item.package.family == family
    ]
    kind = UnavailablePackageError if first.of_platform else UnsatisfiableError
    then = "it is then made with what the request names" if first.of_request else "what it wants then counts"
    return kind(
        f"no version of `{family}`{asked} is the default here, and none goes with {first.against}",
        details=list(dict.fromkeys(details)),
        hint=f"name the version to take, as in `{first.package.name}`: {then}",
    )


class VersionSearch:
    """Solves sets of demands against one catalog.

    `requests` is what the user typed and `attempt` tells whether another request would resolve: both for explaining
    a failure, which is done only with `attempt`.
    """

    def __init__(
        self, demands: Demands, requests: tuple[str, ...], attempt: Callable[[Sequence[str]], bool] | None = None
    ) -> None:
        self.demands = demands
        self.requests = requests
        self.attempt = attempt

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
        if compiling is not None:
            return self._searched(wanted, None, compiling, image, tuple((pinned or {}).values()))
        guesses: list[BadGuess] = []
        while True:
            try:
                solution = self._found(wanted)
            except JetsonError:
                if guesses:
                    raise _no_guess(guesses) from None
                raise
            bad = bad_guess(solution)
            if bad is None:
                return solution
            guesses.append(bad)
            self.demands.unfit.add(bad.package.name)

    def _found(self, wanted: Sequence[Demand]) -> Solution:
        """The set of an image: by upstream's walk where that has an answer, else by the search."""
        failure = None
        if self.demands.catalog.adaptable:
            from jetson_containers.resolver import upstream_pins

            settled = upstream_pins.settle(self.demands, wanted)
            if isinstance(settled, upstream_pins.Settled):
                return Solution(
                    demands=self.demands, chosen=settled.chosen, wanted=settled.wanted, overridden=settled.overridden
                )
            failure = settled
        return self._searched(wanted, failure)

    def _searched(
        self,
        wanted: Sequence[Demand],
        known: JetsonError | None,
        compiling: Package | None = None,
        image: Solution | None = None,
        kept: tuple[Package, ...] = (),
    ) -> Solution:
        """Decide, with resolvelib where choices have to be taken back.

        `known` is why the walk had no answer, which is said where this has none either.
        """
        solution = direct.decide(self.demands, wanted, kept)
        if solution is not None:
            return solution
        import resolvelib

        provider: Any = Provider(self.demands, kept)
        resolver: Any = resolvelib.Resolver(provider, resolvelib.BaseReporter())
        try:
            result = resolver.resolve(wanted, max_rounds=ROUNDS_AFTER_WALK if known else MAX_ROUNDS)
        except resolvelib.ResolutionImpossible as failure:
            causes = [cause.requirement for cause in failure.causes]
            raise known or self._conflict(tuple(causes), compiling, image, kept).error() from None
        except resolvelib.resolvers.ResolutionTooDeep:
            raise known or UnsatisfiableError(
                f"no consistent set was found in {MAX_ROUNDS} steps", hint="pin some versions, as in `pytorch:2.8`"
            ) from None
        chosen = {key: choice.package for key, choice in result.mapping.items()}
        demands = {key: tuple(result.criteria[key].iter_requirement()) for key in chosen}
        return Solution(demands=self.demands, chosen=chosen, wanted=demands)

    def _conflict(
        self, causes: tuple[Demand, ...], compiling: Package | None, image: Solution | None, kept: tuple[Package, ...]
    ) -> Conflict:
        from jetson_containers.resolver.explain import Conflict

        return Conflict(
            demands=self.demands,
            requests=self.requests,
            attempt=self.attempt,
            causes=causes,
            compiling=compiling,
            image=image,
            kept=kept,
        )


class Provider:
    """What resolvelib asks. Not derived from its `AbstractProvider`, which would import it at start-up."""

    def __init__(self, demands: Demands, pinned: Sequence[Package]) -> None:
        self._demands = demands
        self._pinned = pinned

    def identify(self, requirement_or_candidate: Demand | PackageChoice) -> str:
        """The key of a demand or choice."""
        return requirement_or_candidate.key

    def get_preference(
        self, identifier: str, *, information: Mapping[str, Iterator[Any]], **_: object
    ) -> tuple[int, str]:
        """Decide first what leaves the least choice; ties by name, so that the search is always the same."""
        return min(info.requirement.freedom for info in information[identifier]), identifier

    def narrow_requirement_selection(self, identifiers: Iterable[str], **_: object) -> Iterable[str]:
        """Everything may be decided next; `get_preference` tells what is."""
        return identifiers

    def find_matches(
        self,
        identifier: str,
        requirements: Mapping[str, Iterator[Demand]],
        incompatibilities: Mapping[str, Iterator[PackageChoice]],
    ) -> list[PackageChoice]:
        """The choices for a key, the preferred first."""
        refused = list(incompatibilities[identifier])
        wants = list(requirements[identifier])
        if not wants and not refused:
            return []
        # After a step back there may be no demand for the key any more, and earlier refusals still count.
        family = wants[0].family if wants else refused[0].package.family
        packages = candidates_for(self._demands, wants, self._pinned, family=family)
        names = {choice.name for choice in refused}
        return [
            PackageChoice(key=identifier, name=package.name, package=package)
            for package in packages
            if package.name not in names
        ]

    def is_satisfied_by(self, requirement: Demand, candidate: PackageChoice) -> bool:
        """Whether a choice satisfies a demand on its key."""
        return requirement.error is None and requirement.accepts(candidate.package)

    def get_dependencies(self, candidate: PackageChoice) -> list[Demand]:
        """What choosing a package demands in turn."""
        return self._demands.made(candidate.package.depends, candidate.package.name)
