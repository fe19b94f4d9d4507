"""Where output goes: results on stdout, everything else on stderr.

Nothing in the package calls `print`; actions get a `Console` and say what they do through it. rich is imported
only where a table or live display is drawn, because most commands (autotag above all) need neither.
"""

from __future__ import annotations

import contextlib
import enum
import itertools
import json
import os
import sys
import threading
from dataclasses import asdict, is_dataclass
from typing import IO, TYPE_CHECKING, Any

from jetson_containers.core.errors import OutputError, ReaderGoneError
from jetson_containers.core.text import harmless, is_number, without_passwords

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jetson_containers.core.errors import JetsonError


class Level(enum.IntEnum):
    """How much is said on stderr. `RESULT` output on stdout is never suppressed."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


_CODES = {"error": "31;1", "warning": "33", "hint": "36", "ok": "32", "bold": "1", "dim": "2"}


class Console:
    """Results to `out`, messages to `err`. One per process; tests make their own with StringIO."""

    def __init__(
        self,
        *,
        level: Level = Level.NORMAL,
        as_json: bool = False,
        out: IO[str] | None = None,
        err: IO[str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.level = level
        self.as_json = as_json
        self._out = out
        self._err = err
        self._lock = threading.Lock()
        self.has_result = False  # whether something stands on stdout
        env = os.environ if env is None else env
        if env.get("NO_COLOR"):
            self.color = False
        elif env.get("FORCE_COLOR"):
            self.color = True
        else:
            self.color = self.err_is_tty

    @property
    def out(self) -> IO[str] | None:
        """The stream results go to (looked up late, so that pytest's capture works); None when it is closed (`>&-`)."""
        return self._out if self._out is not None else sys.stdout

    @property
    def err(self) -> IO[str] | None:
        """The stream everything else goes to; None when it is closed."""
        return self._err if self._err is not None else sys.stderr

    @property
    def err_is_tty(self) -> bool:
        """Whether messages go to a terminal."""
        return self.err is not None and self.err.isatty()

    @property
    def interactive(self) -> bool:
        """Whether a question can be asked and answered."""
        return self.err_is_tty and sys.stdin is not None and sys.stdin.isatty()

    def result(self, text: str) -> None:
        """Print one result line on stdout. Raises OutputError where it cannot be written, ReaderGoneError."""
        if self.out is None:
            raise OutputError("standard output is closed, so the result cannot be written", hint="redirect it: `>FILE`")
        self.has_result = True
        try:
            with self._lock:
                self.out.write((harmless(text) if self.out.isatty() else text) + "\n")
                self.out.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError("the reader of standard output closed it") from error
        except OSError as error:
            raise OutputError(
                f"cannot write to standard output: {error.strerror}", hint="free some space where it is redirected to"
            ) from error

    def result_json(self, data: Any) -> None:
        """Print data as indented, key-stable JSON on stdout."""
        self.result(json.dumps(_plain(data), indent=2, ensure_ascii=False))

    def info(self, text: str) -> None:
        """Show a message for every user."""
        if self.level >= Level.NORMAL:
            self._say(text)

    def detail(self, text: str) -> None:
        """Show a message with `--verbose` only."""
        if self.level >= Level.VERBOSE:
            self._say(self.style(text, "dim"))

    def ok(self, text: str) -> None:
        """Show that something is done."""
        if self.level >= Level.NORMAL:
            self._say(self.style("✓ ", "ok") + text)

    def warning(self, text: str, hint: str | None = None) -> None:
        """Warn, also with --quiet: a guess or a fallback must be visible."""
        self._say(self.style("warning: ", "warning") + text)
        if hint:
            self._say(self.style("hint: ", "hint") + hint)

    def error(self, error: JetsonError) -> None:
        """Show an expected failure: message, details, hint."""
        self._say(self.style("error: ", "error") + error.message)
        for line in error.details:
            self._say("  " + line)
        if error.hint:
            self._say(self.style("hint: ", "hint") + error.hint)

    def prompt(self, text: str) -> None:
        """Show what is waited for, without ending the line."""
        self._write(text)

    def confirm(self, question: str, *, default: bool = False) -> bool:
        """Ask on the terminal (stderr); without one, the answer is `default`. The end of the input is a no."""
        if not self.interactive:
            return default
        suffix = " [Y/n] " if default else " [y/N] "
        self._write(question + suffix)
        line = sys.stdin.readline()
        if not line:  # Ctrl-D, or a terminal that went away: nobody has agreed to anything
            self._write("\n")
            return False
        answer = line.strip().lower()
        return default if not answer else answer in {"y", "yes"}

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]], *, to_result: bool = False) -> None:
        """Print aligned columns, as wide as the terminal at most: as a result on stdout, else on stderr."""
        shown = [[without_passwords(cell) for cell in row] for row in rows]
        for line in columns([header, *shown], width_of(self.out if to_result else self.err)):
            if to_result:
                self.result(line)
            else:
                self.info(line)

    def style(self, text: str, kind: str) -> str:
        """Color a piece of text where the terminal shows it."""
        return f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if self.color else text

    def style_result(self, text: str, kind: str) -> str:
        """Color a piece of a result where stdout is a terminal that shows it."""
        shows = self.color and self.out is not None and self.out.isatty()
        return f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if shows else text

    def _say(self, text: str) -> None:
        self._write(text + "\n")

    def _write(self, text: str) -> None:
        """Write a message. One that cannot be written (stream closed, disk full) is dropped, and the work continues."""
        text = without_passwords(text)
        if self.err is not None:
            with self._lock, contextlib.suppress(OSError):
                self.err.write(harmless(text) if self.err_is_tty else text)
                self.err.flush()


def _plain(data: Any) -> Any:
    """Turn dataclasses, enums, tuples, sets and paths into what JSON knows."""
    if is_dataclass(data) and not isinstance(data, type):
        return _plain(asdict(data))
    if isinstance(data, enum.Enum):
        return data.value
    if isinstance(data, dict):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [_plain(item) for item in data]
    if isinstance(data, (set, frozenset)):
        return sorted(_plain(item) for item in data)
    if data is None or isinstance(data, (str, int, float, bool)):
        return data
    return str(data)


def width_of(stream: IO[str] | None) -> int:
    """Columns of a terminal; 0 for everything else, which takes lines of any length."""
    if stream is None or not stream.isatty():
        return 0
    if is_number(asked := os.environ.get("COLUMNS", "")):
        return int(asked)
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


def columns(rows: Sequence[Sequence[str]], width: int = 0) -> list[str]:
    """Lines with the cells of each row, the header first, below those of the row before.

    Where they are wider than `width`, cells go on in the next line, between words; where even that is too wide, each
    row is a block with a line or more for each cell, so that no name is torn apart.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if not width or sum(widths) + len(_GAP) * (len(widths) - 1) <= width:
        return [_line(row, widths) for row in rows]
    least = [max(len(word) for cell in column for word in (cell.split() or [""])) for column in zip(*rows, strict=True)]
    room = width - len(_GAP) * (len(widths) - 1)
    left = room - sum(least[:-1])
    in_block = max(map(len, rows[0])) + len(_GAP) + least[-1]
    if left < least[-1] and (left < _LEAST or in_block <= width):
        return _blocks(rows, width)
    least[-1] = min(least[-1], left)  # a longer word of the last column goes on in the terminal's next line
    while sum(widths) > room:
        widest = max((size - low, index) for index, (size, low) in enumerate(zip(widths, least, strict=True)))[1]
        widths[widest] -= 1
    return [_line(part, widths) for row in rows for part in _wrapped(row, widths)]


_GAP = "  "
_LEAST = 20  # characters of a last column that holds longer words


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _wrapped(row: Sequence[str], widths: Sequence[int]) -> Iterable[Sequence[str]]:
    import textwrap

    cells = [
        textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False) if len(cell) > width else [cell]
        for cell, width in zip(row, widths, strict=True)
    ]
    return itertools.zip_longest(*cells, fillvalue="")


def _blocks(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    header, *others = rows
    size = max(map(len, header))
    lines = [] if others else wrapped(" ".join(header), width)
    for row in others:
        lines += [""] * bool(lines)
        for name, cell in zip(header, row, strict=True):
            lines += wrapped(f"{name.ljust(size)}{_GAP}{cell}".rstrip(), width) if name or cell else []
    return lines


def wrapped(line: str, width: int) -> list[str]:
    """A line of a label and its text, as lines of at most `width` characters (0: any), which go on below the text.

    They break between words; a word that is longer has a line of its own.
    """
    import re
    import textwrap

    if not width or len(line) <= width:
        return [line]
    label = re.match(r"\s*(?:\S.*?\s{2,})?", line)
    first = label.group() if label else ""
    under = " " * (len(first) if len(first) <= width // 2 else len(_GAP))
    text = line[len(first) :]
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=under, break_long_words=False, break_on_hyphens=False
    )


def human_bytes(count: float) -> str:
    """Format a size in bytes with a decimal unit, as Docker does: 5.6 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def human_seconds(seconds: float) -> str:
    """Format a duration in seconds: 4.2s, 3m05s, 1h02m."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    return f"{minutes // 60}h{minutes % 60:02d}m"
