"""Reading what a package tree holds: regular files of a bounded size that lie inside their tree, and nothing else.

A tree may come from anywhere. A FIFO never ends, `/dev/zero` and a sparse file never end either, and a path such as
`../../.ssh/id_rsa` or a link to it would carry the user's own files into an image.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import stat
from typing import TYPE_CHECKING

from jetson_containers.core.errors import RecipeError

if TYPE_CHECKING:
    from pathlib import Path

CONFIG_FILES = ("config.yaml", "config.yml", "config.json")
LARGEST = 1 << 20  # bytes; no Dockerfile, `config.py`, README or script of a recipe comes near
_KINDS = ((stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISDIR, "a directory"))


def read_text(path: Path, *, tree: Path | None = None, errors: str = "strict") -> str:
    """A file's text; with `tree`, only of a file inside it. Raises RecipeError."""
    try:
        return read_bytes(path, tree=tree).decode("utf-8-sig", errors=errors).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise RecipeError(f"cannot be read: {error}", path=path) from None


def read_bytes(path: Path, *, tree: Path | None = None) -> bytes:
    """A file's bytes. Raises RecipeError for what is not a regular file, is too large or lies outside of `tree`."""
    if tree is not None:
        check_inside(path, tree)
    try:
        check_regular(path)
        # Whatever stands there by now: opening a FIFO must not wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise RecipeError(f"cannot be read: {error}", path=path) from None
    if len(data) > LARGEST:
        raise _too_large(path)
    return data


def check_regular(path: Path) -> None:
    """Raise RecipeError for what is not a regular file or too large to be read; OSError where there is nothing."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for judge, name in _KINDS if judge(status.st_mode)), "a device")
        raise RecipeError(f"is {kind}, not a file", path=path)
    if status.st_size > LARGEST:
        raise _too_large(path)


def is_file(path: Path) -> bool:
    """Whether there is a regular file; a name that the file system cannot have is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_directory(path: Path) -> bool:
    """Whether there is a directory; a name that the file system cannot have is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def is_there(path: Path) -> bool:
    """Whether there is anything; a name that the file system cannot have is nothing."""
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def is_inside(path: Path, tree: Path) -> bool:
    """Whether a path, its links followed, lies inside a tree."""
    try:
        if _is_plainly_inside(path, tree):
            return True
        real, root = os.path.realpath(path), os.path.realpath(tree)
    except (OSError, ValueError):
        return False
    return real == root or real.startswith(os.path.join(root, ""))  # noqa: PTH118 - a prefix of texts


def _is_plainly_inside(path: Path, tree: Path) -> bool:
    """Whether a path begins with the tree and goes on without links and `..`: then nothing above matters."""
    prefix = os.path.join(tree, "")  # noqa: PTH118 - a prefix of texts
    if not str(path).startswith(prefix) or ".." in path.parts:
        return False
    current = str(path)
    while len(current) > len(prefix):
        with contextlib.suppress(OSError):  # what is not there is no link
            if stat.S_ISLNK(os.lstat(current).st_mode):  # a fifth of the time of Path
                return False
        current = current.rpartition(os.sep)[0]
    return True


def check_inside(path: Path, tree: Path) -> None:
    """Raise RecipeError for a path that leads out of the tree."""
    if not is_inside(path, tree):
        raise RecipeError(f"leads out of the package tree {tree}", path=path, hint="copy the file into the tree")


def program(command: str) -> str:
    """The first word of a command, as a shell splits it; all of it where a quote is open."""
    try:
        return next(iter(shlex.split(command)), "")
    except ValueError:
        return command.strip()


def _too_large(path: Path) -> RecipeError:
    return RecipeError(f"is larger than {LARGEST >> 20} MiB, the most that a file of a recipe may have", path=path)


def dockerfile_in(names: set[str]) -> str | None:
    """The file that defines a package: `Dockerfile`, in any case, before `Dockerfile.j2`."""
    for wanted in ("dockerfile", "dockerfile.j2"):
        found = sorted(name for name in names if name.lower() == wanted)
        if found:
            return found[0]
    return None


def readable_by_root(place: Path) -> bool:
    """Whether a root user without capabilities could read a file, or all of a folder: as the owner, or as anybody."""
    return all(_root_reads(path) for path in (place, *place.rglob("*")))


def _root_reads(path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:  # a broken link, say: nobody reads it
        return True
    needed = stat.S_IROTH | (stat.S_IXOTH if stat.S_ISDIR(found.st_mode) else 0)
    return found.st_uid == 0 or found.st_mode & needed == needed
