"""A plugin of pytest: the CPU seconds that each test takes, with those of the programs it waits for.

    python -m pytest -p benchmarks.tests.cpu ...

One JSON list per line goes to the file `$TESTS_CPU`: a test's name, its own seconds and those of its programs; the name
`collection` has what came before the first test.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

COLLECTION = "collection"
_found: list[tuple[str, float, float]] = []


def _taken() -> tuple[float, float]:
    times = os.times()
    return times.user + times.system, times.children_user + times.children_system


def pytest_collection_finish() -> None:
    """Note what importing and collecting took."""
    _found.append((COLLECTION, *_taken()))


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, None, None]:
    """Note what a test took, with its fixtures."""
    before = _taken()
    yield
    after = _taken()
    _found.append((item.nodeid, after[0] - before[0], after[1] - before[1]))


def pytest_sessionfinish() -> None:
    """Write all of it."""
    lines = [json.dumps([name, round(own, 3), round(others, 3)]) for name, own, others in _found]
    Path(os.environ["TESTS_CPU"]).write_text("\n".join(lines) + "\n", encoding="utf-8")
