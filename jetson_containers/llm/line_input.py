"""Messages typed on a terminal: line editing and history by `readline`, several lines, and pasted text.

The history is one JSON text a line, because a message may have several lines; only its owner can read the file.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.files import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.core.console import Console

QUOTES = '"""'
PROMPT, FURTHER = ">>> ", "... "
_MOST = 1000  # messages of the history
_LARGEST = 8_000_000  # bytes of its file that are read


@dataclass(kw_only=True)
class LineInput:
    """Reads messages. `history` is the file they are kept in; None: nowhere."""

    console: Console
    history: Path | None = None

    def __post_init__(self) -> None:
        self._begun = False
        self._readline: Any = None

    def _begin(self) -> None:
        """Set `readline` up when the first line is asked for: its import writes to some terminals."""
        self._begun = True
        self._readline = _readline()
        if self._readline is not None:
            self._readline.clear_history()
            for message in self.kept():
                self._readline.add_history(message)

    def read(self) -> str:
        """One message. A line that ends with a backslash goes on, and so does text after three double quotes.

        Raises EOFError and KeyboardInterrupt as `input`.
        """
        if not self._begun:
            self._begin()
        text = self._line(PROMPT)
        if text.lstrip().startswith(QUOTES):
            text = self._quoted(text.lstrip().removeprefix(QUOTES))
        else:
            lines = [text]
            while lines[-1].endswith("\\"):
                lines[-1] = lines[-1][:-1]
                lines.append(self._line(FURTHER))
            text = "\n".join(lines)
        self._keep(text.strip())
        return text

    def _quoted(self, text: str) -> str:
        lines = [text]
        while QUOTES not in lines[-1]:
            lines.append(self._line(FURTHER))
        lines[-1] = lines[-1].partition(QUOTES)[0]
        return "\n".join(lines).strip("\n")

    def _line(self, prompt: str) -> str:
        """A line from the terminal; the prompt goes to stderr where stdout is a file."""
        if self.console.out is not None and self.console.out.isatty():
            return input(prompt)
        self.console.prompt(prompt)
        return input("")

    def kept(self) -> list[str]:
        """The messages of the history, the oldest first; none where it cannot be read."""
        if self.history is None:
            return []
        try:
            with self.history.open("rb") as file:
                file.seek(max(self.history.stat().st_size - _LARGEST, 0))
                lines = file.read(_LARGEST).decode("utf-8", errors="replace").splitlines()
        except OSError:
            return []
        found = []
        for line in lines[-_MOST:]:
            with contextlib.suppress(ValueError):
                message = json_text.parse(line)
                found += [message] if isinstance(message, str) else []
        return found

    def _keep(self, message: str) -> None:
        if not message:
            return
        if self._readline is not None:
            self._readline.add_history(message)
        if self.history is None:
            return
        with contextlib.suppress(OSError):  # the conversation goes on without a history
            self.history.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            descriptor = os.open(self.history, flags, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as file:
                os.fchmod(descriptor, 0o600)
                file.write(json.dumps(message) + "\n")
                size = file.tell()
            if size > _LARGEST:
                lines = [json.dumps(kept) + "\n" for kept in self.kept()[-_MOST:]]
                write_atomically(self.history, "".join(lines)[-_LARGEST // 2 :], mode=0o600)


def _readline() -> Any:
    """The module, set up; None where Python was built without it."""
    try:
        import readline
    except ImportError:
        return None
    readline.set_auto_history(False)  # a message of several lines is one entry
    # Pasted lines come as one text instead of a message each. Python turns this off; libedit does not know it.
    readline.parse_and_bind("set enable-bracketed-paste on")
    return readline
