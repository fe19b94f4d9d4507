"""Binaries of another architecture: which ones the kernel can run, and what to do when it cannot.

The kernel's binfmt_misc hands a foreign binary to an emulator. Only a registration with flag F (the emulator is
opened when it is registered) works inside containers, which do not have the emulator's file.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

BINFMT = "proc/sys/fs/binfmt_misc"
EMULATORS = {"linux/amd64": "qemu-x86_64", "linux/arm64": "qemu-aarch64"}


def emulated_platforms(root: Path = Path("/")) -> tuple[str, ...]:
    """Docker platforms that an emulator is registered for below `root`."""
    return tuple(platform for platform, name in sorted(EMULATORS.items()) if _registered(root / BINFMT / name))


def remedy(platform: str, root: Path = Path("/")) -> str:
    """Give the commands that make `platform` run on this machine, from what is there already."""
    name = EMULATORS.get(_os_and_arch(platform))
    if name is None:
        return "build on a machine of that architecture"
    if not (root / "usr/bin" / f"{name}-static").exists():
        return "sudo apt-get install qemu-user-static"
    if (root / "run/systemd/system").is_dir():
        return "sudo systemctl restart systemd-binfmt"
    mount = "sudo mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc"
    copied = f"cat /usr/lib/binfmt.d/{name}.conf >/proc/sys/fs/binfmt_misc/register"
    register = shlex.join(["sudo", "sh", "-c", copied])
    return register if (root / BINFMT / "register").exists() else f"{mount} && {register}"


def runs(platform: str, platforms: tuple[str, ...]) -> bool:
    """Whether a docker platform is among those that run; a variant (`linux/arm64/v8`) makes no difference."""
    return _os_and_arch(platform) in platforms


def _os_and_arch(platform: str) -> str:
    return "/".join(platform.split("/")[:2])


def _registered(entry: Path) -> bool:
    try:
        text = entry.read_text(encoding="utf-8")
    except OSError:
        return False
    return text.startswith("enabled") and re.search(r"^flags:.*F", text, re.MULTILINE) is not None
