"""The programs that the tests here look at, each read and parsed once."""

from __future__ import annotations

import ast
from collections import deque
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


@cache
def parsed(path: Path) -> ast.Module:
    """A program of the checkout, which nothing changes while the tests run."""
    return ast.parse(path.read_text(encoding="utf-8"))


def statements(tree: ast.AST) -> Iterator[ast.AST]:
    """Every statement at any depth: all imports and definitions, without a walk over the expressions."""
    waiting = deque([tree])
    while waiting:
        node = waiting.popleft()
        yield node
        waiting.extend(child for block in _BLOCKS for child in getattr(node, block, ()))
