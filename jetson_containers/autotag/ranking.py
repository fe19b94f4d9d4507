"""Candidates → verdicts → a ranking: which images answer a request here, which do not, and why.

Within a source, images with the requested name come before others that merely hold the package, then
`rank_key` decides, then the order of the registries.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.autotag.matching import extra_packages, is_finished, unmet
from jetson_containers.core.versions import pep440
from jetson_containers.images.compat import Verdict, compatible, native_limit
from jetson_containers.platforms import cuda
from jetson_containers.platforms.cuda import Runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from packaging.version import Version

    from jetson_containers.autotag.types import ImageCandidate, Names, SourceFindings, Wanted
    from jetson_containers.core.errors import JetsonError
    from jetson_containers.images.compat import ImageFacts
    from jetson_containers.platforms.platform import Platform


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A candidate, its verdict, and its place among those that are fit (1 is the choice; None: refused)."""

    candidate: ImageCandidate
    verdict: Verdict
    rank: int | None = None
    distance: tuple[Any, ...] = ()  # of a refused one from what was asked for and from this host, as a sort key

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


@dataclass(frozen=True, kw_only=True)
class ImageChoice:
    """What was decided and why. `image` is None when nothing is fit; `candidates` are sorted, best first."""

    request: tuple[str, ...]
    platform: Platform
    candidates: tuple[Judged, ...] = ()
    notices: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[JetsonError, ...] = ()

    @property
    def best(self) -> ImageCandidate | None:
        """The candidate that was chosen."""
        return self.candidates[0].candidate if self.candidates and self.candidates[0].verdict.ok else None

    @property
    def image(self) -> str | None:
        """The reference that was chosen, as `docker run` takes it."""
        return self.best.reference if self.best else None

    def to_json(self) -> dict[str, Any]:
        """The choice for `autotag --json`."""
        return {
            "request": list(self.request),
            "platform": self.platform.to_json(),
            "choice": self.image,
            "candidates": [judged.to_json() for judged in self.candidates],
            "notices": [*self.notices, *(problem.message for problem in self.problems)],
        }


def _judged(
    candidate: ImageCandidate, wanted: Sequence[Wanted], host: Platform, contents: Names | None = None
) -> Judged:
    """Decide on one image: is it finished, does it hold what was asked for, does it run here."""
    lacking = unmet(candidate, wanted, contents)
    runs = compatible(candidate.facts, host)
    verdict = Verdict(ok=False, rule=lacking[0], reason=lacking[1]) if lacking else runs
    if verdict.ok:
        return Judged(candidate=candidate, verdict=verdict)
    distance = _distance_key(candidate, wanted, host, lacking=lacking is not None, runs=runs.ok)
    return Judged(candidate=candidate, verdict=verdict, distance=distance)


def decide(
    request: Sequence[str],
    wanted: Sequence[Wanted],
    host: Platform,
    found: SourceFindings,
    contents: Names | None = None,
    *,
    native: bool = False,
) -> ImageChoice:
    """Judge and rank what one source has. Pure: the same candidates give the same choice."""
    judged = [_judged(candidate, wanted, host, contents) for candidate in found.candidates]
    fit = sorted((e for e in judged if e.verdict.ok), key=lambda e: sort_key(e.candidate, wanted, host, native=native))
    refused = [entry for entry in judged if not entry.verdict.ok]
    return ImageChoice(
        request=tuple(request),
        platform=host,
        candidates=_numbered(fit, refused),
        notices=found.notices,
        notes=found.notes,
        problems=found.problems,
    )


def sort_key(
    candidate: ImageCandidate, wanted: Sequence[Wanted], host: Platform, *, native: bool = False
) -> tuple[Any, ...]:
    """Sort key of a fit image, best first.

    Versions of different families do not compare: among images that only hold the package, the one with the least
    besides it comes first.
    """
    named = any(candidate.has_name(one) for one in wanted)
    extra = extra_packages(candidate, wanted)
    merit = rank_key(
        replace(candidate.facts, reference=""), host, native=native
    )  # the reference decides last, not before us
    return (
        not named, 0 if named else extra, merit, extra, candidate.order,
        candidate.reference,
    )  # fmt: skip


def _distance_key(
    candidate: ImageCandidate, wanted: Sequence[Wanted], host: Platform, *, lacking: bool, runs: bool
) -> tuple[Any, ...]:
    """Sort key of a refused image, nearest first: what runs here, holds the request, is named most like it."""
    facts = candidate.facts
    apart = abs(facts.l4t.major - host.l4t.major) if facts.l4t and host.l4t else 99
    tag = candidate.name.tag or ""
    alike = max((_common_start(one.tag or "", tag) for one in wanted), default=0)
    return (
        not is_finished(candidate.role), not runs, lacking, -alike, facts.arch is not host.arch,
        apart,
        _Descending(facts.pushed), candidate.reference,
    )  # fmt: skip


def _common_start(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def merge(request: Sequence[str], host: Platform, choices: Sequence[ImageChoice]) -> ImageChoice:
    """Join the choices of sources, in order: all fit images of the first come before those of the second."""
    judged = [entry for choice in choices for entry in choice.candidates]
    fit = [entry for entry in judged if entry.verdict.ok]
    refused = [entry for entry in judged if not entry.verdict.ok]
    return ImageChoice(
        request=tuple(request),
        platform=host,
        candidates=_numbered(fit, refused),
        notices=tuple(dict.fromkeys(notice for choice in choices for notice in choice.notices)),
        notes=tuple(note for choice in choices for note in choice.notes),
        problems=tuple(problem for choice in choices for problem in choice.problems),
    )


def _numbered(fit: Sequence[Judged], refused: Sequence[Judged]) -> tuple[Judged, ...]:
    numbered = (replace(entry, rank=rank) for rank, entry in enumerate(fit, 1))
    return (*numbered, *sorted(refused, key=lambda entry: entry.distance))


# Which of the images that run is best.


def rank_key(image: ImageFacts, host: Platform, *, native: bool = False) -> tuple[object, ...]:
    """Sort key of a compatible image, best first under ascending order.

    No GPU left idle; the CUDA that the user asked for, if any; plain variant; newest version; native CUDA before
    cuda-compat; the platform's own CUDA; nearest L4T not newer than the host (by major.minor, as point releases share
    images, then by point release); newest push; local. With `native`, native CUDA, the platform's own and the nearest
    L4T come before the version.
    """
    effort = _effort(image, host)
    asked = host.origins.get("cuda", "").startswith(("--", "$"))
    version = (1 if image.variant else 0, _newest_first(image.version))
    nearness = (effort, 0 if image.cuda == host.cuda else 1, _distance(image.l4t, host.l4t, 2))
    return (
        effort is Effort.GPU_IDLE,
        asked and image.cuda != host.cuda,
        *((*nearness, *version) if native else (*version, *nearness)),
        _distance(image.l4t, host.l4t, 3),
        _Descending(image.pushed),
        0 if image.source == "local" else 1,
        image.reference,
    )


class Effort(enum.IntEnum):
    """What it takes to run an image's CUDA code here."""

    NATIVE = 0
    COMPAT = 1  # the cuda-compat libraries
    GPU_IDLE = 2  # an image without CUDA where there is a GPU


def _effort(image: ImageFacts, host: Platform) -> Effort:
    """A CUDA the user chose for the platform counts as native."""
    limit = native_limit(host)
    if limit is None or image.cuda == host.cuda:
        return Effort.NATIVE
    if image.cuda is None:
        return Effort.GPU_IDLE
    return Effort.NATIVE if cuda.runs(image.cuda, host.l4t, limit) is Runs.NATIVE else Effort.COMPAT


def _distance(image: Version | None, host: Version | None, digits: int) -> tuple[object, ...]:
    """Nearest first among those not newer than the host, then those that are newer, then those that say nothing."""
    if host is None or image is None:
        return (2,) if host else (0,)
    mine, theirs = _padded(host)[:digits], _padded(image)[:digits]
    if theirs <= mine:
        return (0, tuple(-part for part in theirs))
    return (1, theirs)


def _padded(version: Version) -> tuple[int, ...]:
    return (version.major, version.minor, version.micro)


def _newest_first(version: str | None) -> tuple[object, ...]:
    """Build numbers (`b5283`), then numbered versions, both newest first; then hashes and words; then nothing.

    Versions that cannot be compared are ordered by the date of the push.
    """
    if version is None:
        return (3,)
    if re.fullmatch(r"b[0-9]{1,18}", version):
        return (0, -int(version[1:]))
    parsed = pep440(version)
    if parsed is None or re.fullmatch(r"[0-9a-f]{7,}", version):
        return (2,)
    return (1, _Descending(parsed))


class _Descending:
    """Turns the order of a comparable value around, for sort keys."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and bool(other.value == self.value)

    def __hash__(self) -> int:
        return hash(self.value)
