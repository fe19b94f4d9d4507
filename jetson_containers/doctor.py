"""A list of checks: finding, severity, remedy. Each looks at one thing, changes nothing, and never stops the others."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import JetsonError
from jetson_containers.core.files import free_space
from jetson_containers.core.memory import read_memory
from jetson_containers.platforms.platform import Arch

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import Capabilities, Engine
    from jetson_containers.platforms.platform import Platform

ROOM = 20_000_000_000  # bytes: a typical runtime image unpacked, twice
GIB = 1 << 30


class Status(enum.Enum):
    """How a check ended; `doctor` exits 1 when one failed."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One finding; `remedy` is the command or action that helps, empty when all is well."""

    check: str
    status: Status
    finding: str
    remedy: str = ""


@dataclass(frozen=True)
class Patient:
    """What the checks may look at. `root` is "/" or a folder of captured files."""

    platform: Callable[[], Platform]
    engine: Callable[[], Engine]
    settings: Settings
    root: Path = Path("/")


def examine(patient: Patient) -> list[Check]:
    """Run all checks in a fixed order."""
    checks: list[Check | None] = [_platform(patient)]
    engine, capabilities = _engine(patient)
    checks.append(engine)
    if capabilities is not None:
        checks += [_builder(capabilities), _disk("engine disk", Path(capabilities.data_root))]
        checks += [_gpu(patient, capabilities), _iptables(patient, capabilities), _storage(capabilities)]
    checks += [_disk("data disk", patient.settings.path("data")), _memory(patient), _settings_files(patient)]
    return [check for check in checks if check is not None]


def _platform(patient: Patient) -> Check:
    try:
        platform = patient.platform()
    except JetsonError as error:
        return Check("platform", Status.FAIL, error.message, error.hint or "")
    said = f"L4T {platform.l4t}" if platform.l4t else platform.arch.value
    gpu = f"CUDA {platform.cuda}" if platform.cuda else "no GPU"
    if platform.notices:
        return Check("platform", Status.WARN, f"{said}, {gpu}: {platform.notices[0]}", "--target says it exactly")
    return Check("platform", Status.OK, f"{said}, {gpu}, board {platform.board or 'not a Jetson'}")


def _engine(patient: Patient) -> tuple[Check, Capabilities | None]:
    try:
        found = patient.engine().capabilities
    except JetsonError as error:
        return Check("engine", Status.FAIL, error.message, error.hint or "./install.sh"), None
    text = f"docker {found.server_version} through `{found.client}` {found.client_version}"
    return Check("engine", Status.OK, text + (", with sudo" if found.sudo else "")), found


def _builder(found: Capabilities) -> Check:
    if found.mounts:
        return Check("builder", Status.OK, found.builder.value)
    remedy = "install the buildx plugin (apt-get install docker-buildx), or a docker client before 23"
    return Check("builder", Status.WARN, "only the legacy builder, which has no `RUN --mount`", remedy)


def _disk(name: str, place: Path) -> Check:
    free = free_space(place)
    if free >= ROOM:
        return Check(name, Status.OK, f"{human_bytes(free)} free in {place}")
    remedy = "`jetson-containers df`, `jetson-containers prune`, or a larger disk (docker's data-root, setting `data`)"
    return Check(name, Status.WARN, f"only {human_bytes(free)} free in {place}", remedy)


def _gpu(patient: Patient, found: Capabilities) -> Check | None:
    try:
        if not patient.platform().has_gpu:
            return None
    except JetsonError:
        return None
    if found.cdi_devices:
        return Check("gpu access", Status.OK, f"CDI: {', '.join(found.cdi_devices[:3])}")
    if "nvidia" in found.runtimes:
        return Check("gpu access", Status.OK, "the nvidia runtime is registered")
    remedy = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
    return Check("gpu access", Status.FAIL, "the engine has neither CDI devices nor the nvidia runtime", remedy)


def _iptables(patient: Patient, found: Capabilities) -> Check | None:
    """Docker 28 wants iptables' raw table, which stock L4T kernels up to 36.4.3 lack (moby issue 49557)."""
    try:
        platform = patient.platform()
        affected = platform.arch is Arch.TEGRA and Version(found.server_version.partition("+")[0]) >= Version("28")
    except (JetsonError, InvalidVersion):
        return None
    if not affected or (platform.l4t and platform.l4t >= Version("36.4.4")):
        return None
    remedy = "Docker 27.5.1, or L4T 36.4.4, or DOCKER_INSECURE_NO_IPTABLES_RAW=1 for dockerd (weaker isolation)"
    return Check("iptables", Status.WARN, f"docker {found.server_version} on this kernel may start nothing", remedy)


def _storage(found: Capabilities) -> Check:
    if found.storage_driver == "vfs":
        remedy = "use a file system that overlay2 works on (ext4, xfs)"
        return Check("storage driver", Status.WARN, "vfs: every layer is a full copy", remedy)
    return Check("storage driver", Status.OK, found.storage_driver)


def _memory(patient: Patient) -> Check | None:
    memory = read_memory(patient.root)
    if memory.total is None or memory.swap is None:
        return None
    text = f"{human_bytes(memory.total)} of memory, {human_bytes(memory.swap)} of swap"
    if memory.total + memory.swap < 12 * GIB:
        return Check("memory", Status.WARN, text, "add swap on a fast disk before compiling or quantizing 7B models")
    return Check("memory", Status.OK, text)


def _settings_files(patient: Patient) -> Check:
    changed = sorted(name for name, value in patient.settings.values.items() if value.origin != "default")
    text = f"changed: {', '.join(changed)}" if changed else "all defaults"
    return Check("settings", Status.OK, text)
