"""What the pipeline does to files: locks, links, outputs that take another's place."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

from jetson_containers.core.errors import NotReadyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def told_whose() -> Iterator[None]:
    """Say what cannot be written, rather than to fail as if it were a bug. Raises NotReadyError."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DENIED:
            raise
        place = error.filename or "the data directory"
        raise NotReadyError(f"cannot write {place}: {error.strerror}", hint=_way_out(error)) from error


def _way_out(error: OSError) -> str:
    own = "JETSON_CONTAINERS_DATA=DIR takes another data directory"
    if error.errno == errno.EROFS:
        return f"it is mounted read-only: mount it for writing; {own}"
    place = os.path.dirname(str(error.filename or "DIR/")).removesuffix("/.locks")  # noqa: PTH120 - a name, not a file
    return f'run as its owner, or make it yours: sudo chown -R "$(id -u):$(id -g)" {place}; {own}'


@contextlib.contextmanager
def opened_lock(path: Path) -> Iterator[int]:
    """A lock file; that of another user can be locked as well, for which reading is enough."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except PermissionError:
        if not path.exists():
            raise  # the directory is another user's: nothing can be made in it
        descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take a lock, or say that another process has it. Where a file system knows no locks, everybody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}:
            raise
    return True


def points_to(link: Path, target: Path) -> bool:
    """Whether a link leads to something that is there."""
    return link.is_symlink() and link.resolve() == target.resolve() and target.exists()


def link(link: Path, target: Path) -> None:
    """Make a relative link, which is right on the host and in containers; a directory of the user's stays."""
    if link.exists() and not link.is_symlink():
        raise UsageError(
            f"{link} is in the way: a link to {target} belongs there",
            hint="move it away, or use it as the model itself",
        )
    new = link.with_name(f"{link.name}.{os.getpid()}.part")
    new.unlink(missing_ok=True)
    new.symlink_to(os.path.relpath(target, link.parent))
    new.replace(link)


def move_into(made: Path, output: Path, names: Sequence[str]) -> None:
    """Move files into a directory that others share."""
    for name in names:
        target = output / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (made / name).replace(target)


def remove(path: Path) -> None:
    """Remove a file, a link or a directory; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
