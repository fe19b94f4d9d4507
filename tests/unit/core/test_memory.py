"""Reading /proc/meminfo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.memory import Memory, read_memory

if TYPE_CHECKING:
    from pathlib import Path


def test_memory_is_read_in_bytes(tmp_path: Path) -> None:
    """Memory is read in bytes."""
    (tmp_path / "proc").mkdir()
    text = "MemTotal:        8000 kB\nMemFree: 1 kB\nMemAvailable:    3000 kB\nSwapTotal: 0 kB\nHugePages_Total: 7\n"
    (tmp_path / "proc/meminfo").write_text(text)
    memory = read_memory(tmp_path)
    assert memory == Memory(total=8000 * 1024, available=3000 * 1024, swap=0)
    assert memory.in_use == 5000 * 1024


def test_memory_is_unknown_without_the_file(tmp_path: Path) -> None:
    """Memory is unknown without the file."""
    assert read_memory(tmp_path) == Memory()
    assert read_memory(tmp_path).in_use is None


def test_memory_of_this_machine_is_known() -> None:
    """Memory of this machine is known."""
    memory = read_memory()
    assert memory.total is not None
    assert memory.in_use is not None
    assert 0 < memory.in_use < memory.total
