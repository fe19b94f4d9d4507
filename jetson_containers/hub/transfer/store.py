"""The library's cache on disk, as far as this program reads and fills it.

models--ORGANISATION--NAME/blobs/ETAG                    contents, named by their checksum
models--ORGANISATION--NAME/blobs/ETAG.incomplete         the part of a file that is here (also …ETAG.UUID.incomplete)
models--ORGANISATION--NAME/snapshots/COMMIT/FILE         link to the contents
models--ORGANISATION--NAME/refs/REVISION                 the commit of a branch or tag
models--ORGANISATION--NAME/trees/COMMIT.json             all files of a commit (huggingface_hub >= 1.x writes it too)
models--ORGANISATION--NAME/verified/ETAG                 ours: size and time of a file whose checksum was right
.locks/models--ORGANISATION--NAME/ETAG.lock              held while a file is written
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import re
import uuid
from typing import TYPE_CHECKING

from .checksum import Digest
from .model import Entry, FilePlan, Listing, State
from .owner import Owner
from .reference import is_safe

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Callable, Iterator

    from .reference import Reference

_TREE_FORMAT = 1  # of trees/COMMIT.json, see huggingface_hub/_tree_cache.py
_COMMIT = re.compile(r"[0-9a-f]{40}")
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})


class Repository:
    """One repository's directory in the cache."""

    def __init__(self, cache: Path, reference: Reference, owner: Owner | None = None) -> None:
        self.cache = cache
        self.path = cache / reference.folder
        self.reference = reference
        self._locks = cache / ".locks" / reference.folder
        self._owner = owner or Owner()

    # what is here

    def snapshot(self, commit: str) -> Path:
        """Where the files of a commit are."""
        return self.path / "snapshots" / commit

    def location(self, commit: str, entry: Entry) -> Path | None:
        """The file with an entry's contents: its blob, or the snapshot's own file where the disk knows no links."""
        pointer = self.snapshot(commit) / entry.name
        blob = self.path / "blobs" / entry.etag
        if blob.is_file():
            return blob
        return pointer if pointer.is_file() and not pointer.is_symlink() else None

    def check(
        self, commit: str, entry: Entry, *, rehash: bool, write: bool, watch: Callable[[int], None] | None = None
    ) -> FilePlan:
        """Find out what is here of an entry.

        A file's checksum is computed once, then its size and time of change vouch for it, unless `rehash`. Without
        `write` nothing is noted, and a file that was never checked counts when its size is right.
        """
        path = self.location(commit, entry)
        if path is None:
            part = self._largest_part(entry)
            present = min(part.stat().st_size, entry.size) if part else 0
            return FilePlan(entry, State.PARTIAL if present else State.MISSING, present)
        size = path.stat().st_size
        if size < entry.size:  # perhaps a copy that broke off: its begin is tried
            return FilePlan(entry, State.CORRUPT, size)
        if size > entry.size:
            return FilePlan(entry, State.CORRUPT, damaged=size)
        if not rehash and (self._is_stamped(path, entry) or (not write and self._stamp(entry) is None)):
            return FilePlan(entry, State.CACHED, entry.size)
        if not Digest(entry.etag, entry.size).read(path, watch).matches:
            return FilePlan(entry, State.CORRUPT, damaged=size)
        if write:
            self._write_stamp(path, entry)
        return FilePlan(entry, State.CACHED, entry.size)

    def commit_of(self, revision: str) -> str | None:
        """The commit a branch or tag had when it was last fetched; a commit is its own answer when it is here."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            commit = (self.path / "refs" / revision).read_text(encoding="utf-8").strip()
            if _COMMIT.fullmatch(commit):
                return commit
        return revision if _COMMIT.fullmatch(revision) and self.snapshot(revision).is_dir() else None

    def listing(self, commit: str) -> Listing:
        """The files of a commit from the kept list, else those whose links are here (then it is not `whole`)."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            data = json.loads((self.path / "trees" / f"{commit}.json").read_text(encoding="utf-8"))
            if data["format_version"] == _TREE_FORMAT:
                return Listing(self.reference, commit, tuple(_entries(data["files"])))
        return Listing(self.reference, commit, tuple(self._linked(commit)), whole=False)

    def _linked(self, commit: str) -> Iterator[Entry]:
        """What a snapshot without a list holds; a link's target is named by the checksum it has to have."""
        folder = self.snapshot(commit)
        for path in sorted(folder.rglob("*")):
            if path.is_symlink():
                etag = os.path.basename(os.readlink(str(path)))  # noqa: PTH119 - Path.readlink is Python 3.9
                size = path.stat().st_size if path.exists() else 0
                sha256 = etag if len(etag) == 64 else None
                yield Entry(path.relative_to(folder).as_posix(), size, "" if sha256 else etag, sha256)

    # filling it

    def prepare(self) -> None:
        """Make the directories that a download writes to."""
        self._owner.make_directory(self.path / "blobs")
        self._owner.make_directory(self._locks)

    def hand_over(self) -> None:
        """Give away what earlier runs as root left behind."""
        self._owner.take_leftovers(self.path)
        self._owner.take_leftovers(self._locks)

    @contextlib.contextmanager
    def lock(self, entry: Entry, waiting: Callable[[], None], pause: Callable[[], None]) -> Iterator[None]:
        """Keep other downloads of the same file out, the library's too: it takes the same lock."""
        path = self._locks / f"{entry.etag}.lock"
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

    def open_part(self, commit: str, entry: Entry) -> Path:
        """The file to go on with, under the lock: a kept part, a truncated blob, or a new and empty one."""
        part = self.path / "blobs" / f"{entry.etag}.incomplete"
        self._owner.make_directory(part.parent)
        damaged = self.location(commit, entry)
        if damaged is not None and 0 < damaged.stat().st_size < entry.size:
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

    def finish(self, part: Path, entry: Entry) -> None:
        """Turn a verified part into a blob, on the disk before it has its final name."""
        blob = part.with_name(entry.etag)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(blob)
        self._write_stamp(blob, entry)

    def link(self, commit: str, entry: Entry) -> Path:
        """Let the snapshot show a blob under the file's name."""
        if not is_safe(entry.name):
            raise ValueError(f"the hub names a file `{entry.name}`")
        pointer = self.snapshot(commit) / entry.name
        blob = self.path / "blobs" / entry.etag
        self._owner.make_directory(pointer.parent)
        if not blob.is_file() and pointer.is_file() and not pointer.is_symlink():
            return pointer
        target = os.path.relpath(str(blob), str(pointer.parent))
        if pointer.is_symlink() and os.readlink(str(pointer)) == target:
            return pointer
        fresh = pointer.with_name(f".{pointer.name[:100]}.{os.getpid()}.new")
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

    def record(self, listing: Listing, *, move: bool = True) -> None:
        """Keep the list of files, and the revision's commit (with `move` also where another one is kept).

        Only once all that was wanted is here: what offline commands find for a branch has to be complete.
        """
        files: dict[str, dict[str, object]] = {}
        for entry in sorted(listing.entries, key=lambda entry: entry.name):
            files[entry.name] = {"size": entry.size, "blob_id": entry.blob_id}
            if entry.sha256:
                files[entry.name].update(lfs_sha256=entry.sha256, lfs_size=entry.size)
        self._owner.make_directory(self.snapshot(listing.commit))
        tree = self.path / "trees" / f"{listing.commit}.json"
        if listing.whole and not tree.is_file():
            self._write(tree, json.dumps({"format_version": _TREE_FORMAT, "files": files}, indent=1))
        kept = self.commit_of(listing.revision)
        if listing.commit not in {listing.revision, kept} and (move or kept is None):
            self._write(self.path / "refs" / listing.revision, listing.commit)

    # small things

    def _parts(self, entry: Entry) -> list[Path]:
        """Parts of a file; one with holes was not written from front to back, so its length says nothing."""
        found = []
        for path in sorted((self.path / "blobs").glob(f"{entry.etag}.*incomplete")):
            with contextlib.suppress(OSError):
                status = path.stat()
                if status.st_blocks * 512 + 4096 >= status.st_size or path.name == f"{entry.etag}.incomplete":
                    found.append(path)
        return found

    def _largest_part(self, entry: Entry) -> Path | None:
        parts = [part for part in self._parts(entry) if part.stat().st_size <= entry.size]
        return max(parts, key=lambda path: path.stat().st_size) if parts else None

    def _stamp(self, entry: Entry) -> tuple[int, int] | None:
        with contextlib.suppress(OSError, ValueError):
            size, changed = (self.path / "verified" / entry.etag).read_text(encoding="utf-8").split()
            return int(size), int(changed)
        return None

    def _is_stamped(self, path: Path, entry: Entry) -> bool:
        status = path.stat()
        return self._stamp(entry) == (status.st_size, status.st_mtime_ns)

    def _write_stamp(self, path: Path, entry: Entry) -> None:
        """Vouch for a file. A cache that may only be read is checked every time, nothing worse."""
        status = path.stat()
        with contextlib.suppress(OSError):
            self._write(self.path / "verified" / entry.etag, f"{status.st_size} {status.st_mtime_ns}\n")

    def _write(self, path: Path, text: str) -> None:
        """Write a small file whole or not at all."""
        self._owner.make_directory(path.parent)
        write_whole(path, text, self._owner)


def write_whole(path: Path, text: str, owner: Owner | None = None) -> None:
    """Write a file so that a reader, and a killed writer, see all of it or nothing."""
    fresh = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex[:8]}.new")
    try:
        with fresh.open("x", encoding="utf-8") as file:
            (owner or Owner()).take(fresh)
            file.write(text)
        fresh.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def _entries(files: dict[str, dict[str, object]]) -> Iterator[Entry]:
    for name, info in files.items():
        sha256 = info.get("lfs_sha256")
        size = info["lfs_size"] if sha256 else info["size"]
        yield Entry(name, int(str(size)), str(info["blob_id"]), str(sha256) if sha256 else None)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:  # a network file system without locks: go on, checksums decide
        if error.errno not in _NO_LOCKS:
            raise
    return True
