"""Which GPU code a linked file carries: the fat binaries that nvcc embeds.

NVIDIA does not document the layout. It was read off files that nvcc 13.0 made for known architectures. A container
(magic 0xBA55ED50, version 1, header of 16 bytes, 64-bit size) holds entries: kind (1 PTX, 2 machine code), size of
the entry's header at byte 4, size of its data at byte 8, the architecture at byte 28, flags at byte 40, of which bit
20 marks `a` (this architecture alone) and bit 21 `f` (its family).
"""

from __future__ import annotations

import mmap
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MAGIC = 0xBA55ED50
PTX, CODE = 1, 2
ALONE, FAMILY = 1 << 20, 1 << 21
LEAST = 64  # bytes of an entry's header


def architectures(path: str, sections: Sequence[tuple[int, int]]) -> tuple[set[str], set[str]]:
    """Machine code and PTX in the sections (offset, size) of a file: {"87", "90a"}, {"90"}."""
    code: set[str] = set()
    ptx: set[str] = set()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for offset, size in sections:
            for kind, name in _containers(data, offset, min(offset + size, len(data))):
                (ptx if kind == PTX else code).add(name)
    return code, ptx


def _containers(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, str]]:
    while at + 16 <= end:
        magic, version, head, size = struct.unpack_from("<IHHQ", data, at)
        if magic != MAGIC:
            at += 8  # containers are aligned; zeros stand between them
            continue
        if version != 1 or head < 16 or at + head + size > end:
            return
        yield from _entries(data, at + head, at + head + size)
        at += head + size


def _entries(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, str]]:
    while at + LEAST <= end:
        kind, _, head, size = struct.unpack_from("<HHIQ", data, at)
        (architecture,) = struct.unpack_from("<I", data, at + 28)
        (flags,) = struct.unpack_from("<Q", data, at + 40)
        if head < LEAST or size > end - at:
            return
        if kind in (PTX, CODE) and 10 <= architecture <= 999:
            yield kind, f"{architecture}{'a' if flags & ALONE else 'f' if flags & FAMILY else ''}"
        at += head + size
