"""Copies of frozen dataclasses."""

from __future__ import annotations

import dataclasses
import gc

import pytest

from jetson_containers.core.copies import copy_with, many_objects


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    x: int
    y: int = 2
    tags: tuple[str, ...] = ()


@pytest.mark.parametrize("changes", [{}, {"x": 5}, {"x": 5, "tags": ("a",)}])
def test_copy_is_what_replace_makes(changes: dict[str, object]) -> None:
    """Fields that are not named stay, and the original is not touched."""
    original = Point(x=1, tags=("b",))
    made = copy_with(original, **changes)
    assert made == dataclasses.replace(original, **changes)  # type: ignore[arg-type]
    assert type(made) is Point
    assert original == Point(x=1, tags=("b",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.x = 9  # type: ignore[misc]


def test_many_objects_are_not_searched_for_garbage() -> None:
    """Inside nobody looks for garbage; after an error the search is as it was, without what was made."""
    before = gc.get_freeze_count()
    kept = []

    def fail() -> None:
        with many_objects():
            assert not gc.isenabled()
            kept.append([object()])
            raise RuntimeError("out of it")

    with pytest.raises(RuntimeError, match="out of it"):
        fail()
    assert gc.isenabled()
    assert gc.get_freeze_count() > before
    gc.unfreeze()


def test_many_objects_leave_a_search_that_was_off_as_it_was() -> None:
    """Where the search was off before, it stays off."""
    gc.disable()
    try:
        with many_objects():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
