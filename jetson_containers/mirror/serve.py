"""Offer a filled folder to builds on this machine: files over HTTP, repositories over git's own protocol."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import ConfigError, NotReadyError, command
from jetson_containers.engine import context
from jetson_containers.mirror.fill import MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 10.0  # seconds until git's server has to answer


@contextlib.contextmanager
def serving(root: Path) -> Iterator[dict[str, Any]]:
    """Serve a folder of `fill` on loopback; yields the setting `mirrors` that leads builds to it.

    Raises ConfigError for another folder, NotReadyError where git cannot serve.
    """
    if not (root / MANIFEST).is_file():
        raise ConfigError(
            f"{root}: is not a filled mirror",
            hint=command("jetson-containers", "mirror", "fill", "PACKAGE", "--into", root),
        )
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(context.serve(root))
        repositories = stack.enter_context(_git_daemon(root / "git")) if (root / "git").is_dir() else ""
        yield _settings(root, address, repositories)


def _settings(root: Path, address: str, repositories: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "git": _prefixes(root / "git", repositories),
        "files": _prefixes(root / "files", f"{address}files/"),
        "python": f"{address}python/simple" if (root / "python/simple").is_dir() else "",
        "npm": f"{address}npm/" if (root / "npm").is_dir() else "",
    }
    return {kind: value for kind, value in found.items() if value}


def _prefixes(folder: Path, address: str) -> dict[str, str]:
    """Map the beginning of addresses of each host that is there: folders are SCHEME/HOST."""
    hosts = sorted(folder.glob("*/*")) if folder.is_dir() else []
    found = {}
    for host in (host for host in hosts if host.is_dir()):
        name = "" if host.name == "local" else host.name
        found[f"{host.parent.name}://{name}/"] = f"{address}{host.parent.name}/{host.name}/"
    return found


@contextlib.contextmanager
def _git_daemon(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind((context.LOOPBACK, 0))
        port = probe.getsockname()[1]
    words = ["git", "daemon", "--export-all", "--reuseaddr", f"--base-path={folder}", f"--listen={context.LOOPBACK}"]
    try:
        child = subprocess.Popen(
            [*words, f"--port={port}", str(folder)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise NotReadyError("`git` is not on PATH", hint="sudo apt-get install git") from error
    try:
        _wait_for(port, child)
        yield f"git://{context.LOOPBACK}:{port}/"
    finally:
        child.terminate()
        child.wait()


def _wait_for(port: int, child: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and child.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((context.LOOPBACK, port), timeout=1):
            return
        time.sleep(0.05)
    raise NotReadyError("`git daemon` does not answer", hint="install git with its daemon")
