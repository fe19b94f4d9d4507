"""Who owns what is written: root in a container leaves nothing that the user outside cannot delete.

Directories and files are given away as they are made, not at the end, so that a killed download leaves them right too.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import USAGE, DownloadError, is_number

if TYPE_CHECKING:
    from typing import Mapping

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
        """Give away what an earlier run left to root below a directory."""
        if self.uid is None or not folder.is_dir():
            return
        for root, _, names in os.walk(str(folder)):
            for path in [Path(root), *(Path(root, name) for name in names)]:
                with contextlib.suppress(OSError):
                    if path.lstat().st_uid == 0:
                        self.take(path)


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
