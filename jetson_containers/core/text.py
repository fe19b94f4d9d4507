"""Text of others in our messages."""

from __future__ import annotations

LONGEST_SHOWN = 80  # characters of a value in a message


def shown(text: str) -> str:
    """A value for a message: on one line and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SHOWN else f"{line[: LONGEST_SHOWN - 3]}..."


def printable(text: str, longest: int) -> str:
    """Text of others on one line without control characters, cut: what a terminal and a label can take."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:longest]
