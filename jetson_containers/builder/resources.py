"""What the machine can give to builds, and how running stages share it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import ConfigError
from jetson_containers.core.memory import read_memory
from jetson_containers.core.text import is_number
from jetson_containers.dockerfile.inject import JOB_ARGS, is_job_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STAGE_MEMORY = 512 * 1024**2  # bytes a stage that compiles nothing is expected to need
HEADROOM = 0.9  # of the available memory; the rest is for the engine and the desktop
MAX_DEFAULT_SLOTS = 4  # more downloads at once only slow each other down
SHORT_STAGE = 60.0  # seconds: a stage that took less is done before it is worth keeping a core for it
SHORT_PART = 0.1  # of the time of the stage beside it: just as short


@dataclass(frozen=True, kw_only=True)
class Resources:
    """CPU cores and bytes of memory that builds may use, and how many stages run at once."""

    cores: int
    memory: int
    slots: int
    most_jobs: int = 0  # compile jobs of one stage at most; 0: as many as cores


@dataclass(frozen=True)
class Share:
    """What one stage gets: compile jobs, and the bytes that are reserved for it."""

    jobs: int
    memory: int


@dataclass(frozen=True, kw_only=True)
class StageLoad:
    """What a stage is expected to need of the machine. `seconds`: what it took before, None if it was never timed."""

    memory_per_job: int | None = None
    compiles: bool = True
    seconds: float | None = None


def detect(
    *,
    jobs: int = 0,
    cores: int = 0,
    memory: int = 0,
    most_jobs: int = 0,
    root: Path = Path("/"),
) -> Resources:
    """Measure the machine; a value that is given is taken as it is. `jobs` are stages at the same time."""
    cores = cores or len(os.sched_getaffinity(0))
    memory = memory or int(available_memory(root) * HEADROOM)
    return Resources(
        cores=cores, memory=memory, slots=jobs or min(max(cores // 2, 2), MAX_DEFAULT_SLOTS), most_jobs=most_jobs
    )


def available_memory(root: Path = Path("/")) -> int:
    """Bytes a new process can have without swapping; one stage's need where the kernel does not say."""
    return read_memory(root).available or STAGE_MEMORY


def least_memory(memory_per_job: int | None) -> int:
    """Bytes a stage needs to run at all, that is with one compile job."""
    return max(memory_per_job or 0, STAGE_MEMORY)


def share(
    own: StageLoad, available: Resources, *, running: Sequence[tuple[StageLoad, Share]], waiting: Sequence[StageLoad]
) -> Share:
    """Divide what is free among the stages that compile together.

    `waiting` stages could start beside this one now, the most urgent first. A stage that compiles nothing, or is done
    long before this one, takes no core from it: half of the jobs for 30 minutes would cost more than its ten seconds.
    A stage alone on the machine always gets one job, even when its memory is not there: it is slow then, but it is
    built.
    """
    starting = waiting[: max(0, available.slots - len(running) - 1)]
    rivals = [load for load in starting if _takes_cores(load, own)]
    held = [given.jobs for load, given in running if _takes_cores(load, own)]
    even = available.cores // (1 + len(rivals) + len(held))
    left = (available.cores - sum(held)) // (1 + len(rivals))
    cores = max(1, min(max(even, left), available.most_jobs or available.cores))
    brief = sum(least_memory(load.memory_per_job) for load in starting if not _takes_cores(load, own))
    free = max(0, available.memory - sum(given.memory for _, given in running) - brief)
    per_job = own.memory_per_job
    jobs = max(1, min(cores, free // (1 + len(rivals)) // per_job)) if per_job else cores
    return Share(jobs, max((jobs if own.compiles else 1) * (per_job or 0), STAGE_MEMORY))


def _takes_cores(load: StageLoad, own: StageLoad) -> bool:
    """Whether a stage keeps cores busy for much of the time that `own` runs."""
    short = max(SHORT_STAGE, SHORT_PART * (own.seconds or 0.0))
    return load.compiles and (load.seconds is None or load.seconds > short)


def split_jobs(build_args: Mapping[str, str], jobs: int) -> tuple[dict[str, str], int]:
    """Take the number of compile jobs out of the build arguments: the user's own, else `jobs`.

    A build argument is in the engine's cache key, and another number must not compile anything again. What is no
    number stays an argument.
    """
    own = [int(build_args[name]) for name in JOB_ARGS if is_job_number(name, build_args.get(name, ""))]
    rest = {name: value for name, value in build_args.items() if not is_job_number(name, value)}
    return rest, max(own[0] if own else jobs, 1)


def job_limit(env: Mapping[str, str]) -> int:
    """Read the user's own limit of compile jobs from MAX_JOBS; 0 when there is none. Raises ConfigError."""
    text = env.get("MAX_JOBS", "")
    if not text:
        return 0
    if not is_number(text) or int(text) < 1:
        raise ConfigError(f"$MAX_JOBS: `{text}` is not a number of jobs", hint="MAX_JOBS=2, or leave it unset")
    return int(text)
