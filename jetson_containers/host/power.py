"""Power mode and clocks of a Jetson, from the files of `nvpmodel` and the kernel.

/etc/nvpmodel.conf lists the modes (`< POWER_MODEL ID=0 NAME=MAXN >`) and the default (`< PM_CONFIG DEFAULT=2 >`);
/var/lib/nvpmodel/status holds the current one (`pmode:0002`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_MODE = re.compile(r"^\s*<\s*POWER_MODEL\s+ID=([0-9]{1,4})\s+NAME=(\S+)\s*>", re.MULTILINE)
_DEFAULT = re.compile(r"^\s*<\s*PM_CONFIG\s+DEFAULT=([0-9]{1,4})\s*>", re.MULTILINE)
_CURRENT = re.compile(r"pmode:([0-9]{1,9})")


@dataclass(frozen=True, kw_only=True)
class PowerModes:
    """`modes`: number → name; `current` is None where no file tells it."""

    modes: dict[int, str]
    current: int | None

    @property
    def fastest(self) -> int | None:
        """The mode without a limit (MAXN, MAXN_SUPER), else the one with the most watts."""
        unlimited = [number for number, name in self.modes.items() if name.upper().startswith("MAXN")]
        if unlimited:
            return max(unlimited, key=lambda number: len(self.modes[number]))  # MAXN_SUPER before MAXN
        watts = {number: int(found[1]) for number, name in self.modes.items() if (found := _watts(name))}
        return max(watts, key=lambda number: watts[number], default=None)


def read_power_modes(root: Path = Path("/")) -> PowerModes | None:
    """Read the modes; None on a machine without them."""
    text = _read(root / "etc/nvpmodel.conf")
    modes = {int(number): name for number, name in _MODE.findall(text)}
    if not modes:
        return None
    found = _CURRENT.search(_read(root / "var/lib/nvpmodel/status")) or _DEFAULT.search(text)
    return PowerModes(modes=modes, current=int(found[1]) if found else None)


def clocks_are_fixed(root: Path = Path("/")) -> bool | None:
    """Whether `jetson_clocks` holds the CPU at its highest clock; None where the kernel does not say."""
    folder = root / "sys/devices/system/cpu/cpu0/cpufreq"
    lowest, highest = _read(folder / "scaling_min_freq").strip(), _read(folder / "cpuinfo_max_freq").strip()
    return lowest == highest if lowest and highest else None


def desktop_runs(root: Path = Path("/")) -> bool | None:
    """Whether a display server runs; None where processes cannot be read."""
    names = {_read(path).strip() for path in (root / "proc").glob("[0-9]*/comm")}
    if not names:
        return None
    return not names.isdisjoint({"Xorg", "Xwayland", "gnome-shell", "gdm3", "lightdm", "sddm"})


def _watts(name: str) -> re.Match[str] | None:
    return re.search(r"(?<![0-9])([0-9]{1,5})W", name)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
