"""Builds on a farm in this process: Dask's scheduler and workers are real, the engines only remember."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder import run
from jetson_containers.core.console import Console
from jetson_containers.core.errors import BuildError, InterruptedByUserError, NotReadyError
from jetson_containers.farm import access, client
from jetson_containers.farm.access import FarmAccess
from tests.unit.builder.helpers import GIB, package, plan, stage
from tests.unit.farm.conftest import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jetson_containers.farm.handover import Offer
    from jetson_containers.plan.plan import BuildPlan
    from tests.unit.farm.conftest import Farm


def recipe(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / "packages" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    return folder


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Start work; its result is appended to the list."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(work()))
    thread.start()
    return thread, result


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    never = threading.Event()
    for _ in range(3000):
        if condition():
            return
        never.wait(0.01)
    pytest.fail("it does not happen")


def tower(tmp_path: Path, *names: str) -> BuildPlan:
    """A plan of layers one on another, with recipes that are there."""
    stages = []
    for name in names:
        definition = package(name, path=recipe(tmp_path, name))
        stages.append(
            stage(name, parent=stages[-1] if stages else None, definition=definition, context=definition.path)
        )
    return plan(*stages)


def test_farm_builds_each_stage_once_and_leaves_all_in_the_registry(farm: Farm, tmp_path: Path) -> None:
    """Two plans that share a stage are built by two workers, each stage once."""
    engines = [farm.add("one"), farm.add("two")]
    report = farm.build(tower(tmp_path, "a", "b"), tower(tmp_path, "a", "c"))
    built = sorted(tag for engine in engines for tag in engine.tags_built)
    assert built == [f"jetson-containers/stage:{name}" for name in "abc"]
    assert farm.registry.stages() == ["a", "b", "c"]
    assert {result.state for result in report.results.values()} == {"built"}


def test_farm_finished_images_are_pulled_and_named_here(farm: Farm, tmp_path: Path) -> None:
    """After the farm, an ordinary run finds all in the registry: it builds nothing and names the image."""
    farm.add("one")
    made = tower(tmp_path, "a", "b")
    farm.build(made)
    options = run.BuildOptions(log_dir=tmp_path / "logs", env={}, disk_per_stage=0)
    console = Console(out=farm.site.out, err=farm.site.err, env={})
    report = run.run([made], farm.site.engine, options, console, farm.stages)
    assert report.images == (made.final,)
    assert farm.site.built() == []


def test_farm_takes_what_is_here_or_in_the_registry_as_built(farm: Farm, tmp_path: Path) -> None:
    """A stage of the client's own store is pushed, one of the registry is used: neither is built again."""
    farm.site.run(tower(tmp_path, "a"))
    farm.site.built()
    engine = farm.add("one")
    farm.build(tower(tmp_path, "a", "b"))
    assert engine.tags_built == ["jetson-containers/stage:b"]
    second = farm.add("two")
    farm.call(farm.workers.pop("one").close())
    farm.build(tower(tmp_path, "a", "b", "c"))
    assert second.tags_built == ["jetson-containers/stage:c"]
    assert ("pull", f"{NAMESPACE}/stage@{engine.store['jetson-containers/stage:b'].id}") in second.calls


def test_farm_pulls_the_base_image_under_a_name_of_its_own(farm: Farm, tmp_path: Path) -> None:
    """A base of no registry is pushed once; workers build on it and keep their own image of that name."""
    engine = farm.add("one")
    engine.add_image("base:1")
    own = engine.store["base:1"].id
    farm.build(tower(tmp_path, "a"))
    (request,) = engine.requests
    assert request.build_args["BASE_IMAGE"].startswith("jetson-containers/base:farm-")
    assert engine.store["base:1"].id == own
    assert not [name for name in engine.store if "/farm-base@" in name]
    assert farm.site.engine.image(f"{NAMESPACE}/farm-base:1") is None


def test_farm_follows_a_chain_on_the_worker_that_has_its_parent(farm: Farm, tmp_path: Path) -> None:
    """Of two idle workers, the one that built the parent goes on, and pulls nothing but the base."""
    engines = [farm.add("one"), farm.add("two")]
    farm.build(tower(tmp_path, "a", "b", "c", "d"))
    assert sorted(len(engine.tags_built) for engine in engines) == [0, 4]
    pulled = [call[1] for engine in engines for call in engine.calls if call[0] == "pull"]
    assert all("/farm-base@" in reference for reference in pulled)


def test_farm_begins_with_the_longest_chain(farm: Farm, tmp_path: Path) -> None:
    """Of stages that can start, the one with the longest chain above it is first; unknown times count alike."""
    engine = farm.add("one")
    farm.build(tower(tmp_path, "short"), tower(tmp_path, "long", "longer", "longest"))
    tags = [tag.rpartition(":")[2] for tag in engine.tags_built]
    assert tags[0] == "long"


def test_farm_gives_stages_to_workers_with_the_labels(farm: Farm, tmp_path: Path) -> None:
    """With --farm-labels only workers that have all of them build; that there is none is said."""
    plain, board = farm.add("plain"), farm.add("board", "r36.4", "gpu")
    farm.build(tower(tmp_path, "a"), tower(tmp_path, "b"), labels=("gpu", "r36.4"))
    assert (plain.tags_built, len(board.tags_built)) == ([], 2)
    assert "no worker takes" not in farm.site.said()


def test_farm_says_that_no_worker_can_take_a_stage_and_waits(farm: Farm, tmp_path: Path) -> None:
    """A stage that needs more memory than any worker has waits for one that has it."""
    farm.add("small", memory=GIB)
    definition = package("big", path=recipe(tmp_path, "big"), memory_per_job=3 * GIB)
    made = plan(stage("big", definition=definition, context=definition.path))
    thread, result = in_thread(lambda: farm.build(made))
    until(lambda: "no worker takes 1 of these stages yet, which need linux/amd64, 3.2 GB" in farm.site.err.getvalue())
    engine = farm.add("large", memory=4 * GIB)
    thread.join(30)
    assert (len(result), len(engine.tags_built)) == (1, 1)


def test_farm_lets_a_failed_stage_end_the_build_with_its_log(farm: Farm, tmp_path: Path) -> None:
    """The error names the worker, the stage and the log there, and shows its last lines."""
    farm.add("one").fail("stage:b", "E: no such file: libz")
    with pytest.raises(BuildError) as caught:
        farm.build(tower(tmp_path, "a", "b", "c"))
    assert caught.value.message.startswith("one: the build of stage `b`")
    assert "| E: no such file: libz" in caught.value.details
    assert str(tmp_path / "one" / "logs") in caught.value.details[-1]
    assert farm.registry.stages() == ["a"]


def test_farm_with_keep_going_builds_what_stands_on_no_failed_stage(farm: Farm, tmp_path: Path) -> None:
    """What stands on a failed stage fails with it, and the rest is built."""
    farm.add("one").fail("stage:b")
    report = farm.build(tower(tmp_path, "a", "b", "c"), tower(tmp_path, "a", "d"), keep_going=True)
    assert sorted(report.failures) == ["sha256:b", "sha256:c"]
    assert sorted(report.results) == ["sha256:a", "sha256:d"]


def test_farm_loses_only_the_running_stage_of_a_worker_that_dies(farm: Farm, tmp_path: Path) -> None:
    """A worker dies amid its second stage: another one pulls the first, and builds the second and third."""
    first = farm.add("first")
    first.hang("stage:b")
    thread, result = in_thread(lambda: farm.build(tower(tmp_path, "a", "b", "c")))
    assert first.hanging.wait(30)
    second = farm.add("second")
    farm.kill("first")
    thread.join(60)
    first.stop()
    assert [tag.rpartition(":")[2] for tag in second.tags_built] == ["b", "c"]
    assert sorted(result[0].results) == ["sha256:a", "sha256:b", "sha256:c"]
    assert farm.registry.stages() == ["a", "b", "c"]


def test_farm_runs_a_stage_once_for_two_clients(farm: Farm, tmp_path: Path) -> None:
    """Two builds at the same time ask for the same stage: its key is that of one task."""
    engine = farm.add("one")
    farm.add("two")
    engine.hang("stage:a")
    farm.engines["two"].hang("stage:a")
    builds = [in_thread(lambda: farm.build(tower(tmp_path, "a"))) for _ in range(2)]
    until(lambda: len(farm.scheduler.clients) >= 3)  # two, and Dask's own for `fire_and_forget`
    until(lambda: any(each.hanging.is_set() for each in farm.engines.values()))
    for each in farm.engines.values():
        each.release()
    for thread, _ in builds:
        thread.join(30)
    assert [len(result) for _, result in builds] == [1, 1]
    assert sum(len(each.tags_built) for each in farm.engines.values()) == 1


def test_farm_finishes_what_runs_after_ctrl_c_and_a_second_run_finds_it(
    farm: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C leaves the running stage to its worker and starts no other; the next run waits for that one."""
    engine = farm.add("one")
    engine.hang("stage:a")

    def interrupt(_client: object) -> list[Offer]:
        until(lambda: "a: building on one" in farm.site.err.getvalue())
        raise KeyboardInterrupt

    offers = iter([client._offers, interrupt])

    def next_offers(given: object) -> list[Offer]:
        return next(offers)(given)

    with monkeypatch.context() as patch:
        patch.setattr(client, "LOOK", 0.01)
        patch.setattr(client, "_offers", next_offers)
        with pytest.raises(InterruptedByUserError, match="interrupted"):
            farm.build(tower(tmp_path, "a", "b"))
    until(lambda: [task.key for task in farm.scheduler.tasks.values()] == ["sha256:a"])
    thread, result = in_thread(lambda: farm.build(tower(tmp_path, "a", "b")))
    wanted = farm.scheduler.tasks["sha256:a"].who_wants
    until(lambda: any(str(each.client_key).startswith("Client") for each in wanted or ()))
    engine.release()
    thread.join(30)
    assert [tag.rpartition(":")[2] for tag in engine.tags_built] == ["a", "b"]
    assert len(result) == 1


@pytest.mark.parametrize("listens", [True, False])
def test_farm_that_nobody_runs_is_said(farm: Farm, monkeypatch: pytest.MonkeyPatch, listens: bool) -> None:
    """Where no scheduler answers, the error says how to start one."""
    monkeypatch.setattr(client, "CONNECT", 1.0)
    if listens:  # as far as can be told before Dask tries
        monkeypatch.setattr(access, "check_listens", lambda _address: None)
    nobody = client.FarmOptions(address="tcp://127.0.0.1:9", access=FarmAccess())
    with pytest.raises(NotReadyError, match=r"no scheduler answers at tcp://127\.0\.0\.1:9") as caught:
        client.status(nobody)
    assert caught.value.hint == "start one: `jetson-containers farm scheduler`"


def test_farm_status_shows_workers_and_what_they_build(farm: Farm, tmp_path: Path) -> None:
    """The status has each worker's labels, memory and running stage."""
    engine = farm.add("board", "r36.4", "gpu", memory=4 * GIB)
    engine.hang("stage:a")
    thread, _ = in_thread(lambda: farm.build(tower(tmp_path, "a", "b")))
    assert engine.hanging.wait(30)
    (worker,) = client.status(farm.options()).workers
    engine.release()
    thread.join(30)
    assert (worker.name, worker.labels) == ("board", ("gpu", "linux/amd64", "r36.4"))
    assert (worker.memory, worker.slots, worker.building, worker.waiting) == (4 * GIB, 1, ("a",), 0)


def test_farm_gives_an_urgent_stage_to_a_free_worker_that_lacks_its_parent(farm: Farm, tmp_path: Path) -> None:
    """The worker that has the parent is at work for long; the child is pulled and built by the other one."""
    first = farm.add("first")
    first.hang("stage:long")
    base = stage("a", definition=package("a", path=recipe(tmp_path, "a")), context=recipe(tmp_path, "a"))
    made = []
    for name in ("long", "short"):
        definition = package(name, path=recipe(tmp_path, name))
        made.append(plan(base, stage(name, parent=base, definition=definition, context=definition.path)))
    thread, result = in_thread(lambda: farm.build(*made))
    assert first.hanging.wait(30)
    second = farm.add("second")
    until(lambda: second.tags_built == ["jetson-containers/stage:short"])
    assert first.tags_built == ["jetson-containers/stage:a", "jetson-containers/stage:long"]
    first.release()
    thread.join(30)
    assert len(result[0].results) == 3


@pytest.mark.long
def test_farm_client_shows_no_traceback_of_a_scheduler_that_was_killed() -> None:
    """Dask logs a traceback when nobody answers any more; the build ends with an error of ours instead."""
    argv = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    shown: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = shown.append  # type: ignore[method-assign]
    logger = logging.getLogger("distributed.client")
    with subprocess.Popen([*argv, "--no-dashboard"], stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr is not None
        address = next(line.split()[-1] for line in child.stderr if "Scheduler at:" in line)
        options = client.FarmOptions(address=address, access=FarmAccess(), labels=())
        logger.addHandler(handler)
        try:
            with client._connected(options) as connected:
                future = connected.submit(sum, [1, 2], key="one")
                ended = threading.Event()
                future.add_done_callback(lambda _future: ended.set())
                client._offers(connected)  # the scheduler has the task
                child.kill()
                assert ended.wait(60)
                error = client._error_of(future, "a")
        finally:
            logger.removeHandler(handler)
            child.kill()
    assert (type(error), "the scheduler is gone" in error.message) == (NotReadyError, True)
    assert shown == []
