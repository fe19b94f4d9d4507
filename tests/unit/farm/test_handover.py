"""Which stages are handed over when, on invented farms and on a simulated clock."""

from __future__ import annotations

import heapq
import random

import pytest

from jetson_containers.farm.handover import PULL, Due, Handover, Offer

GIB = 1 << 30


def need(memory: float = GIB, **labels: float) -> dict[str, float]:
    return {"memory": memory, **labels}


def offer(name: str, *keys: str, slots: int = 1, memory: float = 8 * GIB, **labels: float) -> Offer:
    return Offer(name=name, slots=slots, resources={"memory": memory, **labels}, keys=frozenset(keys))


def handover(urgency: dict[str, float], **parents: list[str]) -> Handover:
    return Handover(
        parents={key: parents.get(key, []) for key in urgency},
        urgency=urgency,
        needs={key: need() for key in urgency},
    )


def test_handover_gives_as_many_as_workers_are_free_the_most_urgent_first() -> None:
    """Of three that can start, two are handed over; the third comes when a worker has none."""
    work = handover({"a": 1.0, "b": 3.0, "c": 2.0})
    assert [due.key for due in work.due([offer("w1"), offer("w2")])] == ["b", "c"]
    assert list(work.due([offer("w1"), offer("w2")])) == []  # both are on their way, though no worker shows them yet
    work.finish("b", "w1")
    assert [due.key for due in work.due([offer("w1"), offer("w2", "c")])] == ["a"]


def test_handover_prefers_the_worker_of_a_parent_and_waits_for_none() -> None:
    """A child goes beside its parent where that worker is free, and elsewhere where it is not."""
    work = handover({"a": 3.0, "b": 2.0, "c": 1.0}, b=["a"], c=["a"])
    assert list(work.due([offer("w1"), offer("w2")])) == [Due(key="a")]
    work.finish("a", "w2")
    assert list(work.due([offer("w1"), offer("w2")])) == [Due(key="b", beside=True), Due(key="c")]


@pytest.mark.parametrize(("more", "first"), [(PULL - 1, "child"), (PULL + 1, "other")])
def test_handover_weighs_a_pull_against_urgency(more: float, first: str) -> None:
    """The free worker goes on with the child of its stage, unless another is more urgent by more than a pull."""
    work = handover({"a": 1e3, "other": 500.0 + more, "child": 500.0}, child=["a"])
    assert [due.key for due in work.due([offer("w1")])] == ["a"]
    work.finish("a", "w1")
    assert [due.key for due in work.due([offer("w1")])] == [first]


def test_handover_heeds_memory_in_use_and_labels() -> None:
    """A stage waits while the memory of every worker with its labels is taken."""
    work = Handover(
        parents={"big": [], "small": []},
        urgency={"big": 2.0, "small": 1.0},
        needs={"big": need(6 * GIB, gpu=1.0), "small": need(GIB)},
    )
    busy = offer("w1", "other", "big", slots=4, memory=8 * GIB, gpu=1e9)
    assert [due.key for due in work.due([offer("w0", slots=0), offer("w2", memory=16 * GIB)])] == ["small"]
    assert [due.key for due in work.due([busy])] == ["big"]  # somebody else asked for it: it is shared
    again = Handover(parents={"big": []}, urgency={"big": 1.0}, needs={"big": need(6 * GIB, gpu=1.0)})
    assert list(again.due([offer("w1", slots=4, memory=4 * GIB, gpu=1e9)])) == []
    assert [due.key for due in again.due([offer("w1", slots=4, memory=6 * GIB, gpu=1e9)])] == ["big"]


def test_handover_memory_of_running_stages_of_this_build_is_taken() -> None:
    """Two slots are free, but the memory is enough for one of two stages."""
    work = Handover(parents={"a": [], "b": []}, urgency={"a": 2.0, "b": 1.0}, needs=dict.fromkeys("ab", need(3 * GIB)))
    assert [due.key for due in work.due([offer("w1", slots=2, memory=5 * GIB)])] == ["a"]
    assert list(work.due([offer("w1", "a", slots=2, memory=5 * GIB)])) == []
    work.finish("a", "w1")
    assert [due.key for due in work.due([offer("w1", slots=2, memory=5 * GIB)])] == ["b"]


def test_handover_failure_takes_along_what_stands_on_it() -> None:
    """A failed stage and all above it are lost; the rest goes on, and then nothing is left."""
    work = handover({"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}, b=["a"], c=["b"], d=["a"])
    assert [due.key for due in work.due([offer("w")])] == ["a"]
    work.finish("a", "w")
    assert [due.key for due in work.due([offer("w")])] == ["b"]
    assert work.fail("b") == ("b", "c")
    assert work.going_on
    assert [due.key for due in work.due([offer("w")])] == ["d"]
    work.finish("d", "w")
    assert not work.going_on


def makespan(work: Handover, seconds: dict[str, float], workers: int) -> float:
    """When all is done where a stage takes its time and handing over takes none."""
    running: list[tuple[float, str, str]] = []
    now = 0.0
    while work.going_on:
        busy = {name: key for _, key, name in running}
        for due in work.due([offer(f"w{n}", *([busy[f"w{n}"]] if f"w{n}" in busy else [])) for n in range(workers)]):
            name = next(f"w{n}" for n in range(workers) if f"w{n}" not in {name for _, _, name in running})
            heapq.heappush(running, (now + seconds[due.key], due.key, name))
        now, key, name = heapq.heappop(running)
        work.finish(key, name)
    return now


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(5))
def test_handover_makespan_is_within_what_list_scheduling_promises(workers: int, seed: int) -> None:
    """At most (2 - 1/workers) times the bound for any graph, after Graham (1969); one worker is never idle."""
    chance = random.Random(seed)
    seconds = {f"s{n}": chance.choice([0.1, 1.0, 1.0, 5.0, 40.0]) for n in range(60)}
    names = list(seconds)
    parents = {key: chance.sample(names[:n], min(n, chance.randrange(3))) for n, key in enumerate(names)}
    left: dict[str, float] = {}
    for key in reversed(names):
        left[key] = seconds[key] + max((left[name] for name in left if key in parents[name]), default=0.0)
    work = Handover(parents=parents, urgency=left, needs=dict.fromkeys(names, need()))
    bound = max(*left.values(), sum(seconds.values()) / workers)
    assert bound - 1e-6 <= makespan(work, seconds, workers) <= (2 - 1 / workers) * bound + 1e-6
