"""A server for the time of a session: its memory, and the errors of its end."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.llm import session
from jetson_containers.llm.client import ServerGoneError

if TYPE_CHECKING:
    from pathlib import Path


def test_session_server_that_ends_says_why(tmp_path: Path) -> None:
    """A server that ends says why."""
    log = tmp_path / "log"
    log.write_text("loading\ntorch.OutOfMemoryError: CUDA out of memory\nKilled\n")
    error = session.server_failed(137, log)
    assert "exit status 137" in error.message
    assert "llm fit" in (error.hint or "")
    assert "MAX_JOBS" not in (error.hint or "")  # nothing was built
    assert any("Killed" in line for line in error.details)


def test_session_memory_is_that_of_the_device() -> None:
    """The memory is the device's."""
    watch = session.MemoryWatch.start()
    assert watch.baseline > 50e6
    watch.measure()
    assert watch.peak >= 0


def test_session_end_of_a_server_in_an_answer_is_reported_with_its_log(tmp_path: Path) -> None:
    """The end of a server in an answer is reported with its log."""
    log = tmp_path / "log"
    log.write_text("loaded\nCUDA error: out of memory\n")
    process = subprocess.Popen(["sh", "-c", "exit 134"])
    error = session._gone_error(ServerGoneError("gone"), process, log)
    assert "the server ended (exit status 134)" in error.message
    assert "before it had loaded" not in error.message
    assert any("out of memory" in line for line in error.details)


def test_session_exit_status_137_may_mean_a_removed_container(tmp_path: Path) -> None:
    """A server that somebody removed is not said to have lacked memory for certain."""
    (tmp_path / "log").write_text("loaded\n")
    assert "or its container was removed" in session.server_failed(137, tmp_path / "log", loaded=True).message
    assert "was removed" not in session.server_failed(137, tmp_path / "log").message
