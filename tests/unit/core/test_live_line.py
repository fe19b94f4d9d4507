"""One line about what is under way."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.console import Console, Level
from jetson_containers.core.live_line import LiveLine

if TYPE_CHECKING:
    from pathlib import Path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_live_line_without_a_terminal_is_said_now_and_then() -> None:
    """Off a terminal the text is a line on stderr, of any width."""
    err, widths = io.StringIO(), []

    def text(width: int) -> str:
        widths.append(width)
        return "12 of 30"

    with LiveLine(console=Console(out=io.StringIO(), err=err), text=text, interval=0.001):
        for _ in range(5000):
            if err.getvalue():
                break
            threading.Event().wait(0.01)
    assert err.getvalue().startswith("12 of 30\n")
    assert set(widths) == {0}


def test_live_line_that_ends_soon_says_nothing() -> None:
    """What ends within the interval leaves no line, and neither does --quiet or --verbose."""
    for level in Level:
        err = io.StringIO()
        with LiveLine(console=Console(err=err, level=level), text=lambda _width: "x", interval=60):
            pass
        assert err.getvalue() == ""


@pytest.mark.parametrize(("term", "drawn"), [("xterm", True), ("dumb", False)])
def test_live_line_on_a_terminal_is_drawn_in_its_width(
    monkeypatch: pytest.MonkeyPatch, term: str, drawn: bool, tmp_path: Path
) -> None:
    """A terminal that can is drawn on, no wider than it is; a dumb one gets lines."""
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", "20")
    err = Terminal()
    with LiveLine(console=Console(err=err), text=lambda width: f"{width} " + "x" * 100, interval=60) as line:
        line.refresh()
    assert ("19 xxxx" in err.getvalue()) is drawn
    assert "x" * 17 not in err.getvalue()
