"""`farm …` and `build --farm` on the command line: what is refused, and a worker whose engine is a board's over SSH."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli.main import main
from jetson_containers.engine.interface import BuildRequest
from jetson_containers.farm import serve

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.farm.machine import StageMachine
    from jetson_containers.farm.serve import WorkerOptions

VERSION = json.dumps(
    {"Client": {"Version": "20.10.24", "ApiVersion": "1.41"},
     "Server": {"Version": "20.10.24", "ApiVersion": "1.41", "Os": "linux", "Arch": "arm64"}}
)  # fmt: skip
INFO = json.dumps({"ServerVersion": "20.10.24", "Architecture": "aarch64", "Driver": "overlay2", "DockerRootDir": "/d"})
FAKE = f"""#!/bin/sh
echo "$DOCKER_HOST $*" >>"$CALLS"
case "$1" in
  version) echo '{VERSION}' ;;
  info) echo '{INFO}' ;;
  build) exit 0 ;;
  *) exit 1 ;;
esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A docker that notes where it was sent; the file of its notes."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("DOCKER_HOST", "ssh://user@board")
    for name in ("HOME", "JETSON_CONTAINERS_CACHE", "JETSON_CONTAINERS_LOGS", "JETSON_CONTAINERS_DATA"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return tmp_path / "calls"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["farm", "worker", "tcp://10.0.0.5:8786"], "is not encrypted"),
        (["farm", "worker", "here"], "is not an address of a scheduler"),
        (["farm", "worker", "tcp://127.0.0.1:1", "--labels", "a b"], "is not a label"),
        (["farm", "worker", "tcp://127.0.0.1:1", "--memory", "much"], "is not a size"),
        (["farm", "worker", "tcp://127.0.0.1:1", "--host", "0.0.0.0"], "is not encrypted"),
        (["farm", "scheduler", "--host", "0.0.0.0"], "is not encrypted"),
        (["farm", "status", "tls://board:8786"], "needs certificates"),
        (["build", "--farm", "tcp://127.0.0.1:1", "numpy", "--target", "cpu"], "--farm needs a registry"),
        (["build", "--farm", "tcp://[::1]:1", "--stage-registry", "r.example/n", "--no-cache", "a"], "does not go"),
    ],
)  # fmt: skip
def test_farm_refuses_what_cannot_be(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong address, label, size or combination is an error of usage."""
    assert main(words) == 2
    assert says in capsys.readouterr().err


def test_farm_worker_of_a_board_over_ssh_says_its_size_and_builds_there(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With DOCKER_HOST=ssh:// cores and memory are to be given; every call of docker goes to the board."""
    started: list[Any] = []
    monkeypatch.setattr(serve, "worker", lambda *given: started.extend(given))
    line = ["farm", "worker", "tcp://127.0.0.1:8786", "--labels", "r36.4,gpu"]
    assert main(line) == 2
    assert "say its --cores and --memory" in capsys.readouterr().err
    assert main([*line, "--cores", "12", "--memory", "56G", "--name", "board"]) == 0
    options: WorkerOptions = started[0]
    machine: StageMachine = started[1]
    assert (options.labels, options.platforms, options.memory) == (("r36.4", "gpu"), ("linux/arm64",), 56 * 1024**3)
    (tmp_path / "context").mkdir()
    machine.engine.build(BuildRequest(context=tmp_path / "context", dockerfile="FROM scratch\n", tag="x:1"), str)
    lines = calls.read_text().splitlines()
    assert any(" build " in each for each in lines)
    assert all(each.startswith("ssh://user@board ") for each in lines)
