"""Every command that prints a table keeps to the width of a narrow terminal."""

from __future__ import annotations

import ast
import inspect
import io
import re
import sys
from typing import TYPE_CHECKING

import click
import pytest

from jetson_containers.cli import doctor
from jetson_containers.cli.app import App
from jetson_containers.cli.main import cli, main
from jetson_containers.core.console import Console
from jetson_containers.doctor.types import Check, Status
from jetson_containers.images import labels
from jetson_containers.llm.fit.measured import NAME, Measurement, Measurements
from jetson_containers.platforms import detect
from tests.fakes import FakeEngine
from tests.paths import ROOT_DIR, UNIT_DIR

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 60
GGUF = UNIT_DIR / "gguf" / "by-gguf-py.gguf"
CLI = ROOT_DIR / "jetson_containers" / "cli"
# A command that prints each table, and its exit status.
COMMANDS = {
    "images": 0,
    "df": 0,
    "info": 0,
    "config list": 0,
    "list": 0,
    "show llama_cpp": 0,
    "search gguf": 0,
    "lint --rules": 0,
    "llm fit Llama-2-7b-chat-hf --board orin-nx-16gb": 0,
    "llm fit Llama-2-7b-chat-hf --board orin-nx-16gb --runtime mlc": 0,
    "llm suggest --board orin-nx-16gb": 0,
    "llm suggest Llama-2-7b-chat-hf": 0,
    "llm measured": 0,
    "llm list": 0,
    f"llm show {GGUF}": 0,
    f"llm upload {GGUF} me/model --dry-run": 0,
    "report --list": 0,
    "stats --count 1 --interval 0.1": 0,
    "build --dry-run --target r36.4.3 llama_cpp": 0,
}
# What needs a server of the engine, or an index of packages: the same tables with rows of their tests.
ELSEWHERE = {"llm_servers": "tests/unit/llm/test_servers.py", "outdated": "tests/unit/cli/test_outdated.py"}
SENTENCE = re.compile(r"(\s{0,2}note: |free: |details: |on \S+ with |fits: |\S+ fits)")


class Terminal(io.StringIO):
    """Standard output or error as a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with images, a model and measurements of its own, and a terminal of 60 columns."""
    engine = FakeEngine()
    name = "llama_cpp:0.3.36-r36.4.3-cu126-a-name-that-is-long"
    for role, image in ((labels.FINAL, name), (labels.STAGE, "jetson-containers/stage:numpy-0123456789abcdef")):
        packages = ("python", "numpy", "huggingface_hub", "build-essential", "cmake", "llama_cpp")
        made = labels.make(
            role=role, name=image, key="sha256:1", packages=packages, platform=detect.parse_target("cpu")
        )
        engine.add_image(image, made)
    monkeypatch.setattr(App, "engine", engine)
    model = tmp_path / "data" / "models" / "a-folder-with-a-name" / "model.gguf"
    model.parent.mkdir(parents=True)
    model.write_bytes(GGUF.read_bytes())
    monkeypatch.setenv("JETSON_CONTAINERS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("JETSON_CONTAINERS_LOGS", str(tmp_path / "logs"))
    row = Measurement(board="jetson-agx-orin-64gb", model="org/model-with-a-long-name", runtime="llama_cpp",
                      quantization="Q4_K_M", decode_tokens_per_s=20.0, when="2026-01-01")  # fmt: skip
    assert Measurements(tmp_path / "logs" / ".state" / NAME).add([row]) == 1
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def too_long(text: str, root: Path) -> list[str]:
    """Lines beyond the width: not those of one word with its label, nor prose, which the terminal breaks."""
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace(str(root), "…").replace(str(ROOT_DIR), "…")
    found = [line for line in shown.splitlines() if len(line) > WIDTH and not SENTENCE.match(line)]
    return [line for line in found if len(line.split()) > 2 or len(line.split()[-1]) < WIDTH / 2]


@pytest.mark.parametrize("command", COMMANDS)
def test_tables_keep_to_a_narrow_terminal(command: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line of a table is longer than 60 columns, apart from a single word that is."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(command.split()) == COMMANDS[command]
    assert terminal.getvalue()
    assert too_long(terminal.getvalue(), place) == []


def test_tables_are_those_of_all_commands() -> None:
    """Each module of commands that prints a table is among those that are tried."""
    tabled = {path.stem for path in CLI.glob("*.py") if {"table", "columns", "describe"} & _called(path)}
    tried = {_module(command) for command in COMMANDS}
    assert tabled - tried == set(ELSEWHERE)
    assert all((ROOT_DIR / test).exists() for test in ELSEWHERE.values())


def _called(path: Path) -> set[str]:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}


def _module(command: str) -> str:
    """The module of a command."""
    found: click.Command = cli
    for word in command.split():
        if not isinstance(found, click.Group):
            break
        below = found.get_command(click.Context(found), word)
        assert below is not None
        found = below
    callback = inspect.unwrap(found.callback) if found.callback else None
    return callback.__module__.rpartition(".")[2] if callback else ""


def test_doctor_keeps_to_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Findings and reasons go on in the next line, below themselves; a command stays whole, to be copied."""
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    terminal, remedy = Terminal(), "curl -I https://registry-1.docker.io/ " * 3
    app = App()
    app.__dict__["console"] = Console(out=terminal, err=io.StringIO(), env={"NO_COLOR": "1"})
    silent = "each of " + "a.example, " * 9
    checks = [
        Check(check="registries", status=Status.WARN, finding=silent, why="word " * 30, remedy=remedy),
        Check(check="dns", status=Status.OK, finding="resolved"),
    ]
    doctor.show(app, checks)
    lines = terminal.getvalue().splitlines()
    assert [line for line in lines if len(line) > WIDTH] == [f"      → {remedy}"]
    assert lines[1].startswith("      a.example,")
    assert "ok    dns: resolved" in lines
