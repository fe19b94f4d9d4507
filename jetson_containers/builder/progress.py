"""What is said while stages run: lines for a log, a display for a terminal, events for a program, folds for CI."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from jetson_containers.builder import ci
from jetson_containers.core.console import Level, human_seconds
from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.builder.types import StageReport
    from jetson_containers.core.console import Console
from jetson_containers.core.text import printable

MODES = ("auto", "plain", "tty", "json")


@dataclass(frozen=True, kw_only=True)
class Totals:
    """How far a run is. `left` is the estimated rest in seconds, None when no time was ever recorded."""

    done: int = 0
    all: int = 0
    cached: int = 0
    running: int = 0
    left: float | None = None

    def __str__(self) -> str:
        parts = [f"{self.done}/{self.all} done", f"{self.cached} cached"]
        if self.running:
            parts.append(f"{self.running} running")
        if self.left is not None:
            parts.append(f"~{human_seconds(self.left)} left")
        return " · ".join(parts)


class BuildProgress(Protocol):
    """Told what happens, from several threads; `name` is a stage's short name."""

    def begin(self, totals: Totals) -> None:
        """The first stages are about to start."""
        ...

    def started(self, name: str, action: str) -> None:
        """A stage begins with something: `building`, `testing`."""
        ...

    def line(self, name: str, text: str) -> None:
        """A stage's build or test printed a line."""
        ...

    def finished(self, name: str, report: StageReport, totals: Totals) -> None:
        """A stage is complete, or failed."""
        ...

    def say(self, text: str) -> None:
        """Something that concerns no single stage, or must not be missed."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was; nothing comes after it."""
        ...


def make(mode: str, console: Console, env: Mapping[str, str] | None = None) -> BuildProgress:
    """Choose how to show progress. `auto` is a display on a terminal, else lines. Raises UsageError."""
    env = os.environ if env is None else env
    if mode not in MODES:
        raise UsageError(f"`--progress {mode}` is unknown", hint=f"one of: {', '.join(MODES)}")
    if mode == "json":
        return _Json(console)
    if folds := ci.folds_of(env):
        return _Folded(console, folds)
    quiet = console.level.value == 0
    if mode == "tty" or (mode == "auto" and console.err_is_tty and env.get("TERM") != "dumb" and not quiet):
        return _Tty(console)
    return _Plain(console)


def describe(report: StageReport) -> str:
    """Say in a few words what became of a stage."""
    tests = {
        "passed": ", tests passed",
        "failed": ", tests failed",
        "skipped": ", tests skipped",
        "deferred": ", tests deferred",
    }
    spent = f" in {human_seconds(report.seconds)}" if report.seconds >= 0.05 else ""
    text = f"{report.state}{spent}{tests.get(report.tests, '')}"
    return f"{text}: {report.cause}" if report.cause else text


# What a builder says of itself; a log file keeps it, and --verbose shows it.
_PLUMBING = re.compile(
    r"#[0-9]+ (?:sha256:[0-9a-f]{64}$|\[internal\] |transferring |DONE |CACHED$|exporting |writing |naming |\.\.\.$)"
    r"|Sending build context | ?---> (?:Running in |Using cache$)?[0-9a-f]*$|Removing intermediate container "
)


class _Plain:
    """Every line with its stage's name before it; no cursor moves, so that it can go into a file."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, totals: Totals) -> None:
        self._console.detail(str(totals))

    def started(self, name: str, action: str) -> None:
        self._console.info(f"{name} | {action}")

    def line(self, name: str, text: str) -> None:
        if text.strip() and (self._console.level >= Level.VERBOSE or not _PLUMBING.match(text)):
            self._console.info(f"{name} | {text}")

    def finished(self, name: str, report: StageReport, totals: Totals) -> None:
        self._console.info(f"{name} | {describe(report)} ({totals})")

    def say(self, text: str) -> None:
        self._console.info(text)

    def close(self) -> None:
        return


class _Folded(_Plain):
    """Folds each stage's output; a stage's lines are kept until it ends, because folds cannot interleave."""

    def __init__(self, console: Console, folds: ci.Folds) -> None:
        super().__init__(console)
        self._folds = folds
        self._lock = threading.Lock()
        self._kept: dict[str, list[str]] = {}
        self._number = 0

    def started(self, name: str, action: str) -> None:
        with self._lock:
            self._kept.setdefault(name, []).append(action)

    def line(self, name: str, text: str) -> None:
        with self._lock:
            self._kept.setdefault(name, []).append(text)

    def finished(self, name: str, report: StageReport, totals: Totals) -> None:
        with self._lock:
            lines = [*self._kept.pop(name, []), str(totals)]
            self._number += 1
            number = self._number
        # One write, so that the folds of two stages cannot mix.
        self._console.info(self._folds.fold(number, f"{name}: {describe(report)}", lines))
        if report.state == "failed":
            self._console.info(self._folds.error(name, report.cause or "see the log"))


class _Json:
    """One JSON object per event and line."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, totals: Totals) -> None:
        self._emit("begin", done=totals.done, all=totals.all, cached=totals.cached)

    def started(self, name: str, action: str) -> None:
        self._emit("start", stage=name, action=action)

    def line(self, name: str, text: str) -> None:
        self._emit("line", stage=name, text=text)

    def finished(self, name: str, report: StageReport, totals: Totals) -> None:
        self._emit(
            "end",
            stage=name,
            key=report.key,
            image=report.image,
            state=report.state,
            seconds=round(report.seconds, 3),
            tests=report.tests,
            cause=report.cause,
            log=str(report.log) if report.log else None,
            done=totals.done,
            all=totals.all,
        )

    def say(self, text: str) -> None:
        self._emit("message", text=text)

    def close(self) -> None:
        return

    def _emit(self, event: str, **fields: Any) -> None:
        self._console.info(json.dumps({"event": event, "time": round(time.time(), 3), **fields}, ensure_ascii=False))


@dataclass(kw_only=True)
class _Row:
    action: str
    since: float
    last: deque[str] = field(default_factory=lambda: deque(maxlen=1))


class _Tty:
    """One line per running stage (name, action, time, last output) and a line with the totals below."""

    def __init__(self, console: Console) -> None:
        from rich.console import Console as RichConsole
        from rich.live import Live

        self._lock = threading.Lock()
        self._rows: dict[str, _Row] = {}
        self._totals = Totals()
        self._rich = RichConsole(
            file=console.err, no_color=not console.color, highlight=False, soft_wrap=False, force_terminal=True
        )
        self._live = Live(
            get_renderable=self._render,
            console=self._rich,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,  # stdout is for results
            redirect_stderr=False,
        )
        self._live.start()

    def begin(self, totals: Totals) -> None:
        with self._lock:
            self._totals = totals

    def started(self, name: str, action: str) -> None:
        with self._lock:
            self._rows[name] = _Row(action=action, since=time.monotonic())

    def line(self, name: str, text: str) -> None:
        with self._lock:
            if text.strip() and name in self._rows and not _PLUMBING.match(text):
                self._rows[name].last.append(printable(text.strip(), len(text)))

    def finished(self, name: str, report: StageReport, totals: Totals) -> None:
        with self._lock:
            self._rows.pop(name, None)
            self._totals = totals
        mark, style = {"failed": ("✗", "red"), "skipped": ("-", "yellow")}.get(report.state, ("✓", "green"))
        self._print(f"{mark} ", style, f"{name} {describe(report)}")

    def say(self, text: str) -> None:
        self._print("", "", text)

    def close(self) -> None:
        self._live.stop()

    def _print(self, mark: str, style: str, text: str) -> None:
        from rich.text import Text

        self._rich.print(Text.assemble((mark, style), printable(text, len(text))))

    def _render(self) -> Any:
        from rich.text import Text

        now = time.monotonic()
        with self._lock:
            rows = [
                f"{name}  {row.action} {human_seconds(now - row.since)}  {row.last[0] if row.last else ''}"
                for name, row in self._rows.items()
            ]
            rows.append(str(replace(self._totals, running=len(rows))))
        width = shutil.get_terminal_size().columns
        return Text("\n".join(row[: width - 1] for row in rows), no_wrap=True, overflow="crop")
