"""Graphics cards by the name their driver gives them: bandwidth, rate and memory, from `facts/cards.yaml`."""

from __future__ import annotations

import functools
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.facts import load_facts
from jetson_containers.core.text import is_number
from jetson_containers.llm.fit import constants
from jetson_containers.llm.fit.constants import GIB

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = 20  # for the driver's answer
_LONGEST = 100  # characters of a name


@dataclass(frozen=True, kw_only=True)
class Card:
    """One graphics card. Memory in bytes, `bandwidth` in bytes/s, `sm` compute capability × 10, `hz` of its SMs.

    `bandwidth` None, `sm` None and `multiprocessors` 0: the table has no card of this name. `hz` None: it depends on
    the machine the card is in, or the card is not known.
    """

    name: str
    memory: int
    bandwidth: float | None = None
    sm: int | None = None
    multiprocessors: int = 0
    hz: float | None = None


def named(name: str, memory: int = 0) -> Card | None:
    """The card of the table that a name means, with its usual memory unless `memory` is given; None: none has it."""
    found = _table().get(_folded(name))
    if found is None:
        return None
    full, row = found
    size = memory or int(float(row["memory"]) * GIB)
    sm = int(row["sm"])
    return Card(
        name=full,
        memory=size,
        bandwidth=_bandwidth(row, size) * 1e9,
        sm=sm,
        multiprocessors=int(row["cores"]) // constants.compute()[sm].cores,
        hz=float(row["mhz"]) * 1e6 if "mhz" in row else None,
    )


def largest_here() -> Card | None:
    """The graphics card with the most memory, as its driver says; None where it says nothing."""
    argv = ["nvidia-smi", "--query-gpu=memory.total,name", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            timeout=_SECONDS,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    rows = [line.partition(",") for line in done.stdout.splitlines()]
    found = [(int(size) << 20, name.strip()[:_LONGEST]) for size, _, name in rows if is_number(size.strip())]
    if not found:
        return None
    memory, name = max(found)
    return named(name, memory) or Card(name=name or "graphics card", memory=memory)


def _bandwidth(row: Mapping[str, Any], memory: int) -> float:
    """GB/s; of cards that were sold with two sizes of memory, that of the nearer size."""
    sizes = {
        float(row["memory"]): row["bandwidth"],
        **{float(size): speed for size, speed in row.get("also", {}).items()},
    }
    return float(sizes[min(sizes, key=lambda size: abs(size * GIB - memory))])


@functools.cache
def _table() -> dict[str, tuple[str, Mapping[str, Any]]]:
    rows: Mapping[str, Mapping[str, Any]] = load_facts("cards")["cards"]
    return {_folded(name): (name, row) for name, row in rows.items()}


def _folded(name: str) -> str:
    """Without regard to case, blanks and dashes, and without the words that people leave out."""
    words = re.split(r"[\s_-]+", name.strip().lower())
    return " ".join(word for word in words if word not in {"nvidia", "geforce", "tesla", "quadro"})
