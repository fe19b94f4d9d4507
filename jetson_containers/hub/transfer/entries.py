"""Commits, file names, checksums and sizes as a hub or a list in the cache gives them, checked before they are used.

All of them become parts of paths: the commit names a directory, the checksums name files, and the cache is written by
root in containers. So nothing goes further that is not exactly of the form the hub documents.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .reference import is_safe
from .types import RepositoryFile

if TYPE_CHECKING:
    from typing import Iterable

_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST = 1 << 62  # bytes; no file system has a file of that size


class ListingError(ValueError):
    """A list of files says what no hub says; the text tells what, fit for a message."""


def checked_commit(value: object) -> str:
    """A commit: 40 hexadecimal digits. Raises ListingError."""
    return _matching(_SHA1, value, "the commit", 40)


def checked_etag(value: object) -> str:
    """The name of a blob in the cache: git's sha1 or a sha256. Raises ListingError."""
    if isinstance(value, str) and (_SHA1.fullmatch(value) or _SHA256.fullmatch(value)):
        return value
    raise ListingError(f"the checksum {shown(value)} is not 40 or 64 hexadecimal digits")


def checked_entry(name: object, size: object, blob_id: object, sha256: object = None) -> RepositoryFile:
    """One file; `sha256` None for a file that git itself keeps. Raises ListingError."""
    if not isinstance(name, str) or not is_safe(name):
        raise ListingError(f"the file name {shown(name)} is not a relative path below the repository")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size < _LARGEST:
        raise ListingError(f"the size {shown(size)} of {shown(name)} is not a number of bytes")
    blob = _matching(_SHA1, blob_id, f"the blob ID of {shown(name)}", 40)
    return RepositoryFile(
        name, size, blob, None if sha256 is None else _matching(_SHA256, sha256, f"the sha256 of {shown(name)}", 64)
    )


def checked_entries(entries: Iterable[RepositoryFile]) -> tuple[RepositoryFile, ...]:
    """All files of a commit. Raises ListingError for a name that comes twice, or is the directory of another file."""
    found = tuple(entries)
    names: set[str] = set()
    for entry in found:
        if entry.name in names:
            raise ListingError(f"the file {shown(entry.name)} is listed twice")
        names.add(entry.name)
    for entry in found:
        parts = entry.name.split("/")
        for end in range(1, len(parts)):
            if "/".join(parts[:end]) in names:
                raise ListingError(f"{shown('/'.join(parts[:end]))} is a file and the directory of {shown(entry.name)}")
    return found


def shown(value: object) -> str:
    """A value that a server made up, short and without control characters, for a message."""
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _matching(pattern: re.Pattern[str], value: object, what: str, digits: int) -> str:
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    raise ListingError(f"{what}, {shown(value)}, is not {digits} hexadecimal digits")
