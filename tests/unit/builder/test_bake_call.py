"""Stages that one command builds: the same images as in every other mode, and the same when something fails."""

from __future__ import annotations

import itertools
import os
import re
import signal
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.builder.graph import merge
from jetson_containers.builder.resources import Resources
from jetson_containers.builder.scheduler import group
from jetson_containers.core.errors import (
    BuildError,
    EngineMissingError,
    InterruptedByUserError,
    PackageTestError,
    RecipeError,
)
from jetson_containers.engine.interface import Builder, RunResult
from jetson_containers.images import labels
from jetson_containers.plan.stage import StageKind
from tests.fakes import CAPABILITIES
from tests.unit.builder.helpers import GIB, Site, chain, plan, results_of, stage, states
from tests.unit.builder.test_package_tests_of_runs import failing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jetson_containers.engine.interface import BuildRequest
    from jetson_containers.plan.plan import BuildPlan

BAKE = replace(CAPABILITIES, builder=Builder.BUILDX, buildx=(0, 13, 1), bake=True)
PLACE = "jetson-containers/stage:"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.engine.capabilities_ = BAKE
    made.engine.add_image("base:1")
    return made


def calls(site: Site) -> list[list[str]]:
    """The stages of each command, and of none those that were built before."""
    return [[tag.removeprefix(PLACE) for tag in wanted] for wanted in site.engine.bakes]


def family() -> list[BuildPlan]:
    """Two images with a common part, a compile part and a meta package."""
    a = stage("a", package={"test": ("test.sh",)})
    made = stage("made", parent=a, kind=StageKind.ARTIFACT)
    b = stage("b", made, parent=a, build_args={"http_proxy": "http://p"})
    meta = stage("all", parent=b, kind=StageKind.META, dockerfile="")
    c = stage("c", parent=a)
    return [plan(a, made, b, meta), plan(a, c)]


@dataclass(frozen=True)
class Mode:
    """A way to build, and the images that it makes: their labels by name."""

    builder: Builder
    bake: bool = False

    def images(self, directory: Path) -> dict[str, dict[str, str]]:
        site = Site(directory)
        site.engine.capabilities_ = replace(CAPABILITIES, builder=self.builder, bake=self.bake)
        site.engine.add_image("base:1")
        assert site.run(*family(), tests="none").ok
        assert bool(site.engine.bakes) is self.bake
        time = re.compile(r"\d{4}-\d\d-\d\dT[\d:]+Z?")  # of the final image, and of what is known of tests
        return {
            name: {key: time.sub("TIME", value) for key, value in image.labels.items()}
            for name, image in site.engine.store.items()
        }


@pytest.mark.parametrize(
    "mode", [Mode(Builder.BUILDKIT), Mode(Builder.BUILDX), Mode(Builder.BUILDX, bake=True)], ids=str
)
def test_run_makes_the_same_stages_tags_and_labels_with_every_engine_mode(tmp_path: Path, mode: Mode) -> None:
    """Whatever builds, the store holds the same names with the same labels afterwards."""
    expected = Mode(Builder.LEGACY).images(tmp_path / "legacy")
    assert mode.images(tmp_path / "other") == expected
    assert {name for name in expected if name.startswith(PLACE)} == {
        f"{PLACE}{x}" for x in ["a", "made", "b", "all", "c"]
    }


def test_plan_goes_down_in_one_call(site: Site) -> None:
    """The whole plan is one command; stages name what they stand on, tests run, the final image is named."""
    report = site.run(*family(), jobs=4)
    assert calls(site) == [["a", "made", "b", "all", "c"]]
    needs = {request.tag: request.needs for request in site.engine.requests}
    assert needs[f"{PLACE}b"] == (f"{PLACE}a", f"{PLACE}made")
    assert needs[f"{PLACE}all"] == (f"{PLACE}b",)
    assert results_of(report) == {"a": "passed", "made": "none", "b": "none", "all": "none", "c": "none"}
    assert len(report.images) == 2
    assert (site.logs() / "build" / "01_a.log").read_text().count("[1/1] RUN something") == 1


def test_stages_that_are_there_are_not_in_the_call(site: Site) -> None:
    """What is built is taken from the store."""
    site.run(chain("a", "b"))
    site.run(chain("a", "b", "c", "d"))
    assert calls(site) == [["a", "b"], ["c", "d"]]
    assert site.run(chain("a", "b", "c", "d")).ok
    assert len(site.engine.bakes) == 2


def test_single_stage_is_built_as_in_every_other_mode(site: Site) -> None:
    """One stage needs no bake, so its layer cache is that of a stage by itself."""
    site.run(chain("a"))
    assert (site.built(), calls(site)) == (["a"], [])


def test_failed_stage_of_a_call_keeps_what_is_finished(site: Site) -> None:
    """The failed stage is explained as in every other mode, and what stands below it stays."""
    site.engine.fail(":b$", "E: Unable to locate package libfoo")
    with pytest.raises(BuildError) as caught:
        site.run(chain("a", "b", "c"))
    assert "stage `b` (2 of 3) failed: apt does not know the package `libfoo`" in caught.value.message
    assert any("02_b.log" in detail for detail in caught.value.details)
    assert site.engine.image(f"{PLACE}a") is not None
    assert not (site.logs() / "build" / "03_c.log").exists()
    site.engine.heal()
    site.built()
    assert states(site.run(chain("a", "b", "c"))) == {"a": "cached", "b": "built", "c": "built"}
    assert site.built() == ["b", "c"]


@pytest.mark.parametrize(("keep_going", "d"), [(True, "built"), (False, "skipped")])
def test_failed_stage_of_a_call_and_its_siblings(site: Site, keep_going: bool, d: str) -> None:
    """With --keep-going a further command builds what does not stand on the failed stage."""
    a = stage("a")
    b = stage("b", parent=a)
    c = stage("c", parent=b)
    site.engine.fail(":b$")
    plans = [plan(a, b, c), plan(a, stage("d", parent=a))]
    if keep_going:
        report = site.run(*plans, keep_going=True, no_cache=True)
        assert [request.no_cache for request in site.engine.requests] == [True, True, True]
    else:
        with pytest.raises(BuildError):
            site.run(*plans)
        report = None
    assert calls(site) == [["a", "b", "c", "d"], ["d"]] if keep_going else [["a", "b", "c", "d"]]
    if report is not None:
        assert states(report) == {"a": "built", "b": "failed", "c": "skipped", "d": d}
        assert {entry.package: entry.cause for entry in report.stages}["c"] == "needs `b`, which failed"


def test_failed_test_in_a_call_leaves_what_stands_above_unnamed(site: Site) -> None:
    """What stands above a stage whose test failed is not tested, and no final image is named."""
    site.engine.answer = failing("test.py", RunResult(exit_code=1, output="no"))
    a, the_plan = stage("a", package={"test": ("test.py",)}), None
    b = stage("b", parent=a, package={"test": ("other.sh",)})
    the_plan = plan(a, b)
    with pytest.raises(PackageTestError):
        site.run(the_plan)
    assert site.engine.image(the_plan.final) is None
    assert not any("other.sh" in word for call in site.engine.runs for word in call.command)
    assert labels.read(site.engine.store[f"{PLACE}a"].labels).tests["status"] == "failed"
    site.engine.answer = lambda _: RunResult(exit_code=0, output="")
    report = site.run(the_plan)
    assert results_of(report) == {"a": "passed", "b": "passed"}


def test_failed_test_stops_a_command_that_builds_only_what_stands_above(site: Site) -> None:
    """Nothing more is compiled for an image that cannot be named."""
    site.engine.answer = failing("test.py", RunResult(exit_code=1, output="no"))

    def wait(request: BuildRequest) -> None:
        if request.tag.endswith(":b"):
            assert site.engine.bake_stopped.wait(60)

    site.engine.on_build = wait
    a = stage("a", package={"test": ("test.py",)})
    b = stage("b", parent=a)
    with pytest.raises(PackageTestError):
        site.run(plan(a, b, stage("c", parent=b)))
    assert site.built() == ["a", "b"]


def test_stage_that_cannot_be_asked_for_fails_alone(site: Site) -> None:
    """A recipe's error in one stage keeps only what stands on it from being built."""
    a = stage("a")
    broken = stage("b", parent=a, context=None, definition=None, build_args={})
    object.__setattr__(broken, "definition", None)
    plans = [plan(a, broken, stage("c", parent=broken)), plan(a, stage("d", parent=a))]
    report = site.run(*plans, keep_going=True)
    assert states(report) == {"a": "built", "b": "failed", "c": "skipped", "d": "built"}
    assert calls(site) == [["a", "d"]]


def test_engine_that_fails_as_a_whole_is_the_error_of_the_lowest_stage(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that went away is one error and not one for each stage."""

    def gone(*_: Any, **__: Any) -> None:
        raise EngineMissingError("the Docker engine does not answer (any more)")

    monkeypatch.setattr(site.engine, "bake", gone)
    report = site.run(chain("a", "b", "c"), keep_going=True)
    assert states(report) == {"a": "failed", "b": "skipped", "c": "skipped"}


def test_interrupted_call_resumes_by_key(site: Site) -> None:
    """Ctrl-C ends the command; what was finished is not built again."""
    site.engine.hang(":b$")

    def send() -> None:
        assert site.engine.hanging.wait(120)
        os.kill(os.getpid(), signal.SIGINT)

    sender = threading.Thread(target=send)
    sender.start()
    with pytest.raises(InterruptedByUserError):
        site.run(chain("a", "b", "c"))
    sender.join()
    site.engine.heal()
    site.built()
    site.run(chain("a", "b", "c"))
    assert site.built() == ["b", "c"]


def test_runs_at_once_build_each_stage_once(site: Site) -> None:
    """Calls of two runs take their locks in one order: neither waits for the other forever."""
    plans = [chain("a", "b", "c", "d"), chain("a", "b", "c", "d", "e")]
    failures: list[BaseException] = []

    def work(the_plan: BuildPlan) -> None:
        try:
            # Folders of their own, as two processes have, and one place for locks.
            logs = site.directory / the_plan.stages[-1].package
            site.run(the_plan, log_dir=logs, state_dir=site.directory / "state")
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            failures.append(error)

    threads = [threading.Thread(target=work, args=(the_plan,)) for the_plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert failures == []
    assert sorted(site.built()) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("package", "options"),
    [({"timeout": 60.0}, {}), ({"build_flags": "--shm-size=1g"}, {}), ({}, {"build_flags": ("--pull",)})],
)
def test_stage_that_bake_cannot_build_is_built_alone(
    site: Site, package: dict[str, Any], options: dict[str, Any]
) -> None:
    """Flags of docker build and a time limit of one stage are kept: such a stage has a command of its own."""
    a, b = stage("a"), None
    b = stage("b", parent=a, package=package)
    c = stage("c", parent=b)
    report = site.run(plan(a, b, c, stage("d", parent=c)), **options)
    assert states(report) == dict.fromkeys("abcd", "built")
    assert calls(site) == ([] if options else [["c", "d"]])
    (of_b,) = [request for request in site.engine.requests if request.tag.endswith(":b")]
    assert of_b.timeout == package.get("timeout")


def test_recipe_error_of_flags_is_shown(site: Site) -> None:
    """A flag that only a user may give is refused here too."""
    a = stage("a", package={"build_flags": "--secret=id=x"})
    with pytest.raises(RecipeError, match="--secret"):
        site.run(plan(a, stage("b", parent=a)))


def least(keys: Iterable[str], memory: int) -> dict[str, int]:
    return dict.fromkeys(keys, memory)


def test_group_gives_every_chain_a_slot_and_memory() -> None:
    """The engine starts all that can start: more chains than slots or memory wait for the next command."""
    a = stage("a")
    many = [stage(name, parent=a) for name in "bcdef"]
    merged = merge([plan(a, one) for one in many])
    keys = least(merged.nodes, 2 * GIB)
    machine = Resources(cores=8, memory=64 * GIB, slots=4)
    assert group(merged, keys, machine) == [["sha256:a", "sha256:b"], ["sha256:c"], ["sha256:d"], ["sha256:e"]]
    assert group(merged, keys, replace(machine, memory=5 * GIB)) == [["sha256:a", "sha256:b"], ["sha256:c"]]
    assert group(merged, keys, replace(machine, memory=GIB, slots=1)) == [["sha256:a", "sha256:b"]]
    assert group(merged, keys, machine, frozenset({"sha256:a"})) == [["sha256:a"]]


def test_stages_of_a_call_share_the_machine_by_chains(site: Site) -> None:
    """What may run at the same time gets a part of the cores, a chain by itself all of them."""
    jobs = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG MAX_JOBS\n"
    a = stage("a", dockerfile=jobs)
    site.run(plan(a, stage("b", parent=a, dockerfile=jobs)), cores=8)
    assert [request.jobs for request in site.engine.requests] == [8, 8]
    site.engine.requests.clear()
    c = stage("c", dockerfile=jobs)
    two = [stage(name, parent=c, dockerfile=jobs) for name in "de"]
    site.run(*(plan(c, one) for one in two), cores=8, jobs=2)
    assert [request.jobs for request in site.engine.requests] == [4, 4, 4]


@given(parents=st.lists(st.integers(0, 6), min_size=1, max_size=12), slots=st.integers(1, 4), memory=st.integers(1, 8))
def test_group_holds_what_its_stages_stand_on(parents: list[int], slots: int, memory: int) -> None:
    """What a stage of the group needs stands before it in the group, and there are never more chains than slots."""
    made = [stage("s0")]
    for number, parent in enumerate(parents, 1):
        made.append(stage(f"s{number}", parent=made[parent % len(made)]))
    merged = merge([plan(*made)])
    chains = group(merged, least(merged.nodes, GIB), Resources(cores=8, memory=memory * GIB, slots=slots))
    chosen = [key for key in merged.nodes if any(key in one for one in chains)]
    assert 1 <= len(chains) <= slots
    for key in chosen:
        assert set(merged.needs[key]) - {*merged.test_only_stages} <= set(chosen) or key == made[-1].key
    for one in chains:
        assert all(below in merged.needs[above] for below, above in itertools.pairwise(one))
