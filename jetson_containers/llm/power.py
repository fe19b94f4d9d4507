"""The power a board draws while something is measured: read from `tegrastats` on a Jetson, `nvidia-smi` elsewhere.

What tegrastats prints per rail is in mW. A board whose input has a rail of its own (`VDD_IN`, `POM_5V_IN`, `VIN`) draws
what that says; where there is none (AGX Orin, AGX Xavier) it is the sum of the rails, without memory's own, which one
of the others feeds. The names are those of NVIDIA's developer guide, "Jetson Power Management", and its boards' output.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

INTERVAL_MS = 500
_INPUT = ("VDD_IN", "POM_5V_IN", "VIN")
_WITHIN = ("VDDQ_VDD2_1V8AO", "NC")
_RAIL = re.compile(
    r"\b((?:VDDQ?|VIN|POM)(?:_\w+)?|GPU|CPU|SOC|CV|VDDRQ|SYS5V) ([0-9]{1,7})(?:mW)?/[0-9]{1,7}(?:mW)?(?=\s|$)"
)
_LARGEST = 100_000.0  # watts; what is above is not a reading
_TEGRASTATS = ("tegrastats", "--interval", str(INTERVAL_MS))
_NVIDIA_SMI = (
    "nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "-lms", str(INTERVAL_MS),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PowerReport:
    """Watts: mean and largest of `count` readings of `source`."""

    source: str
    mean_w: float
    max_w: float
    count: int


@dataclass(kw_only=True)
class PowerWatch:
    """Collects readings while it is open; those before `begin` do not count."""

    source: str = ""
    readings: list[float] = field(default_factory=list)

    def begin(self) -> None:
        """Forget what was read so far: loading and warming up are not what is measured."""
        self.readings.clear()

    def report(self) -> PowerReport | None:
        """What was read; None where nothing on this machine tells."""
        read = list(self.readings)
        if not read:
            return None
        mean = round(sum(read) / len(read), 2)
        return PowerReport(source=self.source, mean_w=mean, max_w=round(max(read), 2), count=len(read))


@contextlib.contextmanager
def watching() -> Iterator[PowerWatch]:
    """Read the power until the block ends; the watch stays empty where no program is there that tells it."""
    for argv in (_TEGRASTATS, _NVIDIA_SMI):
        if program := shutil.which(argv[0]):
            watch = PowerWatch(source=argv[0])
            with _reading((program, *argv[1:]), watch):
                yield watch
            return
    yield PowerWatch()


@contextlib.contextmanager
def _reading(argv: Sequence[str], watch: PowerWatch) -> Iterator[None]:
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            errors="replace",
        )  # fmt: skip
    except OSError:
        yield
        return
    reader = threading.Thread(target=_collect, args=(process, watch), daemon=True)
    reader.start()
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        reader.join(5)
        if process.stdout is not None and not reader.is_alive():
            process.stdout.close()


def _collect(process: subprocess.Popen[Any], watch: PowerWatch) -> None:
    read = watts_of_tegrastats if watch.source == _TEGRASTATS[0] else watts_of_nvidia_smi
    for line in process.stdout or ():
        found = read(line)
        if found is not None and 0 <= found < _LARGEST:
            watch.readings.append(found)


def watts_of_tegrastats(line: str) -> float | None:
    """What the board draws by one line of tegrastats; None where it has no rail: some boards and users see none."""
    rails = {name: int(value) / 1000 for name, value in _RAIL.findall(line)}
    whole = next((rails[name] for name in _INPUT if name in rails), None)
    parts = [value for name, value in rails.items() if name not in _WITHIN]
    return whole if whole is not None else sum(parts) if parts else None


def watts_of_nvidia_smi(line: str) -> float | None:
    """What one GPU draws; None for `[N/A]` and other words."""
    try:
        return float(line.strip())
    except ValueError:
        return None
