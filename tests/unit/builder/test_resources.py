"""How the stages that run together share cores and memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.builder.resources import Resources, Share, StageLoad, share

GIB = 1024**3
UNKNOWN = StageLoad(memory_per_job=GIB)
LONG = StageLoad(memory_per_job=GIB, seconds=1800.0)
MINUTES = StageLoad(memory_per_job=GIB, seconds=170.0)
SECONDS = StageLoad(memory_per_job=GIB, seconds=8.0)
DOWNLOAD = StageLoad(compiles=False)


@pytest.mark.parametrize(
    ("own", "running", "waiting", "jobs"),
    [
        (LONG, [], [DOWNLOAD], 6),
        (LONG, [], [SECONDS, DOWNLOAD, DOWNLOAD], 6),
        (LONG, [(DOWNLOAD, 2), (SECONDS, 3)], [], 6),
        (LONG, [], [MINUTES], 6),  # over long before it
        (MINUTES, [], [LONG], 3),  # the other way round it is not
        (LONG, [(MINUTES, 6)], [], 6),
        (LONG, [(LONG, 3)], [], 3),
        (UNKNOWN, [], [MINUTES], 3),  # it may be short itself
        (UNKNOWN, [], [UNKNOWN, DOWNLOAD], 3),
        (SECONDS, [(LONG, 6)], [], 3),  # it gets something as well
        (LONG, [(LONG, 1)], [], 5),  # what the other one cannot use
        (LONG, [(LONG, 1)], [LONG], 2),
        (LONG, [(LONG, 6)], [LONG], 2),
        (LONG, [], [LONG] * 9, 1),  # no more than fit in
    ],
)
def test_share_counts_only_what_compiles_for_long_beside_a_stage(
    own: StageLoad, running: list[tuple[StageLoad, int]], waiting: list[StageLoad], jobs: int
) -> None:
    """A stage that compiles nothing or is over soon takes no jobs from one that compiles for long."""
    machine = Resources(cores=6, memory=64 * GIB, slots=6)
    held = [(load, Share(count, 0)) for load, count in running]
    assert share(own, machine, running=held, waiting=waiting).jobs == jobs


def test_share_leaves_short_stages_the_memory_they_need() -> None:
    """Stages that take no cores still get the memory to start."""
    machine = Resources(cores=8, memory=8 * GIB, slots=4)
    alone = share(LONG, machine, running=[], waiting=[])
    beside = share(LONG, machine, running=[], waiting=[DOWNLOAD, StageLoad(memory_per_job=2 * GIB, seconds=5.0)])
    assert (alone.jobs, beside.jobs) == (8, 5)
    assert beside.memory == 5 * GIB


def test_share_reserves_one_job_for_a_stage_that_compiles_nothing() -> None:
    """The layer that unpacks what was compiled holds the memory of one job, not of all."""
    machine = Resources(cores=8, memory=32 * GIB, slots=4)
    assert share(StageLoad(memory_per_job=3 * GIB, compiles=False), machine, running=[], waiting=[]).memory == 3 * GIB


def test_share_heeds_the_most_jobs_a_user_allows() -> None:
    """The user's own limit holds whatever is free."""
    assert (
        share(LONG, Resources(cores=8, memory=64 * GIB, slots=4, most_jobs=3), running=[], waiting=[DOWNLOAD]).jobs == 3
    )


LOADS = st.builds(
    StageLoad,
    memory_per_job=st.none() | st.integers(1, 4 * GIB),
    compiles=st.booleans(),
    seconds=st.none() | st.floats(0, 9000),
)


@given(LOADS, st.lists(st.tuples(LOADS, st.integers(1, 8))), st.lists(LOADS), st.integers(1, 16))
def test_share_is_between_one_job_and_all_cores(
    own: StageLoad, running: list[tuple[StageLoad, int]], waiting: list[StageLoad], cores: int
) -> None:
    """Every stage gets a job, none more than the machine has, and company never makes its part larger."""
    machine = Resources(cores=cores, memory=16 * GIB, slots=4)
    held = [(load, Share(jobs, jobs * GIB)) for load, jobs in running]
    given_to = share(own, machine, running=held, waiting=waiting)
    assert 1 <= given_to.jobs <= cores
    assert given_to.jobs <= share(own, machine, running=[], waiting=[]).jobs
