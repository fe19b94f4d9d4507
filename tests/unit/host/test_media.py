"""What a path is stored on, from captured files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.host import media

if TYPE_CHECKING:
    from pathlib import Path


def machine(root: Path, *lines: str) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/mountinfo").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.parametrize(
    ("line", "files", "expected"),
    [
        ("1 0 259:1 / / rw - ext4 /dev/nvme0n1p1 rw", {}, "NVMe (nvme0n1, ext4)"),
        ("1 0 179:1 / / rw - ext4 /dev/mmcblk0p1 rw", {"sys/block/mmcblk0/device/type": "MMC"}, "eMMC (mmcblk0, ext4)"),
        (
            "1 0 179:1 / / rw - ext4 /dev/mmcblk1p1 rw",
            {"sys/block/mmcblk1/device/type": "SD"},
            "SD card (mmcblk1, ext4)",
        ),
        ("1 0 179:1 / / rw - ext4 /dev/mmcblk1p1 rw", {}, "SD card or eMMC (mmcblk1, ext4)"),
        ("1 0 8:1 / / rw - xfs /dev/sda2 rw", {"sys/block/sda/queue/rotational": "1"}, "hard disk (sda, xfs)"),
        ("1 0 8:1 / / rw - xfs /dev/sda2 rw", {"sys/block/sda/queue/rotational": "0"}, "SSD (sda, xfs)"),
        ("1 0 8:1 / / rw - xfs /dev/sda2 rw", {}, "unknown medium (sda, xfs)"),
        ("1 0 0:9 / / rw - nfs4 server:/export rw", {}, "network (nfs4)"),
        ("1 0 0:9 / / rw - tmpfs tmpfs rw", {}, "memory (tmpfs)"),
        ("1 0 0:9 / / rw - overlay overlay rw", {}, "unknown medium (overlay)"),
    ],
)
def test_medium_is_told_by_device_and_file_system(
    tmp_path: Path, line: str, files: dict[str, str], expected: str
) -> None:
    """Device and file system name the medium; what no file tells stays unknown."""
    root = machine(tmp_path, line)
    for place, text in files.items():
        (root / place).parent.mkdir(parents=True)
        (root / place).write_text(text)
    found = media.medium_of("/var/lib/docker", root)
    assert found is not None
    assert found.text == expected


def test_medium_of_a_path_is_that_of_its_nearest_mount(tmp_path: Path) -> None:
    """Blanks are escaped in the list, and a neighbor with the same beginning is another place."""
    root = machine(
        tmp_path,
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw",
        "2 1 259:1 / /mnt/my\\040disk rw - ext4 /dev/nvme0n1 rw",
        "garbage",
    )
    places = {path: media.medium_of(path, root) for path in ("/mnt/my disk/docker", "/mnt/my disks", "/")}
    assert {path: found and found.device for path, found in places.items()} == {
        "/mnt/my disk/docker": "nvme0n1", "/mnt/my disks": "sda", "/": "sda",
    }  # fmt: skip


def test_medium_of_a_mapped_device_is_found_by_its_number(tmp_path: Path) -> None:
    """/dev/root names no device; the kernel's number does."""
    root = machine(tmp_path, "1 0 179:1 / / rw - ext4 /dev/root rw")
    disk = root / "sys/devices/mmc0/block/mmcblk0"
    (disk / "mmcblk0p1").mkdir(parents=True)
    (disk / "mmcblk0p1/partition").write_text("1")
    (root / "sys/dev/block").mkdir(parents=True)
    (root / "sys/dev/block/179:1").symlink_to(disk / "mmcblk0p1")
    found = media.medium_of("/", root)
    assert found is not None
    assert found.device == "mmcblk0"


def test_medium_is_unknown_without_mounts(tmp_path: Path) -> None:
    """A folder without mountinfo tells nothing."""
    assert media.medium_of("/", tmp_path) is None
