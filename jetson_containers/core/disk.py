"""Free space where the engine keeps its images, asked before something big is written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import DiskSpaceError

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.engine.interface import Capabilities


def free_space(data_root: str | Path) -> int | None:
    """Bytes an unprivileged writer can still use there; None when the directory is not on this machine."""
    try:
        stat = os.statvfs(data_root)
    except OSError:
        return None
    return stat.f_bavail * stat.f_frsize


def ensure_space(capabilities: Capabilities, needed_bytes: int) -> int | None:
    """Raise DiskSpaceError when the engine's disk has less than `needed_bytes`; else return what is free.

    A remote engine's disk cannot be seen from here: then nothing is checked and None returned.
    """
    free = free_space(capabilities.data_root) if capabilities.data_root else None
    if free is not None and free < needed_bytes:
        raise DiskSpaceError(
            f"{human_bytes(needed_bytes)} are needed below `{capabilities.data_root}`, {human_bytes(free)} are free",
            hint="jetson-containers df shows what takes the space, jetson-containers prune frees it",
        )
    return free
