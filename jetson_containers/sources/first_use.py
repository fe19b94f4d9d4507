"""A file that nobody gave a checksum for: trusted when it first arrives, known by its checksum from then on.

Until the file is whole, the version that its server told (see `direct`) names its part, and a file that changes in
between is noticed. What arrives has to be as long as the server said and to begin as a GGUF file does, which an error
page or a login page does not. Its checksum is then written into the list of files below `trees/`, as if it had been
given, so that everything after (links, `--verify`, offline use) is as with other models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.files import file_digest
from jetson_containers.hub.transfer.entries import checked_entry, shown
from jetson_containers.hub.transfer.errors import FAILED, DownloadError
from jetson_containers.hub.transfer.onefile import FileTransfer
from jetson_containers.hub.transfer.types import FileState, RepositoryListing

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.hub.transfer.store import CachedRepository
    from jetson_containers.sources.direct import UnverifiedListing

MAGIC = b"GGUF"


def kept_listing(repository: CachedRepository, commit: str) -> RepositoryListing | None:
    """The list of an earlier download of this version, with the checksum of what arrived; None before one."""
    kept = repository.listing(commit)
    return kept if kept.whole and kept.entries else None


class FirstUseTransfer(FileTransfer):
    """Fetches one file as every transfer, but for its checksum, which is found out in the end."""

    _listing: UnverifiedListing

    def fetch(self) -> FileState:
        """Fetch, look at the begin, and keep under the checksum of what is there. Raises DownloadError."""
        repository, entry = self._repository, self._entry
        with repository.lock(entry, self._waiting, lambda: self._hub.stop.pause(0.2)):
            self._hub.stop.check()
            if kept_listing(repository, self._listing.commit):  # another process was faster
                return FileState.CACHED
            part = repository.open_part(self._listing.commit, entry)
            began_at = part.stat().st_size
            self._progress.begin(entry.name, entry.size, began_at)
            self._fill(part)  # says whether the checksum is that of the version, which it never is
            self._check(part)
            digest = file_digest(part).removeprefix("sha256:")
            found = checked_entry(entry.name, entry.size, digest[:40], digest)
            repository.finish(part, found)
            repository.link(self._listing.commit, found)
            repository.record(RepositoryListing(self._listing.reference, self._listing.commit, (found,)))
            self._progress.end(entry.name)
        return FileState.RESUMED if began_at else FileState.DOWNLOADED

    def _check(self, part: Path) -> None:
        with part.open("rb") as file:
            begin = file.read(len(MAGIC))
        if begin != MAGIC:
            part.unlink()
            raise DownloadError(
                FAILED, f"what {self._listing.reference} sends begins with {shown(begin)}, which no GGUF file does",
                "open the address in a browser: it may lead to a page; nothing of it was kept",
            )  # fmt: skip
