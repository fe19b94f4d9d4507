"""Copies of frozen dataclasses."""

from __future__ import annotations

import dataclasses

import pytest

from jetson_containers.core.copies import copy_with


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
