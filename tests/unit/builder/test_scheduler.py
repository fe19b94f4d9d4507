"""What the scheduler expects of a stage, and what it hands out for it."""

from __future__ import annotations

from jetson_containers.builder.graph import merge, priorities
from jetson_containers.builder.resources import Resources
from jetson_containers.builder.scheduler import Scheduler, loads
from jetson_containers.plan.stage import StageKind
from tests.unit.builder.helpers import GIB, plan, stage

COMPILE = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG MAX_JOBS\nRUN make -j$MAX_JOBS\n"
MACHINE = Resources(cores=2, memory=16 * GIB, slots=2)


def test_scheduler_gives_a_compile_all_cores_beside_a_short_stage() -> None:
    """Two stages that may start together, of which one compiles, do not halve its jobs."""
    low = stage("low", key="low")
    engine = stage("engine", key="engine", dockerfile=COMPILE, kind=StageKind.ARTIFACT, package={"memory_per_job": GIB})
    tools = stage("tools", key="tools", parent=low)
    graph = merge([plan(low, engine, tools, stage("top", engine, parent=tools))])
    scheduler = Scheduler(graph, graph.nodes, {"sha256:engine": 9.0}, MACHINE, {})
    handed = [scheduler.next(), scheduler.next()]
    assert [(key, given.jobs) for key, given in filter(None, handed)] == [("sha256:engine", 2), ("sha256:low", 1)]


def test_scheduler_shares_between_two_long_compiles_until_one_is_known_to_be_short() -> None:
    """Recorded times decide between stages that both compile."""
    one = stage("one", key="one", dockerfile=COMPILE)
    two = stage("two", key="two", dockerfile=COMPILE)
    graph = merge([plan(one, two, stage("top", two, parent=one))])
    jobs = {}
    for name, seconds in {"first run": {}, "later": {"one": 20.0, "two": 1700.0}}.items():
        scheduler = Scheduler(graph, graph.nodes, priorities(graph, set(graph.nodes), seconds), MACHINE, seconds)
        handed = filter(None, [scheduler.next(), scheduler.next()])
        jobs[name] = {key.removeprefix("sha256:"): given.jobs for key, given in handed}
    assert jobs == {"first run": {"one": 1, "two": 1}, "later": {"two": 2, "one": 1}}


def test_loads_tell_what_compiles_from_dockerfile_and_recipe() -> None:
    """A layer on an artifact of its package only unpacks; a lone stage that states memory compiles by itself."""
    build = stage("kit", key="kit-build", kind=StageKind.ARTIFACT, package={"memory_per_job": 2 * GIB})
    unpack = stage("kit", build, key="kit", package={"memory_per_job": 2 * GIB})
    own = stage("own", key="own", parent=unpack, package={"memory_per_job": 3 * GIB})
    asks = stage("asks", key="asks", parent=own, dockerfile=COMPILE)
    alias = stage("alias", key="alias", parent=asks, kind=StageKind.META, dockerfile="")
    graph = merge([plan(build, unpack, own, asks, alias)])
    found = loads(graph, graph.nodes, {"kit (artifact)": 700.0, "asks": 4.0})
    assert {key.removeprefix("sha256:"): (load.compiles, load.seconds) for key, load in found.items()} == {
        "kit-build": (True, 700.0),
        "kit": (False, None),
        "own": (True, None),
        "asks": (True, 4.0),
        "alias": (False, None),
    }
    assert found["sha256:own"].memory_per_job == 3 * GIB
