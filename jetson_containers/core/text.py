"""Text of others in our messages."""

from __future__ import annotations

LONGEST_SHOWN = 80  # characters of a value in a message
LONGEST_NUMBER = 18  # digits: what 64 bits hold


def shown(text: str) -> str:
    """A value for a message: on one line and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SHOWN else f"{line[: LONGEST_SHOWN - 3]}..."


def printable(text: str, longest: int) -> str:
    """Text of others on one line without control characters, cut: what a terminal and a label can take."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:longest]


def is_number(text: str) -> bool:
    """Whether this is a whole number that `int` reads: 1 to 18 ASCII digits, without sign.

    `str.isdigit` alone also takes digits of other scripts and superscripts, which `int` refuses, and a number of
    5,000 digits, which `int` refuses as well.
    """
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER
