"""An engine of our own that is killed, as by a loss of power, amid a build: started again, the next run finishes."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.faults.real.scene import NAMES
from tests.faults.real.test_build_killed import MOMENTS

if TYPE_CHECKING:
    from tests.faults.real.own_engine import OwnEngine
    from tests.faults.real.scene import Scene

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]


CASES = [
    ("one", "begins", signal.SIGKILL), ("two", "amid", signal.SIGKILL), ("two", "tried", signal.SIGKILL),
    ("two", "ended", signal.SIGKILL), ("four", "ended", signal.SIGKILL), ("three", "amid", signal.SIGTERM),
    ("three", "tried", signal.SIGTERM), ("four", "amid", signal.SIGKILL),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "moment", "number"), CASES, ids=[f"{name}-{moment}-{number.name}" for name, moment, number in CASES]
)
def test_engine_that_is_killed_costs_the_stage_that_ran(
    scene: Scene, own_engine: OwnEngine, name: str, moment: str, number: signal.Signals
) -> None:
    """The build ends with one error; with the engine back, the stages that were finished are not built again."""
    scene.chain(slow=name if moment == "amid" else "", slow_test=name if moment == "tried" else "")
    build = scene.start_build()
    build.wait_for(MOMENTS[moment].format(name=name))
    own_engine.end(number)
    code = build.ended()
    if (name, moment) != ("four", "ended"):
        assert code in {1, 4}, build.said
    if code:
        assert sum(line.startswith("error: ") for line in build.lines) == 1, build.said
    own_engine.start()
    scene.survived(NAMES[: NAMES.index(name)])


@pytest.mark.quick
def test_engine_that_is_away_is_one_error_and_costs_nothing(scene: Scene, own_engine: OwnEngine) -> None:
    """Between two builds the engine is stopped: the command says so, and goes on with it when it is back."""
    scene.chain()
    scene.build()
    own_engine.end(signal.SIGKILL)
    done = scene.run(scene.build_words())
    assert done.returncode == 4, done.stderr
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1, done.stderr
    own_engine.start()
    scene.survived(NAMES)


def test_engine_with_a_build_and_a_prune_at_once_loses_nothing(scene: Scene) -> None:
    """`prune` beside a build takes nothing that the build stands on."""
    scene.chain(slow="three")
    build = scene.start_build()
    build.wait_for(MOMENTS["amid"].format(name="three"))
    done = scene.run(scene.command("prune"))
    assert done.returncode == 0, done.stderr
    assert build.ended() == 0, build.said
    scene.survived(NAMES)
