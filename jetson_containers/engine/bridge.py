"""Whether an engine can give containers a network of their own on this kernel."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform

FIXED_L4T = Version("36.4.4")
_WANTS_RAW = Version("28")


def wants_raw_table(platform: Platform, server_version: str) -> bool | None:
    """Whether this engine wants iptables' raw table and stock kernels of this L4T lack it; None: version unknown.

    Docker 28 wants it, L4T has it from 36.4.4 on (moby issue 49557).
    """
    if platform.l4t is None or platform.l4t >= FIXED_L4T:
        return False
    try:
        return Version(server_version.partition("+")[0]) >= _WANTS_RAW
    except InvalidVersion:
        return None


def has_raw_module(root: Path = Path("/")) -> bool:
    """Whether the module was built for a kernel of this machine."""
    return any((root / "lib/modules").glob("*/kernel/net/ipv4/netfilter/iptable_raw.ko*"))
