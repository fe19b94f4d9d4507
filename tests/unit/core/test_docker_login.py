"""Logins: what docker's configuration says, and helpers."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.docker_login import Credentials, docker_credentials
from jetson_containers.core.errors import RegistryError

if TYPE_CHECKING:
    from pathlib import Path


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("config", "host", "expected"),
    [
        (
            {"auths": {"reg:5000": {"auth": encoded("me", "p:w")}}},
            "reg:5000",
            Credentials(username="me", password="p:w"),
        ),
        (
            {"auths": {"https://reg.io/v2/": {"auth": encoded("me", "pw")}}},
            "reg.io",
            Credentials(username="me", password="pw"),
        ),
        (
            {"auths": {"https://index.docker.io/v1/": {"auth": encoded("me", "pw")}}},
            "docker.io",
            Credentials(username="me", password="pw"),
        ),
        (
            {"auths": {"reg.io": {"auth": encoded("00000000", ""), "identitytoken": "tok"}}},
            "reg.io",
            Credentials(username="00000000", password="", identity_token="tok"),
        ),
        (
            {"auths": {"reg.io": {"username": "me", "password": "pw"}}},
            "reg.io",
            Credentials(username="me", password="pw"),
        ),
        ({"auths": {"reg.io": {}}}, "reg.io", None),
        ({"auths": {"other.io": {"auth": encoded("me", "pw")}}}, "reg.io", None),
        ({"auths": {"reg.io.evil.com": {"auth": encoded("me", "pw")}}}, "reg.io", None),
        ({}, "reg.io", None),
    ],
)
def test_docker_credentials_reads_docker_config(
    tmp_path: Path, config: dict[str, Any], host: str, expected: Credentials | None
) -> None:
    """Logins are read from docker's configuration."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert docker_credentials(host, {"DOCKER_CONFIG": str(tmp_path)}) == expected


@pytest.mark.parametrize("text", ["{", '{"auths": {"reg.io": {"auth": "%%%"}}}'])
def test_docker_credentials_names_a_damaged_config(tmp_path: Path, text: str) -> None:
    """A damaged configuration of docker is named."""
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RegistryError, match=r"config\.json"):
        docker_credentials("reg.io", {"DOCKER_CONFIG": str(tmp_path)})


HELPER = """#!/bin/sh
echo "$@" > "{dir}/argv"
read server
case "$server" in
  reg.io) echo '{{"ServerURL":"reg.io","Username":"me","Secret":"s3cret"}}' ;;
  token.io) echo '{{"ServerURL":"token.io","Username":"<token>","Secret":"refresh"}}' ;;
  broken.io) echo nonsense ;;
  *) echo "credentials not found in native keychain"; exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("config", "host", "expected"),
    [
        ({"credHelpers": {"reg.io": "fake"}}, "reg.io", Credentials(username="me", password="s3cret")),
        ({"credsStore": "fake"}, "reg.io", Credentials(username="me", password="s3cret")),
        ({"credsStore": "fake"}, "token.io", Credentials(username="", password="", identity_token="refresh")),
        ({"credsStore": "fake"}, "unknown.io", None),
        ({"credsStore": "fake", "auths": {"plain.io": {"auth": encoded("a", "b")}}}, "plain.io",
         Credentials(username="a", password="b")),
    ],
)  # fmt: skip
def test_credential_helper_is_asked_over_stdin(
    tmp_path: Path, config: dict[str, Any], host: str, expected: Credentials | None
) -> None:
    """A credential helper is asked over its standard input."""
    helper = tmp_path / "docker-credential-fake"
    helper.write_text(HELPER.format(dir=tmp_path))
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps(config))
    env = {"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert _with_path(env, host) == expected
    assert (tmp_path / "argv").read_text() == "get\n"


def _with_path(env: dict[str, str], host: str) -> Credentials | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", env["PATH"])
        return docker_credentials(host, env)


@pytest.mark.parametrize(("helper", "host"), [("missing", "reg.io"), ("fake", "broken.io")])
def test_credential_helper_that_fails_is_named(tmp_path: Path, helper: str, host: str) -> None:
    """A credential helper that is missing or fails is named."""
    file = tmp_path / "docker-credential-fake"
    file.write_text(HELPER.format(dir=tmp_path))
    file.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": helper}))
    with pytest.raises(RegistryError, match=f"docker-credential-{helper}"):
        _with_path({"DOCKER_CONFIG": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}, host)


def test_credentials_repr_hides_the_password() -> None:
    """A password does not show in a repr."""
    assert "pw" not in repr(Credentials(username="me", password="pw", identity_token="pw"))
