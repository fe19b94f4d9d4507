"""Who owns what is written: root in a container leaves nothing that the user outside cannot delete.

Directories and files are given away as they are made, not at the end, so that a killed download leaves them right too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import USAGE, DownloadError, is_number

if TYPE_CHECKING:
    from typing import Iterator, Mapping

VARIABLE = "JETSON_CONTAINERS_OWNER"  # UID[:GID], for a directory whose owner says nothing


@dataclass(frozen=True)
class Owner:
    """A user and group ID; None in both: whoever runs this, nothing is changed."""

    uid: int | None = None
    gid: int | None = None

    def take(self, path: Path) -> None:
        """Give one path away. A file system without owners (or another user name space) is left as it is."""
        if self.uid is not None:
            with contextlib.suppress(OSError):
                os.chown(str(path), self.uid, -1 if self.gid is None else self.gid, follow_symlinks=False)

    def make_directory(self, path: Path) -> None:
        """Make a directory with its parents; those that are made belong to the owner."""
        missing = []
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            self.take(folder)

    def chown_leftovers(self, folder: Path) -> None:
        """Give away what an earlier run left to root below a directory; nothing that only a link made a part of it."""
        if self.uid is None:
            return
        with contextlib.suppress(OSError, RecursionError), opened(folder) as top:
            for _, _, names, place in os.fwalk(dir_fd=top):
                if os.fstat(place).st_uid == 0:
                    self._take_below(place, "")
                for name in names:
                    self._take_below(place, name)

    def _take_below(self, place: int, name: str) -> None:
        """Give away what root owns in an open directory, "" for the directory itself."""
        group = -1 if self.gid is None else self.gid
        with contextlib.suppress(OSError):
            if not name:
                os.fchown(place, self.uid or 0, group)
                return
            found = os.stat(name, dir_fd=place, follow_symlinks=False)
            if found.st_uid == 0 and (found.st_nlink == 1 or not stat.S_ISREG(found.st_mode)):
                os.chown(name, self.uid or 0, group, dir_fd=place, follow_symlinks=False)


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A directory by its descriptor. For root, raises PermissionError where a link leads to one of somebody else.

    Root works in directories of users, who may put links there, to any directory of the machine and at any moment:
    one leads only to what whoever put it there owns, or what lies in his directory.
    """
    descriptor = os.open(str(folder), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if os.geteuid() == 0:
            real, makers = _resolved(folder)
            owners = {os.fstat(descriptor).st_uid, os.stat("..", dir_fd=descriptor).st_uid}
            if makers - owners or os.readlink(f"/proc/self/fd/{descriptor}") != real:
                raise PermissionError(errno.EPERM, "a link of another user leads there", str(folder))
        yield descriptor
    finally:
        os.close(descriptor)


def _resolved(folder: Path) -> tuple[str, set[int]]:
    """Where a directory really is, and the users but root who may have made a link on the way.

    Of a link that root made: who owns the directory in which it stands, since root of a container writes there too.
    """
    real, rest, makers = os.sep, list(reversed(folder.absolute().parts[1:])), set()
    for _ in range(1000):
        if not rest:
            break
        part = rest.pop()
        place = os.path.normpath(os.path.join(real, part))  # noqa: PTH118 - nothing but text
        found = os.lstat(place)
        if stat.S_ISLNK(found.st_mode):
            makers.add(found.st_uid or os.lstat(real).st_uid)
            target = Path(os.readlink(place))
            rest += [each for each in reversed(target.parts) if each != os.sep]
            real = os.sep if target.is_absolute() else real
        else:
            real = place
    return real, makers - {0}


def owner_of(cache: Path, env: Mapping[str, str] | None = None) -> Owner:
    """Whom root writes for: the variable, the owner of the nearest directory that is not root's, or who called sudo."""
    if os.geteuid() != 0:
        return Owner()
    variables = os.environ if env is None else env
    given = variables.get(VARIABLE, "")
    if given:
        return _parse(given)
    path = cache.absolute()
    for folder in (path, *path.parents):
        with contextlib.suppress(OSError):
            found = folder.stat()
            if found.st_uid != 0:
                return Owner(found.st_uid, found.st_gid)
    sudo = variables.get("SUDO_UID", "")
    group = variables.get("SUDO_GID", "")
    if not is_number(sudo) or sudo == "0":
        return Owner()
    return Owner(int(sudo), int(group if is_number(group) else sudo))


def _parse(text: str) -> Owner:
    uid, _, gid = text.partition(":")
    if not is_number(uid) or not (is_number(gid) or not gid):
        raise DownloadError(USAGE, f"{VARIABLE} is `{text}`", "write UID or UID:GID, for instance 1000:1000")
    return Owner(int(uid), int(gid) if gid else None)
