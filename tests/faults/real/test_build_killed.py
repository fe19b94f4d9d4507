"""A build of four stages that is killed at each boundary of a stage and amid each: the next run finishes it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.real.scene import NAMES, wait_until

if TYPE_CHECKING:
    from tests.faults.real.scene import Scene

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]

MOMENTS = {
    "begins": r'"event": "start".*"stage": "{name}", "action": "building"',
    "amid": r'"event": "line".*"stage": "{name}", "text": "(#[0-9]+ [0-9.]+ )?amid {name}"',
    "tried": r'"event": "line".*"stage": "{name}", "text": "trying {name}"',
    "ended": r'"event": "end".*"stage": "{name}"',
}
CASES = [
    *((name, moment, signal.SIGKILL) for name in NAMES for moment in MOMENTS),
    *(("two", moment, number) for moment in MOMENTS for number in (signal.SIGTERM, signal.SIGHUP)),
    ("four", "amid", signal.SIGHUP),
    ("four", "tried", signal.SIGTERM),
]
QUICK = [("two", "amid", signal.SIGKILL), ("two", "tried", signal.SIGHUP)]


def _case(name: str, moment: str, number: signal.Signals) -> object:
    marks = [pytest.mark.quick] if (name, moment, number) in QUICK else []
    return pytest.param(name, moment, number, id=f"{name}-{moment}-{number.name}", marks=marks)


@pytest.mark.parametrize(("name", "moment", "number"), [_case(*case) for case in CASES])
def test_build_that_is_killed_goes_on_where_it_was(
    scene: Scene, name: str, moment: str, number: signal.Signals
) -> None:
    """At the start of a stage, amid its commands, amid its test and at its end."""
    scene.chain(slow=name if moment == "amid" else "", slow_test=name if moment == "tried" else "")
    build = scene.start_build()
    build.wait_for(MOMENTS[moment].format(name=name))
    build.send(number)
    code = build.ended()
    last = (name, moment) == ("four", "ended")  # only its final name is to be given: it may be done before it is told
    assert code in {-9 if number is signal.SIGKILL else 130, *([0] if last else [])}, build.said
    wait_until(lambda: not scene.processes())  # a client of docker ends as soon as it has something to say
    if number is not signal.SIGKILL:
        assert scene.left_over() == []
    scene.survived(NAMES[: NAMES.index(name) + (moment in {"ended", "tried"})])
