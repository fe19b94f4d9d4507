"""Whom root writes for on the host, in directories where users and containers may have put links.

`hub/transfer/owner.py` says whose files they are, and runs in images too, where nobody else is; here root does not
follow what others put in its way.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.hub.transfer import owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class HostOwner(owner.Owner):
    """An owner who gets nothing that only a link of somebody made a part of his directories."""

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


def owner_of(cache: Path, env: Mapping[str, str] | None = None) -> HostOwner:
    """Whom root writes for below a directory; see `hub.transfer.owner`."""
    found = owner.owner_of(cache, env)
    return HostOwner(found.uid, found.gid)


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
            if makers - owners or str(Path(f"/proc/self/fd/{descriptor}").readlink()) != real:
                raise PermissionError(errno.EPERM, "a link of another user leads there", str(folder))
        yield descriptor
    finally:
        os.close(descriptor)


def unlink(place: Path) -> None:
    """Remove a file, if it is there, through no link of another user: who owns the data puts links into its folders."""
    with contextlib.suppress(FileNotFoundError), opened(place.parent) as folder:
        os.unlink(place.name, dir_fd=folder)


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
            target = Path(place).readlink()
            rest += [each for each in reversed(target.parts) if each != os.sep]
            real = os.sep if target.is_absolute() else real
        else:
            real = place
    return real, makers - {0}
