"""Text of others in our messages."""

from __future__ import annotations

LONGEST_SHOWN = 80  # characters of a value in a message


def shown(text: str) -> str:
    """A value for a message: on one line and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SHOWN else f"{line[: LONGEST_SHOWN - 3]}..."
