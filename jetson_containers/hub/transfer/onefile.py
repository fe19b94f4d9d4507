"""One file on its way: continued where it stopped, verified, and only then given its name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .checksum import Digest
from .errors import FAILED, DownloadError
from .types import FileState

if TYPE_CHECKING:
    from pathlib import Path

    from .progress import DownloadProgress, Reporter
    from .remote import Hub
    from .store import CachedRepository
    from .types import FilePlan, RepositoryListing


class FileTransfer:
    """Fetches one file of a listing, under the lock that the library takes too."""

    def __init__(
        self,
        hub: Hub,
        listing: RepositoryListing,
        item: FilePlan,
        repository: CachedRepository,
        progress: DownloadProgress,
        reporter: Reporter,
    ) -> None:
        self._hub = hub
        self._listing = listing
        self._item = item
        self._entry = item.entry
        self._repository = repository
        self._progress = progress
        self._reporter = reporter

    def fetch(self) -> FileState:
        """Fetch and verify; bytes that are wrong in the end are thrown away, and fetched once more from the start."""
        entry, commit = self._entry, self._listing.commit
        with self._repository.lock(entry, self._waiting, lambda: self._hub.stop.pause(0.2)):
            self._hub.stop.check()
            now = self._repository.check(commit, entry, rehash=self._item.state is FileState.CORRUPT, write=True)
            if now.state is FileState.CACHED:  # another process, or another name of the same content, was faster
                return FileState.CACHED
            part = self._repository.open_part(commit, entry)
            began_at = part.stat().st_size
            self._progress.begin(entry.name, entry.size, began_at)
            if not self._fill(part) and not self._again(part):
                part.unlink()
                kind = "sha256" if entry.sha256 else "git's sha1"
                raise DownloadError(
                    FAILED, f"`{entry.name}` of `{self._listing.reference.repo}` arrived with the wrong {kind}, twice",
                    "a proxy or mirror alters it, or the disk or memory is faulty; nothing of it was kept",
                )  # fmt: skip
            self._repository.finish(part, entry)
            self._progress.end(entry.name)
        if self._item.state is FileState.CORRUPT:
            return FileState.REPAIRED
        return FileState.RESUMED if began_at else FileState.DOWNLOADED

    def _waiting(self) -> None:
        self._reporter.say(f"{self._entry.name}: another process downloads it; waiting")

    def _again(self, part: Path) -> bool:
        self._reporter.warn(f"{self._entry.name}: wrong checksum; fetching it once more from the start")
        self._progress.move(self._entry.name, -self._entry.size)
        os.truncate(str(part), 0)
        return self._fill(part)

    def _fill(self, part: Path) -> bool:
        """Append to a part until it is as long as it has to be; whether the checksum is right."""
        entry = self._entry
        position = part.stat().st_size
        digest = Digest(entry.etag, entry.size).read(part, lambda _: self._hub.stop.check())
        failures = 0
        with part.open("r+b", buffering=0) as file:
            while position < entry.size:
                before = position
                try:
                    with self._hub.stream(self._listing, entry, position) as (blocks, start):
                        if start != position:
                            self._progress.move(entry.name, -position)
                            position, digest = 0, Digest(entry.etag, entry.size)
                        file.truncate(position)
                        file.seek(position)
                        for block in blocks:
                            self._hub.stop.check()
                            block = block[: entry.size - position]  # noqa: PLW2901 - never longer than it has to be
                            _write_all(file.fileno(), block)
                            digest.update(block)
                            position += len(block)
                            self._progress.move(entry.name, len(block))
                            if position == entry.size:
                                break
                    if position <= before:  # a short answer is continued; an empty one fails
                        raise ConnectionError(f"{entry.name}: an empty answer after {position} of {entry.size} bytes")
                except Exception as error:  # noqa: BLE001 - judged there: it pauses, or raises the error itself
                    failures = 1 if position > before else failures + 1
                    self._hub.pause_after(error, failures, self._hub.patience)
        return digest.matches


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]
