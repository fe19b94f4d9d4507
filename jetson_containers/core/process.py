"""Child processes that can be watched line by line and never outlive us.

Each child leads a process group of its own, so that a terminal's Ctrl-C reaches us first and we end the whole group
in order; the exception is `sudo`, which must stay in the terminal's group to be able to ask for a password.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from jetson_containers.core.errors import InterruptedByUserError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

GRACE = 10.0  # seconds a child gets to clean up after each signal, before the next, harder one
TAIL = 400  # lines kept for judging a failure


@dataclass(frozen=True, kw_only=True)
class FinishedProcess:
    """How a child ended. `output` is the last lines of stdout and stderr together."""

    exit_code: int
    output: str
    timed_out: bool = False


class Children:
    """The children of one engine; `stop` ends them all, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[subprocess.Popen[bytes], Callable[[], None] | None] = {}
        self._threads: dict[subprocess.Popen[bytes], int] = {}  # by whom each was started
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped

    def stop(self) -> None:
        """End all children; from now on `run` raises InterruptedByUserError."""
        with self._lock:
            self._stopped = True
            running = list(self._running.items())
        for child, first in running:
            threading.Thread(target=end, args=(child, first), daemon=True).start()

    def stop_thread(self, ident: int) -> None:
        """End the child that a thread has running (`threading.get_ident`), and wait until it is gone."""
        with self._lock:
            running = [(child, first) for child, first in self._running.items() if self._threads.get(child) == ident]
        for child, first in running:
            end(child, first)

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        on_line: Callable[[str], None] | None = None,
        timeout: float | None = None,
        stdin: bytes | None = None,
        end_first: Callable[[], None] | None = None,
        keep: int = TAIL,
        patience: float | None = None,
        cwd: Path | None = None,
    ) -> FinishedProcess:
        """Run a command to its end, giving each output line (without its end) to `on_line`.

        `timeout` is in seconds, for all of it, `patience` only for the first line to come; `end_first` is done
        before the child is ended early; `keep` is the number of lines kept for `FinishedProcess.output`. Raises
        InterruptedByUserError after `stop`, KeyboardInterrupt after Ctrl-C; the child has ended when either is raised.
        """
        feed = subprocess.DEVNULL if stdin is None else subprocess.PIPE
        child = self._start(argv, env, end_first, cwd=cwd, stdin=feed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        expired = threading.Event()
        timers = [
            threading.Timer(seconds, _expire, (child, expired, end_first)) for seconds in (timeout, patience) if seconds
        ]
        for timer in timers:
            timer.daemon = True
            timer.start()

        def heard(line: str) -> None:
            if patience:
                timers[-1].cancel()
            if on_line:
                on_line(line)

        try:
            lines = _follow(child, heard, stdin, keep)
            code = child.wait()
        except BaseException:
            end(child, end_first)
            raise
        finally:
            for timer in timers:
                timer.cancel()
            self._forget(child)
        if self._stopped:
            raise InterruptedByUserError("interrupted")
        return FinishedProcess(exit_code=code, output="\n".join(lines), timed_out=expired.is_set())

    @contextlib.contextmanager
    def connected(self, argv: Sequence[str], *, env: Mapping[str, str]) -> Iterator[tuple[socket.socket, IO[bytes]]]:
        """Run a command that hands a connection on; yields our end of it, and the file of the command's complaints.

        The command has ended afterwards. Raises InterruptedByUserError after `stop`, which closes the connection.
        """
        import socket
        import tempfile

        ours, theirs = socket.socketpair()
        with tempfile.TemporaryFile() as complaints:
            hang_up = functools.partial(_hang_up, ours)
            with theirs:
                child = self._start(argv, env, hang_up, stdin=theirs, stdout=theirs, stderr=complaints)
            try:
                yield ours, complaints
            finally:
                end(child, hang_up)
                ours.close()
                self._forget(child)
        if self._stopped:
            raise InterruptedByUserError("interrupted")

    def _start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        end_first: Callable[[], None] | None,
        *,
        cwd: Path | None = None,
        **streams: Any,
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._stopped:
                raise InterruptedByUserError("interrupted")
            child: subprocess.Popen[bytes] = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=cwd,
                **streams,
                start_new_session=argv[0] != "sudo",
            )
            self._running[child] = end_first
            self._threads[child] = threading.get_ident()
            return child

    def _forget(self, child: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.pop(child, None)
            self._threads.pop(child, None)


def _hang_up(connection: socket.socket) -> None:
    """Whoever is at the other end, or waits at ours, sees that the connection is closed."""
    import socket

    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def end(child: subprocess.Popen[bytes], first: Callable[[], None] | None = None) -> None:
    """End a child and its group: `first`, then INT, TERM, KILL, with time to clean up between them.

    INT is left out where this process ignores it (started with `&` by a script): children inherit that.
    """
    if first is not None and child.poll() is None:
        first()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGKILL]
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        numbers.remove(signal.SIGINT)
    for number in numbers:
        if child.poll() is not None:
            return
        _signal(child, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)


def _expire(child: subprocess.Popen[bytes], expired: threading.Event, first: Callable[[], None] | None) -> None:
    expired.set()
    end(child, first)


def _signal(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    own_group = os.getpgrp()
    try:
        group = os.getpgid(child.pid)
        if group == own_group:
            child.send_signal(number)
        else:
            os.killpg(group, number)
    except ProcessLookupError:
        return
    except PermissionError:  # a child of sudo belongs to root
        subprocess.run(["sudo", "-n", "kill", f"-{number.value}", str(child.pid)], check=False)


def _follow(
    child: subprocess.Popen[bytes], on_line: Callable[[str], None], stdin: bytes | None, keep: int
) -> list[str]:
    if stdin is not None and child.stdin is not None:
        feeder = threading.Thread(target=_feed, args=(child.stdin, stdin), daemon=True)
        feeder.start()
    kept: list[str] = []
    for line in _lines(child.stdout):
        kept.append(line)
        if len(kept) > 2 * keep:
            del kept[:-keep]
        on_line(line)
    return kept[-keep:]


def _feed(pipe: IO[bytes], data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:
        pipe.write(data)


def _lines(pipe: IO[bytes] | None) -> Iterator[str]:
    """Split output into lines; of a line that was redrawn (carriage return) only the last state is kept."""
    if pipe is None:
        return
    with pipe:
        for raw in pipe:
            text = raw.decode("utf-8", errors="replace").rstrip("\r\n")
            yield text.rsplit("\r", 1)[-1]
