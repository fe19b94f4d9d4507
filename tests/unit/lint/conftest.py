"""What all tests of lint need."""

from __future__ import annotations

import pytest

from jetson_containers.lint import programs


@pytest.fixture
def all_programs_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipes of these tests call what they do not bring; `test_programs` is about that."""
    monkeypatch.setattr(programs, "BROUGHT_BY", {})
