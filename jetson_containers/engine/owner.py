"""Whose a container is: the process that ends it, so that those of a process that was killed are found and removed."""

from __future__ import annotations

import contextlib
import os
import platform as machine
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.text import is_number

if TYPE_CHECKING:
    from collections.abc import Callable

OWNER = "io.jetson-containers.owner"  # label of a container: the process that ends it, as PID.START.PLACE


def label() -> tuple[str, str]:
    """Docker's option for a container that this process removes when it has done with it."""
    return "--label", f"{OWNER}={owner()}"


def orphans(ask: Callable[..., str]) -> list[str]:
    """The containers, running or not, whose process was killed: of this user, this boot and these process numbers.

    `ask` takes the words of a docker command and gives what it prints.
    """
    found = ask("ps", "--all", "--no-trunc", "--quiet", "--filter", f"label={OWNER}").split()
    form = '{{.ID}} {{index .Config.Labels "' + OWNER + '"}}'  # Podman 4 prints no single label in a list
    listed = ask("inspect", "--format", form, *found) if found else ""
    rows = (line.partition(" ") for line in listed.splitlines())
    return [container for container, _, whose in rows if owner_process(whose) == 0]


def owner() -> str:
    """This process, as in the label of its servers."""
    return f"{os.getpid()}.{started_at(os.getpid())}.{_place()}"


def owner_process(whose: str) -> int | None:
    """The process of an owner label; 0 where it has ended, None where it is one that cannot be seen here."""
    pid, start, place = (*whose.split("."), "", "", "")[:3]
    if place != _place() or not is_number(pid):
        return None
    return int(pid) if started_at(int(pid)) == start else 0


def _place() -> str:
    """Where a process number means something: the boot, name space and user whose processes are seen here.

    One engine may serve several of them: containers that have its socket, remote machines, users.
    """
    import hashlib  # importing the engine must stay fast

    parts = [machine.node(), str(os.getuid())]
    with contextlib.suppress(OSError):
        parts += [str(Path("/proc/self/ns/pid").readlink()), Path("/proc/sys/kernel/random/boot_id").read_text("ascii")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def started_at(pid: int) -> str:
    """When a process started, in clock ticks since boot; "" without one. Numbers are reused, start times are not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]
