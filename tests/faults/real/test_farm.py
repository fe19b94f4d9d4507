"""A farm whose worker, client, scheduler or registry is killed: the next run finishes, and finished stages stay."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.real.test_farm import Fleet, counted, ended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real.conftest import Registry
    from tests.real.test_farm import Machine

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.slow, pytest.mark.timeout(600)]

PAUSE = 8


@pytest.fixture
def fleet(tmp_path: Path, registry: Registry, scratch_base: str) -> Iterator[Fleet]:
    made = Fleet(tmp_path, registry.host, scratch_base)
    made.recipe("first", "RUN echo first > /first.txt")
    made.recipe("second", f"RUN sleep {PAUSE} && cat /first.txt > /second.txt", "first")
    yield made
    made.stop()


def _scheduler(fleet: Fleet) -> Machine:
    made = fleet.start("scheduler", "farm", "scheduler", "--port", str(fleet.port), "--dashboard", "none")
    made.wait_for("scheduler at")
    return made


def _end(machine: Machine, number: signal.Signals) -> None:
    """SIGKILL and SIGHUP to the whole group: a loss of power, a lost terminal."""
    if number is signal.SIGTERM:
        machine.child.send_signal(number)
    else:
        os.killpg(machine.child.pid, number)
    machine.child.wait(60)


def _finishes(fleet: Fleet, *workers: Machine) -> None:
    again = fleet.build("second")
    assert ended(again) == 0, "".join(again.lines)
    before = counted(*workers)
    last = fleet.build("second")
    assert ended(last) == 0, "".join(last.lines)
    last.wait_for("nothing to build")
    assert counted(*workers) == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_farm_worker_that_is_killed_amid_a_stage_costs_this_stage(fleet: Fleet, number: signal.Signals) -> None:
    """Another worker takes the stage; what was finished is not built again."""
    _scheduler(fleet)
    one = fleet.worker("one")
    build = fleet.build("second")
    one.wait_for(r"second \| building")
    two = fleet.worker("two")
    _end(one, number)
    assert ended(build) == 0, "".join(build.lines)
    assert counted(one, two) == Counter({"first": 1, "second": 2})
    _finishes(fleet, one, two)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda n: n.name)
def test_farm_client_that_is_killed_loses_no_stage(fleet: Fleet, number: signal.Signals) -> None:
    """The client's end ends no stage that was finished; a second client has the rest."""
    _scheduler(fleet)
    one = fleet.worker("one")
    build = fleet.build("second")
    one.wait_for(r"second \| building")
    _end(build, number)
    _finishes(fleet, one)
    assert counted(one)["first"] == 1


def test_farm_whose_scheduler_is_killed_goes_on_with_the_next(fleet: Fleet) -> None:
    """Without a scheduler, client and worker end; with new ones the build is finished from what the registry has."""
    scheduler = _scheduler(fleet)
    one = fleet.worker("one")
    build = fleet.build("second")
    one.wait_for(r"second \| building")
    _end(scheduler, signal.SIGKILL)
    code, said = ended(build), "".join(build.lines)
    assert code == 4, said
    assert "start the scheduler again" in said
    assert "Traceback" not in said
    assert "distributed" not in said
    _scheduler(fleet)
    two = fleet.worker("two")
    _finishes(fleet, two)
    assert counted(one, two)["first"] == 1
