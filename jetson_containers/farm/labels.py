"""What a worker offers and what a stage needs, as Dask's resources: numbers that a running task takes from its worker.

Memory is counted in bytes. A label (`r36.4`, `gpu`) and a docker platform (`linux/arm64`) are there or not, so a worker
has far more of each than it can run tasks, and a task takes one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jetson_containers.builder.resources import least_memory
from jetson_containers.core.errors import UsageError
from jetson_containers.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MEMORY = "memory"
PLENTY = 1e9  # of each label: no worker runs as many tasks at once
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}")


def check(labels: Iterable[str], option: str) -> tuple[str, ...]:
    """The labels, each once. Raises UsageError, naming `option`, for one that cannot be."""
    found = tuple(dict.fromkeys(labels))
    for label in found:
        if not _LABEL.fullmatch(label) or label == MEMORY:
            raise UsageError(
                f"{option}: `{shown(label)}` is not a label",
                hint="letters, digits and `._+-`, as in `r36.4,cu126,gpu`; memory has an option of its own",
            )
    return found


def offered(labels: Iterable[str], platforms: Iterable[str], memory: int) -> dict[str, float]:
    """The resources of a worker with these labels, whose engine builds for `platforms`; `memory` in bytes."""
    return {**dict.fromkeys([*labels, *platforms], PLENTY), MEMORY: float(memory)}


def needed(labels: Iterable[str], platform: str, memory_per_job: int | None) -> dict[str, float]:
    """The resources a stage takes: all `labels`, a docker platform, and memory for one compile job."""
    return {**dict.fromkeys([*labels, platform], 1.0), MEMORY: float(least_memory(memory_per_job))}


def lacking(need: Mapping[str, float], workers: Iterable[Mapping[str, float]]) -> bool:
    """Whether no worker has all that a stage needs, even when nothing else runs there."""
    return not any(all(has.get(name, 0.0) >= amount for name, amount in need.items()) for has in workers)
