"""Windows and sound: X11 with a cookie file of its own, PulseAudio.

Upstream made the cookie file open to all users (777) under /tmp. Here it is a file only its owner can read, made
anew at every start from the user's own cookie, with the host name taken out, because the container has another one.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.files import write_atomically
from jetson_containers.launch.parts import LaunchPart, Mount, Notice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.launch.docker_options import RunLine
    from jetson_containers.launch.parts import LaunchHost

_X11_SOCKETS = "/tmp/.X11-unix"  # noqa: S108 - where X servers listen
_X11_COOKIE = "/tmp/.docker.xauth"  # noqa: S108 - upstream's path in the container
_PULSE_COOKIE = "/tmp/.pulse-cookie"  # noqa: S108 - a path in the container
_FAMILY_WILD = 0xFFFF


@dataclass(frozen=True, kw_only=True)
class CookieFile:
    """The X11 cookie that is written just before the container starts."""

    display: str
    source: Path
    path: Path


def x11_part(host: LaunchHost, line: RunLine, cache: Path) -> tuple[CookieFile | None, LaunchPart]:
    """The display of the user's session, unless the user passes one."""
    display = host.env.get("DISPLAY", "")
    if not display or "DISPLAY" in line.env_names:
        return None, LaunchPart()
    slug = re.sub(r"[^0-9A-Za-z.]+", "-", display).strip("-")
    home = Path(host.env.get("HOME", "/root"))
    source = Path(host.env.get("XAUTHORITY") or home / ".Xauthority")
    cookie = CookieFile(display=display, source=source, path=cache / f"xauth-{slug}")
    mounts = [Mount(source=str(cookie.path), target=_X11_COOKIE, readonly=True, volatile=True)]
    if host.exists(_X11_SOCKETS):
        mounts.insert(0, Mount(source=_X11_SOCKETS, target=_X11_SOCKETS, volatile=True))
    argv = ("--env", "DISPLAY", "--env", f"XAUTHORITY={_X11_COOKIE}")
    return cookie, LaunchPart(argv=argv, mounts=tuple(mounts), env={"DISPLAY": display})


def pulse_part(host: LaunchHost, line: RunLine) -> LaunchPart:
    """The sound server of the user's session, unless the user passes one."""
    socket = f"{host.env.get('XDG_RUNTIME_DIR', '')}/pulse/native"
    if not socket.startswith("/") or socket == "/pulse/native" or "PULSE_SERVER" in line.env_names:
        return LaunchPart()
    if not host.is_node(socket):
        return LaunchPart()
    argv: tuple[str, ...] = ("--env", f"PULSE_SERVER=unix:{socket}")
    mounts: tuple[Mount, ...] = (Mount(source=socket, target=socket, volatile=True),)
    cookie = f"{host.env.get('HOME', '/root')}/.config/pulse/cookie"
    if host.is_node(cookie):  # the server asks it of every user but its own, so of the container's root as well
        argv += ("--env", f"PULSE_COOKIE={_PULSE_COOKIE}")
        mounts += (Mount(source=cookie, target=_PULSE_COOKIE, readonly=True, volatile=True),)
    return LaunchPart(argv=argv, mounts=mounts)


def write_cookie(cookie: CookieFile) -> Notice | None:
    """Write the cookie file, mode 0600, replacing an earlier one whole. The notice says when it is empty."""
    data = cookie.source.read_bytes() if cookie.source.is_file() else b""
    entries = wild_entries(data, cookie.display)
    write_atomically(cookie.path, entries, mode=0o600)
    if entries:
        return None
    return Notice(
        text=f"no X11 cookie for display {cookie.display} in {cookie.source}: windows may be refused",
        hint="xhost +si:localuser:root",
    )


def wild_entries(data: bytes, display: str) -> bytes:
    """The Xauthority entries of a display, made valid for any host name.

    An entry is a big-endian 16-bit family, then address, display number, protocol and cookie, each with a 16-bit
    length before it (X.Org `Xau(3)`). A file that breaks off ends the reading.
    """
    number = display.rpartition(":")[2].partition(".")[0].encode()
    made = []
    for fields in _entries(data):
        _address, entry_number, *_ = fields
        if entry_number in {number, b""}:
            made.append(struct.pack(">H", _FAMILY_WILD) + b"".join(struct.pack(">H", len(f)) + f for f in fields))
    return b"".join(made)


def _entries(data: bytes) -> Iterator[tuple[bytes, bytes, bytes, bytes]]:
    position = 0
    while position + 2 <= len(data):
        position += 2
        fields: list[bytes] = []
        for _ in range(4):
            if position + 2 > len(data):
                return
            (length,) = struct.unpack_from(">H", data, position)
            position += 2
            if position + length > len(data):
                return
            fields.append(data[position : position + length])
            position += length
        yield fields[0], fields[1], fields[2], fields[3]
