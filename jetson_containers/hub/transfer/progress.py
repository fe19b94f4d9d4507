"""What is said while bytes move: bars on a terminal, else a line every few seconds; all on stderr."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO, Any, Callable

INTERVAL = 5.0  # seconds between two lines where no terminal is
# The rate and the time that is left stand last and are never cut; a long name is.
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {rate_fmt} {remaining}"
_FIGURES, _SHORTEST = 44, 10  # columns of everything but the name, and of the name at least
_BAR_FROM = 10_000_000  # bytes: smaller files get no bar of their own


def show_bytes(count: float) -> str:
    """A size in bytes with a decimal unit: 5.6 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def show_seconds(seconds: float) -> str:
    """A duration in seconds: 42s, 3m05s, 1h02m."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"


class Reporter:
    """Talk on a stream. `quiet` leaves warnings only; a closed stream loses the words and stops nothing."""

    def __init__(
        self,
        *,
        quiet: bool = False,
        stream: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        self.quiet = quiet
        self.clock = clock
        self.stream = stream if stream is not None else sys.stderr
        self._warn = warn
        self._lock = threading.Lock()
        self.secret = ""
        self.bars = False  # whether bars are on the screen, which other words must not tear apart

    def say(self, text: str) -> None:
        """Something a user wants to read."""
        if not self.quiet:
            self._write(text)

    def warn(self, text: str) -> None:
        """Something that is never left out."""
        if self._warn:
            self._warn(self._redact(text))
        else:
            self._write("warning: " + text)

    def progress(self, title: str, total: int) -> DownloadProgress:
        """Follow `total` bytes; use it as a context."""
        terminal = total > 0 and not self.quiet and self.stream is not None and self.stream.isatty()
        return (_Bars if terminal else DownloadProgress)(self, title, total)

    def _redact(self, text: str) -> str:
        return text.replace(self.secret, "***") if self.secret else text

    def _write(self, text: str) -> None:
        text = self._redact(text)
        try:
            with self._lock:
                if self.bars:
                    from tqdm import tqdm

                    tqdm.write(text, file=self.stream)
                else:
                    self.stream.write(text + "\n")
                    self.stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


class DownloadProgress:
    """Bytes so far, as lines. All methods may be called from any thread."""

    def __init__(self, reporter: Reporter, title: str, total: int) -> None:
        self.reporter = reporter
        self.title = title
        self.total = total
        self.done = 0
        self._lock = threading.Lock()
        self._began = self._said = reporter.clock()

    def __enter__(self) -> DownloadProgress:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin(self, name: str, size: int, present: int) -> None:
        """A file starts; `present` of its bytes are here."""

    def end(self, name: str) -> None:
        """A file is done."""

    def move(self, _name: str, count: int) -> None:
        """`count` bytes arrived; negative when they have to be fetched again."""
        with self._lock:
            self.done += count
            now = self.reporter.clock()
            if now - self._said < INTERVAL:
                return
            self._said = now
        self.reporter.say(self.line(now))

    def line(self, now: float) -> str:
        """`org/name: 45 %, 5.2 of 13.5 GB, 85.0 MB/s, 1m20s left`."""
        speed = self.done / max(now - self._began, 0.001)
        done = max(0, self.done)
        share = 100 * done // self.total if self.total else 100
        text = f"{self.title}: {share} %, {show_bytes(done)} of {show_bytes(self.total)}, {show_bytes(speed)}/s"
        return f"{text}, {show_seconds((self.total - self.done) / speed)} left" if speed > 0 else text


class _Bars(DownloadProgress):
    """The same with tqdm, which the client brings: one bar for all, one for each large file under way."""

    def __enter__(self) -> DownloadProgress:
        self._bars: dict[str, Any] = {}
        self._sum = self._bar(self.title, self.total, 0)
        self.reporter.bars = True
        return self

    def __exit__(self, *_: object) -> None:
        self.reporter.bars = False
        for bar in [*self._bars.values(), self._sum]:
            bar.close()

    def _bar(self, title: str, total: int, present: int) -> Any:
        from tqdm import tqdm

        width = _width(self.reporter.stream)
        return tqdm(
            total=total, initial=present, desc=title[-max(min(40, (width or 80) - _FIGURES), _SHORTEST) :], unit="B",
            unit_scale=True, leave=False, file=self.reporter.stream, bar_format=_FORMAT, dynamic_ncols=width > 0,
            **({} if width else {"ncols": 80, "nrows": 24}),
        )  # fmt: skip

    def begin(self, name: str, size: int, present: int) -> None:
        if size >= _BAR_FROM:
            bar = self._bar(name, size, present)
            with self._lock:
                self._bars[name] = bar

    def end(self, name: str) -> None:
        with self._lock:
            bar = self._bars.pop(name, None)
        if bar is not None:
            bar.close()

    def move(self, _name: str, count: int) -> None:
        with self._lock:
            self.done += count
            self._sum.update(count)
            if _name in self._bars:
                self._bars[_name].update(count)


def _width(stream: IO[str]) -> int:
    """Columns of a terminal; 0 where it does not say its size (`script`, some CI): it would be shown nothing."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 0
    return size.columns if size.lines else 0
