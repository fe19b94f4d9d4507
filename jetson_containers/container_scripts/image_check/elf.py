"""Read the parts of an ELF file that say what it needs (System V gABI, chapters 4 and 5); 64-bit, little-endian."""

from __future__ import annotations

import mmap
import os
import re
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAGIC = b"\x7fELF\x02\x01"
MACHINES = {62: "x86_64", 183: "aarch64"}
PROGRAM_OR_LIBRARY = (2, 3)
DYNAMIC, NOBITS, DYNSYM = 6, 8, 11  # section types
NEEDED, SONAME, RPATH, RUNPATH = 1, 14, 15, 29  # tags of the dynamic section
UNDEFINED = 0
MOST = 1 << 20  # entries of one table; the largest library known (libtorch_cuda) has 200,000 symbols
GPU_CODE = re.compile(r"\.nv_fatbin|__nv_relfatbin|\.nvFatBinData")


class NotLinkedError(Exception):
    """A file that is neither a program nor a library of this kind, or a damaged one."""


class Elf:
    """One linked file; paths stand as they are written, `$ORIGIN` included."""

    def __init__(self, path: str) -> None:
        """Read it. Raises NotLinkedError."""
        self.path = path
        self.machine = ""
        self.program = False  # it names a dynamic loader, so it can be started
        self.soname = ""
        self.needed: list[str] = []
        self.rpath: list[str] = []
        self.runpath: list[str] = []
        self.undefined: list[str] = []
        self.gpu_sections: list[tuple[int, int]] = []  # (offset, size)
        try:
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                self._read(data)
        except (OSError, ValueError, struct.error, IndexError, OverflowError) as error:
            raise NotLinkedError(f"{path}: {error}") from error

    def _read(self, data: mmap.mmap) -> None:
        kind, machine = struct.unpack_from("<HH", data, 16)
        if data[:6] != MAGIC or kind not in PROGRAM_OR_LIBRARY:
            raise ValueError("not linked, or not 64-bit little-endian")
        self.machine = MACHINES.get(machine, str(machine))
        sections = _sections(data)
        self.program = any(name == ".interp" for *_, name in sections)
        for kind, offset, size, link, name in sections:
            if kind == DYNAMIC and link < len(sections):
                self._dynamic(data, (offset, size), sections[link][1:3])
            elif kind == DYNSYM and link < len(sections):
                self._symbols(data, (offset, size), sections[link][1:3])
            elif kind != NOBITS and GPU_CODE.match(name):
                self.gpu_sections.append((offset, size))

    def _dynamic(self, data: mmap.mmap, section: tuple[int, int], strings: tuple[int, int]) -> None:
        for index in range(min(section[1] // 16, MOST)):
            tag, value = struct.unpack_from("<QQ", data, section[0] + 16 * index)
            if tag == 0:
                return
            text = _text(data, strings[0] + value) if value < strings[1] else ""
            if tag == NEEDED:
                self.needed.append(text)
            elif tag == SONAME:
                self.soname = text
            elif tag == RPATH:
                self.rpath = text.split(":")
            elif tag == RUNPATH:
                self.runpath = text.split(":")

    def _symbols(self, data: mmap.mmap, section: tuple[int, int], strings: tuple[int, int]) -> None:
        for index in range(min(section[1] // 24, MOST)):
            name, _, _, place = struct.unpack_from("<IBBH", data, section[0] + 24 * index)
            if place == UNDEFINED and 0 < name < strings[1]:
                self.undefined.append(_text(data, strings[0] + name))


def read(path: str) -> Elf | None:
    """The linked file at a path, or None where there is none: the first bytes decide for most files."""
    try:
        with open(path, "rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                return None
        return Elf(path)
    except (OSError, NotLinkedError):
        return None


def files_below(place: str, skip: Sequence[str] = ()) -> Iterator[str]:
    """Every regular file below a directory, each once, in a stable order; links are not followed."""
    if os.path.isfile(place):
        yield os.path.realpath(place)
        return
    for at, folders, names in os.walk(place):
        folders[:] = sorted(name for name in folders if not any(re.match(one, os.path.join(at, name)) for one in skip))
        for path in (os.path.join(at, name) for name in sorted(names)):
            if not os.path.islink(path) and os.path.isfile(path):
                yield path


def _sections(data: mmap.mmap) -> list[tuple[int, int, int, int, str]]:
    """(type, offset, size, link, name) of each section."""
    (start,) = struct.unpack_from("<Q", data, 40)
    width, count, names = struct.unpack_from("<HHH", data, 58)
    if not start or not count:
        return []
    if width < 64:
        raise ValueError(f"section headers of {width} bytes")
    heads = [struct.unpack_from("<IIQQQQI", data, start + width * index) for index in range(count)]
    table = heads[names][4] if names < count else 0
    return [(kind, at, size, link, _text(data, table + name)) for name, kind, _, _, at, size, link in heads]


def _text(data: mmap.mmap, start: int) -> str:
    end = data.find(b"\0", start, start + 4096)
    return data[start:end].decode("utf-8", "replace") if end >= 0 else ""
