"""The login of a registry, from Docker's own configuration and its credential helpers.

Source: docker-credential-helpers' protocol.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked, json_text
from jetson_containers.core.errors import RegistryError, command

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCKER_HUB = "docker.io"
HUB_KEY = "https://index.docker.io/v1/"  # what `docker login` without a host writes
HELPER_TIMEOUT = 15  # seconds
_HELPER = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """A login. With `identity_token` there is no password but a refresh token."""

    username: str
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of a Basic Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


def docker_credentials(host: str, env: Mapping[str, str] | None = None) -> Credentials | None:
    """Look a registry up in `$DOCKER_CONFIG/config.json`: `credHelpers`, then `credsStore`, then `auths`.

    Raises RegistryError for a file or entry that cannot be read. None means: ask anonymously.
    """
    env = os.environ if env is None else env
    folder = env.get("DOCKER_CONFIG") or str(Path(env.get("HOME") or Path.home()) / ".docker")
    config = _read_config(Path(folder) / "config.json", host)
    keys = (HUB_KEY, "index.docker.io", DOCKER_HUB) if host == DOCKER_HUB else (host, f"https://{host}")
    helpers, auths = _section(config, "credHelpers", host), _section(config, "auths", host)
    for key in keys:
        helper = helpers.get(key) or config.get("credsStore")
        if helper and (found := _ask_helper(helper, key, host, env)):
            return found
    for key, entry in auths.items():
        if key.rstrip("/") in {k.rstrip("/") for k in keys} or _bare(key) == host:
            return _decode(entry, host)
    return None


def _section(config: Mapping[str, Any], name: str, host: str) -> dict[str, Any]:
    try:
        return checked.mapping(config.get(name) or {})
    except ValueError as error:
        raise RegistryError(
            f"registry {host}: `{name}` of Docker's config.json cannot be read: {error}",
            hint=f"repair it, or {_login(host)} again",
        ) from error


def _bare(key: str) -> str:
    return key.removeprefix("https://").removeprefix("http://").split("/", 1)[0]


def _read_config(path: Path, host: str) -> dict[str, Any]:
    try:
        data = json_text.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise RegistryError(
            f"registry {host}: {path} cannot be read: {error}", hint=f"repair it, or {_login(host)} again"
        ) from error
    return data if isinstance(data, dict) else {}


def _decode(entry: Any, host: str) -> Credentials | None:
    entry = entry if isinstance(entry, dict) else {}
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if auth := entry.get("auth"):
        try:
            username, _, password = base64.b64decode(str(auth), validate=True).decode().partition(":")
        except ValueError as error:  # binascii.Error and UnicodeDecodeError among them
            raise RegistryError(
                f"registry {host}: its entry in Docker's config.json is damaged", hint=_login(host)
            ) from error
    token = str(entry.get("identitytoken") or "")
    return (
        Credentials(username=username, password=password.rstrip("\0"), identity_token=token)
        if username or token
        else None
    )


def _ask_helper(helper: object, key: str, host: str, env: Mapping[str, str]) -> Credentials | None:
    """Run `docker-credential-HELPER get` with the server on stdin: nothing secret is in an argv."""
    import subprocess

    if not isinstance(helper, str) or not _HELPER.fullmatch(helper):
        raise RegistryError(
            f"registry {host}: Docker's config.json names a credential helper that cannot be a program: {helper!r:.80}",
            hint=f"remove it from config.json and {_login(host)}",
        )
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"], input=key, capture_output=True, text=True, timeout=HELPER_TIMEOUT, check=False, env=env
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RegistryError(
            f"registry {host}: the credential helper `{program}` of Docker's config.json does not run: "
            f"{type(error).__name__}",
            hint=f"install `{program}`, or remove it from config.json and {_login(host)}",
        ) from error
    if done.returncode != 0:
        if "not found" in (done.stdout + done.stderr).lower():
            return None
        raise RegistryError(f"registry {host}: `{program} get` failed ({done.returncode})", hint=_login(host))
    try:
        answer = json_text.parse(done.stdout)
        name, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise RegistryError(f"registry {host}: `{program} get` gave an answer that cannot be read") from error
    return (
        Credentials(username="", password="", identity_token=secret)
        if name == "<token>"
        else Credentials(username=name, password=secret)
    )


def _login(host: str) -> str:
    return command("docker", "login", host)
