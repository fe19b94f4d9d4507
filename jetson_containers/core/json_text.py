"""JSON that others wrote: registries, hubs, engines, model files, caches that anything may have damaged.

`json.loads` fails in three ways besides ValueError (RecursionError for deep nesting, OverflowError later on for
numbers that no C type holds, silent NaN); here all of that is a ValueError, so that one `except` covers it.
"""

from __future__ import annotations

import json
import math
from typing import Any

LONGEST_INTEGER = 20  # characters, sign included: what 64 bits hold


def parse(text: str | bytes | bytearray, *, python: bool = False) -> Any:
    """Read one JSON text (bytes are UTF-8, UTF-16 or UTF-32, as the standard has it).

    `python`: take what Python's own writer adds to the standard, as configurations of models do (`"time_step_limit":
    [0.0, Infinity]`); NaN and Infinity are read as None then.
    Raises ValueError for what is not JSON (NaN and Infinity are not), nests deeper than Python's stack allows, or holds
    an integer of more than 64 bits or a number beyond the range of doubles.
    """
    constant = _nothing if python else _refuse
    try:
        return json.loads(text, parse_int=_integer, parse_float=_real, parse_constant=constant)
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None


def _integer(text: str) -> int:
    if len(text) > LONGEST_INTEGER:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("a number beyond the range of doubles")
    return value


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _nothing(_text: str) -> None:
    return None
