"""Questions to the hub: which files there are, and their bytes from a position on; asked again where that may help."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .entries import ListingError, checked_commit, checked_entries, checked_entry
from .errors import FAILED, DownloadError, is_number, is_transient, one_line, retry_after, status_of
from .explain import explain, no_hub
from .types import RepositoryFile, RepositoryListing

if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, TypeVar

    from .credentials import Token
    from .reference import Reference

    T = TypeVar("T")

_BLOCK = 1 << 16  # bytes asked of the client at once: what a dropped connection loses
LONGEST_ANSWER = 40_000_000_000  # bytes: the hub's storage gives files above 50 GB in ranges only

# What the client raises for an answer that is JSON, but not the hub's.
_NONSENSE = (ValueError, KeyError, TypeError, AttributeError, RecursionError)

_NO_NAME = ("Name or service not known", "Temporary failure in name resolution", "No address associated with hostname")


@dataclass(frozen=True)
class Patience:
    """How often and when to ask again: `tries` attempts without progress, `first` seconds, then double, up to `most`.

    A server that asks to wait is obeyed up to `longest` seconds; beyond that the user is told instead.
    """

    tries: int = 6
    first: float = 1.0
    most: float = 30.0
    longest: float = 300.0

    def wait(self, error: BaseException, failures: int) -> float | None:
        """Seconds until the next attempt after `failures` (1 or more) in a row; None: give up."""
        if failures >= self.tries or not is_transient(error):
            return None
        asked = retry_after(error)
        if asked is not None:
            return asked if asked <= self.longest else None
        return min(self.most, self.first * 2.0 ** (failures - 1))


class StoppedError(Exception):
    """The transfer was told to stop; parts stay for the next time."""


class Stop:
    """A flag between threads, and the pauses that it ends. `sleep` is replaced by tests."""

    def __init__(self, sleep: Callable[[float], Any] | None = None) -> None:
        self._event = threading.Event()
        self._sleep = sleep or self._event.wait

    def set(self) -> None:
        """Ask all threads to stop."""
        self._event.set()

    def check(self) -> None:
        """Raise StoppedError when it is time."""
        if self._event.is_set():
            raise StoppedError

    def pause(self, seconds: float) -> None:
        """Wait, but not after the flag is set."""
        self._sleep(seconds)
        self.check()


class Hub:
    """One hub as one user sees it. `say` gets a line for every second attempt."""

    def __init__(
        self,
        token: Token,
        *,
        say: Callable[[str], None],
        endpoint: str = "",
        patience: Patience | None = None,
        stop: Stop | None = None,
    ) -> None:
        self._library = _library()
        self._library.utils.logging.set_verbosity_error()  # its retries and warnings are said by us, in our words
        self.endpoint = (endpoint or self._library.constants.ENDPOINT).rstrip("/")
        self.token = token
        self.patience = patience or Patience()
        self.stop = stop or Stop()
        self._say = say
        self._timeout = self._library.constants.HF_HUB_DOWNLOAD_TIMEOUT  # seconds without a byte

    def listing(self, reference: Reference) -> RepositoryListing:
        """All files with sizes and checksums. One request: the tree's pages have no time limit in hub 0.36."""
        api = self._library.HfApi(endpoint=self.endpoint, token=self.token.value or False)
        patience = Patience(min(3, self.patience.tries), self.patience.first, self.patience.most, self.patience.longest)
        try:
            info = self.persistently(
                lambda: api.repo_info(
                    reference.repo,
                    revision=reference.revision,
                    repo_type=reference.kind,
                    files_metadata=True,
                    timeout=self._timeout,
                ),
                patience,
            )
        except _NONSENSE as error:
            if explain(error, reference, self.token, self.endpoint) is not None:
                raise
            raise no_hub(self.endpoint) from error
        if any(sibling.blob_id is None or sibling.size is None for sibling in info.siblings or []):
            raise DownloadError(FAILED, f"{self.endpoint} gives no sizes and checksums", "check HF_ENDPOINT")
        try:
            commit = checked_commit(info.sha)
            entries = checked_entries(_entry(sibling) for sibling in info.siblings or [])
        except ListingError as error:
            raise DownloadError(
                FAILED, f"{self.endpoint} lists `{reference.repo}` with values that no hub gives: {error}",
                "check HF_ENDPOINT: this server is broken or hostile; nothing was written",
            ) from error  # fmt: skip
        return RepositoryListing(reference, commit, entries, _gated(getattr(info, "gated", None)))

    def persistently(self, action: Callable[[], T], patience: Patience) -> T:
        """Do it until it works or there is no hope."""
        failures = 0
        while True:
            try:
                return action()
            except Exception as error:  # noqa: BLE001 - every error of the client is judged, an unknown one goes on
                failures += 1
                self.pause_after(error, failures, patience)

    def pause_after(self, error: BaseException, failures: int, patience: Patience) -> None:
        """Wait for the next attempt. Raises the error itself when there is none, StoppedError when told to."""
        self.stop.check()
        wait = patience.wait(error, failures)
        if wait is None:
            raise error
        code = status_of(error)
        what = f"HTTP {code}" if code is not None else one_line(self.token.redact(str(error))) or type(error).__name__
        if any(text in what for text in _NO_NAME):
            what = "its name cannot be resolved (no network, or no DNS)"
        host = self.endpoint.partition("://")[2].partition("/")[0] or self.endpoint
        self._say(f"{host}: {what}; asking again in {wait:.0f} s (attempt {failures + 1} of {patience.tries})")
        self.stop.pause(wait)

    @contextlib.contextmanager
    def stream(
        self, listing: RepositoryListing, entry: RepositoryFile, start: int
    ) -> Iterator[tuple[Iterator[bytes], int]]:
        """A file's bytes, and the position they begin at: `start`, or 0 from a server that knows no ranges."""
        reference = listing.reference
        url = self._library.hf_hub_url(
            reference.repo, entry.name, repo_type=reference.kind, revision=listing.commit, endpoint=self.endpoint
        )
        headers = self._library.utils.build_hf_headers(
            token=self.token.value or False, library_name="jetson-containers"
        )
        headers["Accept-Encoding"] = "identity"  # a compressed answer could not be continued
        if entry.size - start > LONGEST_ANSWER:
            headers["Range"] = f"bytes={start}-{start + LONGEST_ANSWER - 1}"
        elif start:
            headers["Range"] = f"bytes={start}-"
        with _get(self._library.utils.get_session(), url, headers, self._timeout) as (response, blocks):
            self._library.utils.hf_raise_for_status(response)
            yield blocks, _begin(response, start)


def _library() -> Any:
    """The client, of whatever version is installed: its types differ, so it is not typed here."""
    import huggingface_hub
    import huggingface_hub.constants
    import huggingface_hub.utils

    return huggingface_hub


@contextlib.contextmanager
def _get(session: Any, url: str, headers: Any, timeout: float) -> Iterator[tuple[Any, Iterator[bytes]]]:
    """GET with the client's own session: of httpx from huggingface_hub 1.0 on, of requests before."""
    if callable(getattr(session, "stream", None)):  # of a session of requests it is a flag
        with session.stream("GET", url, headers=headers, timeout=timeout) as response:
            yield response, response.iter_bytes()
    else:
        with session.get(url, headers=headers, timeout=timeout, stream=True) as response:
            yield response, response.iter_content(_BLOCK)


def _begin(response: Any, start: int) -> int:
    """Where the answer begins, by its own word: `Content-Range: bytes 100-199/200`."""
    if response.status_code != 206:
        return 0
    first = str(response.headers.get("Content-Range", "")).replace("bytes", "").strip().partition("-")[0]
    return int(first) if is_number(first) else start


def _entry(sibling: Any) -> RepositoryFile:
    if sibling.lfs:
        return checked_entry(sibling.rfilename, sibling.lfs.size, sibling.blob_id, sibling.lfs.sha256 or "")
    return checked_entry(sibling.rfilename, sibling.size, sibling.blob_id)


def _gated(value: Any) -> bool | str:
    return value if isinstance(value, str) else bool(value)
