"""One GGUF file on any server, with the checksum that the user gives: `https://HOST/PATH.gguf#sha256=HEX`.

A server says how long a file is and nothing of what is in it, so the checksum has to come from elsewhere: from the page
that names the file. The address is asked for one byte to learn the size, which is in `Content-Range`.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import NothingMatchedError, NotReadyError
from jetson_containers.core.text import is_number
from jetson_containers.hub.transfer.entries import ListingError, checked_entry
from jetson_containers.hub.transfer.errors import FAILED, DownloadError
from jetson_containers.hub.transfer.types import RepositoryListing
from jetson_containers.sources.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jetson_containers.hub.transfer.types import RepositoryFile
    from jetson_containers.registry.http import Stream, Transport
    from jetson_containers.sources.names import SourceReference


class DirectSource(ModelSource):
    """Any web server. `base` is its scheme and host."""

    title = "the server"

    def __init__(self, transport: Transport, host: str, **given: Any) -> None:
        super().__init__(host, **given)
        self.transport = transport
        self.endpoint = transport.base_url(host)

    def files_of(self, reference: SourceReference) -> RepositoryListing:
        """See `ModelSource`. Raises NothingMatchedError where there is no such file."""
        digest = (reference.revision or "").removeprefix("sha256:")
        url = self._url(reference)
        with self.transport.stream(url, {"Range": "bytes=0-0", "Accept-Encoding": "identity"}) as answer:
            status, headers = answer.status, answer.headers
        if status in {401, 403}:
            raise NotReadyError(f"{self.host} does not let everybody read {url}", hint="download it with your browser")
        if status in {404, 410}:
            raise NothingMatchedError(f"{self.host} has no file {url}", hint="check the address")
        if status not in {200, 206}:
            raise DownloadError(FAILED, f"{self.host} answered HTTP {status}", "try again later")
        try:
            entry = checked_entry(reference.path.rpartition("/")[2], _size(status, headers), digest[:40], digest)
        except ListingError as error:
            raise DownloadError(
                FAILED, f"{self.host} does not say how large {url} is: {error}", "download it with another program"
            ) from error
        return RepositoryListing(reference, digest[:40], (entry,))

    @contextlib.contextmanager
    def open(self, listing: RepositoryListing, entry: RepositoryFile, headers: dict[str, str]) -> Iterator[Stream]:
        """See `ModelSource`."""
        del entry  # there is only one
        reference: Any = listing.reference
        with self.transport.stream(self._url(reference), headers) as answer:
            yield answer

    def _url(self, reference: SourceReference) -> str:
        return f"{self.endpoint}/{reference.path}"


def _size(status: int, headers: Mapping[str, str]) -> object:
    """The size of the whole file: behind the slash of `Content-Range: bytes 0-0/SIZE`, or the length of all of it."""
    said = headers.get("content-range", "").rpartition("/")[2] if status == 206 else headers.get("content-length", "")
    return int(said) if is_number(said.strip()) else said
