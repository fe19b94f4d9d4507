"""The least that a container of ours needs: no capabilities, no new privileges, few processes, a root it cannot write.

docs/security.md gives the reason of each line. The setting `least_privilege` gives back docker's own rights.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from jetson_containers.launch.gpu import Gpu
from jetson_containers.launch.parts import LaunchPart

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.launch.docker_options import RunLine

PIDS = 4096  # processes and threads: more than a compile on 128 cores takes, few enough to stop a fork bomb
_WRITTEN = ("models", "cache")
OWN_HOME = "/tmp"  # noqa: S108 - in the container, whose /tmp is its own
_ALWAYS = {
    "cap-drop": ("--cap-drop", "all"),
    "security-opt": ("--security-opt", "no-new-privileges"),
    "pids-limit": ("--pids-limit", str(PIDS)),
}
# Compilers of kernels load what they wrote there, which docker's own default for tmpfs forbids.
_TMPFS = tuple(f"{place}:rw,exec,nosuid,nodev,mode=1777" for place in (OWN_HOME, "/var/tmp", "/run"))  # noqa: S108


def rights(*, read_only: bool) -> tuple[str, ...]:
    """Options of `docker run` without any right beyond reading the image, computing, and writing to mounts.

    `read_only`: the image's files too, with memory where programs expect to write. Not together with a GPU: NVIDIA's
    runtime writes the list of the driver's libraries into the container's root.

    >>> rights(read_only=False)[:4]
    ('--cap-drop', 'all', '--security-opt', 'no-new-privileges')
    """
    always = tuple(word for words in _ALWAYS.values() for word in words)
    return (*always, *_read_only()) if read_only else always


def least_part(line: RunLine, gpu: Gpu) -> LaunchPart:
    """`rights` for a line of `run`, whose own options come first."""
    words = [word for name, own in _ALWAYS.items() if not line.has(name) for word in own]
    if gpu is Gpu.NONE and not line.has("read-only", "tmpfs"):
        words += _read_only()
    return LaunchPart(argv=tuple(words))


def user_of(data: Path) -> str:
    """Who runs containers that write below a data directory, as UID:GID: the caller, for root its owner, "" for root.

    Raises UsageError for a JETSON_CONTAINERS_OWNER that is none.
    """
    if os.geteuid() != 0:
        return f"{os.getuid()}:{os.getgid()}"
    from jetson_containers.hub.downloads import translate_errors
    from jetson_containers.hub.host_owner import owner_of

    with translate_errors():
        owner = owner_of(data)
    return "" if owner.uid is None else f"{owner.uid}:{owner.gid or 0}"


def hand_over(data: Path) -> None:
    """Give the folders that containers write to the user who runs them, also what root left there earlier."""
    if os.geteuid() != 0:
        return
    from jetson_containers.hub.downloads import translate_errors
    from jetson_containers.hub.host_owner import owner_of

    with translate_errors():
        owner = owner_of(data)
    if owner.uid is None:
        return
    owner.take(data)
    for folder in _WRITTEN:
        owner.make_directory(data / folder)
        owner.chown_leftovers(data / folder)


def user_part(line: RunLine, user: str) -> LaunchPart:
    """The user who owns the data, with a home that he can write; "": root, whose the data are."""
    words = ("--user", user) if user and not line.has("user") else ()
    names = {"HOME": OWN_HOME, "USER": "user"}  # PyTorch asks for the name of a user whom the image does not know
    new = (f"{name}={value}" for name, value in names.items() if name not in line.env_names)
    return LaunchPart(argv=(*words, *(word for entry in new for word in ("--env", entry))))


def _read_only() -> tuple[str, ...]:
    return ("--read-only", *(word for place in _TMPFS for word in ("--tmpfs", place)))
