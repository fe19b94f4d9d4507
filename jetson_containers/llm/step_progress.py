"""What is said while a step runs or a model loads: share, time and last line.

On a terminal it is one line that is drawn over, elsewhere a line every ten seconds; all of it on stderr.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.console import Level, human_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.core.console import Console

INTERVAL = 10.0  # seconds between two lines where no terminal is
_PER_SECOND = 4  # times that a terminal's line is drawn
# tqdm's bars, llama-quantize's tensors ("[  12/ 291]"), and shares as converters print them.
_SHARE = re.compile(r"(?<![0-9.])([0-9]{1,3})(?:\.[0-9]+)?\s?%(?:\||\s|$)")
_PART = re.compile(r"\[\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*\]")
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x1f\x7f-\x9f]")
_LONGEST = 400  # characters of a line that are looked at


def share_of(line: str) -> int | None:
    """Percent that a line of a program tells; None where it tells none."""
    if found := _SHARE.search(line):
        return int(found[1]) if int(found[1]) <= 100 else None
    if (found := _PART.search(line)) and 0 < int(found[2]) >= int(found[1]):
        return 100 * int(found[1]) // int(found[2])
    return None


@dataclass(kw_only=True)
class StepProgress:
    """Progress of one thing called `name`; use it as a context. Lines may come from any thread.

    `last_line` is asked for the newest line where nobody calls `line`: a log that another program writes.
    """

    console: Console
    name: str
    last_line: Callable[[], str] | None = None
    interval: float = INTERVAL
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._share: int | None = None
        self._line = ""
        self._began = self.clock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._live: Any = None

    def __enter__(self) -> StepProgress:
        self._began = self.clock()
        if self.console.level != Level.NORMAL:  # --verbose shows the lines themselves
            return self
        if self.console.err_is_tty and os.environ.get("TERM") != "dumb":
            self._live = self._display()
            self._live.start()
        else:
            self._thread = threading.Thread(target=self._say, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self._live is not None:
            self._live.stop()

    def line(self, text: str) -> None:
        """A line that the program printed."""
        plain = _UNPRINTABLE.sub(" ", text[:_LONGEST]).strip()
        if plain:
            share = share_of(plain)
            self._share = share if share is not None else self._share
            self._line = plain

    def text(self) -> str:
        """`convert  12s  45 %  Writing tensors`."""
        if self.last_line is not None:
            self.line(self.last_line())
        spent = human_seconds(round(self.clock() - self._began))
        share = f"{self._share} %" if self._share is not None else ""
        return "  ".join(part for part in (self.name, spent.replace(".0s", "s"), share, self._line) if part)

    def _say(self) -> None:
        while not self._ended.wait(self.interval):
            self.console.info(self.text())

    def _display(self) -> Any:
        from rich.console import Console as RichConsole
        from rich.live import Live

        console = RichConsole(
            file=self.console.err, no_color=not self.console.color, highlight=False, force_terminal=True
        )
        return Live(
            get_renderable=self._drawn, console=console, refresh_per_second=_PER_SECOND, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip

    def _drawn(self) -> Any:
        from rich.text import Text

        width = shutil.get_terminal_size().columns
        return Text(self.text()[: width - 1], no_wrap=True, overflow="crop")
