"""What the transfer of the hub asks of another source: a list of files with checksums, and their bytes."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import TYPE_CHECKING, NoReturn

from jetson_containers.core.text import is_number
from jetson_containers.hub.transfer.credentials import Token
from jetson_containers.hub.transfer.errors import FAILED, DownloadError
from jetson_containers.hub.transfer.remote import Hub, Patience, Stop
from jetson_containers.registry.types import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetson_containers.hub.transfer.types import RepositoryFile, RepositoryListing
    from jetson_containers.registry.http import Stream
    from jetson_containers.sources.names import SourceReference

LONGEST_ANSWER = 1 << 30  # bytes asked for at once, so that a broken connection shows and tokens stay fresh


class SilentError(ConnectionError):
    """The source did not answer, or broke off; it is asked again."""


class StatusError(Exception):
    """An answer with an HTTP status that is not a file. `response` is what the transfer judges it by."""

    def __init__(self, status: int, after: str) -> None:
        super().__init__(f"HTTP {status}")
        self.response = SimpleNamespace(status_code=status, headers={"Retry-After": after})


class ModelSource(Hub):
    """One source as one user sees it; a stand-in for the hub in its transfer."""

    title = ""  # for messages

    def __init__(
        self, host: str, *, say: Callable[[str], None], patience: Patience | None = None, stop: Stop | None = None
    ) -> None:
        # The hub's own makes a client of huggingface_hub, which is not needed here.
        self.endpoint = f"https://{host}"
        self.token = Token()
        self.patience = patience or Patience()
        self.stop = stop or Stop()
        self._tell = say
        self.host = host

    def files_of(self, reference: SourceReference) -> RepositoryListing:
        """All files of a model. Raises RegistryError or DownloadError."""
        raise NotImplementedError

    def open(
        self, listing: RepositoryListing, entry: RepositoryFile, headers: dict[str, str]
    ) -> contextlib.AbstractContextManager[Stream]:
        """Ask for a file's bytes."""
        raise NotImplementedError

    @contextlib.contextmanager
    def stream(
        self, listing: RepositoryListing, entry: RepositoryFile, start: int
    ) -> Iterator[tuple[Iterator[bytes], int]]:
        """A file's bytes, and the position they begin at: `start`, or 0 from a server that knows no ranges."""
        headers = {"Accept-Encoding": "identity"}  # a compressed answer could not be continued
        if entry.size - start > LONGEST_ANSWER:
            headers["Range"] = f"bytes={start}-{start + LONGEST_ANSWER - 1}"
        elif start:
            headers["Range"] = f"bytes={start}-"
        try:
            with self.open(listing, entry, headers) as answer:
                if answer.status not in {200, 206}:
                    raise StatusError(answer.status, answer.headers.get("retry-after", ""))
                yield _silence(answer.blocks), _begin(answer, start)
        except UnreachableError as error:
            raise SilentError(error.message) from error

    def pause_after(self, error: BaseException, failures: int, patience: Patience) -> None:
        """As the hub's; the error of the last attempt is one sentence with what helps."""
        self.stop.check()
        wait = patience.wait(error, failures)
        if wait is None:
            self._give_up(error)
        self._tell(
            f"{error if isinstance(error, SilentError) else f'{self.host}: {error}'}; trying again in {wait:.0f} s"
        )
        self.stop.pause(wait)

    def _give_up(self, error: BaseException) -> NoReturn:
        if isinstance(error, SilentError):
            raise UnreachableError(
                str(error), hint="check the network and proxies; the same command goes on where it stopped"
            ) from error
        if isinstance(error, StatusError):
            raise DownloadError(
                FAILED,
                f"{self.title} {self.host} answered {error} for a file that it lists",
                "try again later; what has arrived is kept",
            ) from error
        raise error


def _silence(blocks: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from blocks
    except UnreachableError as error:
        raise SilentError(error.message) from error


def _begin(answer: Stream, start: int) -> int:
    """Where the answer begins, by its own word: `Content-Range: bytes 100-199/200`."""
    if answer.status != 206:
        return 0
    first = answer.headers.get("content-range", "").replace("bytes", "").strip().partition("-")[0]
    return int(first) if is_number(first) else start
