"""Messages of one or several lines, and the history that is kept of them."""

from __future__ import annotations

import json
import os
import pty
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.console import Console
from jetson_containers.llm import line_input
from jetson_containers.llm.line_input import LineInput

if TYPE_CHECKING:
    from pathlib import Path


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    left = iter(lines)
    monkeypatch.setattr("builtins.input", lambda _prompt: next(left))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["one"], "one"),
        (["one\\", "two\\", "three", "rest"], "one\ntwo\nthree"),
        (['"""', "one", "", "two", '"""', "rest"], "one\n\ntwo"),
        (['"""one', 'two"""', "rest"], "one\ntwo"),
        (['"""one"""', "rest"], "one"),
    ],
)
def test_line_input_reads_several_lines(monkeypatch: pytest.MonkeyPatch, lines: list[str], message: str) -> None:
    """A backslash at the end and triple quotes make one message of several lines."""
    typed(monkeypatch, *lines)
    assert LineInput(console=Console()).read() == message


def test_line_input_keeps_a_private_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was typed is there the next time, also in several lines, and others cannot read it."""
    history = tmp_path / "cache" / "history"
    typed(monkeypatch, "one", "  ", "two\\", "three")
    lines = LineInput(console=Console(), history=history)
    for _ in range(3):
        lines.read()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    history.chmod(0o644)
    typed(monkeypatch, "four")
    lines.read()
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert LineInput(console=Console(), history=history).kept() == ["one", "two\nthree", "four"]


def test_line_input_history_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest messages are kept, and a long file is cut."""
    history = tmp_path / "history"
    history.write_text("".join(f"{json.dumps(f'm{number}')}\n" for number in range(3000)) + "broken\n7\n")
    assert LineInput(console=Console(), history=history).kept()[-1] == "m2999"
    assert len(LineInput(console=Console(), history=history).kept()) <= 1000
    monkeypatch.setattr(line_input, "_LARGEST", 2000)
    typed(monkeypatch, "last")
    LineInput(console=Console(), history=history).read()
    assert history.stat().st_size < 2000
    assert LineInput(console=Console(), history=history).kept()[-1] == "last"


def test_line_input_without_a_place_for_its_history_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A history that cannot be written, or is a link to elsewhere, does not stop a conversation."""
    (tmp_path / "file").touch()
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for place in (tmp_path / "file" / "history", tmp_path / "link"):
        typed(monkeypatch, "hi")
        assert LineInput(console=Console(), history=place).read() == "hi"
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_line_input_arrow_up_brings_the_last_message_back(tmp_path: Path) -> None:
    """On a real terminal: arrow up and Return say the message of an earlier run again; pasted lines are one message."""
    pytest.importorskip("readline")
    history = tmp_path / "history"
    history.write_text(json.dumps("from before") + "\n")
    program = (
        "import pathlib, sys\n"
        "from jetson_containers.core.console import Console\n"
        "from jetson_containers.llm.line_input import LineInput\n"
        f"lines = LineInput(console=Console(), history=pathlib.Path({str(history)!r}))\n"
        "for _ in range(2): print(repr(lines.read()), file=sys.stderr)\n"
    )
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=follower, stdout=follower, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TERM": "xterm", "INPUTRC": "/dev/null"},
    ) as process:  # fmt: skip
        os.write(leader, b"\x1b[A\r")
        os.write(leader, b"\x1b[200~one\rtwo\x1b[201~\r")
        _, told = process.communicate(timeout=60)
    os.close(leader)
    os.close(follower)
    assert told.splitlines() == ["'from before'", "'one\\ntwo'"]
