"""`stats`: what the machine and our containers do: loads, clocks, memory, temperatures, power."""

from __future__ import annotations

import contextlib
import datetime
import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, FiniteRange, command
from jetson_containers.core.console import columns, human_bytes, width_of
from jetson_containers.core.errors import JetsonError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.host.usage import Usage, WatchedContainer

_ROOT = Path("/")
_OURS = "io.jetson-containers."  # labels of our containers, and of all that run an image of ours
_LISTED_EVERY = 5.0  # seconds between two questions to the engine


@command()
@click.option(
    "--interval",
    type=FiniteRange(min=0.1, max=3600),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two samples.",
)
@click.option("--count", type=click.IntRange(min=0), metavar="N",
              help="Samples; 0: until Ctrl-C. Default: 0 on a terminal, else 1.")  # fmt: skip
def stats(app: App, *, interval: float, count: int | None) -> int:
    """Show loads, clocks, memory, temperatures and power of this machine, and what our containers use.

    With `--json`, one line per sample. Memory of the GPU is part of the machine's on a Jetson, and of no container's.

    Example: jetson-containers stats --count 1
    """
    live = not app.console.as_json and width_of(app.console.out) > 0
    wanted = count if count is not None else 0 if live else 1
    with contextlib.suppress(KeyboardInterrupt), _shown(app, live=live) as show:
        for sample in _samples(app, interval, wanted):
            show(sample)
    return 0


@contextlib.contextmanager
def _shown(app: App, *, live: bool) -> Iterator[Any]:
    """What shows a sample: in place of the one before on a terminal, else below it; with `--json` as a line."""
    if app.console.as_json:
        yield lambda sample: app.console.result(json.dumps(sample, ensure_ascii=False))
        return
    if not live:
        yield lambda sample: app.console.result("\n".join(_lines(sample, 0)))
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(file=app.console.out), auto_refresh=False, vertical_overflow="crop") as display:
        yield lambda sample: display.update(Text("\n".join(_lines(sample, width_of(app.console.out)))), refresh=True)


def _samples(app: App, interval: float, count: int) -> Iterator[dict[str, Any]]:
    """One sample after each interval; forever for a count of 0."""
    from jetson_containers.host import power, tegrastats, usage

    modes = power.read_power_modes(_ROOT)
    fixed = power.clocks_are_fixed(_ROOT)
    smi = shutil.which("nvidia-smi") if modes is None else None
    with tegrastats.last_line(round(interval * 1000)) as line:
        running: tuple[WatchedContainer, ...] = ()
        problem, listed = "", time.monotonic() - _LISTED_EVERY
        before = usage.counters(_ROOT, running, time.monotonic())
        made = 0
        while not count or made < count:
            if time.monotonic() - listed >= _LISTED_EVERY:
                (running, problem), listed = _running(app), time.monotonic()
                before = usage.counters(_ROOT, running, time.monotonic()) if not made else before
            time.sleep(interval)
            now = usage.counters(_ROOT, running, time.monotonic())
            sample = usage.usage(_ROOT, running, before, now, line())
            sample = usage.of_nvidia_smi(sample, usage.ask_nvidia_smi(smi)) if smi else sample
            yield {
                "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds"),
                "power_mode": modes.modes.get(modes.current) if modes and modes.current is not None else None,
                "clocks_fixed": fixed,
                **asdict(sample),
                "missing": _missing(sample, problem),
            }
            before, made = now, made + 1


def _missing(sample: Usage, problem: str) -> list[str]:
    """What this machine does not tell, and what would."""
    found = []
    if not sample.gpus:
        found.append("GPU: none in /sys/class/devfreq (a Jetson's), and no nvidia-smi that answers")
    elif all(gpu.load is None for gpu in sample.gpus):
        found.append("load of the GPU: this kernel does not say it, and tegrastats is not there")
    if not sample.rails:
        found.append("power: no INA3221 monitor, and neither tegrastats nor nvidia-smi tells it")
    if not sample.temperatures:
        found.append("temperatures: /sys/class/thermal has none")
    return [*found, *([f"containers: {problem}"] if problem else [])]


def _running(app: App) -> tuple[tuple[WatchedContainer, ...], str]:
    """Our containers that run; or none, and why they cannot be listed."""
    from jetson_containers.host.usage import WatchedContainer
    from jetson_containers.llm import containers

    fields = {"name": ".Name", "image": ".Config.Image", "pid": ".State.Pid", "labels": ".Config.Labels"}
    try:
        found = containers.inspected(containers.client_for(app.engine), fields)
    except (JetsonError, ValueError, OSError) as error:
        return (), str(getattr(error, "message", error))
    ours = [each for each in found if any(label.startswith(_OURS) for label in each.get("labels") or {})]
    return tuple(
        WatchedContainer(name=str(each["name"]).removeprefix("/"), image=str(each["image"]), pid=each["pid"])
        for each in ours
        if isinstance(each.get("pid"), int) and each["pid"] > 0
    ), ""


def _lines(sample: dict[str, Any], width: int) -> list[str]:
    """A sample for people: a table of the machine, and one of the containers."""
    rows = [("value", "now"), ("CPU", _cpu(sample)), ("memory", _memory(sample["memory"]))]
    rows += [(f"GPU {gpu['name']}", _gpu(gpu)) for gpu in sample["gpus"]]
    if sample["memory_controller_load"] is not None:
        rows.append(("memory controller", f"{sample['memory_controller_load']:.0f}%"))
    if sample["temperatures"]:
        rows.append(("temperature", "  ".join(f"{name} {heat:.0f}°C" for name, heat in sample["temperatures"].items())))
    if sample["rails"]:
        whole = f"{sample['watts']:.1f} W: " if sample["watts"] is not None else ""
        rows.append(("power", whole + "  ".join(f"{name} {watts:.1f} W" for name, watts in sample["rails"].items())))
    if sample["power_mode"]:
        fixed = {True: ", clocks fixed", False: ", clocks vary", None: ""}[sample["clocks_fixed"]]
        rows.append(("power mode", f"{sample['power_mode']}{fixed}"))
    rows += [("not known", sentence) for sentence in sample["missing"]]
    shown = columns(rows, width)
    if sample["containers"]:
        table = [("container", "memory", "CPU", "image"), *map(_container, sample["containers"])]
        shown += ["", *columns(table, width)]
    return shown


def _cpu(sample: dict[str, Any]) -> str:
    cores = [f"{core['load']:.0f}%" if core["load"] is not None else "off" for core in sample["cores"]]
    clocks = [core["mhz"] for core in sample["cores"] if core["mhz"]]
    fastest = f" at up to {max(clocks):.0f} MHz" if clocks else ""
    mean = f"{sample['load']:.0f}%" if sample["load"] is not None else "?"
    return f"{mean}{fastest}: {' '.join(cores)}"


def _memory(memory: dict[str, Any]) -> str:
    if memory["total"] is None or memory["used"] is None:
        return "?"
    swap = f", swap {human_bytes(memory['swap_used'])} of {human_bytes(memory['swap_total'])}"
    text = f"{human_bytes(memory['used'])} of {human_bytes(memory['total'])}"
    return text + (swap if memory["swap_total"] and memory["swap_used"] is not None else "")


def _gpu(gpu: dict[str, Any]) -> str:
    load = f"{gpu['load']:.0f}%" if gpu["load"] is not None else "load not known"
    most = f" of {gpu['max_mhz']:.0f}" if gpu["max_mhz"] else ""
    clock = f" at {gpu['mhz']:.0f}{most} MHz" if gpu["mhz"] is not None else ""
    own = f", {human_bytes(gpu['memory_used'])} of {human_bytes(gpu['memory_total'])}" if gpu["memory_total"] else ""
    return load + clock + own


def _container(each: dict[str, Any]) -> tuple[str, str, str, str]:
    memory = human_bytes(each["memory"]) if each["memory"] is not None else "?"
    cpu = f"{each['cpu']:.0f}%" if each["cpu"] is not None else "?"
    return each["name"], memory, cpu, each["image"]
