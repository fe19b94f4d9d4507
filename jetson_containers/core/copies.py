"""Loops over a hundred thousand frozen dataclasses: copies of them, and no search for garbage among them."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


def copy_with(item: T, **changes: Any) -> T:
    """As `dataclasses.replace`, in an eighth of the time: fields are copied without calling `__init__`.

    Only for classes without `__post_init__`, cached properties and slots, and with names that are fields.
    """
    made: T = object.__new__(type(item))
    fields = item.__dict__.copy()
    fields.update(changes)
    object.__setattr__(made, "__dict__", fields)  # which a frozen class refuses to do itself
    return made


@contextlib.contextmanager
def many_objects() -> Iterator[None]:
    """What is made inside is not searched for garbage, neither then nor later: that took a quarter of such loops.

    For objects without cycles, which their counts of references free as ever.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.freeze()
            gc.enable()
