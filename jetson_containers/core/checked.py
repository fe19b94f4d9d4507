"""Values that others sent, by the type and size a reader expects of them; whatever else they are is a ValueError.

A reader takes an answer apart with these functions only, and says in one `except ValueError` whose answer it was.
"""

from __future__ import annotations

from typing import Any

LONGEST_TEXT = 1 << 16  # characters of one value
MOST_ITEMS = 1 << 20  # of one list or object
LARGEST = (1 << 63) - 1


def mapping(value: object) -> dict[str, Any]:
    """An object with at most MOST_ITEMS keys."""
    if not isinstance(value, dict) or len(value) > MOST_ITEMS:
        raise ValueError(f"no object where one is expected, but {kind(value)}")
    return value


def items(value: object) -> list[Any]:
    """A list with at most MOST_ITEMS values."""
    if not isinstance(value, list) or len(value) > MOST_ITEMS:
        raise ValueError(f"no list where one is expected, but {kind(value)}")
    return value


def text(value: object) -> str:
    """A text of at most LONGEST_TEXT characters that can be written as UTF-8."""
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise ValueError(f"no text where one is expected, but {kind(value)}")
    value.encode("utf-8")  # UnicodeEncodeError is a ValueError
    return value


def number(value: object) -> int:
    """A whole number from 0 to LARGEST."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise ValueError(f"no whole number where one is expected, but {kind(value)}")
    return value


def real(value: object) -> float:
    """A number from 0 to LARGEST, whole or not."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= LARGEST:
        raise ValueError(f"no number where one is expected, but {kind(value)}")
    return float(value)


def texts(value: object) -> dict[str, str]:
    """An object whose values are texts; nothing where it is null or not stated."""
    return {text(key): text(found) for key, found in mapping(value or {}).items()}


def kind(value: object) -> str:
    """What a value is, for a message: its type, and itself where it is short."""
    shown = repr(value) if isinstance(value, (int, float, bool, str, type(None))) else ""
    return f"{type(value).__name__} {shown}".strip() if len(shown) <= 40 else type(value).__name__
