"""The memory of this machine as the kernel counts it: the one reader of /proc/meminfo (proc(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes; None where the kernel does not say. `available`: what a new process can have without swapping."""

    total: int | None = None
    available: int | None = None
    swap: int | None = None
    swap_free: int | None = None

    @property
    def in_use(self) -> int | None:
        """Bytes that programs and the kernel have in use and could not give back."""
        return self.total - self.available if self.total is not None and self.available is not None else None


def read_memory(root: Path = Path("/")) -> Memory:
    """Read /proc/meminfo below `root` ("/", or a directory of captured files); nothing is known without it."""
    try:
        text = (root / "proc/meminfo").read_text(encoding="ascii", errors="replace")
    except OSError:
        return Memory()
    rows = {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+([0-9]+) kB$", text, re.MULTILINE)}
    names = {"total": "MemTotal", "available": "MemAvailable", "swap": "SwapTotal", "swap_free": "SwapFree"}
    return Memory(**{field: rows.get(name) for field, name in names.items()})
