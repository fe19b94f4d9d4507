"""Downloads on the host: no engine, no image, and what arrives is where containers look for it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from jetson_containers.core.console import Level
from jetson_containers.core.errors import (
    InterruptedByUserError,
    JetsonError,
    NothingMatchedError,
    NotReadyError,
    StepError,
    UsageError,
)
from jetson_containers.hub.host_owner import HostOwner, owner_of
from jetson_containers.hub.transfer import errors
from jetson_containers.hub.transfer.credentials import Token, find_token
from jetson_containers.hub.transfer.explain import not_cached
from jetson_containers.hub.transfer.fetch import Downloader, DownloadOptions
from jetson_containers.hub.transfer.progress import Reporter
from jetson_containers.hub.transfer.remote import StoppedError
from jetson_containers.hub.transfer.store import CachedRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.hub.transfer.types import DownloadResult, RepositoryFile, RepositoryListing

T = TypeVar("T")

_FIRST = 1 << 18  # bytes of a file that are looked at first; then four times as many
_ERRORS: dict[int, type[JetsonError]] = {
    errors.FAILED: StepError,
    errors.USAGE: UsageError,
    errors.NOTHING_FOUND: NothingMatchedError,
    errors.NOT_READY: NotReadyError,
}


def cache_of(data: Path) -> Path:
    """The cache below a data directory: what images find as HF_HUB_CACHE=/data/models/huggingface."""
    return data / "models" / "huggingface"


def download(
    references: Sequence[str], settings: Settings, console: Console, *, token: str = "", **given: Any
) -> Iterator[DownloadResult]:
    """Download below the data directory; each result as soon as it is complete. `given`: fields of `DownloadOptions`.

    Raises UsageError, NothingMatchedError, NotReadyError (no token, network or space) and StepError (wrong bytes).
    """
    with translate_errors():
        yield from downloader(settings, console, token=token, **given).download(references)


class HostReporter(Reporter):
    """What is said of a mirror of the hub names its host without the login that its address may hold."""

    login = ""

    def _redact(self, text: str) -> str:
        text = super()._redact(text)
        return text.replace(f"{self.login}@", "***@") if self.login else text


class HostDownloader(Downloader):
    """The transfer with what only the host does: look into a file that is not here, and follow no link of others."""

    @property
    def _owner(self) -> HostOwner:
        return owner_of(self.options.cache, self._env)

    def head(self, listing: RepositoryListing, name: str, read: Callable[[bytes], T], longest: int) -> T:
        """What `read` makes of the first bytes of a file: more of them until it raises no ValueError, or of `longest`.

        Raises DownloadError, and what `read` raises of as many bytes as there may be.
        """
        entry = next(entry for entry in listing.entries if entry.name == name)
        repository = CachedRepository(self.options.cache, listing.reference)
        here = repository.location(listing.commit, entry)
        if here is not None:
            with here.open("rb") as file:
                return read(file.read(longest))
        if self.options.offline:
            raise not_cached(listing.reference)
        with self._explained(listing.reference):
            return self._hub.persistently(
                lambda: self._begun(listing, entry, read, longest), replace(self._hub.patience, tries=3)
            )

    def _begun(self, listing: RepositoryListing, entry: RepositoryFile, read: Callable[[bytes], T], longest: int) -> T:
        data, wanted, most = bytearray(), _FIRST, min(longest, entry.size)
        with self._hub.stream(listing, entry, 0) as (blocks, _):
            for block in blocks:
                data += block
                if wanted <= len(data) < most:
                    wanted *= 4
                    with contextlib.suppress(ValueError):
                        return read(bytes(data))
                if len(data) >= most:
                    break
        if len(data) < most:
            raise ConnectionError(f"{entry.name}: {len(data)} of {most} bytes arrived")
        return read(bytes(data[:most]))


def downloader(settings: Settings, console: Console, *, token: str = "", **given: Any) -> HostDownloader:
    """The transfer with this machine's settings. Raises DownloadError; use it inside `translate_errors()`."""
    given.setdefault("cache", cache_of(settings.path("data")))
    given.setdefault("offline", bool(settings["offline"]))
    options = DownloadOptions(**{"endpoint": settings.env.get("HF_ENDPOINT", ""), **given})
    reporter = HostReporter(quiet=console.level == Level.QUIET, stream=console.err, warn=console.warning)
    reporter.login = urlsplit(options.endpoint).netloc.rpartition("@")[0]
    found = Token() if options.offline else find_token(token, settings.env)  # a login may ask the hub for a fresh one
    return HostDownloader(options, found, reporter, env=settings.env)


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Turn the transfer's errors into ours."""
    try:
        yield
    except errors.DownloadError as error:
        raise _ERRORS[error.status](error.message, hint=error.hint or None) from error
    except StoppedError as error:
        raise InterruptedByUserError(
            "the download was stopped", hint="run the same command again to resume it"
        ) from error
