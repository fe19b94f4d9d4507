"""Checksums as the hub gives them: sha256 of files kept by Git LFS, git's sha1 of all others."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Callable

_BLOCK = 1 << 20


class Digest:
    """A checksum that grows with a file of `size` bytes; the length of `etag` says which kind."""

    def __init__(self, etag: str, size: int) -> None:
        self.etag = etag
        if len(etag) == 64:
            self._hash = hashlib.sha256()
        else:
            self._hash = hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 - git's own, it is what the hub gives

    def update(self, data: bytes) -> None:
        """Add the bytes that follow."""
        self._hash.update(data)

    def read(self, path: Path, watch: Callable[[int], None] | None = None) -> Digest:
        """Add a whole file; `watch` is called with the length of each block (and may raise to stop)."""
        with path.open("rb") as file:
            for block in iter(lambda: file.read(_BLOCK), b""):
                self._hash.update(block)
                if watch:
                    watch(len(block))
        return self

    @property
    def matches(self) -> bool:
        """Whether what was added is the whole and right content."""
        return self._hash.hexdigest() == self.etag
