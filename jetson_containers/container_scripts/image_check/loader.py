"""Find libraries as the dynamic loader does (ld.so(8)): RPATH, LD_LIBRARY_PATH, RUNPATH, the configured directories."""

from __future__ import annotations

import collections
import glob
import os
import re
from typing import TYPE_CHECKING

from . import elf

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What the host's driver brings: libnvidia-container's list, and the l4t.csv and drivers.csv of Tegra.
DRIVER = re.compile(
    r"lib(cuda|nvcuvid|nvoptix|cudadebugger|cudla|nvscf|nvidia-[\w.-]+)\.so[\w.]*"
    r"|libnv(acc|app|argus|buf|cam|cudla|dc|dla|dsbuf|eglstream|exif|fnet|fusa|gbm|gov|id|imp|isp|ll|media|mm|odm|omx"
    r"|os|parser|phs|pod|pva|rm|sample|sci|sipl|smmu|socsys|testresults|tnr|trace|tvmr|vic|winsys)[\w-]*\.so[\w.]*"
)
DEFAULTS = ("/lib", "/usr/lib", "/lib64", "/usr/lib64")
DEEPEST = 8  # levels of `include` in ld.so.conf


class Loader:
    """The search of one image. `machine` is the only kind of file that it takes, as the loader does."""

    def __init__(self, machine: str, path: str = "", conf: str = "/etc/ld.so.conf") -> None:
        """`path`: the image's LD_LIBRARY_PATH."""
        self.machine = machine
        self._environment = [place for place in path.split(":") if place]
        self._standard = _configured(conf)
        self._standard += [os.path.join(at, more) for at in DEFAULTS for more in (f"{machine}-linux-gnu", "")]
        self._files: dict[str, elf.Elf | None] = {}

    def file(self, path: str) -> elf.Elf | None:
        """What stands at a path, read once; None where there is no linked file for this machine."""
        real = os.path.realpath(path)
        if real not in self._files:
            found = elf.read(real) if os.path.isfile(real) else None
            self._files[real] = found if found and found.machine == self.machine else None
        return self._files[real]

    def find(self, name: str, user: elf.Elf, inherited: Sequence[str] = ()) -> elf.Elf | None:
        """The library that `user` gets for a name; `inherited`: RPATH directories of those that loaded `user`."""
        if "/" in name:
            return self.file(_expand([name], user)[0])
        places = [] if user.runpath else [*_expand(user.rpath, user), *inherited]
        places += [*self._environment, *_expand(user.runpath, user), *self._standard]
        candidates = (
            self.file(path) for path in (os.path.join(place, name) for place in places) if os.path.isfile(path)
        )
        return next((found for found in candidates if found), None)

    def load(self, start: elf.Elf, loaded: Iterable[str] = ()) -> tuple[list[elf.Elf], list[tuple[str, str]]]:
        """What loading a file would load, breadth first, and what is not found for whom.

        `loaded`: names of libraries that are in memory already.
        """
        found: list[elf.Elf] = []
        missing: list[tuple[str, str]] = []
        known = set(loaded)
        queue: collections.deque[tuple[elf.Elf, tuple[str, ...]]] = collections.deque([(start, ())])
        while queue:
            user, inherited = queue.popleft()
            below = inherited if user.runpath else (*_expand(user.rpath, user), *inherited)
            for name in user.needed:
                if name in known:
                    continue
                known.add(name)
                library = self.find(name, user, inherited)
                if library is None:
                    missing.append((user.path, name))
                    continue
                found.append(library)
                known.add(library.soname)
                queue.append((library, below))
        return found, missing


def _expand(places: Iterable[str], user: elf.Elf) -> list[str]:
    origin = os.path.dirname(user.path)
    return [place.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for place in places if place]


def _configured(path: str, depth: int = 0) -> list[str]:
    """The directories of ld.so.conf, with what it includes."""
    try:
        with open(path, errors="replace") as file:
            lines = file.read(1 << 20).splitlines()
    except OSError:
        return []
    places: list[str] = []
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0] == "include" and depth < DEEPEST:
            for more in sorted(glob.glob(os.path.join(os.path.dirname(path), words[1]))):
                places += _configured(more, depth + 1)
        elif words:
            places.append(words[0])
    return places
