"""One line about what is under way: drawn over on a terminal, elsewhere said every ten seconds; all of it on stderr."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.console import Level

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.core.console import Console

INTERVAL = 10.0  # seconds between two lines where no terminal is
_PER_SECOND = 4  # times that a terminal's line is drawn


@dataclass(kw_only=True)
class LiveLine:
    """Shows what `text` says; use it as a context. `text` is given the columns there are, 0 where they do not matter.

    It says nothing with --quiet, and nothing with --verbose, where the lines of the program itself are shown.
    """

    console: Console
    text: Callable[[int], str]
    interval: float = INTERVAL

    def __post_init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._live: Any = None

    def __enter__(self) -> LiveLine:
        if self.console.level != Level.NORMAL:
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

    def refresh(self) -> None:
        """Draw the line now, where it is drawn."""
        if self._live is not None:
            self._live.refresh()

    def _say(self) -> None:
        while not self._ended.wait(self.interval):
            self.console.info(self.text(0))

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
        return Text(self.text(width - 1)[: width - 1], no_wrap=True, overflow="crop")
