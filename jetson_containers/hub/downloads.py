"""Downloads on the host: no engine, no image, and what arrives is where containers look for it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from jetson_containers.core.console import Level
from jetson_containers.core.errors import (
    InterruptedByUserError,
    JetsonError,
    NothingMatchedError,
    NotReadyError,
    StepError,
    UsageError,
)
from jetson_containers.hub.transfer import errors
from jetson_containers.hub.transfer.credentials import Token, find_token
from jetson_containers.hub.transfer.fetch import Downloader, DownloadOptions
from jetson_containers.hub.transfer.progress import Reporter
from jetson_containers.hub.transfer.remote import StoppedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.hub.transfer.types import DownloadResult

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


def downloader(settings: Settings, console: Console, *, token: str = "", **given: Any) -> Downloader:
    """The transfer with this machine's settings. Raises DownloadError; use it inside `translate_errors()`."""
    given.setdefault("cache", cache_of(settings.path("data")))
    given.setdefault("offline", bool(settings["offline"]))
    options = DownloadOptions(**{"endpoint": settings.env.get("HF_ENDPOINT", ""), **given})
    reporter = Reporter(quiet=console.level == Level.QUIET, stream=console.err, warn=console.warning)
    found = Token() if options.offline else find_token(token, settings.env)  # a login may ask the hub for a fresh one
    return Downloader(options, found, reporter, env=settings.env)


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
