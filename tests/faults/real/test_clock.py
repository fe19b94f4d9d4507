"""Clocks that jump while a program runs, by years and hours: it ends well, and so does the next run.

The kernel has one clock for all, so the clock of one program is moved inside of it: Python reads `sitecustomize` first.
"""

from __future__ import annotations

import json
import re
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from tests.faults.real.scene import NAMES, wait_until
from tests.faults.real.test_download import FILES, NAME, SHARD
from tests.faults.real.test_download import downloads as downloads  # noqa: PLC0414 - a fixture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.real.scene import Program, Scene
    from tests.faults.real.test_download import Downloads

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

YEAR = 365 * 86400
JUMPS = {"ten years ahead": 10 * YEAR, "ten years back": -10 * YEAR, "an hour back": -3600}
# From the moment on in which the file is there, all that Python says of the time of day is shifted.
CLOCK = """
import datetime, os, time

flag, shift = os.environ["TEST_CLOCK_FLAG"], float(os.environ["TEST_CLOCK_SHIFT"])
now, local, utc, form = time.time, time.localtime, time.gmtime, time.strftime
time.time = lambda: now() + (shift if os.path.exists(flag) else 0)
time.time_ns = lambda: int(time.time() * 10**9)
time.localtime = lambda seconds=None: local(time.time() if seconds is None else seconds)
time.gmtime = lambda seconds=None: utc(time.time() if seconds is None else seconds)
time.strftime = lambda text, moment=None: form(text, moment or time.localtime())

class Moved(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

datetime.datetime = Moved
"""


class Clock:
    """The clock of programs that get `env`; it stands right until `jump`."""

    def __init__(self, folder: Path, shift: float) -> None:
        (folder / "clock").mkdir()
        (folder / "clock" / "sitecustomize.py").write_text(CLOCK)
        self.flag = folder / "clock" / "jumped"
        self.env = {
            "PYTHONPATH": str(self.flag.parent),
            "TEST_CLOCK_FLAG": str(self.flag),
            "TEST_CLOCK_SHIFT": str(shift),
        }

    def jump(self) -> None:
        self.flag.touch()


def _is_sane(said: str) -> None:
    """No time that something took is negative, or years."""
    assert not re.search(r"(?<![\w.-])-[0-9.]+ ?(?:s|min|h|d|ms)\b", said), said
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert all(0 <= event["seconds"] < 3600 for event in events if event.get("seconds") is not None)


def _building(scene: Scene, clock: Clock, stage: str) -> Program:
    build = scene.start_build(**clock.env)
    build.wait_for(rf'"stage": "{stage}", "text": ".*amid {stage}')
    clock.jump()
    return build


@pytest.mark.engine
@pytest.mark.parametrize("jump", JUMPS)
def test_build_whose_clock_jumps_ends_well(scene: Scene, jump: str) -> None:
    """Amid a stage; no time is negative, and the run after it, by the right clock, has nothing to do."""
    scene.chain(slow="two")
    build = _building(scene, Clock(scene.directory, JUMPS[jump]), "two")
    assert build.ended() == 0, build.said
    _is_sane(build.said)
    report = scene.run(scene.command("report", "--output", str(scene.directory / "report.html")))
    assert report.returncode == 0, report.stderr
    scene.survived(NAMES)


@pytest.mark.engine
@pytest.mark.parametrize("jump", JUMPS)
def test_build_whose_clock_jumps_and_that_is_killed_goes_on(scene: Scene, jump: str) -> None:
    """What was finished before and after the jump is kept, and what the killed run left is removed."""
    scene.chain(slow="two")
    build = _building(scene, Clock(scene.directory, JUMPS[jump]), "two")
    build.wait_for('"end".*"stage": "three"')
    build.send(signal.SIGKILL)
    build.ended()
    wait_until(lambda: scene.processes() == [])
    scene.survived(NAMES[:3])


@pytest.mark.parametrize("jump", JUMPS)
def test_download_whose_clock_jumps_is_whole(downloads: Downloads, jump: str) -> None:
    """Amid a file; the model is whole, nothing is fetched again, and no time that is shown is negative."""
    clock, goes_on = Clock(downloads.directory, JUMPS[jump]), threading.Event()
    downloads.hub.fail("/resolve/a.safetensors", hang=goes_on, hang_at=SHARD // 2)
    program = downloads.start("-v", **clock.env)
    wait_until(lambda: any(path.stat().st_size == SHARD // 2 for path in downloads.cache.rglob("*.incomplete")))
    clock.jump()
    goes_on.set()
    assert program.ended() == 0, program.said
    _is_sane(program.said)
    (snapshot,) = downloads.cache.glob(f"models--{NAME.replace('/', '--')}/snapshots/*")
    assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == FILES
    downloads.nothing_again()


@pytest.mark.parametrize("jump", JUMPS)
def test_download_asked_to_wait_until_a_date_by_a_wrong_clock_ends(downloads: Downloads, jump: str) -> None:
    """`Retry-After` as a date that is years away by this clock is not waited for, and one that is over at once."""
    clock = Clock(downloads.directory, JUMPS[jump])
    clock.jump()
    downloads.hub.fail("/api/", status=429, headers={"Retry-After": "Mon, 30 Nov 2026 04:00:00 GMT"}, times=1)
    code, said = downloads.run(**clock.env)
    assert code in {0, 1, 4}, said
    downloads.whole()
