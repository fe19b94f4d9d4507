"""The data that passes between the modules of this folder."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from .reference import Reference


class FileState(str, enum.Enum):
    """What is here of a file, before a download or after it."""

    CACHED = "cached"
    PARTIAL = "partial"
    MISSING = "missing"
    CORRUPT = "corrupt"
    DOWNLOADED = "downloaded"
    RESUMED = "resumed"
    REPAIRED = "repaired"


@dataclass(frozen=True)
class RepositoryFile:
    """A file of a repository, `size` in bytes.

    `blob_id` is git's sha1; `sha256` have only files kept by Git LFS or Xet, whose `blob_id` is that of a pointer.
    """

    name: str
    size: int
    blob_id: str
    sha256: str | None = None

    @property
    def etag(self) -> str:
        """The checksum that names the file in the cache."""
        return self.sha256 or self.blob_id


@dataclass(frozen=True)
class RepositoryListing:
    """All files of a repository at one commit. `gated` is False, "auto" or "manual"; `whole`: no file is left out."""

    reference: Reference
    commit: str
    entries: tuple[RepositoryFile, ...]
    gated: bool | str = False
    whole: bool = True

    @property
    def revision(self) -> str:
        """What was asked for; without a revision that is `main`."""
        return self.reference.revision or "main"


@dataclass(frozen=True)
class FilePlan:
    """A file that is wanted and what is here of it.

    `present` bytes need not be fetched; `damaged` ones have to, but what they take on the disk is freed first.
    """

    entry: RepositoryFile
    state: FileState
    present: int = 0
    damaged: int = 0

    @property
    def missing(self) -> int:
        """Bytes still to be fetched."""
        return self.entry.size - self.present

    @property
    def needs(self) -> int:
        """Bytes of disk that the file will take in addition."""
        return max(0, self.missing - self.damaged)


@dataclass(frozen=True)
class DownloadPlan:
    """What one reference comes to: its listing, the wanted files, and where they are or will be."""

    listing: RepositoryListing
    files: tuple[FilePlan, ...]
    path: Path

    @property
    def missing(self) -> int:
        """Bytes still to be fetched; equal files count once."""
        return sum({item.entry.etag: item.missing for item in self.files}.values())


@dataclass(frozen=True)
class DownloadResult:
    """One reference as it is on disk now. `local`: it was a path already, and no repository."""

    path: str
    plan: DownloadPlan | None = None
    states: dict[str, FileState] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """`{repo, revision, commit, path, files: [{name, size, sha256, state}], bytes}`."""
        if self.plan is None:
            return {"repo": None, "revision": None, "commit": None, "path": self.path, "files": [], "bytes": 0}
        listing = self.plan.listing
        files = [
            {
                "name": item.entry.name,
                "size": item.entry.size,
                "sha256": item.entry.sha256,
                "state": self.states.get(item.entry.name, item.state).value,
            }
            for item in self.plan.files
        ]
        return {
            "repo": listing.reference.repo,
            "revision": listing.revision,
            "commit": listing.commit,
            "path": self.path,
            "files": files,
            "bytes": sum(item.entry.size for item in self.plan.files),
        }
