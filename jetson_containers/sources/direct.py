"""One GGUF file on any server: `https://HOST/PATH.gguf`, with `#sha256=HEX` where the user knows the checksum.

The address is asked for one byte. The answer tells the size (in `Content-Range`), which version of the file the server
has (`ETag`, else `Last-Modified`), and from some servers the checksum: `Repr-Digest` of RFC 9530, `Digest` of RFC 3230,
`X-Checksum-Sha256` of Artifactory. Without a checksum from anybody, `first_use` trusts what arrives and keeps its
checksum; the version then stands for it, so that a download goes on only with the same file.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import NothingMatchedError, NotReadyError
from jetson_containers.core.text import is_number
from jetson_containers.hub.transfer.entries import ListingError, checked_entry
from jetson_containers.hub.transfer.errors import FAILED, DownloadError
from jetson_containers.hub.transfer.types import RepositoryListing
from jetson_containers.sources.names import LATEST
from jetson_containers.sources.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jetson_containers.hub.transfer.types import RepositoryFile
    from jetson_containers.registry.http import Stream, Transport
    from jetson_containers.sources.names import SourceReference

_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_STRUCTURED = re.compile(r"(?:^|[,\s])sha-256=:?([A-Za-z0-9+/]{43}=):?(?:$|[,\s])", re.IGNORECASE)


@dataclass(frozen=True)
class UnverifiedListing(RepositoryListing):
    """A file whose server gives no checksum: that of the entry stands for the version, until the file is here."""


class DirectSource(ModelSource):
    """Any web server. `base` is its scheme and host."""

    title = "the server"

    def __init__(self, transport: Transport, host: str, **given: Any) -> None:
        super().__init__(host, **given)
        self.transport = transport
        self.endpoint = transport.base_url(host)

    def files_of(self, reference: SourceReference) -> RepositoryListing:
        """See `ModelSource`; an `UnverifiedListing` where nobody gave the checksum.

        Raises NothingMatchedError where there is no such file.
        """
        url = self._url(reference)
        with self.transport.stream(url, {"Range": "bytes=0-0", "Accept-Encoding": "identity"}) as answer:
            status, headers = answer.status, answer.headers
        self._check(status, url)
        asked = "" if reference.revision == LATEST else (reference.revision or "").removeprefix("sha256:")
        digest = asked or _stated_digest(headers)
        name = digest or self._version(url, status, headers)
        try:
            entry = checked_entry(reference.path.rpartition("/")[2], _size(status, headers), name[:40], name)
        except ListingError as error:
            raise DownloadError(
                FAILED, f"{self.host} does not say how large {url} is: {error}", "download it with another program"
            ) from error
        kind = RepositoryListing if digest else UnverifiedListing
        return kind(reference, name[:40], (entry,))

    @contextlib.contextmanager
    def open(self, listing: RepositoryListing, entry: RepositoryFile, headers: dict[str, str]) -> Iterator[Stream]:
        """See `ModelSource`. Raises DownloadError where the file is another one than when it was listed."""
        del entry  # there is only one
        reference: Any = listing.reference
        url = self._url(reference)
        with self.transport.stream(url, headers) as answer:
            if isinstance(listing, UnverifiedListing):
                self._check_version(listing, url, answer)
            yield answer

    def _url(self, reference: SourceReference) -> str:
        return f"{self.endpoint}/{reference.path}"

    def _check(self, status: int, url: str) -> None:
        if status in {401, 403}:
            raise NotReadyError(f"{self.host} does not let everybody read {url}", hint="download it with your browser")
        if status in {404, 410}:
            raise NothingMatchedError(f"{self.host} has no file {url}", hint="check the address")
        if status not in {200, 206}:
            raise DownloadError(FAILED, f"{self.host} answered HTTP {status}", "try again later")

    def _check_version(self, listing: RepositoryListing, url: str, answer: Stream) -> None:
        if answer.status in {200, 206} and self._version(url, answer.status, answer.headers)[:40] != listing.commit:
            raise DownloadError(FAILED, f"{url} became another file while it was fetched", "run the same command again")

    def _version(self, url: str, status: int, headers: Mapping[str, str]) -> str:
        """A checksum of what the server says of the file as it is now: 64 digits. Raises DownloadError."""
        tag = headers.get("etag", "").strip()
        known = tag if tag and not tag.startswith("W/") else headers.get("last-modified", "").strip()
        if not known:
            raise DownloadError(
                FAILED, f"{self.host} gives neither a checksum of {url} nor its version or date",
                "add the checksum from the page that names it: ADDRESS#sha256=HEX",
            )  # fmt: skip
        return hashlib.sha256(f"{url}\n{_size(status, headers)}\n{known}".encode()).hexdigest()


def _size(status: int, headers: Mapping[str, str]) -> object:
    """The size of the whole file: behind the slash of `Content-Range: bytes 0-0/SIZE`, or the length of all of it."""
    said = headers.get("content-range", "").rpartition("/")[2] if status == 206 else headers.get("content-length", "")
    return int(said) if is_number(said.strip()) else said


def _stated_digest(headers: Mapping[str, str]) -> str:
    """The sha256 of the whole file by the server's own word, 64 digits; empty where it says none.

    `Content-Digest` is left out: it is that of the one byte that was asked for.
    """
    plain = headers.get("x-checksum-sha256", "").strip()
    if _HEX.fullmatch(plain):
        return plain.lower()
    for header in ("repr-digest", "digest"):
        if found := _STRUCTURED.search(headers.get(header, "")[:1000]):
            with contextlib.suppress(binascii.Error):
                return base64.b64decode(found[1], validate=True).hex()
    return ""
