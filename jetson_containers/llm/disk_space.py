"""Whether the disk has room for what a run will leave on it, before the first byte is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core import files
from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import DiskSpaceError, UsageError
from jetson_containers.llm.fit import weights
from jetson_containers.llm.pipeline.types import CommandStep, DownloadStep

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jetson_containers.llm.pipeline.types import PlannedStep
    from jetson_containers.llm.runtimes.interface import Job

_SPARE = 256 << 20  # bytes; tokenizers, libraries, logs, and a disk that is never quite full


def needed(job: Job, planned: Sequence[PlannedStep], weights_bytes: int) -> int:
    """Bytes that the steps which will run leave on the disk.

    `weights_bytes` are those of the quantization. An intermediate output of 16 bits counts as such.
    """
    running = [step.step for step in planned if step.state == "run"]
    total = sum(step.size for step in running if isinstance(step, DownloadStep))
    commands = [step for step in running if isinstance(step, CommandStep)]
    if job.config is not None:
        total += sum(int(weights.weights(job.config, "fp16").total) for step in commands if step.intermediate)
    return total + (weights_bytes if any(not step.intermediate for step in commands) else 0)


def check(job: Job, planned: Sequence[PlannedStep], data: Path, weights_bytes: int) -> None:
    """Raises DiskSpaceError when the data directory's disk has too little space; quiet where sizes are unknown."""
    try:
        wanted = needed(job, planned, weights_bytes)
    except UsageError:
        return
    free = files.free_space(data)
    if wanted and wanted + _SPARE > free:
        raise DiskSpaceError(
            f"{job.name} needs {human_bytes(wanted)} on the disk of {data}, which has {human_bytes(free)} free",
            hint="free some (`jetson-containers llm list` shows what models take), "
            "or choose another disk with JETSON_CONTAINERS_DATA",
        )
