"""Listings of registries, cached for ten minutes; older ones are used, with a notice, when no registry answers.

Order: a fresh copy in the cache → the registry → any copy in the cache → the list shipped with this program
(`snapshot`). The cache is files under the settings' `cache` directory; nothing else is written.
"""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jetson_containers.core import checked, json_text
from jetson_containers.core.docker_login import DOCKER_HUB
from jetson_containers.core.errors import RegistryError
from jetson_containers.core.files import write_atomically
from jetson_containers.images.labels import PREFIX, REF_NAME
from jetson_containers.images.official import repositories
from jetson_containers.registry import snapshot
from jetson_containers.registry.types import ImageRepository, Tag, TagListing, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from jetson_containers.core.settings import Settings
    from jetson_containers.registry.client import RegistryClient

TTL = 600  # seconds
SCHEMA = 1
THREADS = 8
_USING_LIST = "; using the list of "
OFFICIAL_PAGES = 10  # of the tags of other projects' repositories, newest first: the rest is of years ago


class Listings:
    """The tags of repositories: cached, of a registry or of the snapshot. `notes`: shown by `--verbose`."""

    def __init__(
        self,
        cache_dir: Path,
        client: Callable[[], RegistryClient],
        *,
        offline: bool = False,
        now: Callable[[], float] = time.time,
        hub: str = "",
    ) -> None:
        self.notes: list[str] = []
        self._cache_dir = cache_dir / "registry"
        self._make_client = client
        self._lock = threading.Lock()
        self._client: RegistryClient | None = None
        self._offline = offline
        self._now = now
        self._hub = hub

    @classmethod
    def of(cls, settings: Settings) -> Listings:
        """Make them from the settings; no client is made before one is needed."""

        def client() -> RegistryClient:
            from jetson_containers.registry.client import RegistryClient

            return RegistryClient.of(settings)

        return cls(settings.path("cache"), client, offline=settings["offline"])

    @property
    def client(self) -> RegistryClient:
        """The client for what the cache cannot answer."""
        with self._lock:
            if self._client is None:
                self._client = self._make_client()
            return self._client

    def get(self, repository: ImageRepository) -> TagListing:
        """List one repository. Raises RegistryError when refused, UnreachableError when nothing at all is known."""
        kept = self._read(repository)
        if kept and (self._offline or self._age(kept) < TTL):
            return self._with_notice(kept, "offline") if self._offline else kept
        if self._offline:
            return self._older(None, repository, "offline")
        try:
            listing = self._ask(repository, kept)
        except UnreachableError as error:
            self.notes.append(error.message)
            if kept is None and not snapshot.covers(repository):
                raise
            return self._older(kept, repository, f"registry {repository.host} not reachable")
        except RegistryError as error:
            if snapshot.has(repository) or not snapshot.covers(repository):
                raise
            self.notes.append(error.message)  # where nothing is known to be, registries refuse instead of answering 404
            listing = TagListing(repository=repository, tags=(), fetched=_iso(self._now()), origin="live")
        self._write(listing)
        return listing

    def ask(self, repository: ImageRepository) -> TagListing:
        """List one repository from its registry, whatever is kept. Raises RegistryError."""
        listing = self._ask(repository, None)
        self._write(listing)
        return listing

    def hub_repositories(self, namespace: ImageRepository) -> dict[str, int]:
        """The repositories of a namespace of Docker Hub, with how often each was pulled."""
        from jetson_containers.registry import dockerhub

        return dockerhub.list_repositories(self.client.transport, namespace.path, base=self._hub or dockerhub.HUB)

    def get_all(self, repositories: Sequence[ImageRepository]) -> list[TagListing | RegistryError]:
        """List several at once; a failure stands in the place of its listing."""
        if self._offline:  # nothing to wait for
            return [self._get_or_error(repository) for repository in repositories]
        return _parallel(self._get_or_error, repositories)

    def may_describe(self, listing: TagListing) -> bool:
        """Whether configs can be read: not offline, and not of a shipped list."""
        return listing.origin != "snapshot" and not self._offline

    def described(self, listing: TagListing, tags: Iterable[str], architecture: str) -> TagListing:
        """Read labels, size and architecture of some tags from their configs, and keep them with the listing.

        A tag that cannot be read stays as it was. Offline, and for a shipped list, nothing is read.
        """
        wanted: list[str] = []
        if self.may_describe(listing):
            unread = _without_labels(listing, architecture)
            wanted = [tag for tag in dict.fromkeys(tags) if tag in unread]
        if not wanted:
            return listing
        results = _parallel(lambda tag: self._describe(listing.repository, tag, architecture), wanted)
        rows = {tag: new for tag, new in zip(wanted, results, strict=True) if new}
        kept = tuple(row for row in listing.tags if row.tag not in rows)
        full = replace(listing, tags=(*(row for new in rows.values() for row in new), *kept))
        self._write(full)
        return full

    def _get_or_error(self, repository: ImageRepository) -> TagListing | RegistryError:
        try:
            return self.get(repository)
        except RegistryError as error:
            return error

    def _ask(self, repository: ImageRepository, kept: TagListing | None) -> TagListing:
        fetched = _iso(self._now())
        if repository.host != DOCKER_HUB or self.client.has_mirror(DOCKER_HUB):
            tags = tuple(Tag(tag=name) for name in self.client.tags(repository))
            return TagListing(repository=repository, tags=tags, fetched=fetched, origin="live")
        from jetson_containers.registry import dockerhub

        official = repositories().get(str(repository))
        answer = dockerhub.list_tags(
            self.client.transport,
            repository,
            etag=kept.etag if kept else "",
            base=self._hub or dockerhub.HUB,
            search=official.search if official else "",
            pages=OFFICIAL_PAGES if official else 0,
        )
        if answer is None and kept:
            return replace(kept, fetched=fetched, origin="live", notice="")
        found, etag = answer or ((), "")
        if not found and self.client.has_credentials(DOCKER_HUB):  # the Hub's listing does not show private ones
            found = tuple(Tag(tag=name) for name in self.client.tags(repository))
        return TagListing(repository=repository, tags=found, fetched=fetched, origin="live", etag=etag)

    def _describe(self, repository: ImageRepository, tag: str, architecture: str) -> list[Tag]:
        try:
            info = self.client.inspect(repository, tag, architecture)
        except RegistryError as error:
            self.notes.append(f"{repository.reference}:{tag}: {error.message}")
            return []
        if info is None:
            return []
        labels = {key: value for key, value in info.labels.items() if _is_ours(key)}
        pushed = info.created[:10]
        others = [
            Tag(tag=tag, pushed=pushed, bytes=None, arch=arch, digest=info.digest)
            for arch in info.platforms
            if arch != info.architecture
        ]
        return [
            Tag(tag=tag, pushed=pushed, bytes=info.size, arch=info.architecture, digest=info.digest, labels=labels),
            *others,
        ]

    def _older(self, kept: TagListing | None, repository: ImageRepository, why: str) -> TagListing:
        if kept:
            return self._with_notice(kept, why)
        if snapshot.covers(repository):
            return self._with_notice(snapshot.listing(repository), why)
        return TagListing(
            repository=repository,
            tags=(),
            fetched="",
            origin="cache",
            notice=f"{why}: nothing is known of {repository.reference}",
        )

    def _with_notice(self, listing: TagListing, why: str) -> TagListing:
        host = f"{listing.repository.host} of " if why == "offline" else ""
        age = human_age(self._age(listing))
        return replace(listing, notice=f"{why}{_USING_LIST}{host}{listing.fetched[:10]}, {age} old")

    def _age(self, listing: TagListing) -> float:
        """Seconds since it was fetched; a date from the future (a wrong clock) counts as very old."""
        age = self._now() - _timestamp(listing.fetched)
        return age if age >= 0 else float(TTL)

    def _path(self, repository: ImageRepository) -> Path:
        return self._cache_dir / quote(repository.host, safe="") / (quote(repository.path, safe="") + ".json")

    def _read(self, repository: ImageRepository) -> TagListing | None:
        try:
            data = json_text.parse(self._path(repository).read_bytes())
            if data["schema"] != SCHEMA or data["repository"] != str(repository):
                return None
            tags = tuple(_tag(row) for row in checked.items(data["tags"]))
            _timestamp(data["fetched"])
            etag = checked.text(data["etag"])
            return TagListing(repository=repository, tags=tags, fetched=data["fetched"], origin="cache", etag=etag)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            self.notes.append(f"{self._path(repository)} is not usable and is made again ({type(error).__name__})")
            return None

    def _write(self, listing: TagListing) -> None:
        rows = [{k: v for k, v in asdict(tag).items() if v not in (None, "")} for tag in listing.tags]
        data: dict[str, Any] = {
            "schema": SCHEMA,
            "repository": str(listing.repository),
            "fetched": listing.fetched,
            "etag": listing.etag,
            "tags": rows,
        }
        try:
            write_atomically(self._path(listing.repository), json.dumps(data, separators=(",", ":")))
        except OSError as error:
            self.notes.append(f"the listing is not kept: {error.filename}: {error.strerror}")


def _tag(row: object) -> Tag:
    """A row of a kept list. Raises ValueError or TypeError for one that was not written here."""
    if not isinstance(row, dict):
        raise TypeError("a tag that is not an object")
    tag = Tag(**row)
    kinds = {type(tag.tag), type(tag.pushed), type(tag.arch or ""), type(tag.digest or "")}
    if kinds != {str} or type(tag.bytes or 0) is not int:
        raise TypeError("a tag of other types")
    if tag.labels is not None:
        checked.texts(tag.labels)
    return tag


def in_few_lines(notices: Iterable[str]) -> list[str]:
    """Notices for people: what several lists are used for the same reason stands in one line."""
    lists: dict[str, list[str]] = {}
    for notice in notices:
        why, _, which = notice.partition(_USING_LIST)
        lists.setdefault(why, []).append(which)
    return [
        f"{why}{_USING_LIST.replace('list', 'lists') if len(which) > 1 else _USING_LIST}{'; '.join(which)}"
        if any(which)
        else why
        for why, which in lists.items()
    ]


def _without_labels(listing: TagListing, architecture: str) -> set[str]:
    """Tags that have a row for this architecture, or for one not known, and none of which was read."""
    mine = [row for row in listing.tags if row.arch in (None, architecture)]
    return {row.tag for row in mine} - {row.tag for row in mine if row.labels is not None}


def _is_ours(label: str) -> bool:
    return label.startswith(PREFIX) or label == REF_NAME


def _parallel(work: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    if len(items) <= 1:
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(THREADS, len(items))) as pool:
        return list(pool.map(work, items))


def _iso(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _timestamp(text: str) -> float:
    """Seconds since the epoch of an ISO date or time; Python 3.10 does not read a trailing Z. Raises ValueError."""
    checked.text(text)
    return datetime.fromisoformat(text.replace("Z", "+00:00")).replace(tzinfo=timezone.utc).timestamp()


def human_age(seconds: float) -> str:
    """Write an age as people say it: `5 minutes`, `3 hours`, `20 days`."""
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {name}{'s' if count != 1 else ''}"
    return "less than a minute"
