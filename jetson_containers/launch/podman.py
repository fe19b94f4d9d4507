"""Podman in place of Docker for `run` and `llm`: the same options, with what differs.

Podman has images of its own, no daemon and no NVIDIA runtime (the GPU comes by CDI), labels mounts for SELinux unless
told not to, and gives a container of an ordinary user that user's rights as root of the container (rootless).
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from jetson_containers.core.errors import NotReadyError, command
from jetson_containers.launch.parts import LaunchPart

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.launch.docker_options import RunLine
    from jetson_containers.launch.parts import LaunchHost

PODMAN_NETWORK = "private"  # a network of the container's own: a bridge for root, a process of its own without
TIMEOUT = 60  # seconds an answer may take


def podman_part(host: LaunchHost, line: RunLine, user: str = "") -> LaunchPart:
    """No SELinux labels, which would keep the container out of /data and the devices; the user's groups for devices.

    Without root a container that runs as the caller keeps the caller's number, which owns /data: in Podman's own
    mapping that number would be somebody else. `user` is who runs it unless the line says so.
    """
    if not host.capabilities.podman:
        return LaunchPart()
    argv: tuple[str, ...] = ()
    if not any(value.startswith("label=") for value in line.values("security-opt")):
        argv += ("--security-opt", "label=disable")
    if host.capabilities.rootless and not line.values("group-add"):
        argv += ("--group-add", "keep-groups")
    own = (line.last("user") or user).partition(":")[0] == str(os.getuid())
    if host.capabilities.rootless and own and not line.has("userns"):
        argv += ("--userns", "keep-id")
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
