"""Docker Hub's own listing API: unlike `/v2/…/tags/list` it has dates, sizes, architectures and digests.

Reading it counts against no pull limit. Fields as of 2026: `results[].{name, tag_last_pushed, last_updated,
full_size, digest, images[].{architecture, size, digest}}`, `next`.
"""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from jetson_containers.core import checked
from jetson_containers.registry.types import Tag, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jetson_containers.registry.http import Response, Transport
    from jetson_containers.registry.types import ImageRepository

HUB = "https://hub.docker.com"
PAGE = 100  # the most Docker Hub gives at once
MAX_PAGES = 100


def list_tags(
    transport: Transport,
    repository: ImageRepository,
    *,
    etag: str = "",
    base: str = HUB,
    search: str = "",
    pages: int = 0,
) -> tuple[tuple[Tag, ...], str] | None:
    """All tags with what the Hub knows of them, and the listing's ETag ("" when it has none).

    `etag` is that of an earlier listing: None then means that it still holds. A repository that does not exist
    has no tags. `search` lists only tags with that text, `pages` reads no more than so many, newest tags first.
    Raises UnreachableError.
    """
    found: list[Tag] = []
    first_etag = ""
    for number, response in enumerate(islice(_pages(transport, repository, etag, base, search), pages or None)):
        if response.status == 304:
            return None
        if number == 0:
            first_etag = response.headers.get("etag", "")
        with _reading():
            for row in _results(response):
                found += _rows(row)
        if response.json().get("next"):
            first_etag = ""  # an ETag covers one page; several pages can change behind it
    return tuple(found), first_etag


def list_repositories(transport: Transport, namespace: str, *, base: str = HUB) -> dict[str, int]:
    """The public repositories of a namespace, with how often each was pulled; empty when there is no such namespace."""
    found: dict[str, int] = {}
    url = f"{base}/v2/namespaces/{namespace}/repositories?page_size={PAGE}"
    for response in _follow(transport, url, namespace, {}, base):
        with _reading():
            for row in _results(response):
                found[checked.text(row.get("name"))] = checked.number(row.get("pull_count") or 0)
    return found


def _pages(
    transport: Transport, repository: ImageRepository, etag: str, base: str, search: str
) -> Iterator[Response]:  # fmt: skip
    namespace, _, name = repository.path.rpartition("/")
    url = f"{base}/v2/repositories/{namespace or 'library'}/{name}/tags?page_size={PAGE}"
    url += f"&name={quote(search)}" if search else ""
    return _follow(transport, url, repository.path, {"If-None-Match": etag} if etag else {}, base)


def _follow(
    transport: Transport, url: str, subject: str, headers: Mapping[str, str], base: str
) -> Iterator[Response]:  # fmt: skip
    """The pages of a listing, from a first one on; none where there is no such thing."""
    for _ in range(MAX_PAGES):
        response = transport.request("GET", url, headers=headers, want_json=True)
        if response.status == 404:
            return
        if response.status not in {200, 304}:
            raise UnreachableError(
                f"registry docker.io: its listing of {subject} answered {response.status}",
                hint="try again later, or `--offline`",
            )
        yield response
        following = response.json().get("next") if response.status == 200 else None
        if not following:
            return
        with _reading():
            parts = urlsplit(checked.text(following))  # only path and query: the Hub is asked under the name we know
        url, headers = f"{base}{parts.path}?{parts.query}", {}
    raise UnreachableError("registry docker.io: its pages of tags do not end", hint="`--offline` uses the known list")


@contextlib.contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UnreachableError(
            f"registry docker.io: its listing cannot be read: {error}", hint="try again, or `--offline`"
        ) from error


def _results(response: Response) -> list[dict[str, Any]]:
    page = response.json()
    if not isinstance(page, dict) or not isinstance(page.get("results"), list):
        raise UnreachableError("registry docker.io: its listing has no `results`", hint="try again, or `--offline`")
    return [checked.mapping(row) for row in page["results"]]


def _rows(row: Mapping[str, Any]) -> Iterator[Tag]:
    """One `Tag` per architecture of a row of the listing. Raises ValueError."""
    name = checked.text(row.get("name") or "")
    pushed = checked.text(row.get("tag_last_pushed") or row.get("last_updated") or "")[:10]
    images = [checked.mapping(image) for image in checked.items(row.get("images") or [])]
    images = [image for image in images if image.get("architecture") not in (None, "", "unknown")]
    digest = row.get("digest") or (images[0].get("digest") if len(images) == 1 else None)
    digest = checked.text(digest) if digest else None
    whole = checked.number(row.get("full_size") or 0) or None
    if not name:
        return
    if not images:
        yield Tag(tag=name, pushed=pushed, bytes=whole, arch=None, digest=digest)
    for image in images:
        yield Tag(
            tag=name,
            pushed=pushed,
            bytes=checked.number(image.get("size") or 0) or whole,
            arch=checked.text(image["architecture"]),
            digest=digest,
        )
