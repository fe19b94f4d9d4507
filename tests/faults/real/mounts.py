"""Small disks: memory that is mounted, filled and made read-only."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own in the place of a folder."""
    folder.mkdir(exist_ok=True)
    if (
        os.geteuid()
        or shutil.which("mount") is None
        or not _mount("-t", "tmpfs", "-o", f"size={size}", "t", str(folder))
    ):
        pytest.skip("cannot run here: a small disk needs root and mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Write until nothing more fits; the file that takes the space."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * 4096)
    return filler


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing below a small disk can be written meanwhile."""
    assert _mount("-o", "remount,ro", str(folder))
    try:
        yield
    finally:
        assert _mount("-o", "remount,rw", str(folder))
