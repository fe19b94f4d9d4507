"""Bars of downloads on terminals of any width."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios

import pytest

from jetson_containers.hub.transfer.progress import Reporter


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_progress_bar_keeps_rate_and_time_at_any_width(columns: int) -> None:
    """On a narrow terminal the name is cut, never the rate and the time that is left."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    name = "organization/a-model-with-a-long-name"
    with os.fdopen(follower, "w") as terminal, Reporter(stream=terminal).progress(name, 62_900_000) as progress:
        progress.begin("model-00001-of-00002.safetensors", 62_900_000, 0)
        progress.move("model-00001-of-00002.safetensors", 19_900_000)
        shown = str(progress._sum)  # type: ignore[attr-defined]
    os.close(leader)
    assert len(shown) < columns
    assert "19.9M/62.9M" in shown
    assert shown.endswith(("B/s ?", *(f":{second:02d}" for second in range(60))))
    assert "B/s" in shown
    assert "long-name" in shown
