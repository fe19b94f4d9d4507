"""What a path is stored on: an SD card, eMMC, NVMe, another disk, memory or the network.

Read from /proc/self/mountinfo (proc(5)) and /sys/block below a root directory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"})
MEMORY = frozenset({"tmpfs", "ramfs"})
_PARTITION = re.compile(r"^(?:(nvme[0-9]+n[0-9]+|mmcblk[0-9]+)(?:p[0-9]+)?|((?:sd|vd|xvd|hd)[a-z]+)[0-9]*)$")


@dataclass(frozen=True, kw_only=True)
class MountPoint:
    """One line of mountinfo."""

    point: str
    filesystem: str
    source: str  # "/dev/nvme0n1p1", "overlay", "server:/export"
    number: str  # "259:1", the kernel's number of the device
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Medium:
    """Where a path is stored.

    `kind`: "SD card", "eMMC", "NVMe", "USB disk", "hard disk", "virtual disk", "SSD", "network", "memory"; empty where
    the files do not tell.
    """

    kind: str
    device: str  # "mmcblk0", empty where it has none or is unknown
    mount: MountPoint

    @property
    def text(self) -> str:
        """What to call it: `NVMe (nvme0n1, ext4)`."""
        inside = ", ".join(filter(None, (self.device, self.mount.filesystem)))
        return f"{self.kind or 'unknown medium'} ({inside})"


def mounts(root: Path = Path("/")) -> tuple[MountPoint, ...]:
    """Read the mounts, in the order they were made; none where the file cannot be read."""
    try:
        text = (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(mount for line in text.splitlines() if (mount := _mount(line)))


def medium_of(path: str, root: Path = Path("/")) -> Medium | None:
    """What an absolute path of that machine is stored on; None where no mount is known."""
    place = PurePosixPath(path)
    found = None
    for mount in mounts(root):  # of two on one place the later one counts
        holds = place.is_relative_to(mount.point)
        if holds and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return None if found is None else _medium(found, root)


def _mount(line: str) -> MountPoint | None:
    before, _, after = line.partition(" - ")
    fields, rest = before.split(" "), after.split(" ")
    if len(fields) < 6 or len(rest) < 2:
        return None
    point = re.sub(r"\\([0-9]{3})", lambda match: chr(int(match[1], 8)), fields[4])  # a blank is \040
    read_only = "ro" in [*fields[5].split(","), *"".join(rest[2:]).split(",")]  # of the mount, or of the file system
    return MountPoint(point=point, filesystem=rest[0], source=rest[1], number=fields[2], read_only=read_only)


def _medium(mount: MountPoint, root: Path) -> Medium:
    if mount.filesystem in NETWORK:
        return Medium(kind="network", device="", mount=mount)
    if mount.filesystem in MEMORY:
        return Medium(kind="memory", device="", mount=mount)
    device = _disk(mount, root)
    return Medium(kind=_kind(device, root), device=device, mount=mount)


def _disk(mount: MountPoint, root: Path) -> str:
    name = mount.source.removeprefix("/dev/")
    if match := _PARTITION.match(name):
        return match[1] or match[2]
    try:  # /dev/root, /dev/mapper/…: the kernel's number leads to the device
        device = (root / "sys/dev/block" / mount.number).resolve(strict=True)
    except OSError:
        return ""
    return device.parent.name if (device / "partition").exists() else device.name


def _kind(device: str, root: Path) -> str:
    block = root / "sys/block" / device
    if device.startswith("nvme"):
        return "NVMe"
    if device.startswith("mmcblk"):
        return {"SD": "SD card", "MMC": "eMMC"}.get(_word(block / "device/type"), "SD card or eMMC")
    if not device or not block.is_dir():
        return ""
    if device.startswith(("vd", "xvd")):
        return "virtual disk"
    if "/usb" in str(block.resolve()):
        return "USB disk"
    return {"0": "SSD", "1": "hard disk"}.get(_word(block / "queue/rotational"), "")


def _word(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
