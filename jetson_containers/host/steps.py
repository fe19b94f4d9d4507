"""The steps of `setup`: what each would change on a machine. Plans only; `journal` carries them out."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import command
from jetson_containers.core.files import directory_space
from jetson_containers.core.memory import read_memory
from jetson_containers.host import daemon_config, media, power
from jetson_containers.host.changes import Change, CommandChange, FileChange, HostMachine, StepPlan
from jetson_containers.host.swap import read_swap

if TYPE_CHECKING:
    from collections.abc import Callable

Planned = tuple[list[Change], str]  # what is changed, and what is left to do by hand

GIB = 1 << 30
ENOUGH_SWAP = 4 * GIB
MOST_SWAP = 16  # GiB
RESERVE = 5 * GIB  # left free on the disk of a swap file
FAST = ("NVMe", "SSD")
LOCAL_FILESYSTEMS = frozenset({"ext4", "xfs", "btrfs"})
NOT_FOR_DATA = ("/boot", "/snap", "/var/lib/docker/")
ZRAM_UNIT = "nvzramconfig"
ZRAM_FILES = (
    "/etc/systemd/system/nvzramconfig.service",
    "/lib/systemd/system/nvzramconfig.service",
    "/usr/lib/systemd/system/nvzramconfig.service",
)
OF_ENGINE = frozenset({"nvidia-runtime", "docker-group", "log-rotation", "data-root"})
OTHER_ENGINE = (
    "docker comes from snap, which sees only what is below /home and reads a configuration of its own: "
    "sudo snap remove docker (its images go with it), then ./install.sh"
)
LOG_OPTIONS = {"max-size": "50m", "max-file": "3"}


def plan(step: str, machine: HostMachine) -> StepPlan:
    """What a step would change. Raises ConfigError for a configuration that cannot be read."""
    purpose, make = STEPS[step]
    found = OTHER_ENGINE if step in OF_ENGINE and _has_snap_only(machine) else make(machine)
    if isinstance(found, str):
        return StepPlan(step=step, purpose=purpose, reason=found)
    changes, later = found
    return StepPlan(step=step, purpose=purpose, changes=tuple(changes), later=later)


def _daemon(machine: HostMachine) -> dict[str, Any]:
    return daemon_config.parse(machine.read(machine.daemon_json) or "", machine.daemon_json)


def _has_snap_only(machine: HostMachine) -> bool:
    return machine.has("/snap/bin/docker") and not machine.has("/usr/bin/docker", "/usr/local/bin/docker")


def _daemon_change(machine: HostMachine, options: dict[str, Any]) -> FileChange:
    text = json.dumps(options, indent=4, ensure_ascii=False) + "\n"
    return FileChange(path=machine.daemon_json, before=machine.read(machine.daemon_json), after=text)


def _service(machine: HostMachine, word: str) -> tuple[str, ...]:
    if machine.has("/run/systemd/system"):
        sockets = ("docker.socket",) if word == "stop" else ()  # the socket would start the service again
        return ("systemctl", word, *sockets, "docker.service")
    return ("service", "docker", word)


def _with_restart(machine: HostMachine, change: FileChange) -> Planned:
    if not machine.restart:
        return [change], "restart the engine: " + command("sudo", *_service(machine, "restart"))
    restart = _service(machine, "restart")
    # Undone in reverse order: the engine must restart after the file is there again, so it stands on both sides.
    before = CommandChange(argv=("true",), undo=restart)
    return [before, change, CommandChange(argv=restart)], ""


def _nvidia_runtime(machine: HostMachine) -> str | Planned:
    if not machine.has("/usr/bin/nvidia-container-runtime", "/usr/local/bin/nvidia-container-runtime"):
        return "the NVIDIA container toolkit is not installed: sudo apt-get install nvidia-container-toolkit"
    options = _daemon(machine)
    runtimes = dict(options.get("runtimes", {}))
    wanted = {**options, "runtimes": runtimes}
    runtimes.setdefault("nvidia", {"args": [], "path": "nvidia-container-runtime"})
    if machine.is_jetson:
        wanted["default-runtime"] = "nvidia"
    if wanted == options:
        return "the nvidia runtime is registered already"
    return _with_restart(machine, _daemon_change(machine, wanted))


def _log_rotation(machine: HostMachine) -> str | Planned:
    options = _daemon(machine)
    driver = options.get("log-driver", "json-file")
    if driver != "json-file":
        return f"logs go to the driver {driver}, which has limits of its own"
    if "max-size" in options.get("log-opts", {}):
        return "logs have a limit already"
    limits = {**LOG_OPTIONS, **options.get("log-opts", {})}
    wanted = {**options, "log-driver": driver, "log-opts": limits}
    changes, later = _with_restart(machine, _daemon_change(machine, wanted))
    return changes, later or "containers that exist keep their logs; those started from now on have the limit"


def _docker_group(machine: HostMachine) -> str | Planned:
    if not machine.user or machine.user == "root":
        return "root needs no group; name the user with --user"
    groups = {line.split(":")[0]: line.split(":") for line in (machine.read("/etc/group") or "").splitlines()}
    row = groups.get("docker")
    if row is None:
        return "there is no group docker: install an engine first, with ./install.sh"
    if machine.user in row[-1].split(","):
        return f"{machine.user} is a member of the group docker already"
    change = CommandChange(
        argv=("usermod", "-aG", "docker", machine.user), undo=("gpasswd", "-d", machine.user, "docker")
    )
    return [change], f"{machine.user} has to log in anew (or: newgrp docker)"


def fastest_disk(machine: HostMachine) -> media.Medium | None:
    """The fastest disk with a file system that Docker works on, the one of / first; None without any."""
    found = [
        medium
        for mount in media.mounts(machine.root)
        if mount.filesystem in {"ext4", "xfs", "btrfs"}
        and not mount.point.startswith(("/boot", "/snap", "/var/lib/docker/"))
        if (medium := media.medium_of(mount.point, machine.root)) is not None and medium.kind in FAST
    ]
    return min(found, key=lambda medium: (FAST.index(medium.kind), len(medium.mount.point)), default=None)


def _below(point: str, name: str) -> str:
    return f"{point.rstrip('/')}/{name}"


def _swap(machine: HostMachine) -> str | Planned:
    swap = read_swap(machine.root)
    if swap is None:
        return "/proc/swaps cannot be read, so nothing is known of the present swap"
    if swap.disk >= ENOUGH_SWAP:
        return f"there are {human_bytes(swap.disk)} of swap on disk already"
    disk = fastest_disk(machine)
    if not machine.swap_file and disk is None:
        return "no NVMe or SSD is mounted, and swapping wears an SD card out; name a place with --swap-file FILE"
    file = machine.swap_file or _below(disk.mount.point if disk else "/", "swapfile")
    if machine.has(file):
        return f"{file} exists already; name another with --swap-file"
    total = read_memory(machine.root).total or 0
    gib = machine.swap_gib or min(MOST_SWAP, max(4, round(total / GIB)))
    free = directory_space(machine.place(os.path.dirname(file)))  # noqa: PTH120 - a path of the machine
    if free is not None and free < gib * GIB + RESERVE:
        return f"{gib} GiB of swap do not fit beside {human_bytes(RESERVE)} of reserve: {human_bytes(free)} are free"
    return _swap_changes(machine, file, gib), "compressed memory (zram) that is in use is gone after a restart"


def _swap_changes(machine: HostMachine, file: str, gib: int) -> list[Change]:
    changes: list[Change] = []
    if machine.has(*ZRAM_FILES):
        changes.append(CommandChange(argv=("systemctl", "disable", ZRAM_UNIT), undo=("systemctl", "enable", ZRAM_UNIT)))
    changes += [
        CommandChange(argv=("fallocate", "-l", f"{gib}G", file), undo=("rm", "-f", file), clear=("rm", "-f", file)),
        CommandChange(argv=("chmod", "600", file)),
        CommandChange(argv=("mkswap", file)),
        CommandChange(argv=("swapon", file), undo=("swapoff", file)),
    ]
    table = machine.read("/etc/fstab")
    text = (table or "").rstrip("\n")
    name = file.replace(" ", "\\040")  # as fstab(5) wants it
    line = f"{name} none swap sw 0 0\n"
    changes.append(FileChange(path="/etc/fstab", before=table, after=f"{text}\n{line}" if text else line))
    return changes


def _data_root(machine: HostMachine) -> str | Planned:
    if not machine.restart:
        return "the engine must be stopped for it: leave out --no-restart"
    options = _daemon(machine)
    now = str(options.get("data-root") or machine.data_root)
    present, disk = media.medium_of(now, machine.root), fastest_disk(machine)
    if not machine.new_data_root:
        if present is not None and present.kind == "NVMe":
            return f"{now} is on {present.text} already"
        if disk is None or (present is not None and present.mount.point == disk.mount.point):
            return "no faster disk is mounted; name a directory with --data-root DIR"
    new = machine.new_data_root or _below(disk.mount.point if disk else "/", "docker")
    if new.rstrip("/") == now.rstrip("/"):
        return f"{new} is the data-root already"
    if machine.has(new) and any(machine.place(new).iterdir()):
        return f"{new} exists and is not empty; name another directory with --data-root DIR"
    stop, start = _service(machine, "stop"), _service(machine, "start")
    changes: list[Change] = [
        CommandChange(argv=stop, undo=start),
        CommandChange(argv=("mkdir", "-p", "-m", "710", new)),
    ]
    if machine.has(now):
        # Only what this copy brought is removed when it fails: before it the directory was missing or empty.
        copy = ("cp", "--archive", f"{now.rstrip('/')}/.", new)
        changes.append(CommandChange(argv=copy, clear=("rm", "-rf", "--one-file-system", new)))
    changes += [_daemon_change(machine, {**options, "data-root": new}), CommandChange(argv=start, undo=stop)]
    return changes, f"when all works: {command('sudo', 'rm', '-r', now)} frees the former place, and ends the way back"


def _power_mode(machine: HostMachine) -> str | Planned:
    modes = power.read_power_modes(machine.root)
    if modes is None:
        return "this machine has no power modes"
    if modes.current is None or modes.fastest is None:
        return "the present mode is not known: sudo nvpmodel -q prints it"
    if modes.current == modes.fastest:
        return f"the mode is {modes.modes[modes.fastest]} already, the fastest"
    undo = ("nvpmodel", "-m", str(modes.current))
    return [CommandChange(argv=("nvpmodel", "-m", str(modes.fastest)), undo=undo)], (
        f"{modes.modes[modes.fastest]} takes more power and cooling; some boards want a restart for it"
    )


def _headless(machine: HostMachine) -> str | Planned:
    target = default_target(machine)
    if target is None:
        return "systemd's default target is not known"
    if target != "graphical.target":
        return f"this machine starts without a desktop already ({target})"
    if power.desktop_runs(machine.root) is False and not _shows_a_login(machine):
        return "no desktop is installed"
    change = CommandChange(
        argv=("systemctl", "set-default", "multi-user.target"), undo=("systemctl", "set-default", target)
    )
    return [change], "from the next restart on no desktop runs; sudo systemctl start graphical.target starts it once"


def _shows_a_login(machine: HostMachine) -> bool:
    """Whether the next start brings a desktop's login: what systemd knows as the display manager (gdm, lightdm)."""
    return machine.place("/etc/systemd/system/display-manager.service").is_symlink()


def default_target(machine: HostMachine) -> str | None:
    """The target that systemd starts; None where no link tells it."""
    for folder in ("/etc/systemd/system", "/lib/systemd/system", "/usr/lib/systemd/system"):
        link = machine.place(f"{folder}/default.target")
        if link.is_symlink():
            return re.sub(r".*/", "", os.readlink(link))  # noqa: PTH115 - the text of the link
    return None


STEPS: dict[str, tuple[str, Callable[[HostMachine], Any]]] = {
    "nvidia-runtime": ("containers get the GPU, also while building", _nvidia_runtime),
    "docker-group": ("docker works without sudo; members have root's rights by it", _docker_group),
    "swap": ("a swap file instead of compressed memory, for compiling and quantizing", _swap),
    "log-rotation": ("logs of containers have a limit", _log_rotation),
    "power-mode": ("the fastest power mode", _power_mode),
    "data-root": ("images and containers are moved to the fastest disk", _data_root),
    "headless": ("no desktop, which takes memory from models", _headless),
}
ON_REQUEST = ("data-root", "headless")  # not without being named or confirmed
