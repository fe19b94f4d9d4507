"""What tests of registry share: fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.fakeregistry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as server:
        yield server
