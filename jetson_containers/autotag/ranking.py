"""Candidates → verdicts → a ranking: which images answer a request here, which do not, and why.

Within a source, images with the requested name come before others that merely hold the package, then
`Merits` decides, then the order of the registries.
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.autotag.matching import extra_packages, is_finished, only_in_series, unmet
from jetson_containers.core.versions import pep440
from jetson_containers.images.compat import Compatibility, Verdict, native_limit
from jetson_containers.platforms import cuda
from jetson_containers.platforms.cuda import Runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
    runs: bool = True  # on this host, whatever it holds
    lacking: bool = False  # something that was asked for is not in it, as far as is known

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
class ImageRanking:
    """What one source has, judged: images that are fit, and those that are refused, each in the source's order."""

    judge: Judge
    fit: tuple[Judged, ...] = ()
    refused: tuple[Judged, ...] = ()

    def best_first(self) -> list[Judged]:
        """Those that are fit."""
        return sorted(self.fit, key=lambda entry: self.judge.merit(entry.candidate))


@dataclass(frozen=True, kw_only=True)
class ImageChoice:
    """What was decided and why. `rankings` are those of the sources, in their order."""

    request: tuple[str, ...]
    platform: Platform
    rankings: tuple[ImageRanking, ...] = ()
    notices: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[JetsonError, ...] = ()

    @functools.cached_property
    def best(self) -> ImageCandidate | None:
        """The candidate that was chosen; None when nothing is fit."""
        for ranking in self.rankings:
            if ranking.fit:
                return min((entry.candidate for entry in ranking.fit), key=ranking.judge.merit)
        return None

    @functools.cached_property
    def candidates(self) -> tuple[Judged, ...]:
        """All, best first: those that are fit, source by source, then those that are refused, the nearest first."""
        fit = [entry for ranking in self.rankings for entry in ranking.best_first()]
        refused = [(ranking.judge, entry) for ranking in self.rankings for entry in ranking.refused]
        # One sort for each part of the order, the last part first: dates are to be descending.
        refused.sort(key=lambda pair: pair[1].candidate.reference)
        refused.sort(key=lambda pair: pair[1].candidate.facts.pushed, reverse=True)
        refused.sort(key=lambda pair: pair[0].distance(pair[1]))
        numbered = (replace(entry, rank=rank) for rank, entry in enumerate(fit, 1))
        return (*numbered, *(entry for _, entry in refused))

    @property
    def is_empty(self) -> bool:
        """Whether no source has anything to do with the request."""
        return not any(ranking.fit or ranking.refused for ranking in self.rankings)

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


class Judge:
    """Decides on the images of one request for one host, and says which is better and which is nearer."""

    def __init__(
        self, wanted: Sequence[Wanted], host: Platform, contents: Names | None = None, *, native: bool = False
    ) -> None:
        self._wanted = wanted
        self._host = host
        self._contents = contents
        self._compatibility = Compatibility(host)
        self._merits = Merits(host, native=native)

    def verdict(self, candidate: ImageCandidate) -> Judged:
        """Decide on one image: is it finished, does it hold what was asked for, does it run here."""
        lacking = unmet(candidate, self._wanted, self._contents)
        runs = self._compatibility.of(candidate.facts)
        verdict = Verdict(ok=False, rule=lacking[0], reason=lacking[1]) if lacking else runs
        return Judged(candidate=candidate, verdict=verdict, runs=runs.ok, lacking=lacking is not None)

    def merit(self, candidate: ImageCandidate) -> tuple[Any, ...]:
        """Sort key of a fit image, best first.

        A version in so many words comes before the others of its series. Versions of different families do not
        compare: among images that only hold the package, the one with the least besides it comes first.
        """
        named = any(map(candidate.has_name, self._wanted))
        series = only_in_series(candidate, self._wanted)
        extra = extra_packages(candidate, self._wanted)
        merit = self._merits.of(candidate.facts)
        return (not named, series, 0 if named else extra, *merit, extra, candidate.order, candidate.reference)

    def distance(self, judged: Judged) -> tuple[Any, ...]:
        """Sort key of a refused image, nearest first: what runs here, holds the request, is named most like it.

        Of those that are as near, the one that was pushed last comes first, then the reference decides.
        """
        candidate, host = judged.candidate, self._host
        facts = candidate.facts
        apart = abs(facts.l4t.major - host.l4t.major) if facts.l4t and host.l4t else 99
        tag = candidate.name.tag or ""
        alike = max((_common_start(one.tag, tag) for one in self._wanted if one.tag), default=0)
        unfinished = not is_finished(candidate.role)
        return (unfinished, not judged.runs, judged.lacking, -alike, facts.arch is not host.arch, apart)


def decide(
    request: Sequence[str],
    wanted: Sequence[Wanted],
    host: Platform,
    found: SourceFindings,
    contents: Names | None = None,
    *,
    native: bool = False,
) -> ImageChoice:
    """Judge what one source has. Pure: the same candidates give the same choice."""
    judge = Judge(wanted, host, contents, native=native)
    judged = [judge.verdict(candidate) for candidate in found.candidates]
    ranking = ImageRanking(
        judge=judge,
        fit=tuple(entry for entry in judged if entry.verdict.ok),
        refused=tuple(entry for entry in judged if not entry.verdict.ok),
    )
    return ImageChoice(
        request=tuple(request),
        platform=host,
        rankings=(ranking,),
        notices=found.notices,
        notes=found.notes,
        problems=found.problems,
    )


def merge(request: Sequence[str], host: Platform, choices: Sequence[ImageChoice]) -> ImageChoice:
    """Join the choices of sources, in order: all fit images of the first come before those of the second."""
    return ImageChoice(
        request=tuple(request),
        platform=host,
        rankings=tuple(ranking for choice in choices for ranking in choice.rankings),
        notices=tuple(dict.fromkeys(notice for choice in choices for notice in choice.notices)),
        notes=tuple(note for choice in choices for note in choice.notes),
        problems=tuple(problem for choice in choices for problem in choice.problems),
    )


def _common_start(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


# Which of the images that run is best.


class Merits:
    """Sort keys of images that run on one host, best first under ascending order.

    No GPU left idle; the CUDA that the user asked for, if any; plain variant; newest version; native CUDA before
    cuda-compat; the platform's own CUDA; nearest L4T not newer than the host (by major.minor, as point releases share
    images, then by point release); newest push; local. With `native`, native CUDA, the platform's own and the nearest
    L4T come before the version.
    """

    def __init__(self, host: Platform, *, native: bool = False) -> None:
        self._host = host
        self._native = native
        self._asked_cuda = host.origins.get("cuda", "").startswith(("--", "$"))
        self._places: dict[tuple[int, int], tuple[ImageFacts, tuple[Any, ...]]] = {}

    def of(self, image: ImageFacts) -> tuple[object, ...]:
        """The key of one image."""
        said = (id(image.cuda), id(image.l4t))  # whose IDs they stay: the image kept with the place holds them
        known = self._places.get(said)
        if known is None:
            known = self._places[said] = image, self._place(image)
        first, nearness, last = known[1]
        version = (1 if image.variant else 0, _newest_first(image.version))
        return (
            *first,
            *((*nearness, *version) if self._native else (*version, *nearness)),
            last,
            _Descending(image.pushed),
            0 if image.source == "local" else 1,
        )

    def _place(self, image: ImageFacts) -> tuple[Any, ...]:
        """What of the key follows from CUDA and L4T: its beginning, how near they are, and the point release."""
        host = self._host
        effort = _effort(image, host)
        first = (effort is Effort.GPU_IDLE, self._asked_cuda and image.cuda != host.cuda)
        nearness = (effort, 0 if image.cuda == host.cuda else 1, _distance(image.l4t, host.l4t, 2))
        return first, nearness, _distance(image.l4t, host.l4t, 3)


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


_BUILD = re.compile(r"b[0-9]{1,18}")
_HASH = re.compile(r"[0-9a-f]{7,}")
_PLAIN = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,18}){0,5}")  # more digits alone may be a hash


class _Descending:
    """Turns the order of a comparable value around, for sort keys."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: _Descending) -> bool:  # type: ignore[override]
        return bool(other.value == self.value)

    def __hash__(self) -> int:
        return hash(self.value)


_NUMBERS_ONLY = _Descending(pep440("0"))  # nothing follows the numbers of a version


def _newest_first(version: str | None) -> tuple[object, ...]:
    """Build numbers (`b5283`), then numbered versions, both newest first; then hashes and words; then nothing.

    Versions that cannot be compared are ordered by the date of the push.
    """
    if version is None:
        return (3,)
    if _PLAIN.fullmatch(version):  # most are, and PEP 440 takes ten times as long to parse
        return (1, 0, _longest_first(map(int, version.split("."))), _NUMBERS_ONLY)
    if _BUILD.fullmatch(version):
        return (0, -int(version[1:]))
    parsed = pep440(version)
    if parsed is None or _HASH.fullmatch(version):
        return (2,)
    rest = str(parsed)[len(parsed.base_version) :]  # "rc1", ".post2", "+cu126"
    return (1, -parsed.epoch, _longest_first(parsed.release), _Descending(pep440(f"0{rest}")))


def _longest_first(release: Iterable[int]) -> list[int]:
    """Sort key of the numbers of a version, newest first: `0.5.1`, then `0.5` and `0.5.0`, then `0.4`."""
    key = [-number for number in release]
    while key and not key[-1]:
        del key[-1]
    key.append(1)  # so that what goes on after the same numbers comes before what ends there
    return key
