"""Devices of the Container Device Interface: what the specifications of this host name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core import yaml_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def devices_of(folders: Sequence[str], root: Path) -> tuple[str, ...]:
    """The devices of the CDI specifications in folders below `root`, as `nvidia.com/gpu=all`."""
    devices: set[str] = set()
    for directory in folders:
        for path in sorted((root / directory.lstrip("/")).glob("*")):
            if path.suffix in {".json", ".yaml", ".yml"}:
                devices.update(_devices_of(path))
    return tuple(sorted(devices))


def _devices_of(path: Path) -> set[str]:
    try:
        spec = yaml_text.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()  # the engine ignores a specification it cannot read, and so do we
    devices = spec.get("devices") if isinstance(spec, dict) else None
    found = [device for device in devices if isinstance(device, dict)] if isinstance(devices, list) else []
    return {f"{spec.get('kind')}={device['name']}" for device in found if "name" in device}
