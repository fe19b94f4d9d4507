"""Write a library whose functions all return one number: a GPU driver for a machine that has none.

A program that is linked against it starts, asks the driver for devices and is told CUDA_ERROR_NO_DEVICE (100). The
image has no compiler, so the ELF file is made here: one segment with symbol table, code and dynamic section. Section
headers stand behind it, because linkers read nothing else: recipes link against such a library as well.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_DEVICE = 100
MACHINES = {
    "x86_64": (62, b"\xb8" + struct.pack("<I", NO_DEVICE) + b"\xc3\x90\x90"),  # mov eax, 100; ret
    "aarch64": (183, struct.pack("<II", 0x52800000 | NO_DEVICE << 5, 0xD65F03C0)),  # mov w0, #100; ret
}
PAGE = 0x10000  # the largest page of the two machines
START = 64 + 3 * 56  # behind the file's header and three segment headers
HASH, STRTAB, SYMTAB, STRSZ, SYMENT, SONAME = 4, 5, 6, 10, 11, 14  # tags of the dynamic section
LOAD, DYNAMIC, STACK = 1, 2, 0x6474E551  # segment types
NAMES = b"\0.text\0.hash\0.dynsym\0.dynstr\0.dynamic\0.shstrtab\0"  # of the sections
READ_WRITE, ALL = 6, 7  # glibc relocates the dynamic section in place


def library(soname: str, functions: Iterable[str], machine: str) -> bytes:
    """The bytes of a library with these functions. Raises KeyError for another machine than `MACHINES` has."""
    number, code = MACHINES[machine]
    names = sorted(set(functions))
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in [soname, *names])
    symbols_size = 24 * (len(names) + 1)
    table = _hash_table(len(names))
    hashes = _aligned(START + symbols_size + len(strings))
    text = _aligned(hashes + len(table))
    dynamic = _aligned(text + len(code))
    entries = (
        (SONAME, 1),
        (HASH, hashes),
        (STRTAB, START + symbols_size),
        (SYMTAB, START),
        (STRSZ, len(strings)),
        (SYMENT, 24),
        (0, 0),
    )
    tail = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    body = _symbols(soname, names, text, len(code)) + strings
    for place, part in ((hashes, table), (text, code), (dynamic, tail)):
        body = body.ljust(place - START, b"\0") + part
    end = dynamic + len(tail)
    sections = (
        # type (3: strings, 5: hashes, 6: dynamic, 11: symbols), flags, place, size, link, info, alignment, entry
        (".text", 1, 6, text, len(code), 0, 0, 4, 0),
        (".hash", 5, 2, hashes, len(table), 3, 0, 8, 4),
        (".dynsym", 11, 2, START, symbols_size, 4, 1, 8, 24),
        (".dynstr", 3, 2, START + symbols_size, len(strings), 0, 0, 1, 0),
        (".dynamic", 6, 3, dynamic, len(tail), 4, 0, 8, 16),
        (".shstrtab", 3, 0, end, len(NAMES), 0, 0, 1, 0),
    )
    headers = _aligned(end + len(NAMES))
    head = MAGIC_AND_CLASS + struct.pack("<HHIQQQIHHHHHH", 3, number, 1, 0, 64, headers, 0, 64, 56, 3, 64, 7, 6)
    segments = (
        (LOAD, ALL, 0, 0, 0, end, end, PAGE),
        (DYNAMIC, READ_WRITE, dynamic, dynamic, dynamic, len(tail), len(tail), 8),
        (STACK, READ_WRITE, 0, 0, 0, 0, 0, 16),  # the stack is not executable
    )
    mapped = head + b"".join(struct.pack("<IIQQQQQQ", *segment) for segment in segments) + body
    return (mapped + NAMES).ljust(headers, b"\0") + bytes(64) + b"".join(_section(*section) for section in sections)


def _section(name: str, kind: int, flags: int, place: int, *further: int) -> bytes:
    """A section header; an address is the place in the file, and sections that are not loaded have none."""
    size, link, info, alignment, entry = further
    at = NAMES.index(b"\0" + name.encode() + b"\0") + 1
    return struct.pack("<IIQQQQIIQQ", at, kind, flags, place if flags else 0, place, size, link, info, alignment, entry)


MAGIC_AND_CLASS = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")


def _symbols(soname: str, names: list[str], place: int, size: int) -> bytes:
    """The symbol table: an empty entry, then a global function for each name."""
    table = bytes(24)
    at = 1 + len(soname) + 1
    for name in names:
        table += struct.pack("<IBBHQQ", at, 0x12, 0, 1, place, size)
        at += len(name) + 1
    return table


def _hash_table(count: int) -> bytes:
    """One bucket with all symbols in one chain: slow to search, and small."""
    chain = [0, *range(2, count + 1), 0][: count + 1]
    return struct.pack(f"<III{count + 1}I", 1, count + 1, 1 if count else 0, *chain)


def _aligned(value: int) -> int:
    return (value + 15) // 16 * 16
