"""`stats` on a machine of files: lines of JSON, a table, a view on a terminal."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli import stats
from jetson_containers.cli.app import App
from jetson_containers.cli.main import main
from jetson_containers.engine.interface import RunCapabilities
from tests.unit.host.test_usage import CPU_STAT, ORIN, STAT, machine

if TYPE_CHECKING:
    from pathlib import Path

SHOWN = [
    {"name": "/server", "image": "llama_cpp:1", "pid": 77, "labels": {"io.jetson-containers.role": "final"}},
    {"name": "/other", "image": "postgres:16", "pid": 78, "labels": {"maintainer": "x"}},
    {"name": "/ended", "image": "llama_cpp:1", "pid": 0, "labels": {"io.jetson-containers.owner": "1"}},
]
DOCKER = """#!/bin/sh
[ -e "{folder}/down" ] && {{ echo 'Cannot connect to the Docker daemon' >&2; exit 1; }}
case "$1" in ps) echo a b c ;; inspect) cat "{folder}/shown" ;; esac
"""


class FoundEngine:
    """What `stats` asks of the engine."""

    def __init__(self, client: Path) -> None:
        self.run_capabilities = RunCapabilities(client=str(client), sudo=False, runtimes=(), cdi_devices=())


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Jetson of files, with an engine that has a container of ours, another one, and one that ends."""
    modes = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=25W >\n"
    root = machine(tmp_path / "root", {**ORIN, "etc/nvpmodel.conf": modes, "var/lib/nvpmodel/status": "pmode:0001\n"})
    group = "sys/fs/cgroup/system.slice/docker-abc.scope/cpu.stat"
    machine(root, {"proc/stat": STAT.format(busy=1, idle=1), group: CPU_STAT.format(used=5)})
    docker = tmp_path / "docker"
    docker.write_text(DOCKER.format(folder=tmp_path))
    docker.chmod(0o755)
    (tmp_path / "shown").write_text("\n".join(map(json.dumps, SHOWN)))
    monkeypatch.setattr(stats, "_ROOT", root)
    monkeypatch.setattr(App, "engine", FoundEngine(docker))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path


def samples(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["stats", "--json", "--interval", "0.1", *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_stats_prints_one_line_of_json_for_each_sample(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each line is a whole sample, with the containers of ours that run."""
    found = samples(capsys, "--count", "3")
    assert len(found) == 3
    assert (found[0]["power_mode"], found[0]["watts"], found[0]["gpus"][0]["load"]) == ("25W", 6.0, 83.5)
    assert [(each["name"], each["memory"]) for each in found[2]["containers"]] == [("server", 200 << 20)]
    assert found[0]["missing"] == []
    assert len(samples(capsys)) == 1


def test_stats_says_what_a_machine_does_not_tell(
    board: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a PC without a GPU and with an engine that is down the rest is shown, and what is missing."""
    (board / "down").touch()
    monkeypatch.setattr(stats, "_ROOT", machine(board / "pc", {"proc/meminfo": ORIN["proc/meminfo"]}))
    monkeypatch.setenv("PATH", str(board))
    (found,) = samples(capsys)
    assert [sentence.partition(":")[0] for sentence in found["missing"]] == [
        "GPU",
        "power",
        "temperatures",
        "containers",
    ]
    assert "Cannot connect" in found["missing"][-1]
    assert (found["memory"]["used"], found["containers"], found["gpus"]) == (3_000_000 * 1024, [], [])


def test_stats_without_a_terminal_prints_a_table_once(board: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People who redirect it get one sample."""
    assert main(["stats", "--interval", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert "84% at 625 of 1020 MHz" in shown
    assert "6.0 W: VDD_IN 6.0 W  VDD_CPU_GPU_CV 2.0 W" in shown
    assert "25W" in shown
    assert shown.count("209.7 MB") == 1


class Terminal(io.StringIO):
    """Standard output as a terminal."""

    def isatty(self) -> bool:
        return True


def test_stats_on_a_terminal_goes_on_until_it_is_interrupted(board: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The view is drawn again in its place, within the width; Ctrl-C is its usual end."""
    terminal = Terminal()
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(stats.time, "sleep", wait)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm")
    assert main(["stats", "--interval", "7"]) == 0
    assert waits == [7.0] * 4
    assert terminal.getvalue().count("server") >= 3
    assert "\x1b[" in terminal.getvalue()  # the cursor goes back


@pytest.mark.parametrize("words", [["--interval", "0"], ["--interval", "nan"], ["--count", "-1"]])
def test_stats_refuses_what_is_not_a_time_or_a_count(words: list[str], board: Path) -> None:
    """Wrong numbers are refused at once."""
    assert main(["stats", *words, *(["--count", "1"] if "--count" not in words else [])]) == 2
