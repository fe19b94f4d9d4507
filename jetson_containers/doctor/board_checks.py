"""Checks of the board: what it is, its release of JetPack, memory, swap, power mode, clocks and desktop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import JetsonError
from jetson_containers.core.memory import read_memory
from jetson_containers.doctor.types import CheckDefinition, Finding, bare_command, fail, note, ok, skip, warn
from jetson_containers.host import power
from jetson_containers.host.media import medium_of
from jetson_containers.host.swap import read_swap
from jetson_containers.platforms import tables

if TYPE_CHECKING:
    from jetson_containers.doctor.types import DoctorContext
    from jetson_containers.platforms.platform import Platform

GIB = 1 << 30
NO_JETSON = "only on a Jetson"


def is_jetson(context: DoctorContext) -> bool:
    """Whether L4T runs here; not known is no."""
    try:
        return context.platform().l4t is not None
    except JetsonError:
        return False


def _platform(context: DoctorContext) -> Finding:
    try:
        platform = context.platform()
    except JetsonError as error:
        return fail(error.message, error.hint or "jetson-containers doctor --target r36.4.3  # or another")
    said = f"L4T {platform.l4t}" if platform.l4t else platform.arch.value
    gpu = f"CUDA {platform.cuda}" if platform.cuda else "no GPU"
    if platform.notices:
        return warn(f"{said}, {gpu}: {platform.notices[0]}", "jetson-containers info  # --target says it exactly")
    return ok(f"{said}, {gpu}, board {platform.board or 'not a Jetson'}")


def _board(context: DoctorContext) -> Finding:
    if not is_jetson(context):
        return skip(NO_JETSON)
    platform = context.platform()
    if not platform.board:
        remedy = "name the one with the same chip and memory, for example `--target orin-nx-16gb`"
        return warn("this module is not in the table of boards", remedy)
    board = tables.boards()[platform.board]
    if platform.l4t is not None and not board.boots(platform.l4t):
        return warn(f"{board.name} does not boot L4T {platform.l4t}, as far as is known", "jetson-containers info")
    return ok(f"{board.name}, {board.memory} GB")


def _jetpack(context: DoctorContext) -> Finding:
    """What this release of JetPack consists of; where the GPU does not work, the driver is often of another one."""
    if not is_jetson(context):
        return skip(NO_JETSON)
    platform = context.platform()
    row = tables.release_for(platform.l4t) if platform.l4t else None
    if row is None:
        return warn(f"L4T {platform.l4t} is not in the table of releases", "jetson-containers update")
    parts = {"CUDA": row.toolkit, "cuDNN": row.cudnn, "TensorRT": row.tensorrt, "VPI": row.vpi, "driver": row.driver}
    text = f"JetPack {row.jetpack or '?'}{f' ({row.date})' if row.date else ''}: " + ", ".join(
        f"{name} {version}" for name, version in parts.items() if version
    )
    toolkit = platform.host.get("cuda_toolkit", "")
    if toolkit and not _same_series(toolkit, row.toolkit):
        text += f"; CUDA toolkit {toolkit} is installed on the host"
    driver = platform.host.get("driver", "")
    if driver and row.driver and row.l4t == platform.l4t and not driver.startswith(row.driver):
        remedy = "sudo apt-get update && sudo apt-get dist-upgrade, then reboot"
        return warn(f"{text}; the driver is {driver}", remedy)
    return ok(text)


def _same_series(one: str, other: str) -> bool:
    return one.split(".")[:2] == other.split(".")[:2]


def _memory(context: DoctorContext) -> Finding:
    memory = read_memory(context.root)
    if memory.total is None or memory.swap is None:
        return skip("the kernel does not say how much memory there is")
    text = f"{human_bytes(memory.total)} of memory, {human_bytes(memory.swap)} of swap"
    if memory.total + memory.swap < 12 * GIB:
        return warn(text, "jetson-containers setup swap  # before compiling or quantizing 7B models", "swap")
    return ok(text)


def _free_memory(context: DoctorContext) -> Finding:
    memory = read_memory(context.root)
    if memory.total is None or memory.available is None:
        return skip("the kernel does not say how much memory is free")
    text = f"{human_bytes(memory.available)} of {human_bytes(memory.total)} available"
    if memory.available < memory.total // 4:
        return note(text, "ps aux --sort=-rss | head  # shows what uses it")
    return ok(text)


def _swap(context: DoctorContext) -> Finding:
    swap = read_swap(context.root)
    if swap is None:
        return skip("/proc/swaps cannot be read")
    text = f"{human_bytes(swap.disk)} of swap on disk, {human_bytes(swap.zram)} of zram"
    if swap.zram and not swap.disk:
        return warn(f"{text}: zram takes from the memory it extends", "jetson-containers setup swap", "swap")
    if not swap.disk and is_jetson(context):
        return warn(text, "jetson-containers setup swap", "swap")
    for file in swap.files:
        medium = medium_of(file, context.root)
        if medium is not None and medium.kind.startswith("SD card"):
            remedy = f"{bare_command('sudo', 'swapoff', file)}  # and its line out of /etc/fstab; then setup swap"
            return note(f"{text}: {file} is on {medium.text}, which is slow and wears out", remedy)
    return ok(text)


def _power_mode(context: DoctorContext) -> Finding:
    modes = power.read_power_modes(context.root)
    if modes is None:
        return skip(NO_JETSON if not is_jetson(context) else "/etc/nvpmodel.conf lists no modes")
    if modes.current is None:
        return skip("the current mode is not in a file; `sudo nvpmodel -q` prints it")
    name = modes.modes.get(modes.current, str(modes.current))
    if modes.fastest in {None, modes.current}:
        return ok(f"power mode {name}")
    fastest = modes.modes[modes.fastest] if modes.fastest is not None else ""
    return note(
        f"power mode {name}; {fastest} is faster", bare_command("sudo", "nvpmodel", "-m", modes.fastest), "power-mode"
    )


def _clocks(context: DoctorContext) -> Finding:
    if not is_jetson(context):
        return skip(NO_JETSON)
    fixed = power.clocks_are_fixed(context.root)
    if fixed is None:
        return skip("the kernel does not say the clocks")
    if fixed:
        return ok("clocks are held at their highest (jetson_clocks)")
    return note("clocks follow the load, so benchmarks vary", "sudo jetson_clocks  # until the next restart")


def _desktop(context: DoctorContext) -> Finding:
    runs = power.desktop_runs(context.root)
    if runs is None:
        return skip("processes cannot be read")
    if runs and _is_small(context):
        return note("a desktop runs, and takes 0.8 GB or more", "sudo systemctl isolate multi-user.target", "headless")
    return ok("a desktop runs" if runs else "no desktop runs")


def _is_small(context: DoctorContext) -> bool:
    total = read_memory(context.root).total
    return total is not None and total < 17 * GIB


def device_files(platform: Platform) -> tuple[str, ...]:
    """Device files of which one is there where the driver is loaded."""
    return ("dev/nvidia0", "dev/nvhost-gpu", "dev/nvmap") if platform.l4t else ("dev/nvidia0", "dev/dxg")


CHECKS = (
    CheckDefinition(name="platform", why="CUDA, Python and base image follow from it.", look=_platform),
    CheckDefinition(name="board", why="Memory and GPU architecture follow from the module.", look=_board),
    CheckDefinition(
        name="jetpack", why="Where the GPU does not work, the driver is often of another release.", look=_jetpack
    ),
    CheckDefinition(name="memory", why="Compiling and quantizing 7B models take 12 GB and more.", look=_memory),
    CheckDefinition(name="free memory", why="A Jetson's GPU uses the same memory as all programs.", look=_free_memory),
    CheckDefinition(
        name="swap", why="zram compresses memory and cannot hold what the GPU needs; a swap file can.", look=_swap
    ),
    CheckDefinition(name="power mode", why="The default mode of many boards is half as fast.", look=_power_mode),
    CheckDefinition(name="clocks", why="Clocks that follow the load make measurements vary.", look=_clocks),
    CheckDefinition(name="desktop", why="What a desktop takes is missing for models.", look=_desktop),
)
