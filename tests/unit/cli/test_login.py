"""`login` and `logout` hand over to docker, and keep nothing."""

from __future__ import annotations

import io
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli import login
from jetson_containers.cli.app import App
from jetson_containers.cli.main import main
from jetson_containers.core.errors import EnginePermissionError
from jetson_containers.engine.interface import RunCapabilities

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DOCKER = """#!/bin/sh
printf '%s\\n' "$@" > "{folder}/argv"
[ "$1" = login ] && cat > "{folder}/stdin"
if grep -qs wrong "{folder}/stdin"; then echo 'Error response from daemon: unauthorized' >&2; exit 1; fi
echo 'Login Succeeded'
"""


class FoundEngine:
    """What `login` asks of the engine."""

    def __init__(self, client: str, *, sudo: bool = False) -> None:
        self.run_capabilities = RunCapabilities(client=client, sudo=sudo, runtimes=(), cdi_devices=())


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker that writes down its arguments and what stands on its standard input."""
    program = tmp_path / "docker"
    program.write_text(DOCKER.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setattr(App, "engine", FoundEngine(str(program)))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def typed(tmp_path: Path) -> Iterator[Path]:
    """A file that stands on standard input of this process and of its children."""
    path = tmp_path / "typed"
    path.write_text("s3cret\n")
    kept = os.dup(0)
    with path.open() as file:
        os.dup2(file.fileno(), 0)
        yield path
    os.dup2(kept, 0)
    os.close(kept)


def test_login_hands_the_password_to_docker_alone(docker: Path, typed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The password goes by standard input; it stands in no argument, no output, and no file of ours."""
    assert main(["login", "ghcr.io", "-u", "me", "--password-stdin", "--json"]) == 0
    assert (docker / "argv").read_text().split() == ["login", "--username", "me", "--password-stdin", "ghcr.io"]
    assert (docker / "stdin").read_text() == "s3cret\n"
    shown = capfd.readouterr()
    assert json.loads(shown.out) == {"registry": "ghcr.io", "config": str(docker / "config" / "config.json")}
    assert "s3cret" not in shown.out + shown.err
    assert not (docker / "config").exists()


@pytest.mark.parametrize("name", ["", "docker.io", "index.docker.io", "https://docker.io/"])
def test_login_to_docker_hub_names_no_host(name: str, docker: Path, typed: Path) -> None:
    """For Docker Hub docker has an entry of its own, which it writes where no host is named."""
    assert main(["login", *([name] if name else []), "-u", "me", "--password-stdin"]) == 0
    assert (docker / "argv").read_text().split() == ["login", "--username", "me", "--password-stdin"]


def test_login_that_is_refused_says_why(docker: Path, typed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What docker said last is the message."""
    typed.write_text("wrong\n")
    assert main(["login", "ghcr.io", "-u", "me", "--password-stdin"]) == 4
    assert "unauthorized" in capfd.readouterr().err


def test_logout_hands_over_to_docker(docker: Path) -> None:
    """So does logging out."""
    assert main(["logout", "registry.example:5000"]) == 0
    assert (docker / "argv").read_text().split() == ["logout", "registry.example:5000"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ghcr.io/me/image"], "is not the host"),
        (["http://registry.example"], "is not the host"),
        (["a b"], "is not the host"),
        (["ghcr.io", "--password-stdin"], "--username"),
        (["ghcr.io"], "no terminal"),
        (["ghcr.io", "-u", "me", "--password-stdin", "--offline"], "network"),
    ],
)
def test_login_refuses_what_cannot_work(
    words: list[str], said: str, docker: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Docker is not started for what it would refuse."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["login", *words]) == 2
    assert said in capfd.readouterr().err
    assert not (docker / "argv").exists()


def test_login_where_docker_needs_sudo_is_refused(docker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's logins are found by nothing of ours, so none is made."""
    monkeypatch.setattr(App, "engine", FoundEngine(str(docker / "docker"), sudo=True))
    with pytest.raises(EnginePermissionError, match="for root"):
        login._docker(App(), ["login"])
