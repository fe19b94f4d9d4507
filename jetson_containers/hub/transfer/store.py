"""The library's cache on disk, as far as this program reads and fills it.

models--ORGANIZATION--NAME/blobs/ETAG                    contents, named by their checksum
models--ORGANIZATION--NAME/blobs/ETAG.incomplete         the part of a file that is here (also …ETAG.UUID.incomplete)
models--ORGANIZATION--NAME/snapshots/COMMIT/FILE         link to the contents
models--ORGANIZATION--NAME/refs/REVISION                 the commit of a branch or tag
models--ORGANIZATION--NAME/trees/COMMIT.json             all files of a commit (huggingface_hub >= 1.x writes it too)
models--ORGANIZATION--NAME/verified/ETAG                 ours: size and time of a file whose checksum was right
.locks/models--ORGANIZATION--NAME/ETAG.lock              held while a file is written
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import uuid
from typing import TYPE_CHECKING

from .checksum import Digest
from .entries import ListingError, checked_commit, checked_entries, checked_entry, checked_etag, shown
from .errors import FAILED, NOT_READY, DownloadError
from .owner import Owner
from .reference import is_safe
from .types import FilePlan, FileState, RepositoryFile, RepositoryListing

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Callable, Iterator

    from .reference import Reference

_TREE_FORMAT = 1  # of trees/COMMIT.json, see huggingface_hub/_tree_cache.py
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class CachedRepository:
    """One repository's directory in the cache.

    No path outside it is ever read, written or removed, whatever a commit, checksum, revision or file name says and
    whatever links lie in the cache: every path is made by `_below`. The directory itself may be a link to another disk.
    """

    def __init__(self, cache: Path, reference: Reference, owner: Owner | None = None) -> None:
        self.cache = cache
        self.path = cache / reference.folder
        self.reference = reference
        self._locks = cache / ".locks" / reference.folder
        self._inside: set[Path] = set()  # directories that were found to be below, or missing
        self._owner = owner or Owner()
        self._foreign: dict[str, list[Path]] | None = None

    # what is here

    def snapshot(self, commit: str) -> Path:
        """Where the files of a commit are."""
        return self._below("snapshots", commit)

    def location(self, commit: str, entry: RepositoryFile) -> Path | None:
        """The file with an entry's contents: its blob, or the snapshot's own file where the disk knows no links."""
        pointer = self._below("snapshots", commit, entry.name)
        blob = self._blob(entry)
        if blob.is_file():
            return blob
        return pointer if pointer.is_file() and not pointer.is_symlink() else None

    def check(
        self,
        commit: str,
        entry: RepositoryFile,
        *,
        rehash: bool,
        write: bool,
        watch: Callable[[int], None] | None = None,
    ) -> FilePlan:
        """Find out what is here of an entry.

        A file's checksum is computed once, then its size and time of change vouch for it, unless `rehash`. Without
        `write` nothing is noted, and a file that was never checked counts when its size is right.
        """
        path = self.location(commit, entry)
        if path is None:
            part = self._largest_part(entry)
            present = min(part.stat().st_size, entry.size) if part else 0
            return FilePlan(entry, FileState.PARTIAL if present else FileState.MISSING, present)
        size = path.stat().st_size
        if size < entry.size:  # perhaps a copy that broke off: its begin is tried
            return FilePlan(entry, FileState.CORRUPT, size)
        if size > entry.size:
            return FilePlan(entry, FileState.CORRUPT, damaged=size)
        if not rehash and (self._is_stamped(path, entry) or (not write and self._stamp(entry) is None)):
            return FilePlan(entry, FileState.CACHED, entry.size)
        if not Digest(entry.etag, entry.size).read(path, watch).matches:
            return FilePlan(entry, FileState.CORRUPT, damaged=size)
        if write:
            self._write_stamp(path, entry)
        return FilePlan(entry, FileState.CACHED, entry.size)

    def commit_of(self, revision: str) -> str | None:
        """The commit a branch or tag had when it was last fetched; a commit is its own answer when it is here."""
        with contextlib.suppress(OSError, ValueError):
            return checked_commit(self._below("refs", revision).read_text(encoding="utf-8").strip())
        with contextlib.suppress(ListingError):
            return revision if self.snapshot(checked_commit(revision)).is_dir() else None
        return None

    def listing(self, commit: str) -> RepositoryListing:
        """The files of a commit from the kept list, else those whose links are here (then it is not `whole`)."""
        kept = self._kept_list(commit)
        if kept is not None:
            return RepositoryListing(self.reference, commit, kept)
        return RepositoryListing(self.reference, commit, tuple(self._linked(commit)), whole=False)

    def _kept_list(self, commit: str) -> tuple[RepositoryFile, ...] | None:
        """The kept list; None where there is none, or one that no hub gave."""
        try:
            data = json.loads(self._below("trees", f"{commit}.json").read_text(encoding="utf-8"))
            if data["format_version"] == _TREE_FORMAT:
                return checked_entries(_entries(data["files"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass
        return None

    def _linked(self, commit: str) -> Iterator[RepositoryFile]:
        """What a snapshot without a list holds; a link's target is named by the checksum it has to have.

        Raises DownloadError for a link to anything else: to leave it out would be to take a part for the whole.
        """
        folder = self.snapshot(commit)
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                name, target = path.relative_to(folder).as_posix(), os.readlink(str(path))
                try:
                    etag = checked_etag(os.path.basename(target))  # noqa: PTH119 - a string
                except ListingError as error:
                    raise DownloadError(
                        NOT_READY, f"`{path}` is a link to {shown(target)}, which is not a file of this cache",
                        "remove the link; without --offline the file is fetched again",
                    ) from error  # fmt: skip
                size = path.stat().st_size if path.exists() else 0
                yield RepositoryFile(name, size, "", etag) if len(etag) == 64 else RepositoryFile(name, size, etag)

    # filling it

    def prepare(self) -> None:
        """Make the directories that a download writes to."""
        self._owner.make_directory(self._below("blobs", "x").parent)
        self._owner.make_directory(self._locks)

    def chown_root_files(self) -> None:
        """Give away what earlier runs as root left behind."""
        self._owner.chown_leftovers(self.path)
        self._owner.chown_leftovers(self._locks)

    @contextlib.contextmanager
    def lock(self, entry: RepositoryFile, waiting: Callable[[], None], pause: Callable[[], None]) -> Iterator[None]:
        """Keep other downloads of the same file out, the library's too: it takes the same lock."""
        path = self._lock_of(entry)
        descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o664)
        self._owner.take(path)
        try:
            told = False
            while not _try_lock(descriptor):
                if not told:
                    waiting()
                told = True
                pause()
            yield
        finally:
            os.close(descriptor)

    def open_part(self, commit: str, entry: RepositoryFile) -> Path:
        """The file to go on with, under the lock: a kept part, a truncated blob, or a new and empty one."""
        part = self._part(entry)
        self._owner.make_directory(part.parent)
        if part.is_symlink():  # what it links to is not ours to write
            part.unlink()
        damaged = self.location(commit, entry)
        if damaged is not None and 0 < damaged.stat().st_size < entry.size and not damaged.is_symlink():
            damaged.replace(part)
        elif damaged is not None:
            damaged.unlink()
        kept = self._largest_part(entry)
        if kept is not None and kept != part:
            kept.replace(part)
        for orphan in self._parts(entry):
            if orphan != part:
                orphan.unlink()
        part.touch()
        if part.stat().st_size > entry.size:
            os.truncate(str(part), 0)
        self._owner.take(part)
        return part

    def finish(self, part: Path, entry: RepositoryFile) -> None:
        """Turn a verified part into a blob, on the disk before it has its final name."""
        blob = self._blob(entry)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(blob)
        self._write_stamp(blob, entry)

    def link(self, commit: str, entry: RepositoryFile) -> Path:
        """Let the snapshot show a blob under the file's name."""
        pointer = self._below("snapshots", commit, entry.name)
        blob = self._blob(entry)
        self._owner.make_directory(pointer.parent)
        if not blob.is_file() and pointer.is_file() and not pointer.is_symlink():
            return pointer
        target = os.path.relpath(str(blob), str(pointer.parent))
        if pointer.is_symlink() and os.readlink(str(pointer)) == target:
            return pointer
        fresh = self._fresh()
        try:
            fresh.symlink_to(target)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            blob.replace(pointer)  # FAT and exFAT: the snapshot holds the file itself
            self._write_stamp(pointer, entry)
            return pointer
        self._owner.take(fresh)
        fresh.replace(pointer)
        return pointer

    def record(self, listing: RepositoryListing, *, move: bool = True) -> None:
        """Keep the list of files, and the revision's commit (with `move` also where another one is kept).

        Only once all that was wanted is here: what offline commands find for a branch has to be complete.
        """
        files: dict[str, dict[str, object]] = {}
        for entry in sorted(listing.entries, key=lambda entry: entry.name):
            files[entry.name] = {"size": entry.size, "blob_id": entry.blob_id}
            if entry.sha256:
                files[entry.name].update(lfs_sha256=entry.sha256, lfs_size=entry.size)
        self._owner.make_directory(self.snapshot(listing.commit))
        tree = self._below("trees", f"{listing.commit}.json")
        if listing.whole and self._kept_list(listing.commit) is None:
            self._write(tree, json.dumps({"format_version": _TREE_FORMAT, "files": files}, indent=1))
        kept = self.commit_of(listing.revision)
        if listing.commit not in {listing.revision, kept} and (move or kept is None):
            self._write(self._below("refs", listing.revision), listing.commit)

    # small things

    def _below(self, *parts: str) -> Path:
        """A path in this repository. Raises DownloadError for one that would be outside, by its name or by a link."""
        return self._checked(self.path, parts)

    def _blob(self, entry: RepositoryFile) -> Path:
        return self._below("blobs", _one(entry.etag))

    def _part(self, entry: RepositoryFile) -> Path:
        return self._below("blobs", f"{_one(entry.etag)}.incomplete")

    def _stamp_of(self, entry: RepositoryFile) -> Path:
        return self._below("verified", _one(entry.etag))

    def _lock_of(self, entry: RepositoryFile) -> Path:
        return self._checked(self._locks, (f"{_one(entry.etag)}.lock",))

    def _checked(self, root: Path, parts: tuple[str, ...]) -> Path:
        path = root.joinpath(*parts)
        if not all(is_safe(part) for part in parts):
            raise _outside(path, root)
        folder = path.parent
        if folder not in self._inside:
            # Links in the directory's own path are the user's; those below it would lead a download astray.
            top, real = os.path.realpath(str(root)), os.path.realpath(str(folder))
            if real != top and not real.startswith(top.rstrip(os.sep) + os.sep):
                raise _outside(path, root)
            self._inside.add(folder)
        return path

    def _parts(self, entry: RepositoryFile) -> list[Path]:
        """Parts of a file; one with holes was not written from front to back, so its length says nothing."""
        own = self._part(entry)
        found = [own] if own.is_file() and not own.is_symlink() else []
        for path in self._foreign_parts.get(entry.etag, ()):
            with contextlib.suppress(OSError):
                status = path.lstat()
                if stat.S_ISREG(status.st_mode) and status.st_blocks * 512 + 4096 >= status.st_size:
                    found.append(path)
        return found

    @property
    def _foreign_parts(self) -> dict[str, list[Path]]:
        """ETAG.UUID.incomplete of the library by ETAG, read once: data sets have tens of thousands of files."""
        if self._foreign is None:
            self._foreign = {}
            blobs = self._below("blobs", "x").parent
            for name in os.listdir(blobs) if blobs.is_dir() else []:  # noqa: PTH208
                etag, _, rest = name.partition(".")
                if rest.endswith(".incomplete"):
                    self._foreign.setdefault(etag, []).append(blobs / name)
        return self._foreign

    def _largest_part(self, entry: RepositoryFile) -> Path | None:
        parts = [part for part in self._parts(entry) if part.stat().st_size <= entry.size]
        return max(parts, key=lambda path: path.stat().st_size) if parts else None

    def _stamp(self, entry: RepositoryFile) -> tuple[int, int] | None:
        with contextlib.suppress(OSError, ValueError):
            size, changed = self._stamp_of(entry).read_text(encoding="utf-8").split()
            return int(size), int(changed)
        return None

    def _is_stamped(self, path: Path, entry: RepositoryFile) -> bool:
        status = path.stat()
        return self._stamp(entry) == (status.st_size, status.st_mtime_ns)

    def _write_stamp(self, path: Path, entry: RepositoryFile) -> None:
        """Vouch for a file. A cache that may only be read is checked every time, nothing worse."""
        status = path.stat()
        with contextlib.suppress(OSError):
            self._write(self._stamp_of(entry), f"{status.st_size} {status.st_mtime_ns}\n")

    def _write(self, path: Path, text: str) -> None:
        self._owner.make_directory(path.parent)
        write_whole(path, text, self._owner, fresh=self._fresh())

    def _fresh(self) -> Path:
        """A name for what is about to get its own: where nobody takes it for a file of the model or a branch."""
        return self.path / f".{uuid.uuid4().hex[:12]}.new"


def write_whole(path: Path, text: str, owner: Owner | None = None, *, fresh: Path | None = None) -> None:
    """Write a file so that a reader, and a killed writer, see all of it or nothing. `fresh` is its name until then."""
    fresh = fresh or path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:8]}.new")
    try:
        with fresh.open("x", encoding="utf-8") as file:
            (owner or Owner()).take(fresh)
            file.write(text)
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def _entries(files: dict[str, dict[str, object]]) -> Iterator[RepositoryFile]:
    for name, info in files.items():
        sha256 = info.get("lfs_sha256")
        yield checked_entry(name, info["lfs_size"] if sha256 else info["size"], info["blob_id"], sha256)


def _one(name: str) -> str:
    """A checksum as one part of a path. Raises DownloadError."""
    if "/" in name or not is_safe(name):
        raise DownloadError(FAILED, f"the checksum {shown(name)} cannot name a file", "do not use this repository")
    return name


def _outside(path: Path, root: Path) -> DownloadError:
    return DownloadError(
        FAILED, f"{shown(str(path))} is not below {root}, so it is neither read nor written",
        "if a link in the cache leads there, remove it; a link is allowed for the repository's directory as a whole",
    )  # fmt: skip


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a network file system without locks: go on, checksums decide
        if error.errno not in _NO_LOCKS:
            raise
    return True
