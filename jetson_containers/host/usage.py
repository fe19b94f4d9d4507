"""What a machine does at one moment: loads, clocks, temperatures, power, memory, and that of containers.

Read from /proc and /sys below a root, so that captured files are a machine too. Sources: proc(5), the kernel's
documentation of cpufreq, devfreq, thermal, hwmon (INA3221) and cgroups; the load of a Jetson's GPU, in thousandths, is
of NVIDIA's driver. Reading needs no privileges, and what a kernel does not have is None.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers.core.memory import read_memory
from jetson_containers.core.text import is_number
from jetson_containers.host import tegrastats

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_GPU = re.compile(r"(^|[.])(gpu|gm20b|gp10b|gv11b|ga10b|gb10b)|^gpu-gpc")
_CORE = re.compile(r"^cpu([0-9]+) (.+)$", re.MULTILINE)
_SMI = ("name", "utilization.gpu", "clocks.sm", "clocks.max.sm", "memory.used", "memory.total", "temperature.gpu",
        "power.draw")  # fmt: skip
_SMI_PATIENCE = 5.0  # seconds


@dataclass(frozen=True, kw_only=True)
class CoreUsage:
    """A core: percent busy since the sample before, and its clock in MHz; None for one that is off."""

    load: float | None
    mhz: float | None


@dataclass(frozen=True, kw_only=True)
class MemoryUsage:
    """Bytes; `used` could not be given back."""

    total: int | None
    used: int | None
    swap_total: int | None
    swap_used: int | None


@dataclass(frozen=True, kw_only=True)
class GpuUsage:
    """A GPU: percent, MHz, and bytes of its own memory where it has some."""

    name: str
    load: float | None = None
    mhz: float | None = None
    max_mhz: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None


@dataclass(frozen=True, kw_only=True)
class ContainerUsage:
    """A container: bytes without file cache, percent of one core; None where its control group tells neither."""

    name: str
    image: str
    memory: int | None
    cpu: float | None


@dataclass(frozen=True, kw_only=True)
class Usage:
    """One sample. Temperatures in degrees Celsius by sensor, power in watts by rail; `watts` is the whole board's.

    `missing` says in sentences what this machine does not tell, and why.
    """

    cores: tuple[CoreUsage, ...]
    load: float | None
    memory: MemoryUsage
    gpus: tuple[GpuUsage, ...] = ()
    memory_controller_load: float | None = None
    temperatures: Mapping[str, float] = field(default_factory=dict)
    rails: Mapping[str, float] = field(default_factory=dict)
    watts: float | None = None
    containers: tuple[ContainerUsage, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WatchedContainer:
    """A container that runs: its name, its image and the process it consists of."""

    name: str
    image: str
    pid: int


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What grows: jiffies of each core (busy, all), and microseconds of each container, by its process."""

    cores: Mapping[int, tuple[int, int]]
    containers: Mapping[int, int]
    seconds: float  # of a clock that only goes forward


def counters(root: Path, running: tuple[WatchedContainer, ...], seconds: float) -> Counters:
    """Read them at a moment."""
    spent = {each.pid: _cpu_of(root, each.pid) for each in running}
    return Counters(
        cores={int(number): _jiffies(row) for number, row in _CORE.findall(_text(root / "proc/stat"))},
        containers={pid: used for pid, used in spent.items() if used is not None},
        seconds=seconds,
    )


def usage(root: Path, running: tuple[WatchedContainer, ...], before: Counters, now: Counters, said: str = "") -> Usage:
    """One sample of the machine, between two readings of its counters; `said` is a line of tegrastats.

    What the files do not have is taken from that line.
    """
    cores = _cores(root, before, now)
    known = [core.load for core in cores if core.load is not None]
    line = tegrastats.read_line(said)
    rails = _rails(root) or dict(line.rails)
    return Usage(
        cores=cores,
        load=round(sum(known) / len(known), 1) if known else None,
        memory=_memory(root),
        gpus=_gpus(root, line),
        memory_controller_load=line.memory_controller_load,
        temperatures=_temperatures(root) or dict(line.temperatures),
        rails=rails,
        watts=_rounded(tegrastats.board_watts(rails)),
        containers=tuple(_container(root, each, before, now) for each in running),
    )


def of_nvidia_smi(sample: Usage, text: str) -> Usage:
    """A sample with what `nvidia-smi` says of the GPUs of a PC or server, in the order of `_SMI`."""
    gpus, temperatures, rails = [], dict(sample.temperatures), dict(sample.rails)
    for row in text.splitlines():
        fields = [part.strip() for part in row.split(",")]
        if len(fields) != len(_SMI):
            continue
        name, load, mhz, most, used, total, heat, watts = (fields[0], *map(_number, fields[1:]))
        gpus.append(
            GpuUsage(name=str(name), load=load, mhz=mhz, max_mhz=most, memory_used=_mib(used), memory_total=_mib(total))
        )
        place = f"GPU {len(gpus) - 1}"
        temperatures |= {place: heat} if heat is not None else {}
        rails |= {place: watts} if watts is not None else {}
    return replace(sample, gpus=(*sample.gpus, *gpus), temperatures=temperatures, rails=rails)


def ask_nvidia_smi(program: str) -> str:
    """What it prints for `of_nvidia_smi`; empty where it does not answer."""
    argv = [program, f"--query-gpu={','.join(_SMI)}", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=_SMI_PATIENCE,
        )  # fmt: skip
        return done.stdout if done.returncode == 0 else ""
    return ""


def _cores(root: Path, before: Counters, now: Counters) -> tuple[CoreUsage, ...]:
    """All cores up to the last one that is there; one that is off has no row in /proc/stat."""
    folder = root / "sys/devices/system/cpu"
    there = {int(path.name[3:]) for path in folder.glob("cpu[0-9]*") if is_number(path.name[3:])} | set(now.cores)
    found = []
    for number in sorted(there):
        busy, total = now.cores.get(number, (0, 0))
        was_busy, was_total = before.cores.get(number, (0, 0))
        passed = total - was_total
        load = round(100 * min(max(busy - was_busy, 0) / passed, 1), 1) if number in now.cores and passed > 0 else None
        hertz = _integer(folder / f"cpu{number}/cpufreq/scaling_cur_freq")
        found.append(CoreUsage(load=load, mhz=hertz / 1000 if hertz is not None and load is not None else None))
    return tuple(found)


def _jiffies(row: str) -> tuple[int, int]:
    """Busy and all of one core: idle and iowait are not busy; guest time is within user time."""
    counts = [int(word) for word in row.split()[:8] if is_number(word)]
    return sum(counts) - sum(counts[3:5]), sum(counts)


def _memory(root: Path) -> MemoryUsage:
    found = read_memory(root)
    free = found.swap_free
    swap = max(found.swap - free, 0) if found.swap is not None and free is not None else None
    return MemoryUsage(total=found.total, used=found.in_use, swap_total=found.swap, swap_used=swap)


def _gpus(root: Path, line: tegrastats.TegrastatsLine) -> tuple[GpuUsage, ...]:
    """The GPU of a Jetson, from devfreq; what it does not say there, tegrastats may."""
    for folder in sorted((root / "sys/class/devfreq").glob("*")):
        if not _GPU.search(folder.name):
            continue
        thousandths = _integer(folder / "device/load")
        clock, most = (_integer(folder / name) for name in ("cur_freq", "max_freq"))
        load = thousandths / 10 if thousandths is not None else line.gpu_load
        mhz = clock / 1e6 if clock is not None else line.gpu_mhz
        return (GpuUsage(name=folder.name, load=load, mhz=mhz, max_mhz=most / 1e6 if most is not None else None),)
    if line.gpu_load is not None:
        return (GpuUsage(name="GR3D", load=line.gpu_load, mhz=line.gpu_mhz),)
    return ()


def _temperatures(root: Path) -> dict[str, float]:
    """Thermal zones by their type; a second zone of the same type has its number behind it."""
    found: dict[str, float] = {}
    for zone in sorted(
        (root / "sys/class/thermal").glob("thermal_zone*"), key=lambda path: (len(path.name), path.name)
    ):
        name, thousandths = _text(zone / "type").strip() or zone.name, _integer(zone / "temp")
        if thousandths is None or thousandths / 1000 <= tegrastats.OFF_BELOW:
            continue
        name = name.removesuffix("-thermal").removesuffix("-therm")
        found[f"{name} {zone.name[12:]}" if name in found else name] = round(thousandths / 1000, 1)
    return found


def _rails(root: Path) -> dict[str, float]:
    """Watts by rail of the INA3221 monitors of a Jetson: voltage × current, or what older kernels multiply."""
    found: dict[str, float] = {}
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if not _text(folder / "name").startswith("ina3221"):
            continue
        for current in sorted(folder.glob("curr[0-9]_input")):
            channel = current.name[4]
            name = _text(folder / f"in{channel}_label").strip()
            volts, amperes = _integer(folder / f"in{channel}_input"), _integer(current)
            if name and name != "NC" and volts is not None and amperes is not None:
                found[name] = round(volts * amperes / 1e6, 3)
    for rail in sorted((root / "sys/bus/i2c/drivers/ina3221x").glob("*/iio:device*/rail_name_[0-9]")):
        name, watts = _text(rail).strip(), _integer(rail.parent / f"in_power{rail.name[-1]}_input")
        if name and name != "NC" and watts is not None:
            found[name] = watts / 1000
    return found


def _container(root: Path, each: WatchedContainer, before: Counters, now: Counters) -> ContainerUsage:
    passed = (now.seconds - before.seconds) * 1e6
    both = each.pid in before.containers and each.pid in now.containers and passed > 0
    spent = now.containers[each.pid] - before.containers[each.pid] if both else None
    cpu = round(100 * max(spent, 0) / passed, 1) if spent is not None else None
    return ContainerUsage(name=each.name, image=each.image, memory=_memory_of(root, each.pid), cpu=cpu)


def _memory_of(root: Path, pid: int) -> int | None:
    """Bytes of a container without the file cache that the kernel would give back first, as `docker stats` counts."""
    for folder, total, idle in _groups(root, pid, "memory"):
        used = _integer(folder / total)
        cache = re.search(rf"^{idle} ([0-9]{{1,20}})$", _text(folder / "memory.stat"), re.MULTILINE)
        if used is not None:
            return max(used - (int(cache[1]) if cache else 0), 0)
    return None


def _cpu_of(root: Path, pid: int) -> int | None:
    """Microseconds that a container has used of all cores."""
    for folder, _, _ in _groups(root, pid, "cpuacct"):
        if found := re.search(r"^usage_usec ([0-9]{1,20})$", _text(folder / "cpu.stat"), re.MULTILINE):
            return int(found[1])
        if (nanoseconds := _integer(folder / "cpuacct.usage")) is not None:
            return nanoseconds // 1000
    return None


def _groups(root: Path, pid: int, controller: str) -> list[tuple[Path, str, str]]:
    """Where the control group of a process may be: its folder, and the names of total and idle cache there."""
    found = []
    for row in _text(root / f"proc/{pid}/cgroup").splitlines():
        number, _, rest = row.partition(":")
        controllers, _, path = rest.partition(":")
        below = path.strip().lstrip("/")
        if ".." in below.split("/"):
            continue
        if number == "0" and not controllers:
            found.append((root / "sys/fs/cgroup" / below, "memory.current", "inactive_file"))
        elif controller in controllers.split(","):
            folder = root / "sys/fs/cgroup" / controllers / below
            folder = folder if folder.is_dir() else root / "sys/fs/cgroup" / controller / below
            found.append((folder, "memory.usage_in_bytes", "total_inactive_file"))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _integer(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None


def _number(text: str) -> float | None:
    """A number of nvidia-smi; None for `[N/A]` and other words."""
    return float(text) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text) else None


def _mib(number: float | None) -> int | None:
    return int(number * (1 << 20)) if number is not None else None


def _rounded(watts: float | None) -> float | None:
    return round(watts, 2) if watts is not None else None
