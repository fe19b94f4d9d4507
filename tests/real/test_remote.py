"""An engine on another machine: this machine's own, behind a TCP port or an ssh that leads back here."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import settings
from jetson_containers.engine.docker import DockerEngine
from jetson_containers.engine.probe import ProbedHost
from tests.paths import ROOT_DIR
from tests.real.test_builder import Workplace, states

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine
SOCKET = "/var/run/docker.sock"


@pytest.fixture(scope="session")
def port(engine: DockerEngine) -> Iterator[str]:
    """The engine at a port of this machine's name: nothing in the address shows that it is no other machine's."""
    address = os.uname().nodename
    if engine.elsewhere or address == "localhost":
        pytest.skip("cannot run here: no engine of this machine, or the machine has no name")
    with socket.socket() as listener:
        try:
            listener.bind((address, 0))
        except OSError as error:
            pytest.skip(f"cannot run here: {address}: {error.strerror}")
        listener.listen()
        threading.Thread(target=_serve, args=(listener,), daemon=True).start()
        yield f"tcp://{address}:{listener.getsockname()[1]}"


def _serve(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the end of the tests
        while True:
            threading.Thread(target=_lead_on, args=(listener.accept()[0],), daemon=True).start()


def _lead_on(client: socket.socket) -> None:
    with client, socket.socket(socket.AF_UNIX) as engine:
        engine.connect(SOCKET)
        back = threading.Thread(target=_copy, args=(engine, client), daemon=True)
        back.start()
        _copy(client, engine)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def through_ssh(tmp_path: Path) -> dict[str, str]:
    """An `ssh` that runs the command here, as the one of a board would there."""
    program = tmp_path / "ssh"
    program.write_text('#!/bin/sh\nwhile [ "$1" != docker ]; do shift; done\nunset DOCKER_HOST\nexec "$@"\n')
    program.chmod(0o755)
    return {"DOCKER_HOST": "ssh://user@board", "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def ours(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(ROOT_DIR / "scripts" / "main.py"), *words]
    return subprocess.run(
        program, env={**os.environ, **env}, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def test_remote_build_leaves_tests_to_that_machine(tmp_path: Path, port: str, scratch_base: str) -> None:
    """The context is sent there, the image stays there, and tests, which are files of this machine, wait."""
    engine = DockerEngine(settings.load({}, files=()), host=ProbedHost.real({**os.environ, "DOCKER_HOST": port}))
    place = Workplace(tmp_path, scratch_base, engine)
    plan = place.plan(place.stage("thing", "RUN echo built >/thing", test="cat /thing"))
    report, said = place.run(plan)
    assert states(report) == {"thing": ("built", "deferred")}
    assert "the engine is on another machine" in said
    assert engine.run(plan.final, ["cat", "/thing"]).output == "built"


@pytest.mark.parametrize("way", ["tcp", "ssh"])
def test_remote_run_says_whose_the_paths_are(
    way: str, port: str, through_ssh: dict[str, str], scratch_base: str, tmp_path: Path
) -> None:
    """A container runs there, with a folder of that machine as /data; here none is made."""
    env = {"DOCKER_HOST": port} if way == "tcp" else through_ssh
    data = {"JETSON_CONTAINERS_DATA": str(tmp_path / "no-such-data")}
    done = ours({**env, **data}, "run", "--data", "/tmp", scratch_base, "echo", "there")
    assert (done.returncode, done.stdout) == (0, "there\n"), done.stderr
    assert "mounts are paths there" in done.stderr
    assert not (tmp_path / "no-such-data").exists()


@pytest.mark.parametrize("way", ["tcp", "ssh", "context"])
def test_remote_engine_is_not_asked_for_models_of_this_machine(
    way: str, port: str, through_ssh: dict[str, str], tmp_path: Path, engine: DockerEngine
) -> None:
    """`llm` and `verify` need files that are not there, and say so before anything is fetched; `doctor` names it."""
    env = {"tcp": {"DOCKER_HOST": port}, "ssh": through_ssh, "context": {"DOCKER_CONFIG": str(tmp_path)}}[way]
    if way == "context":
        create = ["context", "create", "board", "--docker", f"host={port}"]
        subprocess.run(
            [engine.capabilities.client, *create], env={**os.environ, **env}, check=True, capture_output=True
        )
        env["DOCKER_CONTEXT"] = "board"
    refused = ours(env, "llm", "chat", "tiny", "hello", "--anyway")
    assert refused.returncode == 4, refused.stderr
    assert "the engine is on another machine" in refused.stderr
    assert ours(env, "llm", "ps").returncode == 0
    checks = {each["check"]: each for each in json.loads(ours(env, "doctor", "--offline", "--json").stdout)}
    assert checks["engine"]["finding"].endswith("on another machine")
    assert checks["engine disk"]["status"] == "skip"
    assert checks["storage driver"]["status"] == "ok"
