"""Podman in place of Docker for `run`: the same options, with what differs.

Podman has images of its own, no daemon and no NVIDIA runtime (the GPU comes by CDI), labels mounts for SELinux unless
told not to, and gives a container of an ordinary user that user's rights as root of the container (rootless).
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from jetson_containers.core.errors import EngineMissingError, NotReadyError, command
from jetson_containers.engine import cdi
from jetson_containers.engine.interface import RunCapabilities
from jetson_containers.launch.parts import LaunchPart

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jetson_containers.launch.docker_options import RunLine
    from jetson_containers.launch.parts import LaunchHost

CDI_FOLDERS = ("/etc/cdi", "/var/run/cdi")  # where Podman looks for specifications, containers.conf(5)
TIMEOUT = 60  # seconds an answer may take


def capabilities(root: Path, env: Mapping[str, str], uid: int) -> RunCapabilities:
    """What starting a container with Podman takes. Raises EngineMissingError where there is none on PATH."""
    client = shutil.which("podman", path=env.get("PATH"))
    if client is None:
        raise EngineMissingError("there is no `podman` on PATH", hint="sudo apt-get install podman")
    devices = cdi.devices_of(CDI_FOLDERS, root)
    return RunCapabilities(client=client, sudo=False, runtimes=(), cdi_devices=devices, podman=True, rootless=uid != 0)


def podman_part(host: LaunchHost, line: RunLine) -> LaunchPart:
    """No SELinux labels, which would keep the container out of /data and the devices; the user's groups for devices."""
    if not host.capabilities.podman:
        return LaunchPart()
    argv: tuple[str, ...] = ()
    if not any(value.startswith("label=") for value in line.values("security-opt")):
        argv += ("--security-opt", "label=disable")
    if host.capabilities.rootless and not line.values("group-add"):
        argv += ("--group-add", "keep-groups")
    return LaunchPart(argv=argv)


def require_image(client: str, image: str, *, ask: Callable[..., int] | None = None) -> None:
    """Raises NotReadyError where Podman's store lacks the image, with the command that copies or pulls it."""
    if (ask or _answer)([client, "image", "exists", image]) == 0:
        return
    docker = (ask or _answer)(["docker", "image", "inspect", image])
    source = (
        f"docker-daemon:{image if ':' in image.rpartition('/')[2] else image + ':latest'}" if docker == 0 else image
    )
    raise NotReadyError(f"Podman has no image `{image}`", hint=command("podman", "pull", source))


def _answer(argv: list[str]) -> int:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=TIMEOUT, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return -1
    return done.returncode
