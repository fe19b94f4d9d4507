"""What is in the cache, and removing it."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core import files
from jetson_containers.core.errors import NothingMatchedError, NotReadyError, chown_command
from jetson_containers.hub.downloads import cache_of, translate_errors
from jetson_containers.hub.transfer.reference import Reference, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_FOLDER = re.compile(r"(?P<kind>model|dataset)s--(?P<repo>.+)")
_TRASH = ".removed-"  # below .locks, where the library does not look for repositories


@dataclass(frozen=True, kw_only=True)
class CachedRepo:
    """A repository in the cache. `bytes` on disk, parts included; `partial`: a download has not come to its end."""

    id: str
    kind: str
    path: Path
    bytes: int
    commits: tuple[str, ...]
    refs: tuple[str, ...]
    partial: bool
    modified: float

    @property
    def reference(self) -> Reference:
        """The name that `parse` reads."""
        return Reference(self.id, kind=self.kind)


def cached(data: Path) -> list[CachedRepo]:
    """All repositories below a data directory, by name; modification times are seconds since 1970."""
    cache = cache_of(data)
    found = []
    for path in sorted(cache.glob("*--*")) if cache.is_dir() else []:
        match = _FOLDER.fullmatch(path.name)
        if match and path.is_dir():
            found.append(measured(path, match["repo"].replace("--", "/"), match["kind"]))
    return sorted(found, key=lambda repo: (repo.kind != "model", repo.id.lower()))


def remove(data: Path, repo: str, kind: str = "model") -> int:
    """Remove one repository with all its revisions; the bytes that came free.

    It disappears by one rename, so that a removal that is interrupted leaves nothing that looks like a model; the next
    one clears the rest. Raises UsageError, NothingMatchedError, or NotReadyError where it is in use or belongs to root.
    """
    with translate_errors():
        reference = parse(repo, kind)
    return remove_folder(cache_of(data), reference.folder, reference.repo, [item.id for item in cached(data)])


def remove_folder(cache: Path, folder: str, name: str, others: Sequence[str]) -> int:
    """Remove one directory of a cache as `remove` does; `name` and `others` are what is called so in messages."""
    path, locks = cache / folder, cache / ".locks"
    if not path.is_dir():
        raise NothingMatchedError(f"`{name}` is not in {cache}", hint=f"in the cache: {', '.join(others) or 'nothing'}")
    with _kept_out(locks / folder, name):
        size = measured(path, name, "model").bytes
        try:
            locks.mkdir(exist_ok=True)
            path.rename(locks / f"{_TRASH}{secrets.token_hex(4)}")
        except PermissionError as error:
            raise _belongs_to_root(path) from error
    shutil.rmtree(locks / folder, ignore_errors=True)
    for trash in sorted(locks.glob(f"{_TRASH}*")):
        try:
            shutil.rmtree(trash)
        except PermissionError as error:
            raise _belongs_to_root(trash) from error
    return size


@contextlib.contextmanager
def _kept_out(locks: Path, repo: str) -> Iterator[None]:
    """Hold every lock of a repository, so that no download writes into what is being removed."""
    with contextlib.ExitStack() as stack:
        for path in sorted(locks.glob("*.lock")):
            if not files.try_lock(stack.enter_context(files.open_lock(path))):
                raise NotReadyError(f"`{repo}` is being downloaded", hint="wait for it, or stop it first")
        yield


def _belongs_to_root(path: Path) -> NotReadyError:
    return NotReadyError(
        f"`{path}` may not be removed: it, or what is in it, belongs to another user",
        hint=f"an earlier container left it to root: {chown_command(path)}",
    )


def measured(path: Path, repo: str, kind: str) -> CachedRepo:
    """What a directory of the cache holds."""
    size, modified, partial = 0, path.stat().st_mtime, False
    for file in path.rglob("*"):
        with contextlib.suppress(OSError):
            if file.is_symlink() or not file.is_file():
                continue
            status = file.stat()
            size += status.st_size
            modified = max(modified, status.st_mtime)
            partial = partial or file.name.endswith(".incomplete")
    snapshots, refs = path / "snapshots", path / "refs"
    commits = tuple(sorted(item.name for item in snapshots.glob("*") if item.is_dir()))
    names = tuple(sorted(item.relative_to(refs).as_posix() for item in refs.rglob("*") if item.is_file()))
    return CachedRepo(
        id=repo, kind=kind, path=path, bytes=size, commits=commits, refs=names, partial=partial, modified=modified
    )
