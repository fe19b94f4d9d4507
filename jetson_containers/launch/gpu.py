"""How a container gets at the GPU: CDI, else `--runtime nvidia`, else `--gpus all`, else not at all, with a notice.

`--gpus` calls NVIDIA's hook directly, which refuses in csv mode: never on integrated GPUs up to L4T 36. CDI needs an
engine that lists its devices (25 with the feature on, 28.2).
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from jetson_containers.core.errors import command
from jetson_containers.core.text import is_number
from jetson_containers.launch.parts import LaunchPart, Notice, NoticeSeverity
from jetson_containers.platforms.platform import Arch

if TYPE_CHECKING:
    from jetson_containers.launch.docker_options import RunLine
    from jetson_containers.launch.parts import LaunchHost

_KIND = "nvidia.com/gpu"
_HOOK = "nvidia-container-runtime-hook"
_DAEMON_PATH = ("usr/local/sbin", "usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin")
_REGISTER = "sudo nvidia-ctk runtime configure --runtime=docker && sudo systemctl restart docker"
_PODMAN_MISSING = "the container gets no GPU: Podman reaches it by CDI only, and there is no CDI specification"
_PODMAN_CDI = "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml; `--no-gpu` if none is wanted"
_INSTALL = "sudo apt-get install nvidia-container-toolkit (on JetPack 4: nvidia-container-runtime)"


class Gpu(enum.Enum):
    """Which of the ways was taken."""

    CDI = "cdi"
    RUNTIME = "runtime"
    GPUS = "gpus"
    NONE = "none"
    USER = "user"  # the user's own options decide


def gpu_part(host: LaunchHost, line: RunLine, *, no_gpu: bool) -> tuple[Gpu, LaunchPart]:
    """Choose the way, and the options for it."""
    if no_gpu:
        return Gpu.NONE, _without_gpu(host, line)
    if reason := _users_choice(line):
        return Gpu.USER, LaunchPart(
            notices=(Notice(text=f"GPU: as {reason} says", severity=NoticeSeverity.DETAIL), *_doubts(host, line))
        )
    if not host.platform.has_gpu:
        return Gpu.NONE, LaunchPart(
            notices=(Notice(text="GPU: none, the platform is CPU only", severity=NoticeSeverity.DETAIL),)
        )
    if devices := _cdi_devices(host.capabilities.cdi_devices):
        options = tuple(word for device in devices for word in ("--device", device))
        return Gpu.CDI, _with_gpu(host, line, options, f"by CDI ({', '.join(devices)})")
    if "nvidia" in host.capabilities.runtimes:
        # The runtime looks at this variable of the container; only NVIDIA's own base images set it.
        options = ("--runtime", "nvidia", *_env(line, "NVIDIA_VISIBLE_DEVICES", "all"))
        return Gpu.RUNTIME, _with_gpu(host, line, options, "by the nvidia runtime")
    if host.capabilities.podman:
        return Gpu.NONE, LaunchPart(notices=(Notice(text=_PODMAN_MISSING, hint=_PODMAN_CDI),))
    if not _is_csv(host) and _has_hook(host):
        return Gpu.GPUS, _with_gpu(host, line, ("--gpus", "all"), "by --gpus all")
    return Gpu.NONE, LaunchPart(notices=(_missing(host),))


def ulimit_part(host: LaunchHost, line: RunLine, gpu: Gpu) -> LaunchPart:
    """Locked memory and stack as NVIDIA's frameworks want them, on discrete GPUs.

    Not without a GPU: an engine that may not raise limits (rootless, nested) would refuse to start for nothing.
    """
    if host.platform.arch is Arch.TEGRA or gpu is Gpu.NONE or host.capabilities.rootless:
        return LaunchPart()
    given = {value.partition("=")[0] for value in line.values("ulimit")}
    limits = {"memlock": "-1", "stack": "67108864"}
    return LaunchPart(argv=tuple(f"--ulimit={name}={limit}" for name, limit in limits.items() if name not in given))


def _users_choice(line: RunLine) -> str | None:
    """The option by which the user has decided already."""
    if line.has("gpus"):
        return "`--gpus`"
    if line.has("runtime"):
        return "`--runtime`"
    return next(
        (command("--device", device) for device in sorted(line.devices) if device.startswith("nvidia.com/")), None
    )


def _doubts(host: LaunchHost, line: RunLine) -> tuple[Notice, ...]:
    """What will go wrong with the user's choice: docker's own messages for it come late or say little."""
    runtime = line.last("runtime")
    if runtime and host.capabilities.runtimes and runtime not in host.capabilities.runtimes:
        known = ", ".join(host.capabilities.runtimes)
        hint = _REGISTER if runtime == "nvidia" else None
        return (Notice(text=f"the engine has no runtime `{runtime}` (it has: {known})", hint=hint),)
    if line.has("gpus") and _is_csv(host):
        return (Notice(text="`--gpus` does not work on this board (csv mode)", hint="use `--runtime nvidia` instead"),)
    return ()


def _cdi_devices(names: tuple[str, ...]) -> tuple[str, ...]:
    """`nvidia.com/gpu=all`; where a specification lacks it, the GPUs by number (each is listed by UUID as well)."""
    ours = [name for name in names if name.startswith(_KIND + "=")]
    if f"{_KIND}=all" in ours:
        return (f"{_KIND}=all",)
    return tuple(sorted(name for name in ours if is_number(name.partition("=")[2]))) or tuple(sorted(ours)[:1])


def _with_gpu(host: LaunchHost, line: RunLine, options: tuple[str, ...], how: str) -> LaunchPart:
    capabilities = "compute,utility,graphics" if host.platform.arch is Arch.TEGRA else "all"
    argv = (*options, *_env(line, "NVIDIA_DRIVER_CAPABILITIES", capabilities))
    return LaunchPart(argv=argv, notices=(Notice(text=f"GPU: {how}", severity=NoticeSeverity.DETAIL),))


def _without_gpu(host: LaunchHost, line: RunLine) -> LaunchPart:
    """Keep the GPU out also where the nvidia runtime is the engine's default and the image asks for all of it."""
    hidden = _env(line, "NVIDIA_VISIBLE_DEVICES", "void") if "nvidia" in host.capabilities.runtimes else ()
    return LaunchPart(
        argv=hidden, notices=(Notice(text="GPU: none, as `--no-gpu` says", severity=NoticeSeverity.DETAIL),)
    )


def _missing(host: LaunchHost) -> Notice:
    text = "the container gets no GPU: the engine has neither CDI devices nor the `nvidia` runtime"
    if _is_csv(host) and _has_hook(host):
        text += ", and `--gpus` does not work on this board"
    has_tool = host.exists("/usr/bin/nvidia-ctk")
    return Notice(
        text=text, hint=f"{_REGISTER}; `--no-gpu` if none is wanted" if has_tool else f"{_INSTALL}, then {_REGISTER}"
    )


def _is_csv(host: LaunchHost) -> bool:
    """Whether NVIDIA's toolkit works from CSV lists here: integrated GPUs up to L4T 36."""
    return host.platform.arch is Arch.TEGRA


def _has_hook(host: LaunchHost) -> bool:
    """Whether dockerd would find the hook that `--gpus` needs on its PATH."""
    return any(host.exists(f"/{folder}/{_HOOK}") for folder in _DAEMON_PATH)


def _env(line: RunLine, name: str, value: str) -> tuple[str, ...]:
    return () if name in line.env_names else ("--env", f"{name}={value}")
