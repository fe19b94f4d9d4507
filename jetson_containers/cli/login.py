"""`login` and `logout`: docker's own, which keeps passwords; nothing of them is kept or read here."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core.errors import EnginePermissionError, RegistryError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?|\[[0-9A-Fa-f:]+\](?::[0-9]{1,5})?")
_HUB = "docker.io"


@command(epilog="Example: jetson-containers login ghcr.io --username me --password-stdin < token")
@click.argument("registry", default=_HUB)
@click.option("--username", "-u", default="", metavar="NAME", help="Name of the account; default: asked for.")
@click.option("--password-stdin", is_flag=True, help="Read the password or token from standard input.")
def login(app: App, *, registry: str, username: str, password_stdin: bool) -> int:
    """Log in to a registry, docker.io by default: docker asks for the password, checks it and keeps it.

    `push`, `pull` and `autotag` then use it. A password never stands on a command line, where every user sees it.
    """
    host = _host_of(registry)
    if app.settings["offline"]:
        raise UsageError("`login` needs a network connection", hint="without `--offline`")
    if password_stdin and not username:
        raise UsageError("`--password-stdin` needs `--username NAME`")
    if not password_stdin and not app.console.interactive:
        hint = "pipe it: `--username NAME --password-stdin < FILE`"
        raise UsageError("there is no terminal to ask for the password", hint=hint)
    named = ["--username", username] if username else []
    _docker(app, ["login", *named, *(["--password-stdin"] if password_stdin else []), *_words(host)])
    return _done(app, host, "logged in to")


@command(epilog="Example: jetson-containers logout ghcr.io")
@click.argument("registry", default=_HUB)
def logout(app: App, *, registry: str) -> int:
    """Remove the login of a registry, docker.io by default, from docker's configuration."""
    host = _host_of(registry)
    _docker(app, ["logout", *_words(host)])
    return _done(app, host, "logged out of")


def _done(app: App, host: str, what: str) -> int:
    folder = os.environ.get("DOCKER_CONFIG") or str(Path(os.environ.get("HOME") or Path.home()) / ".docker")
    if app.console.as_json:
        app.console.result_json({"registry": host, "config": str(Path(folder) / "config.json")})
    else:
        app.console.ok(f"{what} {host}; docker keeps logins in {Path(folder) / 'config.json'}")
    return 0


def _host_of(registry: str) -> str:
    """The host of a registry. Raises UsageError for an address or a path."""
    host = registry.removeprefix("https://").rstrip("/")
    if not _HOST.fullmatch(host):
        raise UsageError(
            f"`{registry}` is not the host of a registry", hint="as in `ghcr.io` or `registry.example:5000`"
        )
    return _HUB if host == "index.docker.io" else host


def _words(host: str) -> Sequence[str]:
    """What docker is told: for docker.io nothing, so that it writes the entry under which it looks."""
    return () if host == _HUB else (host,)


def _docker(app: App, words: Sequence[str]) -> None:
    """Run docker on this terminal and standard input. Raises RegistryError with what it said last."""
    found = app.engine.run_capabilities
    if found.sudo:
        raise EnginePermissionError(
            "docker needs sudo here, and would keep the login for root, where `push` and `pull` do not look",
            hint="join the group docker: `sudo jetson-containers setup docker-group`, and log in to this machine again",
        )
    asks = "--password-stdin" not in words and words[0] == "login"
    to = None if asks else subprocess.PIPE  # what asks needs the terminal
    done = subprocess.run([found.client, *words], stdout=2 if asks else to, stderr=to, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in f"{done.stdout or ''}\n{done.stderr or ''}".splitlines() if line.strip()]
        why = said[-1].strip() if said else f"it ended with exit status {done.returncode}"
        raise RegistryError(
            f"`{words[0]}` of docker failed: {why}", hint="check the registry's name, account and password"
        )
