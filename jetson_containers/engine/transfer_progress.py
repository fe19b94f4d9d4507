"""What is said while an image is pulled or pushed: bytes, rate, layers and time, in one line."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core.console import Level, human_bytes, human_seconds
from jetson_containers.core.live_line import INTERVAL, LiveLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.core.console import Console
    from jetson_containers.engine.interface import ContainerEngine, Engine
    from jetson_containers.engine.transfer_events import Transferred

_SHORTEST = 10  # characters of a name that are always shown


@dataclass(kw_only=True)
class TransferProgress:
    """Progress of one pull or push called `name`; use it as a context.

    With --verbose the engine's own lines are shown instead.
    """

    console: Console
    name: str
    interval: float = INTERVAL
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._state: Transferred | None = None
        self._line = ""
        self._began = self.clock()
        self._first: tuple[float, int] | None = None
        self._shown = LiveLine(console=self.console, text=self.text, interval=self.interval)

    def __enter__(self) -> TransferProgress:
        self._shown.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.__exit__()

    def line(self, text: str) -> None:
        """A line of the engine."""
        self._line = text
        self.console.detail(text)

    @property
    def on_bytes(self) -> Callable[[Transferred], None] | None:
        """What is told the bytes; None where they belong among the lines."""
        return self._moved if self.console.level <= Level.NORMAL else None

    def _moved(self, state: Transferred) -> None:
        if state.total and self._first is None:
            self._first = (self.clock(), state.done)
        self._state = state

    def text(self, width: int = 0) -> str:
        """`pulling dustynv/mlc:r36.4  45s  1.2 GB of 4.5 GB, 3/12 layers  23.1 MB/s`; the name gives way."""
        now = self.clock()
        spent = human_seconds(round(now - self._began)).replace(".0s", "s")
        told = str(self._state) if self._state is not None else self._line  # Podman tells no bytes
        figures = "  ".join(filter(None, (spent, told, self._rate(now))))
        doing, _, name = self.name.partition(" ")
        room = width - len(figures) - len(doing) - 3 if width else len(name)
        short = name if len(name) <= room else f"…{name[-max(room - 1, _SHORTEST) :]}"
        return f"{doing} {short}  {figures}"

    def _rate(self, now: float) -> str:
        if self._state is None or self._first is None or self._state.extracting:
            return ""
        since, before = self._first
        moved = self._state.done - before
        return f"{human_bytes(moved / (now - since))}/s" if moved > 0 and now > since else ""


def pull(
    engine: ContainerEngine,
    reference: str,
    console: Console,
    *,
    platform: str | None = None,
    timeout: float | None = None,
) -> None:
    """Pull an image and show how far that is. Raises as the engine's `pull`."""
    with TransferProgress(console=console, name=f"pulling {reference}") as progress:
        engine.pull(reference, progress.line, platform=platform, timeout=timeout, on_bytes=progress.on_bytes)


def push(engine: Engine, reference: str, console: Console, on_line: Callable[[str], None] | None = None) -> None:
    """Push an image and show how far that is; `on_line` hears the engine's lines too. Raises as the engine's `push`."""
    with TransferProgress(console=console, name=f"pushing {reference}") as progress:

        def heard(line: str) -> None:
            progress.line(line)
            if on_line:
                on_line(line)

        engine.push(reference, heard, on_bytes=progress.on_bytes)
