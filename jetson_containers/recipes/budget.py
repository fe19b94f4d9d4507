"""How much work the templates of one recipe may take, in units that `sandbox` counts."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WORK = 1_000_000  # units that the templates of a recipe may take: see `sandbox`
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Let all templates rendered inside share one budget of work, as those of one recipe do."""
    budget = [WORK]
    token = _left.set(budget) if _left.get() is None else None
    try:
        yield
    finally:
        if token is not None:
            _left.reset(token)


def spend(units: int) -> bool:
    """Count work of a template; whether there is budget for it."""
    left = _left.get()
    if left is None:
        return True
    left[0] -= units
    return left[0] >= 0
