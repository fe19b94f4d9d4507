"""Swap of a machine: on a disk, or compressed memory (zram), which adds no room for the GPU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from jetson_containers.core.text import is_number


@dataclass(frozen=True, kw_only=True)
class Swap:
    """Bytes of swap on disks and in compressed memory; `files` are those of disks."""

    disk: int
    zram: int
    files: tuple[str, ...]


def read_swap(root: Path = Path("/")) -> Swap | None:
    """Read /proc/swaps (proc(5)); None where it cannot be read."""
    try:
        text = (root / "proc/swaps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    rows = [fields for line in text.splitlines()[1:] if len(fields := line.split()) >= 3 and is_number(fields[2])]
    disks = [fields for fields in rows if not Path(fields[0]).name.startswith("zram")]
    total = sum(int(fields[2]) for fields in rows) * 1024
    files = tuple(re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[0]) for fields in disks)
    disk = sum(int(fields[2]) for fields in disks) * 1024
    return Swap(disk=disk, zram=total - disk, files=files)
