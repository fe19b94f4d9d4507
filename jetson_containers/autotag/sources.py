"""Images that might answer an `autotag` request: from the local store and from registries, alike.

A source reports what it found and judges nothing but whether an image has anything to do with the request.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

from jetson_containers.core.errors import JetsonError, RegistryError, UsageError
from jetson_containers.images import compat
from jetson_containers.images import labels as image_labels
from jetson_containers.images.name import STAGE_REPOSITORY, ImageName, tag_text
from jetson_containers.registry import DOCKER_HUB, Listing, Listings, Repository, split_host

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from jetson_containers.engine.interface import Engine, LocalImage
    from jetson_containers.images.compat import ImageFacts
    from jetson_containers.platforms.detect import Platform
    from jetson_containers.registry import Tag

    Names = Callable[[str], Collection[str]]

MOST_CONFIGS = 32  # per repository: configs read to learn what a tag does not say; each is one to three requests
_NAME = re.compile(r"[A-Za-z0-9*?\[][A-Za-z0-9._*?\[\]-]*")
_TAG = re.compile(
    r"[A-Za-z0-9_*?\[][A-Za-z0-9._+!*?\[\]-]*(?::[A-Za-z0-9._+!*?\[\]-]+)*"
)  # a colon: `torchcodec:0.9-pytorch:2.9`
_UNFINISHED = {
    image_labels.STAGE: "it is a link of a build chain",
    image_labels.ARTIFACT: "it is only the compiled part of a package",
}


class Kind(enum.Enum):
    """Where an image comes from; the values are the words of `--prefer` and `--disable`."""

    LOCAL = "local"
    REGISTRY = "registry"
    BUILD = "build"


@dataclass(frozen=True)
class Wanted:
    """One requested package or image: `mlc`, `mlc:0.20.0`, `ns/mlc`, `reg:5000/ns/mlc:tag`, `…@sha256:…`."""

    text: str
    name: str
    registry: str | None = None
    namespace: str | None = None
    tag: str | None = None
    digest: str | None = None
    names: frozenset[str] = frozenset()  # the name and its aliases

    @classmethod
    def parse(cls, text: str, aliases: Names | None = None) -> Wanted:
        """Read a request. Raises UsageError for what is no package or image name."""
        place, at, digest = text.partition("@")
        host, path = split_host(place)
        *namespace, last = path.split("/")
        name, colon, tag = last.partition(":")
        fine = _NAME.fullmatch(name) and all(namespace) and (not colon or _TAG.fullmatch(tag))
        if not fine or (at and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest)):
            raise UsageError(
                f"`{text}` is no package and no image name", hint="as in `autotag mlc` or `autotag dustynv/mlc:0.20.0`"
            )
        explicit = host if place != path else None
        return cls(
            text,
            name,
            explicit,
            "/".join(namespace) or None,
            tag_text(tag) or None,
            digest or None,
            frozenset({name, *(aliases(name) if aliases else ())}),
        )

    def in_place(self, image: ImageName) -> bool:
        """Whether an image is in the registry and namespace that were named, if any were."""
        if self.registry is None and self.namespace is None:
            return True
        return (image.registry or DOCKER_HUB, image.namespace) == (self.registry or DOCKER_HUB, self.namespace)

    def names_image(self, image: ImageName) -> bool:
        """Whether an image bears the name (whatever its tag)."""
        return any(fnmatchcase(image.name, name) for name in self.names) and self.in_place(image)

    def names_family(self, family: str) -> bool:
        """Whether a package family is the one that was asked for."""
        return any(fnmatchcase(family, name) for name in self.names)

    def fits(self, version: str) -> bool:
        """Whether a tag or version is the requested one: equal, continued after a `-`, or matching the pattern."""
        version = tag_text(version)
        if self.tag is None or version == self.tag or version.startswith(self.tag + "-"):
            return True
        return fnmatchcase(version, self.tag) or fnmatchcase(version, self.tag + "-*")


@dataclass(frozen=True)
class Candidate:
    """An image that has to do with the request. `digest` is the manifest's (a registry's), `image_id` the local one."""

    name: ImageName
    facts: ImageFacts
    kind: Kind
    digest: str | None = None
    image_id: str = ""
    order: int = 0  # position of its registry in the settings
    role: str = ""  # of labels.py; "" when the image is not ours

    @property
    def reference(self) -> str:
        """What `docker run` takes."""
        return self.facts.reference


@dataclass(frozen=True)
class Found:
    """What a source reports: images, and what the user should know of how they were found."""

    candidates: tuple[Candidate, ...] = ()
    notices: tuple[str, ...] = ()  # said to everybody
    notes: tuple[str, ...] = ()  # said with --verbose
    problems: tuple[JetsonError, ...] = ()  # parts that could not be asked


class Source(Protocol):
    """A place that has images."""

    kind: Kind

    def find(self, request: Sequence[Wanted], host: Platform) -> Found:
        """Report the images that have to do with a request. Never raises for one part that cannot be asked."""
        ...


class LocalSource:
    """The engine's own store. The engine is made on first use, because a registry alone does not need one."""

    kind = Kind.LOCAL

    def __init__(self, engine: Callable[[], Engine]) -> None:
        self._engine = engine

    def find(self, request: Sequence[Wanted], host: Platform) -> Found:  # noqa: ARG002 - the protocol's signature
        """Report local images; without an engine there are none, which is said."""
        try:
            images = self._engine().images()
        except JetsonError as error:
            return Found(notices=(f"local images are not considered: {error.message}",), problems=(error,))
        return Found(tuple(
            candidate
            for image in images
            for candidate in _local_candidates(image)
            if _related(candidate, request)
        ))  # fmt: skip


class RegistrySource:
    """Registries: those of the settings, or the one a request names."""

    kind = Kind.REGISTRY

    def __init__(self, listings: Listings, namespaces: Sequence[Repository]) -> None:
        self._listings = listings
        self._namespaces = tuple(namespaces)

    def find(self, request: Sequence[Wanted], host: Platform) -> Found:
        """Ask all repositories at once that may have an answer; one that fails is a problem, not the end."""
        repositories = tuple(dict.fromkeys(r for wanted in request for r in self._repositories(wanted)))
        architecture = host.docker_platform.rpartition("/")[2]
        found: list[Candidate] = []
        notices: list[str] = []
        problems: list[JetsonError] = []
        for listing in self._listings.get_all(repositories):
            if isinstance(listing, RegistryError):
                problems.append(listing)
                continue
            full = self._described(listing, request, host, architecture)
            notices += [full.notice] if full.notice else []
            found += self._candidates(full, architecture)
        return Found(
            tuple(found), tuple(dict.fromkeys(notices)), tuple(self._listings.notes), tuple(_distinct(problems))
        )

    def _repositories(self, wanted: Wanted) -> Iterator[Repository]:
        if wanted.registry or wanted.namespace:
            path = "/".join(filter(None, (wanted.namespace, wanted.name)))
            yield Repository(wanted.registry or DOCKER_HUB, path)
            return
        for namespace in self._namespaces:
            for name in sorted(wanted.names):
                if not set(name) & set("*?["):
                    yield namespace.child(name)

    def _described(self, listing: Listing, request: Sequence[Wanted], host: Platform, architecture: str) -> Listing:
        """Read the labels where they may matter: of images that may run here and whose name does not say all.

        Docker Hub counts reading a manifest as a pull, and tells date, size and architecture by itself; there, only
        a request for several packages needs labels.
        """
        if listing.repository.host == DOCKER_HUB and len(request) == 1:
            return listing
        candidates = [
            c for c in self._candidates(listing, architecture) if any(w.fits(c.name.tag or "") for w in request)
        ]
        fit: list[Candidate] = []
        unclear: list[Candidate] = []
        for candidate in candidates:
            if compat.compatible(candidate.facts, host).ok:
                fit.append(candidate)
            elif _incomplete(candidate.facts):
                unclear.append(candidate)
        fit.sort(key=lambda c: compat.rank_key(c.facts, host))
        tags = [candidate.name.tag or "" for candidate in (*fit, *unclear)[:MOST_CONFIGS]]
        return self._listings.described(listing, tags, architecture)

    def _candidates(self, listing: Listing, architecture: str) -> list[Candidate]:
        return [
            made
            for row in _one_per_tag(listing.tags, architecture)
            if (made := self._candidate(listing.repository, row))
        ]

    def _candidate(self, repository: Repository, row: Tag) -> Candidate | None:
        try:
            name = ImageName.parse(f"{repository.reference}:{row.tag}")
        except UsageError:
            return None  # a registry may hold what Docker cannot name
        made = _candidate(name, row.labels or {}, row.arch, Kind.REGISTRY)
        facts = replace(made.facts, pushed=row.pushed, size=row.bytes, source=repository.host)
        orders = [i for i, n in enumerate(self._namespaces) if str(repository).startswith(f"{n}/")]
        return replace(made, facts=facts, digest=row.digest, order=min(orders, default=len(self._namespaces)))


def unmet(candidate: Candidate, request: Sequence[Wanted], contents: Names | None = None) -> tuple[str, str] | None:
    """Say (rule, reason) why an image is no answer, whatever the platform; None when it is one.

    Rules: `image-role` (under construction), `version`, `digest`, `contents`. `contents` may know what is inside an
    image without labels, by its name.
    """
    if not _finished(candidate.role):
        return "image-role", _UNFINISHED.get(candidate.role, f"its role is `{candidate.role}`, not a finished image")
    if f"{candidate.name.namespace}/{candidate.name.name}/".startswith(STAGE_REPOSITORY + "/"):
        return "image-role", _UNFINISHED[image_labels.STAGE]
    for wanted in request:
        if refusal := _lacks(candidate, wanted, contents):
            return refusal
    return None


def _lacks(candidate: Candidate, wanted: Wanted, contents: Names | None) -> tuple[str, str] | None:
    named = wanted.names_image(candidate.name)
    if wanted.digest and wanted.digest != candidate.digest:
        return "digest", f"its digest is {candidate.digest or 'not known'}, not {wanted.digest}"
    if named and wanted.tag and wanted.fits(candidate.name.tag or ""):
        return None
    if candidate.facts.packages:
        versions = _versions(candidate.facts.packages, wanted)
        if any(wanted.fits(version) for version in versions) and wanted.in_place(candidate.name):
            return None
        if versions:
            return "version", f"it holds {wanted.name} {' and '.join(filter(None, versions))}, not {wanted.tag}"
        return None if named and not wanted.tag else ("contents", f"it does not hold {wanted.text}")
    if named:
        return _unlabelled(candidate, wanted)
    if contents and not wanted.tag and any(wanted.names_family(name) for name in contents(candidate.name.name)):
        return None
    return "contents", f"it has no label that says what it holds, so nothing says that it holds {wanted.text}"


def _unlabelled(candidate: Candidate, wanted: Wanted) -> tuple[str, str] | None:
    if wanted.fits(candidate.name.tag or ""):
        return None
    return "version", f"its tag is not `{wanted.tag}` and does not begin with `{wanted.tag}-`"


def extra_packages(candidate: Candidate, request: Sequence[Wanted]) -> int:
    """How many packages an image holds that nobody asked for; 0 when its contents are not known."""
    return sum(
        not any(wanted.names_family(item.partition(":")[0]) for wanted in request) for item in candidate.facts.packages
    )


def _versions(packages: Iterable[str], wanted: Wanted) -> list[str]:
    pairs = (item.partition(":") for item in packages)
    return [version for family, _, version in pairs if wanted.names_family(family)]


def _related(candidate: Candidate, request: Sequence[Wanted]) -> bool:
    return any(
        wanted.names_image(candidate.name)
        or (wanted.in_place(candidate.name) and bool(_versions(candidate.facts.packages, wanted)))
        for wanted in request
    )


def _local_candidates(image: LocalImage) -> Iterator[Candidate]:
    for reference in image.references:
        if "<none>" in reference:
            continue
        try:
            name = ImageName.parse(reference)
        except UsageError:
            continue
        ours = image_labels.ours([reference], image.labels)
        made = _candidate(name, image.labels, image.architecture, Kind.LOCAL, ours=ours)
        facts = replace(made.facts, pushed=image.created[:10], size=image.size, source=Kind.LOCAL.value)
        yield replace(made, facts=facts, digest=_digest_of(image, name), image_id=image.id)


def _candidate(
    name: ImageName, labels: Mapping[str, str], arch: str | None, kind: Kind, *, ours: bool | None = None
) -> Candidate:
    """Labels count where they were written for this image; an image built on ours inherits only its platform."""
    said = image_labels.read(labels)
    if ours is None:
        ours = image_labels.ours([str(name)], labels)
    believed = labels if ours else {k: v for k, v in labels.items() if k == image_labels.PLATFORM}
    facts = compat.facts_of(name, believed, docker_arch=arch)
    facts = replace(facts, reference=str(name), packages=said.packages if ours else ())
    role = said.role if ours or not _finished(said.role) else ""
    return Candidate(name, facts, kind, role=role)


def _finished(role: str) -> bool:
    return role in {"", image_labels.FINAL}


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
