"""Text of others, in our messages and as numbers."""

from __future__ import annotations

import pytest

from jetson_containers.core.text import is_number


@pytest.mark.parametrize("text", ["0", "007", "9" * 18])
def test_is_number_takes_ascii_digits(text: str) -> None:
    """What `int` reads, up to the width of 64 bits."""
    assert is_number(text)
    assert int(text) >= 0


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1\n", "1_0", "²", "٣", "１", "1.5", "9" * 19, "9" * 5000])
def test_is_number_refuses_what_int_refuses_or_reads_otherwise(text: str) -> None:
    """Signs, blanks, other scripts' digits, superscripts, and numbers too long."""
    assert not is_number(text)
