"""What one line of NVIDIA's `tegrastats` says: GPU, memory controller, temperatures, power by rail.

The names are those of NVIDIA's developer guide, "tegrastats Utility" and "Jetson Power Management", and its boards'
output. What tegrastats prints per rail is in mW.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# Rails of the board's input, which feeds the others; and those that one of the others feeds.
_INPUT = ("VDD_IN", "POM_5V_IN", "VIN")
_WITHIN = ("VDDQ_VDD2_1V8AO", "NC")
_RAIL = re.compile(
    r"\b((?:VDDQ?|VIN|POM)(?:_\w+)?|GPU|CPU|SOC|CV|VDDRQ|SYS5V) ([0-9]{1,7})(?:mW)?/[0-9]{1,7}(?:mW)?(?=\s|$)"
)
_LOAD = re.compile(r"\b(GR3D_FREQ|EMC_FREQ) ([0-9]{1,3})%(?:@\[?([0-9]{1,6}))?")
_TEMPERATURE = re.compile(r"(?<!\S)([A-Za-z][\w.-]*)@(-?[0-9]{1,3}(?:\.[0-9]+)?)C(?!\S)")
OFF_BELOW = -100.0  # degrees: a sensor that is off says -256


@dataclass(frozen=True, kw_only=True)
class TegrastatsLine:
    """Loads in percent, clocks in MHz, temperatures in degrees Celsius, rails in watts; None where not said."""

    gpu_load: float | None = None
    gpu_mhz: float | None = None
    memory_controller_load: float | None = None
    temperatures: Mapping[str, float] = field(default_factory=dict)
    rails: Mapping[str, float] = field(default_factory=dict)


def read_line(line: str) -> TegrastatsLine:
    """Read one line; what it does not say stays open."""
    loads = {name: (min(float(load), 100.0), mhz) for name, load, mhz in _LOAD.findall(line)}
    gpu, mhz = loads.get("GR3D_FREQ", (None, ""))
    return TegrastatsLine(
        gpu_load=gpu,
        gpu_mhz=float(mhz) if mhz else None,
        memory_controller_load=loads.get("EMC_FREQ", (None, ""))[0],
        temperatures={name: float(said) for name, said in _TEMPERATURE.findall(line) if float(said) > OFF_BELOW},
        rails={name: int(value) / 1000 for name, value in _RAIL.findall(line)},
    )


def board_watts(rails: Mapping[str, float]) -> float | None:
    """What a board draws by its rails: its input's where it has one, else their sum; None without rails.

    AGX Orin and AGX Xavier have no rail of their input. Memory's own rail is not added: one of the others feeds it.
    """
    whole = next((rails[name] for name in _INPUT if name in rails), None)
    parts = [value for name, value in rails.items() if name not in _WITHIN]
    return whole if whole is not None else sum(parts) if parts else None


@contextlib.contextmanager
def last_line(interval_ms: int) -> Iterator[Callable[[], str]]:
    """Run tegrastats where it is there; what it printed last, "" before the first line and where there is none."""
    last = [""]
    program = shutil.which("tegrastats")
    if program is None:
        yield lambda: ""
        return

    def keep(line: str) -> None:
        last[0] = line

    with reading((program, "--interval", str(interval_ms)), keep):
        yield lambda: last[0]


@contextlib.contextmanager
def reading(argv: Sequence[str], on_line: Callable[[str], None]) -> Iterator[None]:
    """Run a program until the block ends, and hand over each line it prints; one that does not start prints none."""
    try:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            errors="replace",
        )  # fmt: skip
    except OSError:
        yield
        return

    def follow() -> None:
        for line in process.stdout or ():
            on_line(line)

    reader = threading.Thread(target=follow, daemon=True)
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
