"""Files and directories: locks, atomic writes, free space, links, and errors a user can act on.

Every module writes, locks and measures through these functions. Two places stand alone on purpose: `hub/transfer` and
`container_scripts`, which also run in images, with Python 3.8 and without this package.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import stat
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import (
    DiskSpaceError,
    InterruptedByUserError,
    NotReadyError,
    UsageError,
    chown_command,
    command,
)
from jetson_containers.core.text import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_LEFT_OVER_AFTER = 3600.0  # seconds
_POLL = 0.2  # seconds between looks at a lock that another process holds


# Writing.


def write_atomically(path: Path, data: str | bytes, *, mode: int = 0o666) -> None:
    """Replace a file in one step: a reader, or a run that is killed, sees the old one or the new one.

    Text is written as UTF-8. Parent directories are made; `mode` is reduced by the umask. Raises OSError, and leaves
    no temporary file then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    temporary.unlink(missing_ok=True)  # of a process of the same number that was killed
    _remove_left_over(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remove_left_over(path: Path) -> None:
    """Remove what killed writers of a file left. In another name space a living one may look dead: hence the hour."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.*"):
        pid, _, thread = left.name.removeprefix(f".{path.name}.").partition(".")
        with contextlib.suppress(OSError):
            is_part = is_number(pid) and is_number(thread) and not Path(f"/proc/{pid}").exists()
            if is_part and is_old(left, _LEFT_OVER_AFTER):
                left.unlink()


def is_old(path: Path, seconds: float, now: float | None = None) -> bool:
    """Whether nothing has touched it for longer; a time as far ahead is one of a wrong clock. Raises OSError."""
    return abs((time.time() if now is None else now) - path.stat().st_mtime) > seconds


def open_no_link(path: Path, mode: str, **how: Any) -> IO[Any]:
    """Open a file whose name others can guess, as `open` does, but never through a link. Raises OSError for one.

    Who may write the folder would choose by a link what root overwrites.
    """
    return open(path, mode, opener=_no_link, **how)


def _no_link(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)


def write_json(path: Path, data: Any, *, sort_keys: bool = False, mode: int = 0o666) -> None:
    """Write indented JSON, atomically."""
    write_atomically(path, json.dumps(data, indent=2, sort_keys=sort_keys, ensure_ascii=False) + "\n", mode=mode)


def read_regular(path: Path, largest: int) -> bytes:
    """The bytes of a file that others may have put there. Raises OSError, also for a device, a FIFO and a larger file.

    Opening a FIFO waits for its writer, and a device never ends.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        raise OSError(errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL, "it is not a file", str(path))
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise OSError(errno.EFBIG, f"it has more than {largest} bytes", str(path))
    return data


def file_digest(path: Path, kind: str = "sha256") -> str:
    """The checksum of a file as `KIND:HEX`. Raises OSError."""
    state = hashlib.new(kind)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            state.update(block)
    return f"{kind}:{state.hexdigest()}"


def make_data_directory(path: Path) -> None:
    """Create the data directory where it is missing; made by root, it belongs to the user whose directory it is in.

    In one of root's, under sudo: to the user who called sudo.

    Raises UsageError when a file has this name, NotReadyError when it cannot be made.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        if missing and os.geteuid() == 0:
            user, group = _owner_below(missing[-1].parent)
            for folder in missing:
                os.chown(folder, user, group, follow_symlinks=False)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"`{path}` is not a directory, so it cannot be /data", hint="--data DIR") from error
    except OSError as error:
        raise NotReadyError(
            f"`{path}` cannot be made: {error.strerror}", hint="choose another with --data DIR"
        ) from error


def _owner_below(folder: Path) -> tuple[int, int]:
    """Who owns what root makes in a directory, -1 where that is root."""
    found = folder.stat()
    if found.st_uid != 0:
        return found.st_uid, found.st_gid
    user, group = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    return (int(user), int(group) if is_number(group) else -1) if is_number(user) else (-1, -1)


@contextlib.contextmanager
def readable_os_errors() -> Iterator[None]:
    """Turn a denied write into an error that says what to do. Raises NotReadyError; other OSErrors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DENIED:
            raise
        place = error.filename or "the data directory"
        raise NotReadyError(f"cannot write {place}: {error.strerror}", hint=_write_hint(error)) from error


def _write_hint(error: OSError) -> str:
    own = "use another data directory with JETSON_CONTAINERS_DATA=DIR"
    if error.errno == errno.EROFS:
        return f"it is mounted read-only: mount it for writing; {own}"
    place = os.path.dirname(str(error.filename or "DIR/")).removesuffix("/.locks")  # noqa: PTH120 - a name, not a file
    return f"run as its owner, or make it yours: {chown_command(place)}; {own}"


# Locks. The kernel releases them when their holder dies. Lock files stay: removing one would let a third process lock
# another file of the same name.


@contextlib.contextmanager
def open_lock(path: Path) -> Iterator[int]:
    """A lock file; that of another user can be locked as well, for which reading is enough."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except PermissionError:
        if not path.exists():
            raise  # the directory is another user's: nothing can be made in it
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take a lock; False when another process has it. On a file system without locks it is always granted."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


def wait_for_lock(descriptor: int, cancelled: threading.Event | None = None) -> None:
    """Take a lock that another process has. Raises InterruptedByUserError when `cancelled` is set while waiting."""
    if cancelled is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    while not try_lock(descriptor):
        if cancelled.wait(_POLL):
            raise InterruptedByUserError("interrupted while another build of the same stage was running")


# Free space.


def free_space(place: Path) -> int:
    """Bytes that an unprivileged writer can still use at a place, which need not exist yet."""
    import shutil

    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def ensure_engine_space(data_root: str, needed_bytes: int) -> int | None:
    """Raise DiskSpaceError when the engine's disk has less than `needed_bytes`; else return what is free.

    A remote engine's disk cannot be seen from here: then nothing is checked and None returned.
    """
    free = directory_space(data_root)
    if free is not None and free < needed_bytes:
        raise DiskSpaceError(
            f"{human_bytes(needed_bytes)} are needed below `{data_root}`, {human_bytes(free)} are free",
            hint="jetson-containers df shows what takes the space, jetson-containers prune frees it",
        )
    return free


def directory_space(directory: str | Path) -> int | None:
    """Bytes free in a directory; None when it is not on this machine, or not given."""
    import shutil

    try:
        return shutil.disk_usage(directory).free if str(directory) else None
    except OSError:
        return None


# Outputs of a pipeline.


def points_to(link: Path, target: Path) -> bool:
    """Whether a link leads to something that is there."""
    return link.is_symlink() and link.resolve() == target.resolve() and target.exists()


def link(link: Path, target: Path) -> None:
    """Make a relative link, which is right on the host and in containers; a directory of the user's stays."""
    if link.exists() and not link.is_symlink():
        raise UsageError(
            f"{link} exists, but a link to {target} is needed there",
            hint="move it away, or use it as the model itself",
        )
    replace_link(link, os.path.relpath(target, link.parent))


def replace_link(link: Path, leads_to: str) -> None:
    """Make a link in one step: a reader sees the old one or the new one."""
    new = link.with_name(f"{link.name}.{os.getpid()}.part")
    new.unlink(missing_ok=True)
    new.symlink_to(leads_to)
    new.replace(link)


def move_into(made: Path, output: Path, names: Sequence[str]) -> None:
    """Move files into a directory that others share."""
    for name in names:
        target = output / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (made / name).replace(target)


def mounts_below(folder: Path) -> list[Path]:
    """The places below a folder where something else is mounted, the deepest first; none where Linux does not say."""
    try:
        text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    fields = (line.split(" ") for line in text.splitlines())
    points = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), row[4]) for row in fields if len(row) > 4)
    inside = folder.resolve()
    return sorted((Path(point) for point in points if inside in Path(point).parents), reverse=True)


@contextlib.contextmanager
def temporary_folder(prefix: str, warn: Callable[[str, str], None]) -> Iterator[Path]:
    """A folder that is removed at the end; it stays, with a warning, while something is mounted below it.

    Removing it would empty what is mounted there, such as the machine's own /dev/shm.
    """
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        if found := mounts_below(folder):
            hint = command("sudo", "umount", *map(str, found)) + ", then " + command("sudo", "rm", "-r", str(folder))
            warn(f"{folder} stays: something is mounted below it", hint)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file, a link or a directory; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
