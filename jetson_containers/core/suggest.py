"""Known words that resemble one that is not known, for "did you mean …?"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def closest(word: str, known: Iterable[str], count: int = 1, *, likeness: float = 0.6) -> list[str]:
    """At most `count` of the known words that resemble `word`, the best first; `likeness` is from 0 to 1 (equal)."""
    import difflib

    return difflib.get_close_matches(word, list(known), n=count, cutoff=likeness)


def did_you_mean(word: str, known: Iterable[str], *, count: int = 1, otherwise: str = "", style: str = "`{}`") -> str:
    """The question about the closest known words, or `otherwise` when nothing resembles `word`."""
    words = closest(word, known, count)
    return f"did you mean {' or '.join(style.format(found) for found in words)}?" if words else otherwise
