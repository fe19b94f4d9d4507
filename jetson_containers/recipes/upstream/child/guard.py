"""What a `config.py` may not do: reach the network, write, start programs, take all memory. Child process only.

An audit hook sees every such call of the interpreter, whatever library makes it, and cannot be taken off again. It
protects against recipes that do by habit what they should not, not against hostile ones: a tree is code that its
owner was trusted with.
"""

from __future__ import annotations

import _posixsubprocess
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MEMORY = 2 << 30  # bytes of address space
CPU_SECONDS = 120
OPEN_FILES = 256

_NETWORK = {
    "ftplib.connect": "FTP",
    "http.client.connect": "HTTP",
    "imaplib.open": "IMAP",
    "poplib.connect": "POP",
    "smtplib.connect": "SMTP",
    "socket.bind": "a listening socket",
    "socket.connect": "a connection",
    "socket.getaddrinfo": "a name look-up",
    "socket.gethostbyaddr": "a name look-up",
    "socket.gethostbyname": "a name look-up",
    "socket.getnameinfo": "a name look-up",
    "socket.sendmsg": "a datagram",
    "socket.sendto": "a datagram",
    "urllib.Request": "a download",
}
_PROGRAMS = frozenset(
    {
        "ctypes.dlopen",
        "ctypes.dlsym",
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
        "os.kill",
        "os.killpg",
    }
)
_WRITES = frozenset(
    {
        "os.chmod",
        "os.chown",
        "os.link",
        "os.mkdir",
        "os.remove",
        "os.removexattr",
        "os.rename",
        "os.rmdir",
        "os.setxattr",
        "os.symlink",
        "os.truncate",
        "os.utime",
        "shutil.chown",
        "shutil.copyfile",
        "shutil.copymode",
        "shutil.copystat",
        "shutil.copytree",
        "shutil.make_archive",
        "shutil.move",
        "shutil.rmtree",
        "shutil.unpack_archive",
        "sqlite3.connect",
        "tempfile.mkdtemp",
        "tempfile.mkstemp",
    }
)
AF_UNIX = 1  # of Linux; `socket` itself is not imported for every recipe
_TEMPORARY = re.compile(r"(?:tmp)?[a-z0-9_]{8}")  # as `tempfile` makes them up, other ones each time
_OTHER_PROCESS = re.compile(r"/proc/[0-9]+(?:/|$)")
_HOMES = r"(?:/root|/home/[^/]+{more})/\.[^/]+"  # what is hidden in a home: tokens, keys, settings of programs
_THIS_PROCESS = f"/proc/{os.getpid()}/"
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class NetworkRefusedError(ConnectionError):
    """The network was asked for; recipes are read without it."""


class Refused(PermissionError):  # noqa: N818 - what a config.py sees is a PermissionError
    """A write or a program was asked for; reading a recipe changes nothing."""


def limit_resources() -> None:
    """Set the limits of this process; files cannot grow, whatever writes them."""
    for kind, value in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(kind)
        limit = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (limit, limit))


def install(
    refused: Callable[[str], None], opened: Callable[[str], None], home: str = "", readable: Sequence[str] = ()
) -> None:
    """Forbid from now on. `refused` hears what was asked for, `opened` every path that is opened to be read.

    Hidden files of homes, the user's `home` among them, are not read but below the folders that are `readable`.
    """
    hidden = re.compile(_HOMES.replace("{more}", f"|{re.escape(home)}" if home else ""))
    below = tuple(os.path.join(os.path.realpath(place), "") for place in readable if place)  # noqa: PTH118 - prefixes

    def is_hidden(place: str) -> bool:
        return (place.endswith("/.env") or hidden.match(place) is not None) and not place.startswith(below)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            _check_open(args, refused, opened, is_hidden)
        elif event in _NETWORK:
            what = f"the network ({_NETWORK[event]}{_target(event, args)})"
            refused(what)
            raise NetworkRefusedError(f"no network while recipes are read: {what}")
        elif event == "socket.__new__" and args[1] == AF_UNIX:
            pass  # an event loop wakes itself through a pair of these; connecting one anywhere is refused above
        elif event == "socket.__new__":  # merely importing some libraries tries one, which is not worth a word
            raise NetworkRefusedError("no network while recipes are read: a socket")
        elif event in {"os.listdir", "os.scandir"}:
            if isinstance(args[0], str | bytes | os.PathLike):
                opened(os.fsdecode(args[0]))
        elif event == "ctypes.dlopen" and args[0] is None:
            pass  # this process itself, which importing `ctypes` asks for
        elif event in _PROGRAMS or event in _WRITES or (event == "import" and args[0] == "_posixsubprocess"):
            what = f"`{event}`{_target(event, args)}"
            refused(what)
            raise Refused(f"reading a recipe may not run or write anything: {what}")

    sys.addaudithook(hook)
    for name in ("_exit", "mkfifo", "mknod", "abort"):  # no audit events of their own
        setattr(os, name, _refuser(f"os.{name}", refused))
    _close_fork_exec(refused)


def _close_fork_exec(refused: Callable[[str], None]) -> None:
    """Starting a program right through C has no audit event either."""
    for module in (_posixsubprocess, subprocess):
        for name in {"fork_exec", "_fork_exec"} & vars(module).keys():
            setattr(module, name, _refuser("_posixsubprocess.fork_exec", refused))


def _refuser(name: str, refused: Callable[[str], None]) -> Callable[..., None]:
    def refuse(*_: object, **__: object) -> None:
        refused(f"`{name}`")
        raise Refused(f"reading a recipe may not run or write anything: `{name}`")

    return refuse


def _check_open(
    args: tuple[Any, ...],
    refused: Callable[[str], None],
    opened: Callable[[str], None],
    is_hidden: Callable[[str], bool],
) -> None:
    path, mode, flags = args[0], args[1], args[2]
    if isinstance(path, int):
        return
    text = os.fsdecode(path)
    writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool((flags or 0) & _WRITE_FLAGS)
    if not writes:
        place = os.path.realpath(text)
        if _OTHER_PROCESS.match(place) and not place.startswith(_THIS_PROCESS):
            refused(f"`{text}`")
            raise Refused(f"reading a recipe may not look into other processes: `{text}`")
        if is_hidden(place):
            refused(f"`{text}`")
            raise Refused(f"reading a recipe may not look into hidden files of a home: `{text}`")
        opened(text)
    elif text != os.devnull:
        folder, name = os.path.split(text)
        what = f"a temporary file in `{folder}`" if _TEMPORARY.fullmatch(name) else f"writing `{text}`"
        refused(what)
        raise Refused(f"reading a recipe may not run or write anything: {what}")


def _target(event: str, args: tuple[Any, ...]) -> str:
    """What a call was about, as far as it is worth showing: the first of its arguments that is text."""
    if event == "socket.connect" and len(args) > 1:
        return f" to {args[1]}"
    first = next((arg for arg in args if isinstance(arg, str | bytes | Path)), None)
    return f" `{os.fsdecode(first)}`" if first is not None else ""
