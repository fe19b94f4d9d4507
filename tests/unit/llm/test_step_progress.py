"""What is said while a step runs."""

from __future__ import annotations

import io
import re
import threading
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.console import Console, Level
from jetson_containers.llm.session import last_line
from jetson_containers.llm.step_progress import StepProgress, share_of
from tests.unit.llm.fakes import Terminal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("line", "share"),
    [
        ("Writing:  45%|████▌     | 1.3G/2.9G [00:03<00:04, 403Mbyte/s]", 45),
        ("[  73/ 291]   blk.7.attn_k.weight - [ 4096, 1024], type = f16, converting to q4_K", 25),
        ("quantizing layer 3: 99.6 %", 99),
        ("[1, 4096] tensor", None),
        ("INFO:gguf: n_vocab = 32000", None),
        ("[12/ 3] nonsense", None),
        ("[0/0]", None),
        ("400% of what was", None),
        ("a 5%-quantile", None),
    ],
)
def test_step_progress_share_is_what_the_program_prints(line: str, share: int | None) -> None:
    """The share is taken from bars and counts of tensors, and from nothing that only looks like it."""
    assert share_of(line) == share


def test_step_progress_without_a_terminal_is_a_line_now_and_then() -> None:
    """Off a terminal a line with share, time and last output comes every few seconds, on stderr alone."""
    err, times = io.StringIO(), iter([0.0, 0.0, *([75.0] * 1000)])
    console = Console(out=io.StringIO(), err=err)
    with StepProgress(console=console, name="convert", interval=0.01, clock=lambda: next(times)) as progress:
        progress.line("[ 5/ 10] a\x1b[31mb\x07c\r\n")
        progress.line("   \n")
        for _ in range(500):
            if "a b c" in err.getvalue():
                break
            threading.Event().wait(0.01)
    said = err.getvalue().splitlines()
    assert said[-1] == "convert  1m15s  50 %  [ 5/ 10] a b c"
    assert console.out.getvalue() == ""  # type: ignore[union-attr]


def test_step_progress_that_ends_soon_says_nothing() -> None:
    """A short step leaves no line behind, and neither does one with --quiet or --verbose."""
    for level in Level:
        err = io.StringIO()
        interval = 60 if level == Level.NORMAL else 0.001
        with StepProgress(console=Console(err=err, level=level), name="x", interval=interval) as progress:
            progress.line("50%|")
            threading.Event().wait(0.02)
        assert err.getvalue() == ""


def test_step_progress_on_a_terminal_is_one_line_of_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal one line is drawn over, cut to the width; it is gone at the end."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    err = Terminal()
    with StepProgress(console=Console(err=err), name="quantize", clock=lambda: 0.0) as progress:
        progress.line("[ 1/ 4] " + "x" * 100)
        progress._shown.refresh()
    drawn = err.getvalue()
    assert "quantize  0s  25 %  [ 1/ 4] x" in drawn.replace("\x1b[2K", "")
    assert not re.search(r"x{15}", drawn)
    assert "\n\n" not in drawn


def test_step_progress_reads_the_end_of_a_log(tmp_path: Path) -> None:
    """Where another program writes a log, its newest line is shown."""
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_text("x" * 5000 + "\nload_tensors: 12\n\n  \n")
    assert last_line(log) == "load_tensors: 12"
    progress = StepProgress(
        console=Console(err=io.StringIO()), name="loading", last_line=lambda: last_line(log), clock=lambda: 0.0
    )
    assert progress.text() == "loading  0s  load_tensors: 12"
