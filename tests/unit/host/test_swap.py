"""Swap of machines, as /proc/swaps has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.host.swap import Swap, read_swap

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
KIB = 1024


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("", Swap(disk=0, zram=0, files=())),
        (
            "/dev/zram0 partition 700 0 5\n/dev/zram1 partition 300 0 5\n",
            Swap(disk=0, zram=1000 * KIB, files=()),
        ),
        (
            "/dev/zram0 partition 10 0 5\n/dev/nvme0n1p3 partition 8000 90 -2\n",
            Swap(disk=8000 * KIB, zram=10 * KIB, files=("/dev/nvme0n1p3",)),
        ),
        ("/home/zramfan/swap file 64 0 -2\n", Swap(disk=64 * KIB, zram=0, files=("/home/zramfan/swap",))),
        ("/dev/block/zram7 partition 64 0 -2\n", Swap(disk=0, zram=64 * KIB, files=())),
        ("/mnt/my\\040disk/swap\\011x file 64 0 -2\n", Swap(disk=64 * KIB, zram=0, files=("/mnt/my disk/swap\tx",))),
        ("/swapfile file\n/x file y 0 1\n", Swap(disk=0, zram=0, files=())),
    ],
)
def test_swap_on_disk_is_told_from_compressed_memory(tmp_path: Path, rows: str, expected: Swap) -> None:
    """By the name of the device; a folder may be called anything, and blanks are octal numbers."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text(HEAD + rows)
    assert read_swap(tmp_path) == expected


def test_swap_is_unknown_without_the_file(tmp_path: Path) -> None:
    """A kernel without swap has no such file."""
    assert read_swap(tmp_path) is None
