"""Running plans on an engine in memory; `tests/real/test_builder.py` does the same on a real one."""

from __future__ import annotations

import io
import os
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jetson_containers.builder import resources, run
from jetson_containers.builder.graph import merge, priorities
from jetson_containers.builder.scheduler import Scheduler
from jetson_containers.builder.state import BuildState
from jetson_containers.core.errors import (
    BuildError,
    DiskSpaceError,
    EngineMissingError,
    InterruptedByUserError,
)
from jetson_containers.engine.interface import RunResult
from jetson_containers.plan.stage import Stage, StageKind
from tests.fakes import CAPABILITIES, RunCall
from tests.unit.builder.helpers import GIB, Site, chain, plan, results_of, stage, states

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.plan.plan import BuildPlan


def test_chain_is_built_in_order_and_named(site: Site) -> None:
    """A chain is built in order and named."""
    report = site.run(chain("a", "b", "c"))
    assert report.ok
    assert report.images == ("c:1-x86_64-cpu",)
    assert site.built() == ["a", "b", "c"]
    assert states(report) == {"a": "built", "b": "built", "c": "built"}


def test_second_run_builds_nothing_and_says_so(site: Site) -> None:
    """A second run builds nothing and says so."""
    site.run(chain("a", "b", tests=("test.sh",)))
    runs = len(site.engine.runs)
    site.built(), site.said()
    before = {name: image.id for name, image in site.engine.store.items()}
    report = site.run(chain("a", "b", tests=("test.sh",)))
    assert report.ok
    assert report.images == ("b:1-x86_64-cpu",)
    assert site.built() == []
    assert len(site.engine.runs) == runs
    assert "b is up to date: nothing to build (b:1-x86_64-cpu" in site.said()
    assert {name: image.id for name, image in site.engine.store.items()} == before
    assert states(report) == {"a": "cached", "b": "cached"}
    assert results_of(report) == {"a": "cached", "b": "cached"}


def test_second_run_writes_no_log_folder(site: Site) -> None:
    """A run with nothing to build writes no log folder."""
    site.run(chain("a"))
    before = sorted((site.directory / "logs").iterdir())
    site.run(chain("a"))
    assert sorted((site.directory / "logs").iterdir()) == before


def test_changed_stage_is_built_with_those_above_it(site: Site) -> None:
    """A changed stage is built with those above it."""
    site.run(chain("a", "b", "c"))
    site.built()
    a = stage("a")
    b = stage("b", parent=a, key="b2")
    report = site.run(plan(a, b, stage("c", parent=b, key="c2")))
    assert site.built() == ["b2", "c2"]
    assert states(report) == {"a": "cached", "b": "built", "c": "built"}


def test_shared_stages_are_built_once(site: Site) -> None:
    """Stages that plans share are built once."""
    report = site.run(chain("a", "b"), chain("a", "c"), chain("a", "b", "d"))
    assert sorted(site.built()) == ["a", "b", "c", "d"]
    assert report.images == ("b:1-x86_64-cpu", "c:1-x86_64-cpu", "d:1-x86_64-cpu")


def test_final_image_whose_stages_were_pruned_is_up_to_date(site: Site) -> None:
    """A final image whose stages were pruned is still up to date."""
    site.run(chain("a", "b", tests=("test.sh",)))
    for name in ("a", "b"):
        site.engine.untag(f"jetson-containers/stage:{name}")
    site.built(), site.said()
    report = site.run(chain("a", "b", tests=("test.sh",)))
    assert (report.ok, site.built()) == (True, [])
    assert "up to date" in site.said()


def test_final_image_replaces_the_pruned_stage_another_plan_needs(site: Site) -> None:
    """A final image serves as the pruned stage that another plan needs."""
    site.run(chain("a", "b"))
    for name in ("a", "b"):
        site.engine.untag(f"jetson-containers/stage:{name}")
    site.built()
    site.run(chain("a", "b", "c"))
    assert site.built() == ["c"]
    assert site.label("c:1-x86_64-cpu").packages == ("a", "b", "c")
    assert site.label("b:1-x86_64-cpu").role == "final"
    assert site.label("jetson-containers/stage:b").role == "stage"


def test_pruned_stages_are_built_again_only_where_needed(site: Site) -> None:
    """Only the pruned stages that are needed are built again."""
    site.run(chain("a", "b", "c"))
    site.engine.untag("jetson-containers/stage:a")
    site.engine.untag("jetson-containers/stage:b")
    site.engine.untag("jetson-containers/stage:c")
    site.engine.untag("c:1-x86_64-cpu")
    site.built()
    site.run(chain("a", "b"), chain("a", "x"))
    assert sorted(site.built()) == ["a", "b", "x"]


def test_image_of_a_user_with_inherited_labels_is_not_a_stage(site: Site) -> None:
    """`FROM` hands labels down, so that a user's image carries our key."""
    site.run(chain("a"))
    inherited = site.engine.store["a:1-x86_64-cpu"].labels
    for name in list(site.engine.store):
        if name != "base:1":
            site.engine.untag(name)
    site.engine.add_image("my-app:latest", inherited)
    site.built()
    site.run(chain("a"))
    assert site.built() == ["a"]


@pytest.mark.parametrize("option", ["rebuild", "no_cache"])
def test_rebuild_and_no_cache_build_each_stage_once(site: Site, option: str) -> None:
    """`--rebuild` and `--no-cache` build everything once."""
    site.run(chain("a", "b"), chain("a", "c"))
    site.built()
    site.run(chain("a", "b"), chain("a", "c"), **{option: True})
    assert all(request.no_cache is (option == "no_cache") for request in site.engine.requests)
    assert sorted(site.built()) == ["a", "b", "c"]


def test_meta_package_is_another_name_and_not_built(site: Site) -> None:
    """A meta package is another name and needs no build."""
    a = stage("a")
    meta = stage("all", parent=a, kind=StageKind.META)
    report = site.run(plan(a, meta))
    assert site.built() == ["a"]
    assert report.images == ("all:1-x86_64-cpu",)
    assert site.label("jetson-containers/stage:all").key == "sha256:all"


def test_meta_package_alone_pulls_its_base(site: Site) -> None:
    """A meta package alone pulls its base."""
    site.engine.registry["far:1"] = site.engine.add_image("far:1")
    site.engine.untag("far:1")
    site.run(plan(stage("all", kind=StageKind.META, base="far:1")))
    assert ("pull", "far:1") in site.engine.calls


def test_meta_package_amid_a_chain_is_tested_and_not_needed_when_pruned(site: Site) -> None:
    """The planner puts the next layer beside it, not on it."""
    a = stage("a")
    meta = stage("all", parent=a, kind=StageKind.META, package={"test": ("t.sh",)})
    the_plan = plan(a, meta, stage("b", parent=a))
    assert results_of(site.run(the_plan))["all"] == "passed"
    assert site.label("b:1-x86_64-cpu").tests["packages"]["all"]["status"] == "passed"
    for name in ("a", "all", "b"):
        site.engine.untag(f"jetson-containers/stage:{name}")
    site.built(), site.said()
    assert (site.run(the_plan).ok, site.built()) == (True, [])
    assert "up to date" in site.said()


def test_artifact_has_its_role_and_its_own_packages_as_labels(site: Site) -> None:
    """An artifact has its role and its own packages as labels."""
    a = stage("a")
    wheel = stage("torch", parent=a, kind=StageKind.ARTIFACT, key="wheel", package={"test": ("test.py",)})
    top = stage("torch", wheel, parent=a)
    report = site.run(plan(a, wheel, top))
    assert site.built() == ["a", "wheel", "torch"]
    read = site.label("jetson-containers/stage:wheel")
    assert (read.role, read.packages) == ("artifact", ("torch",))
    assert [entry.tests for entry in report.stages] == ["none", "none", "none"]
    assert site.engine.runs == []
    assert site.label("torch:1-x86_64-cpu").packages == ("a", "torch")


def test_run_without_plans_does_nothing(site: Site) -> None:
    """Without plans there is nothing to do."""
    report = site.run()
    assert (report.ok, report.images, report.stages) == (True, (), ())


def test_failed_stage_is_where_the_next_run_resumes(site: Site) -> None:
    """The next run resumes at the failed stage."""
    site.engine.fail(":b$")
    with pytest.raises(BuildError):
        site.run(chain("a", "b", "c"))
    assert site.built() == ["a", "b"]
    assert site.engine.image("jetson-containers/stage:b") is None
    site.engine.heal()
    report = site.run(chain("a", "b", "c"))
    assert site.built() == ["b", "c"]
    assert states(report) == {"a": "cached", "b": "built", "c": "built"}


def test_engine_failure_keeps_its_class_and_exit_code(site: Site) -> None:
    """A failure of the engine keeps its class and exit code."""

    def refuse(_: object) -> None:
        raise DiskSpaceError("the disk with the engine's images is full")

    site.engine.on_build = refuse
    with pytest.raises(DiskSpaceError) as caught:
        site.run(chain("a"))
    assert caught.value.exit_code == 4


def test_bug_stops_the_run_and_is_raised(site: Site) -> None:
    """A bug stops everything and is raised."""

    def bug(_: object) -> None:
        raise ZeroDivisionError

    site.engine.on_build = bug
    with pytest.raises(ZeroDivisionError):
        site.run(chain("a", "b"))
    assert site.built() == ["a"]


def test_missing_engine_is_an_error_before_anything_is_written(site: Site) -> None:
    """A missing engine is an error before anything is written."""
    site.engine.missing = EngineMissingError("no engine")
    with pytest.raises(EngineMissingError):
        site.run(chain("a"))
    site.engine.missing = None
    assert not (site.directory / "logs").exists()


def siblings() -> tuple[BuildPlan, BuildPlan]:
    """`a` carries `b` and `c`; `d` needs b, `e` needs c and d, `f` needs c only."""
    a = stage("a")
    b, c = stage("b", parent=a), stage("c", parent=a)
    d = stage("d", parent=b)
    e = stage("e", c, parent=d)
    return plan(a, b, c, d, e), plan(a, c, stage("f", parent=c))


def test_keep_going_skips_only_what_needs_the_failed_stage(site: Site) -> None:
    """`--keep-going` skips exactly what needs the failed stage."""
    site.engine.fail(":b$")
    report = site.run(*siblings(), keep_going=True)
    assert not report.ok
    assert states(report) == {"a": "built", "b": "failed", "c": "built", "d": "skipped", "e": "skipped", "f": "built"}
    causes = {entry.package: entry.cause for entry in report.stages}
    assert causes["d"] == causes["e"] == "needs `b`, which failed"
    assert "error: the build of stage `b`" in site.said()


def test_keep_going_names_the_plans_that_are_complete(site: Site) -> None:
    """`--keep-going` names the plans that are complete."""
    site.engine.fail(":b$")
    report = site.run(chain("a", "b"), chain("a", "c"), keep_going=True)
    assert (report.ok, report.images) == (False, ("c:1-x86_64-cpu",))


def test_failed_stage_without_keep_going_starts_nothing_new_and_keeps_what_runs(site: Site) -> None:
    """c is still building when b fails; d would be next."""
    a = stage("a")
    b, c = stage("b", parent=a), stage("c", parent=a)
    d = stage("d", parent=c)
    site.engine.hang(":c$")
    site.engine.fail(":b$")

    def on_build(request: Any) -> None:
        if request.tag.endswith(":b"):
            assert site.engine.hanging.wait(120)

    site.engine.on_build = on_build
    releaser = Releaser(site)
    with pytest.raises(BuildError):
        site.run(plan(a, b, c, d), progress="plain", jobs=2, env={"X": "1"}, data=None)
    releaser.done()
    assert sorted(site.built()) == ["a", "b", "c"]
    assert site.engine.image("jetson-containers/stage:c") is not None


class Releaser:
    """Lets hanging builds go on once the run has said that it waits for them."""

    def __init__(self, site: Site) -> None:
        self._write = site.err.write
        self._engine = site.engine
        site.err.write = self._watch  # type: ignore[method-assign]
        self._site = site

    def _watch(self, text: str) -> int:
        if "waiting for what still runs: c" in text:
            self._engine.release()
        return self._write(text)

    def done(self) -> None:
        self._site.err.write = self._write  # type: ignore[method-assign]


def test_disk_space_is_checked_before_anything_is_built(site: Site) -> None:
    """The free space is checked before anything is built."""
    site.engine.capabilities_ = replace(CAPABILITIES, data_root=str(site.directory))
    with pytest.raises(DiskSpaceError, match="2 stages need about"):
        site.run(chain("a", "b"), disk_per_stage=10**18)
    assert site.built() == []


def test_disk_space_of_another_machine_is_not_checked(site: Site) -> None:
    """The free space of another machine is not checked, and tests of it wait: they are files of this one."""
    site.engine.capabilities_ = replace(CAPABILITIES, data_root=str(site.directory), elsewhere=True)
    report = site.run(chain("a", tests=("t.sh",)), disk_per_stage=10**18)
    assert report.ok
    assert [stage.tests for stage in report.stages] == ["deferred"]


def test_interrupted_run_resumes_at_the_test(site: Site) -> None:
    """A run interrupted in a test resumes at that test."""

    def interrupt(_: RunCall) -> RunResult:
        os.kill(os.getpid(), signal.SIGINT)
        site.engine.stopped.wait(120)
        raise InterruptedByUserError("interrupted")

    site.engine.answer = interrupt
    with pytest.raises(InterruptedByUserError):
        site.run(chain("a", tests=("t.sh",)))
    assert site.label("jetson-containers/stage:a").tests["status"] == "pending"
    site.engine.heal()
    site.engine.answer = lambda _: RunResult(exit_code=0, output="")
    site.built()
    report = site.run(chain("a", tests=("t.sh",)))
    assert (site.built(), results_of(report)) == ([], {"a": "passed"})


def test_builds_at_the_same_time_build_a_stage_once(site: Site) -> None:
    """Two builds at the same time build a stage once."""
    site.engine.hang(":a$")
    second_err = io.StringIO()
    second = Site(site.directory, site.engine, err=second_err)
    waiting = threading.Event()
    write = second_err.write

    def watch(text: str) -> int:
        if "which builds the same stage" in text:
            waiting.set()
        return write(text)

    second_err.write = watch  # type: ignore[method-assign]
    reports: list[run.BuildReport] = []
    first_thread = threading.Thread(target=lambda: reports.append(site.run(chain("a", "b"))))
    first_thread.start()
    assert site.engine.hanging.wait(120)
    second_thread = threading.Thread(target=lambda: reports.append(second.run(chain("a", "b"))))
    second_thread.start()
    assert waiting.wait(120)
    site.engine.release()
    first_thread.join(120)
    second_thread.join(120)
    assert [report.ok for report in reports] == [True, True]
    assert sorted(site.built()) == ["a", "b"]


def test_lock_wait_can_be_interrupted(tmp_path: Path) -> None:
    """Waiting for another build can be interrupted."""
    state, cancelled = BuildState(tmp_path), threading.Event()
    with (
        state.lock("k"),
        pytest.raises(InterruptedByUserError),
        state.lock("k", cancelled=cancelled, on_wait=lambda pid: cancelled.set()),
    ):
        pytest.fail("two held the same lock")


def test_lock_wait_names_the_process_that_holds_it(tmp_path: Path) -> None:
    """Who waits is told which process holds the lock."""
    state, cancelled, told = BuildState(tmp_path), threading.Event(), []

    def on_wait(pid: str) -> None:
        told.append(pid)
        cancelled.set()

    with state.lock("k"), pytest.raises(InterruptedByUserError), state.lock("k", cancelled=cancelled, on_wait=on_wait):
        pass
    assert told == [str(os.getpid())]


def test_scheduler_starts_the_longest_remaining_chain_first() -> None:
    """The longest remaining chain starts first."""
    a = stage("a")
    short, long = stage("short", parent=a), stage("long", parent=a)
    graph = merge([plan(a, short), plan(a, long), plan(a, long, stage("top", parent=long))])
    order = priorities(graph, set(graph.nodes), {"short": 50.0, "long": 10.0, "top": 100.0, "a": 1.0})
    assert order == {"sha256:a": 111.0, "sha256:long": 110.0, "sha256:top": 100.0, "sha256:short": 50.0}


def test_resources_are_measured_by_what_is_available(tmp_path: Path) -> None:
    """The machine is measured by what is available."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8000000 kB\nMemFree: 100 kB\nMemAvailable:    4000000 kB\n")
    assert resources.available_memory(tmp_path) == 4_096_000_000
    assert resources.available_memory(tmp_path / "absent") == resources.STAGE_MEMORY
    assert resources.detect(jobs=3, cores=8, root=tmp_path) == resources.Resources(
        cores=8, memory=int(4_096_000_000 * 0.9), slots=3
    )


@pytest.mark.parametrize("text", ["0", "many", "-1", "1.5"])
def test_max_jobs_that_is_not_a_number_is_refused(text: str) -> None:
    """A MAX_JOBS that is not a number is refused."""
    with pytest.raises(Exception, match=r"\$MAX_JOBS"):
        resources.job_limit({"MAX_JOBS": text})


@st.composite
def graphs_of_stages(draw: st.DrawFn) -> BuildPlan:
    count = draw(st.integers(1, 9))
    stages: list[Stage] = []
    for number in range(count):
        needs = draw(st.lists(st.sampled_from(stages), unique_by=lambda s: s.key, max_size=3)) if stages else []
        memory = draw(st.sampled_from([None, GIB // 2, 1 * GIB, 3 * GIB, 20 * GIB]))
        parent, others = (needs[0], needs[1:]) if needs else (None, [])
        stages.append(stage(f"p{number}", *others, parent=parent, package={"memory_per_job": memory}))
    return plan(*stages)


@given(graphs_of_stages(), st.integers(1, 4), st.data())
def test_scheduler_keeps_order_slots_and_memory(the_plan: BuildPlan, slots: int, data: st.DataObject) -> None:
    """The schedule keeps order, slots and memory."""
    available = resources.Resources(cores=4, memory=6 * GIB, slots=slots)
    graph = merge([the_plan])
    timed = st.dictionaries(st.sampled_from([node.stage.package for node in graph.nodes.values()]), st.floats(0, 4000))
    seconds = data.draw(timed)
    scheduler = Scheduler(graph, graph.nodes, priorities(graph, set(graph.nodes), {}), available, seconds)
    done: set[str] = set()
    started: list[str] = []
    lost: set[str] = set()
    failed: set[str] = set()
    while True:
        while (handed := scheduler.next()) is not None:
            key, share = handed
            assert set(graph.needs[key]) <= done
            assert 1 <= share.jobs <= available.cores
            started.append(key)
        assert len(scheduler.running) <= slots
        assert scheduler.reserved <= available.memory or len(scheduler.running) == 1
        if not scheduler.running:
            break
        key = data.draw(st.sampled_from(sorted(scheduler.running)))
        if data.draw(st.integers(0, 5)) == 0:
            failed.add(key)
            lost |= set(scheduler.fail(key))
        else:
            done.add(key)
            scheduler.finish(key)
    assert len(started) == len(set(started))
    assert lost == {key for bad in failed for key in graph.above(bad)}
    assert done | failed | lost == set(graph.nodes)
    assert not (set(started) & lost)


@pytest.mark.long
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(graphs_of_stages(), st.sets(st.integers(0, 8)), st.integers(1, 4))
def test_run_builds_each_stage_once_and_skips_only_dependents(
    tmp_path_factory: pytest.TempPathFactory, the_plan: BuildPlan, bad: set[int], jobs: int
) -> None:
    """A run builds each stage once and skips only what depends on a failed one."""
    site = Site(tmp_path_factory.mktemp("run"))
    order: list[str] = []
    lock = threading.Lock()
    graph = merge([the_plan])
    by_image = {node.stage.image: node.stage for node in graph.nodes.values()}

    def on_build(request: Any) -> None:
        with lock:
            order.append(request.tag)
        for key in by_image[request.tag].depends:
            assert site.engine.image(graph.nodes[key].stage.image) is not None

    site.engine.on_build = on_build
    for number in bad:
        site.engine.fail(f":p{number}$")
    report = site.run(the_plan, keep_going=True, jobs=jobs, memory=6 * GIB)
    assert len(order) == len(set(order))
    assert site.engine.most_running <= jobs
    found = {entry.key: entry.state for entry in report.stages}
    for key, node in graph.nodes.items():
        below = [name for name in graph.nodes if key in graph.above(name)]
        if any(found[name] != "built" for name in below):
            assert found[key] == "skipped"
        else:
            assert found[key] == ("failed" if int(node.stage.package[1:]) in bad else "built")
    assert report.ok == all(state == "built" for state in found.values())

    site.engine.heal()
    order.clear()
    again = site.run(the_plan, jobs=jobs)
    assert again.ok
    assert sorted(order) == sorted(graph.nodes[key].stage.image for key, state in found.items() if state != "built")
