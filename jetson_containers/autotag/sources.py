"""Images that might answer an `autotag` request: from the local store and from registries, alike.

A source reports what it found and judges nothing but whether an image has anything to do with the request.
"""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.autotag.candidates import TagReader, candidate_of
from jetson_containers.autotag.matching import related
from jetson_containers.autotag.ranking import Merits
from jetson_containers.autotag.types import ImageCandidate, SourceFindings, SourceKind
from jetson_containers.core.errors import JetsonError, RegistryError, UsageError
from jetson_containers.images import compat, official
from jetson_containers.images.labels import PACKAGES, is_ours, read
from jetson_containers.images.name import ImageName
from jetson_containers.registry.types import DOCKER_HUB, ImageRepository, TagListing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from jetson_containers.autotag.types import Wanted
    from jetson_containers.engine.interface import ContainerEngine, LocalImage
    from jetson_containers.images.compat import ImageFacts
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.registry.listing import Listings
    from jetson_containers.registry.types import Tag

    Names = Callable[[str], Collection[str]]

MOST_CONFIGS = 32  # per repository: configs read to learn what a tag does not say; each is one to three requests


class LocalSource:
    """The engine's own store. The engine is made on first use, because a registry alone does not need one."""

    kind = SourceKind.LOCAL

    def __init__(self, engine: Callable[[], ContainerEngine]) -> None:
        self._engine = engine

    def find(self, request: Sequence[Wanted], host: Platform) -> SourceFindings:
        """Report local images; without an engine there are none, which is said."""
        try:
            images = self._engine().images()
        except JetsonError as error:
            return SourceFindings(notices=(f"local images are not considered: {error.message}",), problems=(error,))
        return SourceFindings(
            candidates=tuple(candidate for image in images for candidate in _local_candidates(image, request, host))
        )


class RegistrySource:
    """Registries: those of the settings, or the one a request names."""

    kind = SourceKind.REGISTRY

    def __init__(self, listings: Listings, namespaces: Sequence[ImageRepository]) -> None:
        self._listings = listings
        self._namespaces = tuple(namespaces)

    def find(self, request: Sequence[Wanted], host: Platform) -> SourceFindings:
        """Ask all repositories at once that may have an answer; one that fails is a problem, not the end."""
        repositories = tuple(dict.fromkeys(r for wanted in request for r in self._repositories(wanted)))
        architecture = host.docker_platform.rpartition("/")[2]
        found: list[ImageCandidate] = []
        notices: list[str] = []
        problems: list[JetsonError] = []
        for listing in self._listings.get_all(repositories):
            if isinstance(listing, RegistryError):
                problems.append(listing)
                continue
            candidates = self._candidates(listing, host, architecture)
            full = self._described(listing, candidates, request, host, architecture)
            if full.notice and (full.tags or len(repositories) == 1):
                notices.append(full.notice)
            found += candidates if full is listing else self._candidates(full, host, architecture)
        return SourceFindings(
            candidates=tuple(found),
            notices=tuple(dict.fromkeys(notices)),
            notes=tuple(self._listings.notes),
            problems=tuple(_distinct(problems)),
        )

    def _repositories(self, wanted: Wanted) -> Iterator[ImageRepository]:
        if wanted.registry or wanted.namespace:
            path = "/".join(filter(None, (wanted.namespace, wanted.name)))
            yield ImageRepository(wanted.registry or DOCKER_HUB, path)
            return
        for place in self._namespaces:
            if known := official.repositories().get(str(place)):
                if wanted.names_family(known.family):
                    yield place
                continue
            for name in sorted(wanted.names):
                if name == name.lower() and not set(name) & set("*?["):
                    yield place.child(name)

    def _described(
        self,
        listing: TagListing,
        candidates: Sequence[ImageCandidate],
        request: Sequence[Wanted],
        host: Platform,
        architecture: str,
    ) -> TagListing:
        """Read the labels where they may matter: of images that may run here and whose name does not say all.

        Docker Hub counts reading a manifest as a pull, and gives date, size and architecture itself; there, only
        a request for several packages needs labels.
        """
        if not self._listings.may_describe(listing) or (listing.repository.host == DOCKER_HUB and len(request) == 1):
            return listing
        fit: list[ImageCandidate] = []
        unclear: list[ImageCandidate] = []
        compatible = compat.Compatibility(host).of
        for candidate in candidates:
            if not any(wanted.fits(candidate.name.tag or "") for wanted in request):
                continue
            if compatible(candidate.facts).ok:
                fit += [] if candidate.family else [candidate]  # such labels say nothing that the rules do not
            elif _incomplete(candidate.facts):
                unclear.append(candidate)
        merits = Merits(host)
        best = heapq.nsmallest(MOST_CONFIGS, fit, key=lambda c: merits.of(c.facts))
        tags = [candidate.name.tag or "" for candidate in (*best, *unclear)[:MOST_CONFIGS]]
        return self._listings.described(listing, tags, architecture)

    def _candidates(self, listing: TagListing, host: Platform, architecture: str) -> list[ImageCandidate]:
        place = f"{listing.repository}/"
        orders = [i for i, namespace in enumerate(self._namespaces) if place.startswith(f"{namespace}/")]
        try:
            reader = TagReader(listing.repository, host, min(orders, default=len(self._namespaces)))
        except UsageError:
            return []  # a registry may hold what Docker cannot name
        return [made for row in _one_per_tag(listing.tags, architecture) if (made := reader.of(row))]


def _local_candidates(image: LocalImage, request: Sequence[Wanted], host: Platform) -> Iterator[ImageCandidate]:
    """What a local image is to a request, by each of its names that has to do with it."""
    packages = read({PACKAGES: image.labels.get(PACKAGES, "")}).packages
    for reference in image.references:
        if "<none>" in reference:
            continue
        try:
            name = ImageName.parse(reference)
        except UsageError:
            continue
        ours = is_ours([reference], image.labels)
        known = official.repository_of(name)
        held = packages if ours else ((known.family,) if known else ())
        if not related(name, held, request):
            continue
        made = candidate_of(name, image.labels, image.architecture, SourceKind.LOCAL, host, ours=ours)
        facts = replace(made.facts, pushed=image.created[:10], size=image.size, source=SourceKind.LOCAL.value)
        yield replace(made, facts=facts, digest=_digest_of(image, name), image_id=image.id)


def _digest_of(image: LocalImage, name: ImageName) -> str | None:
    for entry in image.digests:
        repository, _, digest = entry.rpartition("@")
        if repository in {name.repository, f"{DOCKER_HUB}/{name.repository}"} or not repository:
            return digest
    return None


def _one_per_tag(rows: Iterable[Tag], architecture: str) -> list[Tag]:
    """Of a multi-platform tag, the row for this platform, else the first: that one is then refused by its arch."""
    chosen: dict[str, Tag] = {}
    for row in rows:
        if row.tag not in chosen or row.arch == architecture:
            chosen[row.tag] = row
    return list(chosen.values())


def _incomplete(facts: ImageFacts) -> bool:
    return facts.arch is None or (facts.l4t is None and facts.cuda is None and not facts.cpu)


def _distinct(errors: Iterable[JetsonError]) -> list[JetsonError]:
    return list({error.message: error for error in errors}.values())
