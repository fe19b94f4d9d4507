"""A sandbox of the kernel for programs of package trees: bubblewrap (`bwrap`), where it is and the kernel lets it.

A program in it sees Python, the system's libraries and the folders it is to read, all read-only; a `/proc` and `/dev`
of its own; no network, no other process, and of the environment what it is given. Nothing of it is needed: where it
cannot be had, what runs the program has guards of its own, and `doctor` says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PROGRAM = "bwrap"
OFF = "JETSON_CONTAINERS_NO_SANDBOX"  # for trees whose programs read files elsewhere
SECONDS = 10  # that trying it may take
_SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/sbin", "/nix/store", "/gnu/store")
# Facts of the machine that recipes of upstream's may look at, and what the loader of libraries reads.
_FILES = (
    "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime", "/etc/lsb-release", "/etc/nv_tegra_release",
    "/etc/os-release", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted",
)  # fmt: skip
_CERTIFICATES = ("CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")  # libraries want them before the network
_NAMESPACES = (
    "--unshare-user", "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
    "--die-with-parent", "--cap-drop", "ALL",
)  # fmt: skip


def wrapped(argv: Sequence[str], readable: Iterable[Path]) -> list[str] | None:
    """The command that runs `argv`, a command of this Python, where only `readable` is seen; None without a sandbox."""
    program = _program()
    if program is None:
        return None
    options = [*_NAMESPACES, "--proc", "/proc", "--dev", "/dev", "--dir", "/tmp"]  # noqa: S108 - one of its own
    for folder in _SYSTEM:
        options += _system_folder(folder)
    for place in (*_FILES, *_certificates(), *_of_python(), *_seen(readable)):
        options += ["--ro-bind-try", str(place), str(place)]
    return [program, *options, "--remount-ro", "/", "--chdir", "/", "--", *argv]


def why_not() -> str:
    """Why there is no sandbox; "" where there is one. Starts a program in one, so it takes some milliseconds."""
    if os.environ.get(OFF):
        return f"{OFF} is set"
    argv = wrapped([sys.executable, "-I", "-S", "-c", ""], ())
    if argv is None:
        return f"`{PROGRAM}` is not installed"
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=SECONDS, env={},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"`{PROGRAM}` cannot be started: {error}"
    lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return f"the kernel refuses it ({lines[-1][:200]})" if done.returncode else ""


def remedy() -> str:
    """What helps."""
    return command("sudo", "apt-get", "install", "bubblewrap") if shutil.which(PROGRAM) is None else ""


def program_file() -> Path:
    """The file on which it depends whether there is a sandbox."""
    return Path(_program() or f"/usr/bin/{PROGRAM}")


def _program() -> str | None:
    return None if os.environ.get(OFF) else shutil.which(PROGRAM)


def _system_folder(place: str) -> list[str]:
    """Most systems have `/lib` as a link to `/usr/lib`, which is kept as one."""
    path = Path(place)
    if path.is_symlink():
        return ["--symlink", str(path.readlink()), place]
    return ["--ro-bind", place, place] if path.is_dir() else []


def _certificates() -> Iterator[Path]:
    for name in _CERTIFICATES:
        if Path(os.environ.get(name, "")).is_file():
            yield Path(os.environ[name]).absolute()


@cache
def _of_python() -> tuple[Path, ...]:
    """What this Python consists of, a virtual environment and the one below it; no more than that of a home."""
    wanted = {Path(place) for place in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)}
    wanted |= {place.resolve() for place in wanted} | {Path(sys.executable).resolve().parent.parent}
    return tuple(sorted(place for place in wanted if not _is_above_home(place)))


def _is_above_home(place: Path) -> bool:
    return Path.home().is_relative_to(place) or str(place) in {"/", "/home", "/root", "/usr"}


def _seen(readable: Iterable[Path]) -> Iterator[Path]:
    """Folders under their names, and where links of them lead."""
    for place in sorted({path for given in readable for path in (given.absolute(), given.resolve())}):
        if place.exists():
            yield place
