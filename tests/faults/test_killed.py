"""Programs that are killed while they write: readers see the old file or the new one, and nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import files
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import sys
from pathlib import Path
from jetson_containers.core.files import write_atomically
path, number = Path(sys.argv[1]), 0
while True:
    write_atomically(path, b"%d" % (number % 10) * 300_000)
    number += 1
    print(number, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("wait_ms", [0, 1, 3, 7])
def test_file_of_a_killed_writer_is_whole(tmp_path: Path, wait_ms: int, number: signal.Signals) -> None:
    """Whenever a writer is killed, the file is one that it had finished."""
    path = tmp_path / "kept"
    argv = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT_DIR) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(wait_ms / 1000)
        process.send_signal(number)
    content = path.read_bytes()
    assert len(content) == 300_000
    assert len(set(content)) == 1


def test_part_of_a_killed_writer_goes_with_a_later_write(tmp_path: Path) -> None:
    """What a writer left that is gone for an hour is removed by the next; that of one that may still write stays."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    old, new, living = (tmp_path / f".kept.{pid}.1" for pid in (ended.pid, ended.pid, os.getppid()))
    new = new.with_name(f".kept.{ended.pid}.2")
    for path in (old, new, living, tmp_path / ".kept.notes", tmp_path / f".other.{ended.pid}.1"):
        path.write_text("part")
    for path in (old, living, tmp_path / ".kept.notes", tmp_path / f".other.{ended.pid}.1"):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    files.write_atomically(tmp_path / "kept", "x")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"kept", new.name, living.name, ".kept.notes", f".other.{ended.pid}.1"}
