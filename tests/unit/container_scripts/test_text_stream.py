"""Pieces of text that arrive as bytes."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def test_text_stream_holds_back_half_characters(drivers: Path) -> None:
    """Half characters are held back."""
    stream = importlib.import_module("text_stream")
    data = "aé€😀".encode()
    text = stream.TextStream(lambda tokens: bytes(tokens).decode("utf-8", "replace"))
    pieces = [text.push(list(data[: end + 1])) for end in range(len(data))]
    assert [piece for piece in pieces if piece] == ["a", "é", "€", "😀"]
    cut = stream.TextStream(lambda tokens: bytes(tokens).decode("utf-8", "replace"))
    assert cut.push([97, 0xC3]) + cut.end([97, 0xC3]) == "a\ufffd"
