"""The power a board draws while something is measured: read from `tegrastats` on a Jetson, `nvidia-smi` elsewhere."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jetson_containers.host import tegrastats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INTERVAL_MS = 500
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
            with tegrastats.reading((program, *argv[1:]), _collector(watch)):
                yield watch
            return
    yield PowerWatch()


def _collector(watch: PowerWatch) -> Callable[[str], None]:
    read = watts_of_tegrastats if watch.source == _TEGRASTATS[0] else watts_of_nvidia_smi

    def collect(line: str) -> None:
        found = read(line)
        if found is not None and 0 <= found < _LARGEST:
            watch.readings.append(found)

    return collect


def watts_of_tegrastats(line: str) -> float | None:
    """What the board draws by one line of tegrastats; None where it has no rail: some boards and users see none."""
    return tegrastats.board_watts(tegrastats.read_line(line).rails)


def watts_of_nvidia_smi(line: str) -> float | None:
    """What one GPU draws; None for `[N/A]` and other words."""
    try:
        return float(line.strip())
    except ValueError:
        return None
