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
from jetson_containers.platforms import tables
from jetson_containers.platforms.platform import Arch

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import Capabilities, Engine
    from jetson_containers.platforms.platform import Platform

SPACE = 20_000_000_000  # bytes: a typical runtime image unpacked, twice
GIB = 1 << 30
OLDEST_API = "1.41"  # of Docker 20.10, the oldest engine that is tested


class Status(enum.Enum):
    """How a check ended; `doctor` exits 1 when one failed."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding; `remedy` is the command or action that helps, empty when all is well."""

    check: str
    status: Status
    finding: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class DoctorContext:
    """What the checks may look at. `root` is "/" or a folder of captured files."""

    platform: Callable[[], Platform]
    engine: Callable[[], Engine]
    settings: Settings
    root: Path = Path("/")


def run_checks(context: DoctorContext) -> list[Check]:
    """Run all checks in a fixed order."""
    checks: list[Check | None] = [_platform(context), _jetpack(context)]
    engine, capabilities = _engine(context)
    checks.append(engine)
    if capabilities is not None:
        checks += [_builder(capabilities), _disk("engine disk", Path(capabilities.data_root))]
        checks += [_gpu(context, capabilities), _iptables(context, capabilities), _storage(capabilities)]
    checks += [_disk("data disk", context.settings.path("data")), _memory(context), _settings_files(context)]
    return [check for check in checks if check is not None]


def _platform(context: DoctorContext) -> Check:
    try:
        platform = context.platform()
    except JetsonError as error:
        return Check(check="platform", status=Status.FAIL, finding=error.message, remedy=error.hint or "")
    said = f"L4T {platform.l4t}" if platform.l4t else platform.arch.value
    gpu = f"CUDA {platform.cuda}" if platform.cuda else "no GPU"
    if platform.notices:
        return Check(
            check="platform",
            status=Status.WARN,
            finding=f"{said}, {gpu}: {platform.notices[0]}",
            remedy="--target says it exactly",
        )
    return Check(check="platform", status=Status.OK, finding=f"{said}, {gpu}, board {platform.board or 'not a Jetson'}")


def _jetpack(context: DoctorContext) -> Check | None:
    """What this release of JetPack consists of; where the GPU does not work, the driver is often of another one."""
    try:
        platform = context.platform()
    except JetsonError:
        return None
    row = tables.release_for(platform.l4t) if platform.l4t else None
    if row is None:
        return None
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
        return Check(check="jetpack", status=Status.WARN, finding=f"{text}; the driver is {driver}", remedy=remedy)
    return Check(check="jetpack", status=Status.OK, finding=text)


def _same_series(one: str, other: str) -> bool:
    return one.split(".")[:2] == other.split(".")[:2]


def _engine(context: DoctorContext) -> tuple[Check, Capabilities | None]:
    try:
        found = context.engine().capabilities
    except JetsonError as error:
        return Check(
            check="engine", status=Status.FAIL, finding=error.message, remedy=error.hint or "./install.sh"
        ), None
    text = f"docker {found.server_version} (API {found.api_version}) through `{found.client}` {found.client_version}"
    if _is_older(found.api_version, OLDEST_API):
        return Check(
            check="engine", status=Status.WARN, finding=text, remedy="install Docker 20.10 or newer: ./install.sh"
        ), found
    return Check(check="engine", status=Status.OK, finding=text + (", with sudo" if found.sudo else "")), found


def _is_older(version: str, oldest: str) -> bool:
    try:
        return Version(version) < Version(oldest)
    except InvalidVersion:
        return False  # the engine did not say


def _builder(found: Capabilities) -> Check:
    if found.mounts:
        return Check(check="builder", status=Status.OK, finding=found.builder.value)
    remedy = "install the buildx plugin (apt-get install docker-buildx), or a docker client before 23"
    return Check(
        check="builder",
        status=Status.WARN,
        finding="only the legacy builder, which has no `RUN --mount`",
        remedy=remedy,
    )


def _disk(name: str, place: Path) -> Check:
    free = free_space(place)
    if free >= SPACE:
        return Check(check=name, status=Status.OK, finding=f"{human_bytes(free)} free in {place}")
    remedy = "`jetson-containers df`, `jetson-containers prune`, or a larger disk (docker's data-root, setting `data`)"
    return Check(check=name, status=Status.WARN, finding=f"only {human_bytes(free)} free in {place}", remedy=remedy)


def _gpu(context: DoctorContext, found: Capabilities) -> Check | None:
    try:
        if not context.platform().has_gpu:
            return None
    except JetsonError:
        return None
    if found.cdi_devices:
        return Check(check="gpu access", status=Status.OK, finding=f"CDI: {', '.join(found.cdi_devices[:3])}")
    if "nvidia" in found.runtimes:
        return Check(check="gpu access", status=Status.OK, finding="the nvidia runtime is registered")
    remedy = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
    return Check(
        check="gpu access",
        status=Status.FAIL,
        finding="the engine has neither CDI devices nor the nvidia runtime",
        remedy=remedy,
    )


def _iptables(context: DoctorContext, found: Capabilities) -> Check | None:
    """Docker 28 wants iptables' raw table, which stock L4T kernels up to 36.4.3 lack (moby issue 49557)."""
    try:
        platform = context.platform()
        affected = platform.arch is Arch.TEGRA and Version(found.server_version.partition("+")[0]) >= Version("28")
    except (JetsonError, InvalidVersion):
        return None
    if not affected or (platform.l4t and platform.l4t >= Version("36.4.4")):
        return None
    remedy = "Docker 27.5.1, or L4T 36.4.4, or DOCKER_INSECURE_NO_IPTABLES_RAW=1 for dockerd (weaker isolation)"
    return Check(
        check="iptables",
        status=Status.WARN,
        finding=f"docker {found.server_version} on this kernel may start nothing",
        remedy=remedy,
    )


def _storage(found: Capabilities) -> Check:
    if found.storage_driver == "vfs":
        remedy = "use a file system that overlay2 works on (ext4, xfs)"
        return Check(
            check="storage driver", status=Status.WARN, finding="vfs: every layer is a full copy", remedy=remedy
        )
    return Check(check="storage driver", status=Status.OK, finding=found.storage_driver)


def _memory(context: DoctorContext) -> Check | None:
    memory = read_memory(context.root)
    if memory.total is None or memory.swap is None:
        return None
    text = f"{human_bytes(memory.total)} of memory, {human_bytes(memory.swap)} of swap"
    if memory.total + memory.swap < 12 * GIB:
        return Check(
            check="memory",
            status=Status.WARN,
            finding=text,
            remedy="add swap on a fast disk before compiling or quantizing 7B models",
        )
    return Check(check="memory", status=Status.OK, finding=text)


def _settings_files(context: DoctorContext) -> Check:
    changed = sorted(name for name, value in context.settings.values.items() if value.origin != "default")
    text = f"changed: {', '.join(changed)}" if changed else "all defaults"
    return Check(check="settings", status=Status.OK, finding=text)
