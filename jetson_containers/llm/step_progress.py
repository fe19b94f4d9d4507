"""What is said while a step runs or a model loads: share, time and last line."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core.console import human_seconds
from jetson_containers.core.live_line import INTERVAL, LiveLine

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.core.console import Console

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
        self._shown = LiveLine(console=self.console, text=lambda _width: self.text(), interval=self.interval)

    def __enter__(self) -> StepProgress:
        self._began = self.clock()
        self._shown.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.__exit__()

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
