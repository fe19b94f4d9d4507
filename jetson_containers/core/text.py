"""Text of others in our messages."""

from __future__ import annotations

import re

# What a terminal obeys instead of showing it, but for line ends, tabs and colors; also marks that turn text around.
_LOGIN = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+@|(?:(?<=http://)|(?<=https://))[^/\s@]+@")
_OBEYED = re.compile(r"\x1b(?!\[[0-9;]{0,20}m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
LONGEST_SHOWN = 80  # characters of a value in a message
LONGEST_NUMBER = 18  # digits: what 64 bits hold


def shown(text: str) -> str:
    """A value for a message: on one line and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SHOWN else f"{line[: LONGEST_SHOWN - 3]}..."


def printable(text: str, longest: int) -> str:
    """Text of others on one line without control characters, cut: what a terminal and a label can take."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:longest]


def harmless(text: str) -> str:
    """Text of others as a terminal may get it: it cannot move the cursor, set the clipboard or hide what stands there.

    >>> harmless("a" + chr(27) + "]52;c;eA==" + chr(7) + "b")
    'a]52;c;eA==b'
    """
    return _OBEYED.sub("", text)


def without_passwords(text: str) -> str:
    """Text for people: of an address with a login the login is hidden, be it a password or a token in place of a name.

    >>> without_passwords("https://me:pass@host/x ssh://me@host")
    'https://***@host/x ssh://me@host'
    """
    return _LOGIN.sub("***@", text) if "@" in text else text


def is_number(text: str) -> bool:
    """Whether this is a whole number that `int` reads: 1 to 18 ASCII digits, without sign.

    `str.isdigit` alone also takes digits of other scripts and superscripts, which `int` refuses, and a number of
    5,000 digits, which `int` refuses as well.
    """
    return text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER
