"""Checks of the way from a container to the GPU: runtime or CDI, toolkit, modes that do not go together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from jetson_containers.core.errors import JetsonError
from jetson_containers.doctor.board_checks import device_files, is_jetson
from jetson_containers.doctor.engine_checks import daemon_text
from jetson_containers.doctor.types import CheckDefinition, Finding, fail, note, ok, read, skip, warn
from jetson_containers.platforms.host import installed_version
from jetson_containers.platforms.platform import Arch

if TYPE_CHECKING:
    from jetson_containers.doctor.types import DoctorContext
    from jetson_containers.engine.interface import Capabilities

NO_GPU = "no NVIDIA GPU here"
REGISTER = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"


def _has_gpu(context: DoctorContext) -> bool:
    try:
        return context.platform().has_gpu
    except JetsonError:
        return False


def _access(context: DoctorContext, found: Capabilities) -> Finding:
    if not _has_gpu(context):
        return skip(NO_GPU)
    if found.cdi_devices:
        return ok(f"CDI: {', '.join(found.cdi_devices[:3])}")
    if "nvidia" in found.runtimes:
        return ok("the nvidia runtime is registered")
    return fail("the engine has neither CDI devices nor the nvidia runtime", REGISTER, "nvidia-runtime")


def _default_runtime(context: DoctorContext, found: Capabilities) -> Finding:
    if not is_jetson(context):
        return skip("only on a Jetson")
    config = daemon_text(context, found)
    if re.search(r'"default-runtime"\s*:\s*"nvidia"', config):
        return ok("the default runtime is nvidia")
    text = f"the default runtime is not nvidia (registered: {', '.join(found.runtimes)})"
    return note(text, "jetson-containers setup nvidia-runtime", "nvidia-runtime")


def _toolkit(context: DoctorContext) -> Finding:
    """From 1.17.1 on the toolkit breaks containers that ask for `graphics` on a Jetson (its issue 795)."""
    if not _has_gpu(context):
        return skip(NO_GPU)
    version = installed_version(context.root, "nvidia-container-toolkit")
    if version is None:
        text = "nvidia-container-toolkit is not installed, as far as dpkg knows"
        return warn(text, "sudo apt-get install nvidia-container-toolkit")
    try:
        newer = Version(version.partition("-")[0]) >= Version("1.17.1")
    except InvalidVersion:
        return ok(f"nvidia-container-toolkit {version}")
    if newer and context.platform().arch is Arch.TEGRA:
        remedy = "leave `graphics` out of NVIDIA_DRIVER_CAPABILITIES, or install 1.16.2 and apt-mark hold it"
        return note(f"nvidia-container-toolkit {version}: `graphics` may fail on this Jetson", remedy)
    return ok(f"nvidia-container-toolkit {version}")


def _gpus_option(context: DoctorContext, found: Capabilities) -> Finding:
    """`docker run --gpus` calls the hook directly, which refuses in the mode `csv` of a Tegra."""
    if not is_jetson(context):
        return skip("only on a Jetson")
    if context.platform().arch is not Arch.TEGRA:
        return ok("`--gpus` works with this release")
    has_runtime = "nvidia" in found.runtimes
    use = "`jetson-containers run` uses --runtime nvidia" if has_runtime else "register the nvidia runtime"
    return ok(f"plain `docker run --gpus` does not work on this Jetson; {use}")


def _mode(context: DoctorContext) -> Finding:
    config = read(context.root / "etc/nvidia-container-runtime/config.toml")
    if not config:
        return skip("the toolkit has no configuration file here")
    found = re.search(r'^\s*mode\s*=\s*"(\w+)"', config, re.MULTILINE)
    mode = found[1] if found else "auto"
    if is_jetson(context) and context.platform().arch is Arch.TEGRA and mode not in {"auto", "csv"}:
        remedy = "sudo nvidia-ctk config --in-place --set nvidia-container-runtime.mode=auto"
        return warn(f"the runtime's mode is {mode}; this Jetson needs auto or csv", remedy)
    return ok(f"the runtime's mode is {mode}")


def _devices(context: DoctorContext) -> Finding:
    if not _has_gpu(context):
        return skip(NO_GPU)
    there = [name for name in device_files(context.platform()) if (context.root / name).exists()]
    if there:
        return ok(f"/{there[0]} is there")
    if not context.is_here:
        return skip("captured files have no devices")
    return fail("no device file of the GPU is there: its driver is not loaded", "sudo dmesg | grep -i -e nvgpu -e nvrm")


def _csv_files(context: DoctorContext) -> Finding:
    """On JetPack 4 and 5 these files list what of the host is mounted; a wrong one is a missing library."""
    if not is_jetson(context) or context.platform().arch is not Arch.TEGRA:
        return skip("only on a Jetson up to JetPack 6")
    folder = context.root / "etc/nvidia-container-runtime/host-files-for-container.d"
    files = sorted(path.name for path in folder.glob("*.csv"))
    if files:
        return ok(f"mounted from the host: {', '.join(files)}")
    if not context.is_here:
        return skip("captured files have no list of mounts")
    return warn(f"/{folder.relative_to(context.root)} is empty", "sudo apt-get install --reinstall nvidia-l4t-init")


CHECKS = (
    CheckDefinition(name="gpu access", why="Without it containers run on the CPU alone.", look_at_engine=_access),
    CheckDefinition(name="gpu devices", why="Containers get the files of the host's driver.", look=_devices),
    CheckDefinition(
        name="default runtime",
        why="Recipes of upstream use the GPU's libraries while building, which only the default runtime gives.",
        look_at_engine=_default_runtime,
    ),
    CheckDefinition(
        name="nvidia toolkit", why="An upgrade of it can break containers that worked yesterday.", look=_toolkit
    ),
    CheckDefinition(name="--gpus", why="Commands written for PCs use it.", look_at_engine=_gpus_option),
    CheckDefinition(name="runtime mode", why="In a wrong mode nothing of the GPU is mounted.", look=_mode),
    CheckDefinition(
        name="runtime mounts", why="A file missing there is a library missing in containers.", look=_csv_files
    ),
)
