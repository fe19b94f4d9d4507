"""Candidates → verdicts → a ranking: which images answer a request here, which do not, and why.

Within a source, images that bear the requested name come before others that merely hold the package, then
`compat.rank_key` decides, then the order of the registries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.autotag.sources import extra_packages, unmet
from jetson_containers.images import compat
from jetson_containers.images.compat import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.autotag.sources import Candidate, Found, Names, Wanted
    from jetson_containers.core.errors import JetsonError
    from jetson_containers.platforms.detect import Platform


@dataclass(frozen=True)
class Judged:
    """A candidate, its verdict, and its place among those that are fit (1 is the choice; None: refused)."""

    candidate: Candidate
    verdict: Verdict
    rank: int | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of `autotag --explain --json`."""
        facts = self.candidate.facts
        return {
            "image": self.candidate.reference,
            "source": facts.source,
            "ok": self.verdict.ok,
            "reason": self.verdict.reason,
            "rank": self.rank,
            "rule": self.verdict.rule,
            "pushed": facts.pushed or None,
            "size": facts.size,
            "digest": self.candidate.digest,
        }


@dataclass(frozen=True)
class Choice:
    """What was decided and why. `image` is None when nothing is fit; `candidates` are sorted, best first."""

    request: tuple[str, ...]
    platform: Platform
    candidates: tuple[Judged, ...] = ()
    notices: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[JetsonError, ...] = ()

    @property
    def best(self) -> Candidate | None:
        """The candidate that was chosen."""
        return self.candidates[0].candidate if self.candidates and self.candidates[0].verdict.ok else None

    @property
    def image(self) -> str | None:
        """The reference that was chosen, as `docker run` takes it."""
        return self.best.reference if self.best else None

    def to_json(self) -> dict[str, Any]:
        """The choice as interface.md specifies it."""
        return {
            "request": list(self.request),
            "platform": self.platform.to_json(),
            "choice": self.image,
            "candidates": [judged.to_json() for judged in self.candidates],
            "notices": [*self.notices, *(problem.message for problem in self.problems)],
        }


def judge(candidate: Candidate, wanted: Sequence[Wanted], host: Platform, contents: Names | None = None) -> Verdict:
    """Decide on one image: is it finished, does it hold what was asked for, does it run here."""
    if refusal := unmet(candidate, wanted, contents):
        return Verdict(ok=False, rule=refusal[0], reason=refusal[1])
    return compat.compatible(candidate.facts, host)


def decide(
    request: Sequence[str], wanted: Sequence[Wanted], host: Platform, found: Found, contents: Names | None = None
) -> Choice:
    """Judge and rank what one source has. Pure: the same candidates give the same choice."""
    judged = [Judged(candidate, judge(candidate, wanted, host, contents)) for candidate in found.candidates]
    fit = sorted((e for e in judged if e.verdict.ok), key=lambda e: _merit(e.candidate, wanted, host))
    refused = [entry for entry in judged if not entry.verdict.ok]
    return Choice(
        tuple(request), host, _numbered(fit, refused, host), found.notices, found.notes, found.problems
    )  # fmt: skip


def _merit(candidate: Candidate, wanted: Sequence[Wanted], host: Platform) -> tuple[Any, ...]:
    """Sort key of a fit image, best first.

    Versions of different families do not compare: among images that only hold the package, the one with the least
    besides it comes first.
    """
    named = any(one.names_image(candidate.name) for one in wanted)
    extra = extra_packages(candidate, wanted)
    merit = compat.rank_key(replace(candidate.facts, reference=""), host)  # the reference decides last, not before us
    return (
        not named, 0 if named else extra, merit, extra, candidate.order,
        candidate.reference,
    )  # fmt: skip


def _distance(candidate: Candidate, host: Platform) -> tuple[Any, ...]:
    """Sort key of a refused image, nearest to the host first."""
    facts = candidate.facts
    apart = abs(facts.l4t.major - host.l4t.major) if facts.l4t and host.l4t else 99
    return facts.arch is not host.arch, apart, tuple(-ord(c) for c in facts.pushed), candidate.reference


def merge(request: Sequence[str], host: Platform, choices: Sequence[Choice]) -> Choice:
    """Join the choices of sources, in order: all fit images of the first come before those of the second."""
    judged = [entry for choice in choices for entry in choice.candidates]
    fit = [entry for entry in judged if entry.verdict.ok]
    refused = [entry for entry in judged if not entry.verdict.ok]
    return Choice(
        tuple(request),
        host,
        _numbered(fit, refused, host),
        tuple(dict.fromkeys(notice for choice in choices for notice in choice.notices)),
        tuple(note for choice in choices for note in choice.notes),
        tuple(problem for choice in choices for problem in choice.problems),
    )


def _numbered(fit: Sequence[Judged], refused: Sequence[Judged], host: Platform) -> tuple[Judged, ...]:
    numbered = (replace(entry, rank=rank) for rank, entry in enumerate(fit, 1))
    return (*numbered, *sorted(refused, key=lambda entry: _distance(entry.candidate, host)))
