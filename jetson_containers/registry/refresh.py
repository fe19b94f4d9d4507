"""The shipped list of images made anew: every repository that the registries tell of, with tags, dates and digests."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.core.docker_login import DOCKER_HUB
from jetson_containers.core.errors import RegistryError
from jetson_containers.images import official
from jetson_containers.registry.types import ImageRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.registry.listing import Listings
    from jetson_containers.registry.types import Tag

ARCHITECTURE = "arm64"  # whose labels and sizes are read where a registry's list does not tell them
MOST_DESCRIBED = 300  # tags of one repository that are read for that, two or three requests each


@dataclass(frozen=True, kw_only=True)
class Refreshed:
    """The new list, in the format of the file, and what could not be asked: its old entry stays."""

    data: Mapping[str, Any]
    asked: tuple[str, ...]
    failed: Mapping[str, RegistryError] = field(default_factory=dict)


def refresh(
    places: Sequence[ImageRepository],
    listings: Listings,
    old: Mapping[str, Any],
    today: str,
    say: Callable[[str], None] = lambda _text: None,
) -> Refreshed:
    """Ask for everything below `places` and put it into the place of what the old list has.

    A place is a repository when the old list or the table of others' images has it as one, else a namespace. What a
    namespace no longer has is dropped; what cannot be asked stays as it was.
    """
    entries = {entry["repository"]: entry for entry in old["repositories"]}
    namespaces = list(old["namespaces"])
    asked: list[str] = []
    failed: dict[str, RegistryError] = {}
    for place in places:
        try:
            found = _repositories(place, listings, entries)
        except RegistryError as error:
            failed[place.reference] = error
            continue
        if found.whole:
            _drop_gone(place, found, entries)
            namespaces += [] if place.reference in namespaces else [place.reference]
        for repository in found.repositories:
            say(repository.reference)
            try:
                rows = _rows(repository, listings)
            except RegistryError as error:
                failed[repository.reference] = error
                continue
            asked.append(repository.reference)
            if rows:
                entries[repository.reference] = _entry(repository, rows, found.pulls, today)
            else:
                entries.pop(repository.reference, None)
    data = {
        "schema": old["schema"],
        "fetched": today if asked else old["fetched"],
        "namespaces": namespaces,
        "repositories": [entries[name] for name in sorted(entries)],
    }
    return Refreshed(data=data, asked=tuple(asked), failed=failed)


@dataclass(frozen=True, kw_only=True)
class _Found:
    """The repositories below a place; `whole` when the registry listed all, so that the others were deleted."""

    repositories: tuple[ImageRepository, ...]
    whole: bool = False
    pulls: Mapping[str, int] = field(default_factory=dict)


def _repositories(place: ImageRepository, listings: Listings, entries: Mapping[str, Any]) -> _Found:
    if str(place) in official.repositories() or place.reference in entries:
        return _Found(repositories=(place,))
    if place.host == DOCKER_HUB:
        pulls = listings.hub_repositories(place)
        return _Found(repositories=tuple(place.child(name) for name in sorted(pulls)), whole=True, pulls={
            place.child(name).reference: count for name, count in pulls.items()
        })  # fmt: skip
    try:
        names = listings.client.repositories(place)
    except RegistryError:  # most hosted registries do not list their repositories
        names = ()
    if names:
        return _Found(repositories=tuple(ImageRepository(place.host, name) for name in sorted(names)), whole=True)
    below = f"{place}/"
    known = {*entries, *official.repositories()}
    found = {at for at in map(ImageRepository.parse, known) if str(at).startswith(below)}
    if not found:
        raise RegistryError(
            f"registry {place.host} does not tell which repositories {place.path} has",
            hint=f"name them: `{place}/NAME`",
        )
    return _Found(repositories=tuple(sorted(found, key=str)))


def _drop_gone(place: ImageRepository, found: _Found, entries: dict[str, Any]) -> None:
    kept = {repository.reference for repository in found.repositories}
    for name in [name for name in entries if name.startswith(f"{place.reference}/") and name not in kept]:
        del entries[name]


def _rows(repository: ImageRepository, listings: Listings) -> tuple[Tag, ...]:
    """The tags from the registry itself; where its list has only names, with what the images' configs say."""
    listing = listings.ask(repository)
    bare = [row.tag for row in listing.tags if row.digest is None]
    if bare and repository.host != DOCKER_HUB:
        listing = listings.described(listing, bare[:MOST_DESCRIBED], ARCHITECTURE)
    return listing.tags


def _entry(
    repository: ImageRepository, rows: Sequence[Tag], pulls: Mapping[str, int], today: str
) -> dict[str, Any]:  # fmt: skip
    tags = [
        {key: value for key, value in asdict(row).items() if value not in (None, "", {})}
        for row in sorted(rows, key=lambda row: (row.tag, row.arch or ""))
    ]
    count = pulls.get(repository.reference)
    return {
        "repository": repository.reference,
        "fetched": today,
        **({"pulls": count} if count else {}),
        "tags": tags,
    }
