"""Whether the disk has room for what a run will leave on it, before the first byte is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core import files
from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import DiskSpaceError, UsageError
from jetson_containers.llm.fit import weights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jetson_containers.llm.models.lookup import Model
    from jetson_containers.llm.pipeline.steps import Planned
    from jetson_containers.llm.runtimes.interface import Job

_SPARE = 256 << 20  # bytes; tokenizers, libraries, logs, and a disk that is never quite full


def needed(job: Job, model: Model, planned: Sequence[Planned], weights_bytes: int) -> int:
    """Bytes that the steps which will run leave on the disk.

    `weights_bytes` are those of the quantization. An intermediate output of 16 bits counts as such.
    """
    running = [step.step for step in planned if step.state == "run"]
    total = 0
    for step in running:
        if model.first is not None and step.name == model.first.name:
            total += model.download
        elif step.intermediate and job.config is not None:
            total += int(weights.weights(job.config, "fp16").total)
    if any(not step.intermediate and step.argv[:1] != ("ln",) for step in running):
        total += weights_bytes
    return total


def check(job: Job, model: Model, planned: Sequence[Planned], data: Path, weights_bytes: int) -> None:
    """Raises DiskSpaceError when the data directory's disk has not the room; says nothing where sizes are unknown."""
    try:
        wanted = needed(job, model, planned, weights_bytes)
    except UsageError:
        return
    free = files.free_space(data)
    if wanted and wanted + _SPARE > free:
        raise DiskSpaceError(
            f"{job.name} will take {human_bytes(wanted)} on the disk of {data}, which has {human_bytes(free)} free",
            hint="free some (`jetson-containers llm list` shows what models take), "
            "or choose another disk with JETSON_CONTAINERS_DATA",
        )
