"""Children are watched line by line and never outlive the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from jetson_containers.core.errors import InterruptedByUserError
from jetson_containers.core.process import Children

if TYPE_CHECKING:
    from collections.abc import Callable


FOREVER = ["sh", "-c", "echo $$; exec tail -f /dev/null"]  # prints its process ID, then waits


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(") ")[-1][0] != "Z"
    except OSError:
        return False


def test_children_run_returns_lines_and_exit_code() -> None:
    """Lines and exit code come back."""
    lines: list[str] = []
    program = "import sys; print('a'); sys.stdout.flush(); print('10%\\r20%\\rb', file=sys.stderr); sys.exit(3)"
    ended = Children().run([sys.executable, "-c", program], env=os.environ, on_line=lines.append)
    assert (ended.exit_code, lines, ended.output, ended.timed_out) == (3, ["a", "b"], "a\nb", False)


def test_children_run_accepts_bytes_that_are_not_text() -> None:
    """Bytes that are not text do not stop the build."""
    ended = Children().run(["printf", "a\\377b"], env=os.environ)
    assert ended.output == "a\ufffdb"


def test_children_run_keeps_the_end_of_a_long_output() -> None:
    """Only the end of a long output is kept."""
    ended = Children().run(["seq", "5000"], env=os.environ, keep=3)
    assert ended.output.split() == ["4998", "4999", "5000"]


def test_children_run_feeds_standard_input() -> None:
    """Standard input is fed."""
    assert Children().run(["cat"], env=os.environ, stdin=b"FROM x\n").output == "FROM x"


class Timer(threading.Thread):
    """A timer whose time is up when the test says so."""

    made: ClassVar[list[Timer]] = []

    def __init__(self, seconds: float, function: Callable[..., None], args: tuple[object, ...]) -> None:
        super().__init__(target=function, args=args, daemon=True)
        self.seconds = seconds
        self.go = super().start
        self.cancelled = False
        Timer.made.append(self)

    def start(self) -> None:
        """Begin to wait."""

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    made: list[Timer] = []
    monkeypatch.setattr(Timer, "made", made)
    monkeypatch.setattr(threading, "Timer", Timer)
    return made


def test_children_run_ends_a_child_that_takes_too_long(timers: list[Timer]) -> None:
    """A child that takes too long is ended."""
    ended = Children().run(FOREVER, env=os.environ, timeout=7, on_line=lambda _line: timers[0].go())
    assert ended.timed_out
    assert timers[0].seconds == 7
    assert not alive(int(ended.output))


def test_children_run_patience_is_for_the_first_line_only(timers: list[Timer]) -> None:
    """The limit called patience is for the first line only."""
    waited: list[tuple[float, bool]] = []
    program = ["sh", "-c", "echo x; echo y"]
    look = lambda _line: waited.extend((timer.seconds, timer.cancelled) for timer in timers)  # noqa: E731
    ended = Children().run(program, env=os.environ, timeout=9, patience=1, on_line=look)
    assert (ended.output, ended.timed_out) == ("x\ny", False)
    assert waited == [(9, False), (1, True)] * 2


def test_children_run_ends_a_child_without_output_in_time() -> None:
    """A child that says nothing in time is ended."""
    assert Children().run(["tail", "-f", "/dev/null"], env=os.environ, patience=0.2).timed_out


def test_children_stop_ends_those_of_other_threads_and_refuses_new_ones() -> None:
    """Stopping ends children of other threads and refuses new ones."""
    children, begun, pids, caught = Children(), threading.Event(), [], []
    first: list[str] = []

    def heard(line: str) -> None:
        pids.append(int(line))
        begun.set()

    def work() -> None:
        try:
            children.run(FOREVER, env=os.environ, on_line=heard)
        except InterruptedByUserError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(120)
    children.stop()
    thread.join(120)
    assert len(caught) == 1
    assert not alive(pids[0])
    with pytest.raises(InterruptedByUserError):
        children.run(["true"], env=os.environ, end_first=lambda: first.append("x"))


def test_children_run_ends_the_child_on_an_exception() -> None:
    """An exception while reading ends the child, after the callback for it has run."""
    done: list[str] = []
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    def first() -> None:
        done.append("removed")
        os.kill(pids[0], 15)

    with pytest.raises(KeyboardInterrupt):
        Children().run(FOREVER, env=os.environ, on_line=interrupt, end_first=first)
    assert done == ["removed"]
    assert not alive(pids[0])


IGNORING = """
import os, sys
from jetson_containers.builder.signals import Signals
from jetson_containers.core import process
import signal
process.GRACE = 300.0  # a child that waited for a signal it ignores would be noticed
with Signals() as signals:
    print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, signal.getsignal(signal.SIGTERM) == signals._handle)
ended = process.Children().run(["tail", "-f", "/dev/null"], env=dict(os.environ), timeout=0.2)
print(ended.timed_out, ended.exit_code)
"""


@pytest.mark.parametrize(
    ("trap", "expected"),
    [("trap '' INT; ", ["True True", "True -15"]), ("", ["False True", "True -2"])],
    ids=["as `command &` of a script", "at a terminal"],
)
def test_interrupt_ignored_by_the_caller_stays_ignored_and_children_end(trap: str, expected: list[str]) -> None:
    """An ignored interrupt stays ignored, and children end all the same."""
    words = ["sh", "-c", f'{trap}exec "$0" -c "$1"', sys.executable, IGNORING]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.splitlines() == expected


def test_signals_of_the_suite_are_those_at_a_terminal() -> None:
    """The suite takes signals as at a terminal."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_child_of_one_thread_is_stopped_and_others_go_on() -> None:
    """A command of one thread ends, its call returns, and what comes later runs."""
    children = Children()
    ready = threading.Event()
    ended: list[int] = []
    thread = threading.Thread(
        target=lambda: ended.append(
            children.run(["sh", "-c", "echo ready; sleep 300"], env=os.environ, on_line=lambda _: ready.set()).exit_code
        )
    )
    thread.start()
    assert ready.wait(60)
    children.stop_thread(threading.get_ident())  # this thread runs none
    assert thread.is_alive()
    assert thread.ident is not None
    children.stop_thread(thread.ident)
    thread.join(60)
    assert len(ended) == 1
    assert ended != [0]
    assert children.run(["true"], env=os.environ).exit_code == 0


def test_child_runs_in_the_folder_that_is_given(tmp_path: Path) -> None:
    """A command runs where it is told to."""
    assert Children().run(["pwd"], env=os.environ, cwd=tmp_path).output == str(tmp_path.resolve())
