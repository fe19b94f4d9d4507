"""Text that arrives in pieces: whole characters out of tokens, and stop strings."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Callable


class TextStream:
    """Turns growing token lists into whole characters: half of one decodes to U+FFFD and is held back."""

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._sent = ""

    def push(self, tokens: list[int]) -> str:
        """The new text of all tokens so far."""
        return self._new(self._decode(tokens).rstrip("\ufffd"))

    def end(self, tokens: list[int]) -> str:
        """What is left, with whatever never became a character."""
        return self._new(self._decode(tokens))

    def _new(self, text: str) -> str:
        # a decoder may change its mind about the last character; what was sent cannot be taken back
        if not text.startswith(self._sent):
            return ""
        new = text[len(self._sent) :]
        self._sent = text
        return new


class Stopper:
    """Cuts a stream of pieces before the first stop string, also one that arrives in several pieces."""

    def __init__(self, stop: tuple[str, ...]) -> None:
        self._stop = stop
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """What of the text so far is certainly no part of a stop string."""
        text = self._held + piece
        found = [text.index(word) for word in self._stop if word in text]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = max((_overlap(text, word) for word in self._stop), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def end(self) -> str:
        """What was held back and turned out to be text."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, word: str) -> int:
    """How many characters at the end of `text` begin `word`."""
    for length in range(min(len(word) - 1, len(text)), 0, -1):
        if text.endswith(word[:length]):
            return length
    return 0
