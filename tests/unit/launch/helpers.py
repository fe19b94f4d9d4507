"""What tests of launch share: helpers and examples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from jetson_containers.core import settings
from jetson_containers.launch.command import Launch, plan_run
from jetson_containers.launch.options import parse
from jetson_containers.launch.parts import NoticeSeverity
from jetson_containers.platforms.platform import Arch, Platform
from tests.fakes import CAPABILITIES

if TYPE_CHECKING:
    from jetson_containers.engine.interface import Capabilities


def platform_of(arch: Arch, l4t: str | None, cuda: str | None) -> Platform:
    return Platform(
        arch=arch,
        l4t=Version(l4t) if l4t else None,
        jetpack=None,
        cuda=Version(cuda) if cuda else None,
        driver_cuda=Version(cuda) if cuda else None,
        python=Version("3.10"),
        distro="ubuntu",
        distro_version="22.04",
        sm=(87,) if cuda else (),
    )


ORIN = platform_of(Arch.TEGRA, "36.4.3", "12.6")


NANO = platform_of(Arch.TEGRA, "32.7.4", "10.2")


THOR = platform_of(Arch.SBSA, "38.4.0", "13.0")


PC = platform_of(Arch.X86_64, None, "12.8")


NO_GPU = platform_of(Arch.X86_64, None, None)


WITH_RUNTIME = replace(CAPABILITIES, runtimes=("io.containerd.runc.v2", "nvidia", "runc"))


WITH_CDI = replace(CAPABILITIES, cdi_devices=("nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1", "nvidia.com/gpu=all"))


JETSON_FILES = """
    etc/localtime etc/timezone etc/enctune.conf etc/nv_tegra_release proc/device-tree/model tmp/argus_socket
    run/jtop.sock var/run/avahi-daemon/socket var/run/dbus/system_bus_socket dev/snd/controlC0 dev/bus/usb/001/001
    dev/video0 dev/video2 dev/video10 dev/i2c-0 dev/i2c-10 dev/ttyACM0 dev/nvmap
"""


THOR_FILES = (
    "etc/localtime etc/nv_tegra_release proc/device-tree/model dev/snd/timer usr/bin/nvidia-container-runtime-hook"
)


PC_FILES = "etc/localtime dev/snd/timer dev/video0 dev/bus/usb/001/001 usr/bin/nvidia-container-runtime-hook"


HOSTS: dict[str, tuple[Platform, Capabilities, str]] = {
    "orin-r36": (ORIN, WITH_RUNTIME, JETSON_FILES),
    "orin-r36-cdi": (ORIN, replace(WITH_CDI, runtimes=WITH_RUNTIME.runtimes), JETSON_FILES),
    "nano-r32": (NANO, replace(WITH_RUNTIME, sudo=True), "etc/localtime etc/nv_tegra_release dev/video0"),
    "thor-r38": (THOR, WITH_RUNTIME, THOR_FILES),
    "x86-gpu": (PC, CAPABILITIES, PC_FILES),
    "x86-cpu": (NO_GPU, CAPABILITIES, "etc/localtime"),
    "bare": (NO_GPU, CAPABILITIES, ""),
}


def make_root(tmp_path: Path, files: str) -> Path:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    for name in files.split():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def plan(tmp_path: Path, *args: str, host: str = "bare", files: str = "", **given_options: Any) -> Launch:
    platform, capabilities, host_files = HOSTS[host]
    options: dict[str, Any] = {
        "platform": platform,
        "capabilities": capabilities,
        "settings": SETTINGS,
        "root": make_root(tmp_path, host_files + " " + files),
        "env": {},
        "name": "unique",
        **given_options,
    }
    return plan_run(
        parse(args or ("img",)),
        options.pop("platform"),
        options.pop("capabilities"),
        options.pop("settings"),
        **options,
    )


def settings_with(**values: Any) -> settings.Settings:
    found = {name: settings.Value(option.default, "default") for name, option in settings.OPTIONS.items()}
    env = values.pop("env", {})
    found |= {name: settings.Value(value, "test") for name, value in values.items()}
    return settings.Settings(found, env)


SETTINGS = settings_with(data=Path("/srv/data"), cache=Path("/srv/cache"))


def warnings_of(planned: Launch) -> list[str]:
    return [notice.text for notice in planned.notices if notice.severity is NoticeSeverity.WARNING]


def added(planned: Launch, plain: Launch) -> list[str]:
    """The words one command has and the other has not."""
    return [word for word in planned.argv if word not in plain.argv]
