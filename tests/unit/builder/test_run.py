"""Running plans on an engine in memory; `tests/real/test_builder.py` does the same on a real one."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packaging.version import Version

from jetson_containers.builder import package_tests, progress, resources, run
from jetson_containers.builder.graph import merge, priorities
from jetson_containers.builder.layer_cache import LayerCache
from jetson_containers.builder.logs import RunLogs
from jetson_containers.builder.scheduler import Scheduler
from jetson_containers.builder.stage_builder import installs_wheels
from jetson_containers.builder.state import BuildState
from jetson_containers.builder.types import StageReport
from jetson_containers.core.console import Console, Level
from jetson_containers.core.errors import (
    BuildError,
    DiskSpaceError,
    EngineMissingError,
    InterruptedByUserError,
    PackageTestError,
    RegistryError,
    UsageError,
)
from jetson_containers.core.secrets import Redactor
from jetson_containers.engine.interface import OutOfMemoryError, RunResult
from jetson_containers.images import labels
from jetson_containers.plan.plan import BuildPlan
from jetson_containers.plan.stage import Stage, StageKind
from jetson_containers.platforms.platform import Arch, Platform
from jetson_containers.recipes.package import Package
from tests.fakes import CAPABILITIES, FakeEngine, RunCall

if TYPE_CHECKING:
    from collections.abc import Iterator

PLATFORM = Platform(
    arch=Arch.X86_64,
    l4t=None,
    jetpack=None,
    cuda=None,
    driver_cuda=None,
    python=Version("3.11"),
    distro="ubuntu",
    distro_version="22.04",
    sm=(),
)
GIB = 1024**3


def package(name: str, **changes: Any) -> Package:
    family, _, version = name.partition(":")
    values: dict[str, Any] = {"path": Path("/packages") / family, "dockerfile": "Dockerfile", **changes}
    return Package(name=name, family=family, version=version or None, variant=None, **values)


def stage(name: str, *depends: Stage, parent: Stage | None = None, key: str = "", **changes: Any) -> Stage:
    """A layer on `parent` (or the base image); further stages it needs in `depends`."""
    definition = changes.pop("definition", None) or package(name, **changes.pop("package", {}))
    slug = name.replace(":", "-")
    values: dict[str, Any] = {
        "kind": StageKind.LAYER,
        "key": f"sha256:{key or slug}",
        "parent": parent.key if parent else None,
        "base": parent.image if parent else "base:1",
        "image": f"jetson-containers/stage:{key or slug}",
        "depends": tuple(other.key for other in (*([parent] if parent else []), *depends)),
        "layers": 1,
        "context": Path("/packages"),
        "dockerfile": "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n",
        "definition": definition,
        **changes,
    }
    return Stage(package=name, **values)


def plan(*stages: Stage, final: str = "") -> BuildPlan:
    name = stages[-1].package
    packages = tuple(s.package for s in stages if s.kind is not StageKind.ARTIFACT)
    return BuildPlan(
        platform=PLATFORM,
        request=(name,),
        stages=stages,
        final=final or f"{name.split(':')[0]}:1-x86_64-cpu",
        layers=len(stages),
        base="base:1",
        packages=packages,
    )


def chain(*names: str, tests: tuple[str, ...] = (), final: str = "") -> BuildPlan:
    """A plan of layers one on another."""
    stages: list[Stage] = []
    for name in names:
        stages.append(stage(name, parent=stages[-1] if stages else None, package={"test": tests}))
    return plan(*stages, final=final)


@dataclass
class Site:
    """Everything a run needs, with an engine that remembers between runs."""

    directory: Path
    engine: FakeEngine = field(default_factory=FakeEngine)
    err: io.StringIO = field(default_factory=io.StringIO)
    out: io.StringIO = field(default_factory=io.StringIO)

    def run(self, *plans: BuildPlan, **changes: Any) -> run.BuildReport:
        values = {"log_dir": self.directory / "logs", "cores": 4, "memory": 8 * GIB, "env": {}, "disk_per_stage": 0}
        console = Console(out=self.out, err=self.err, env={})
        return run.run(plans, self.engine, run.BuildOptions(**{**values, **changes}), console)

    def built(self) -> list[str]:
        """Tags built since the last time this was asked."""
        tags = [tag.removeprefix("jetson-containers/stage:") for tag in self.engine.tags_built]
        self.engine.requests.clear()
        return tags

    def said(self) -> str:
        text = self.err.getvalue()
        self.err.truncate(0)
        self.err.seek(0)
        return text

    def label(self, reference: str) -> labels.ImageLabels:
        image = self.engine.image(reference)
        assert image is not None
        return labels.read(image.labels)

    def logs(self) -> Path:
        return (self.directory / "logs" / "latest").resolve()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.engine.add_image("base:1")

    def base_is_there(request: Any) -> None:
        assert made.engine.image(request.build_args["BASE_IMAGE"]) is not None

    made.engine.on_build = base_is_there
    yield made
    assert made.engine.running == 0
    leftovers = [name for name in made.engine.store if name.endswith((".part", ".old"))]
    assert leftovers == []
    assert made.out.getvalue() == ""  # stdout belongs to the commands


def states(report: run.BuildReport) -> dict[str, str]:
    return {entry.package: entry.state for entry in report.stages}


def results_of(report: run.BuildReport) -> dict[str, str]:
    return {entry.package: entry.tests for entry in report.stages}


# What is built, and what is not built again.


def test_chain_is_built_in_order_and_named(site: Site) -> None:
    """A chain is built in order and named."""
    report = site.run(chain("a", "b", "c"))
    assert report.ok
    assert report.images == ("c:1-x86_64-cpu",)
    assert site.built() == ["a", "b", "c"]
    assert states(report) == {"a": "built", "b": "built", "c": "built"}


def test_final_image_has_the_documented_labels(site: Site) -> None:
    """The final image has the documented labels."""
    site.run(chain("a", "b", tests=("test.sh",)))
    final = site.label("b:1-x86_64-cpu")
    assert (final.role, final.key, final.packages) == ("final", "sha256:b", ("a", "b"))
    assert final.platform["arch"] == "x86_64"
    assert final.plan.startswith("sha256:")
    assert final.tests["status"] == "passed"
    assert set(final.tests["packages"]) == {"a", "b"}
    lower = site.label("jetson-containers/stage:a")
    assert (lower.role, lower.key, lower.packages, lower.plan) == ("stage", "sha256:a", ("a",), "")


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


def test_final_name_changed_builds_nothing(site: Site) -> None:
    """Another name for the same plan builds nothing."""
    site.run(chain("a", "b"))
    site.built()
    report = site.run(chain("a", "b", final="me/thing:1"))
    assert (report.images, site.built()) == (("me/thing:1",), [])
    assert site.label("me/thing:1").role == "final"


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


# How a stage is built.


def test_build_request_holds_base_arguments_and_labels(site: Site) -> None:
    """A build request holds base, arguments and labels."""
    definition = package("a", build_flags="--shm-size '1 g'", network="none", timeout=60)
    one = stage("a", definition=definition, build_args={"VERSION": "1"})
    site.run(
        plan(one),
        build_flags=("--ulimit", "x"),
        proxies={"http_proxy": "http://p"},
        cache_from=("c",),
        index_url="http://index/simple",
    )
    (request,) = site.engine.requests
    assert request.build_args == {"BASE_IMAGE": "base:1", "VERSION": "1", "http_proxy": "http://p"}
    assert request.flags == ("--shm-size", "1 g", "--ulimit", "x")
    assert (request.network, request.timeout, request.platform) == ("none", 60, None)
    assert (request.cache_from[-1], request.index_url) == ("c", "http://index/simple")
    assert request.tag == "jetson-containers/stage:a"


def test_build_request_variables_are_the_recipes_and_the_users(site: Site) -> None:
    """The user's variables win over the recipe's, and the user's index counts for pip and for uv."""
    own = {"PIP_INDEX_URL": "http://own/", "UV_DEFAULT_INDEX": "http://own/", "TAR_INDEX_URL": ""}
    site.run(plan(stage("a", definition=package("a", variables=own))), variables={"TAR_INDEX_URL": "http://tar/"})
    assert site.engine.requests[-1].variables == {**own, "TAR_INDEX_URL": "http://tar/"}
    site.run(plan(stage("b", definition=package("b", variables=own))), index_url="http://index/simple")
    request = site.engine.requests[-1]
    assert request.variables == {"TAR_INDEX_URL": "", "UV_DEFAULT_INDEX": "http://index/simple"}
    assert request.index_url == "http://index/simple"


def test_build_request_names_a_foreign_platform(site: Site) -> None:
    """A foreign platform is named to the engine."""
    tegra = replace(PLATFORM, arch=Arch.TEGRA)
    site.run(replace(chain("a", tests=("t.sh",)), platform=tegra))
    assert site.engine.requests[0].platform == "linux/arm64"
    assert "--platform" in site.engine.runs[0].options


@pytest.mark.parametrize(
    ("dockerfile", "expected"),
    [
        ("FROM ${BASE_IMAGE}\nARG MAX_JOBS=1\n", 4),
        ("ARG CMAKE_BUILD_PARALLEL_LEVEL\nFROM ${BASE_IMAGE}", 4),
        ("FROM ${BASE_IMAGE}\narg A=1 MAX_JOBS", 4),
        ("FROM ${BASE_IMAGE}\nENV MAX_JOBS=2\n# ARG MAX_JOBS", 0),
        ("FROM ${BASE_IMAGE}\nARG MAX_JOBS_TOO", 0),
    ],
)
def test_jobs_are_passed_only_to_recipes_that_declare_them(site: Site, dockerfile: str, expected: int) -> None:
    """Compile jobs are passed only to recipes that declare them."""
    site.run(plan(stage("a", dockerfile=dockerfile)))
    assert site.engine.requests[0].jobs == expected


TAKES_JOBS = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nARG MAX_JOBS\n"


@pytest.mark.parametrize(
    ("given", "jobs", "left"),
    [
        ({"MAX_JOBS": "3", "A": "1"}, 3, {"A": "1"}),
        ({"CMAKE_BUILD_PARALLEL_LEVEL": "2"}, 2, {}),
        ({"MAX_JOBS": "0"}, 1, {}),
        ({"MAX_JOBS": "all"}, 0, {"MAX_JOBS": "all"}),
    ],
)
def test_jobs_given_explicitly_win(site: Site, given: dict[str, str], jobs: int, left: dict[str, str]) -> None:
    """An explicit number of jobs wins."""
    site.run(plan(stage("a", dockerfile=TAKES_JOBS, build_args=given)))
    request = site.engine.requests[0]
    assert (request.jobs, request.build_args) == (jobs, {"BASE_IMAGE": "base:1", **left})


def test_jobs_are_limited_by_max_jobs_of_the_user(site: Site) -> None:
    """The user's MAX_JOBS limits every stage."""
    site.run(plan(stage("a", dockerfile=TAKES_JOBS)), env={"MAX_JOBS": "2"})
    assert site.engine.requests[0].jobs == 2


def test_build_request_differs_only_in_jobs_beside_other_stages(site: Site) -> None:
    """A request differs only in the number of jobs when other stages run beside it."""
    for cores in (1, 4):
        site.run(plan(stage("a", dockerfile=TAKES_JOBS)), cores=cores, rebuild=True)
    one, four = site.engine.requests
    assert (one.jobs, four.jobs) == (1, 4)
    assert replace(one, jobs=4) == four


# Tests of packages.


def test_package_tests_run_once_per_key_in_their_stage(site: Site) -> None:
    """Tests run once per key, in the stage they belong to."""
    site.run(chain("a", "b", tests=("test.sh", "test.py --fast 'x y'")))
    assert [(call.image, call.command) for call in site.engine.runs] == [
        ("jetson-containers/stage:a", ("/bin/bash", "/test/test.sh")),
        ("jetson-containers/stage:a", ("python3", "/test/test.py", "--fast", "x y")),
        ("jetson-containers/stage:b", ("/bin/bash", "/test/test.sh")),
        ("jetson-containers/stage:b", ("python3", "/test/test.py", "--fast", "x y")),
    ]
    site.run(chain("a", "b", "c", tests=("test.sh", "test.py --fast 'x y'")))
    assert {call.image for call in site.engine.runs[4:]} == {"jetson-containers/stage:c"}


def test_package_test_container_is_neither_privileged_nor_online(site: Site) -> None:
    """A test container is neither privileged nor online."""
    data = site.directory / "data"
    site.run(chain("a", tests=("test",)), data=data, run_options=("--runtime", "nvidia"))
    (call,) = site.engine.runs
    assert call.command == ("/test/test",)
    assert call.options == (
        *("--label", "io.jetson-containers.test=a"),
        *("--network", "none"),
        *("--shm-size", "8g"),
        *("--volume", "/packages/a:/test:ro"),
        *("--volume", f"{data}:/data"),
        *("--runtime", "nvidia"),
    )


def test_package_test_gets_a_network_that_the_recipe_asks_for(site: Site) -> None:
    """A recipe can ask for a network."""
    site.run(plan(stage("a", package={"test": ("t.sh",), "network": "host"})))
    options = site.engine.runs[0].options
    assert options[options.index("--network") + 1] == "host"


def failing(command: str, result: RunResult) -> Any:
    def answer(call: RunCall) -> RunResult:
        return result if any(command in word for word in call.command) else RunResult(exit_code=0, output="")

    return answer


def test_package_test_failure_leaves_a_stage_to_test_and_not_to_build(site: Site) -> None:
    """A stage whose test failed is not done and not built again."""
    site.engine.answer = failing("test.py", RunResult(exit_code=1, output="AssertionError: 3 != 4"))
    the_plan = chain("a", "b", tests=("test.sh", "test.py", "never.sh"))
    with pytest.raises(PackageTestError) as caught:
        site.run(the_plan)
    assert "test `test.py` of stage `a` (1 of 2) failed" in caught.value.message
    assert "| AssertionError: 3 != 4" in caught.value.details
    assert site.built() == ["a"]
    assert site.label("jetson-containers/stage:a").tests["status"] == "failed"
    assert not any("never.sh" in word for call in site.engine.runs for word in call.command)
    assert site.engine.image("b:1-x86_64-cpu") is None

    site.engine.answer = lambda _: RunResult(exit_code=0, output="")
    report = site.run(the_plan)
    assert site.built() == ["b"]
    assert results_of(report) == {"a": "passed", "b": "passed"}
    assert states(report) == {"a": "cached", "b": "built"}


def test_package_test_failure_with_warn_is_a_warning(site: Site) -> None:
    """`--tests warn` makes a failed test a warning."""
    site.engine.answer = failing("test.sh", RunResult(exit_code=3, output="no"))
    report = site.run(chain("a", tests=("test.sh",)), tests="warn")
    assert report.ok
    assert results_of(report) == {"a": "failed"}
    assert "warning: a: test `test.sh` failed: exit code 3" in site.said()
    assert site.label("a:1-x86_64-cpu").tests["status"] == "failed"
    with pytest.raises(PackageTestError):  # recorded, so that a run which minds does not take it for good
        site.run(chain("a", tests=("test.sh",)))


def test_package_tests_all_run_again_and_all_in_the_final_image(site: Site) -> None:
    """`--tests all` runs all tests again, and all of them in the final image."""
    the_plan = chain("a", "b", tests=("test.sh",))
    site.run(the_plan)
    site.engine.runs.clear()
    site.run(the_plan, tests="all")
    assert [call.image[-1] for call in site.engine.runs] == ["a", "b", "b"]
    assert site.built() == ["a", "b"]


def test_package_that_breaks_another_is_found_in_the_final_image(site: Site) -> None:
    """A package that breaks another is found in the final image."""

    def answer(call: RunCall) -> RunResult:
        broken = call.image.endswith(":b") and "/packages/a:/test:ro" in call.options
        return RunResult(exit_code=1 if broken else 0, output="numpy is gone")

    site.engine.answer = answer
    with pytest.raises(PackageTestError, match=r"test `t.sh` of stage `a` \(1 of 2\) failed in `b:1-x86_64-cpu`"):
        site.run(chain("a", "b", tests=("t.sh",)), tests="all")
    assert site.engine.image("b:1-x86_64-cpu") is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"a:1": "passed", "b": "passed"}),
        ({"tests": "none"}, {"a:1": "skipped", "b": "skipped"}),
        ({"skip_tests": ("all",)}, {"a:1": "skipped", "b": "skipped"}),
        ({"skip_tests": ("*",)}, {"a:1": "skipped", "b": "skipped"}),
        ({"skip_tests": ("intermediate",)}, {"a:1": "skipped", "b": "passed"}),
        ({"skip_tests": ("a",)}, {"a:1": "skipped", "b": "passed"}),
        ({"skip_tests": ("a:1",)}, {"a:1": "skipped", "b": "passed"}),
        ({"skip_tests": ("a*",)}, {"a:1": "skipped", "b": "passed"}),
        ({"skip_tests": ("alpha",)}, {"a:1": "skipped", "b": "passed"}),  # an alias
        ({"skip_tests": ("c",)}, {"a:1": "passed", "b": "passed"}),
        ({"test_only": ("b",)}, {"a:1": "skipped", "b": "passed"}),
        ({"test_only": ("b",), "skip_tests": ("b",)}, {"a:1": "skipped", "b": "skipped"}),
    ],
)
def test_package_tests_that_run_follow_the_options(
    site: Site, options: dict[str, Any], expected: dict[str, str]
) -> None:
    """The options decide which tests run."""
    a = stage("a:1", package={"test": ("t.sh",), "aliases": ("alpha",)})
    report = site.run(plan(a, stage("b", parent=a, package={"test": ("t.sh",)})), **options)
    assert results_of(report) == expected


def test_package_tests_that_were_skipped_run_when_wanted(site: Site) -> None:
    """Tests that were skipped run when they are wanted."""
    the_plan = chain("a", "b", tests=("t.sh",))
    site.run(the_plan, tests="none")
    site.built()
    report = site.run(the_plan)
    assert results_of(report) == {"a": "passed", "b": "passed"}
    assert site.built() == []
    assert site.label("b:1-x86_64-cpu").tests["status"] == "passed"


def test_package_tests_left_out_below_a_tested_stage_run_later(site: Site) -> None:
    """Tests left out below a tested stage run later."""
    the_plan = chain("a", "b", tests=("t.sh",))
    site.run(the_plan, skip_tests=("intermediate",))
    assert site.label("b:1-x86_64-cpu").tests["status"] == "skipped"
    site.built()
    report = site.run(the_plan)
    assert results_of(report) == {"a": "passed", "b": "cached"}
    assert site.built() == []
    assert site.label("b:1-x86_64-cpu").tests["status"] == "passed"


def test_package_tests_of_a_pruned_image_build_nothing(site: Site) -> None:
    """Testing a pruned image again builds nothing."""
    the_plan = chain("a", "b", tests=("t.sh",))
    site.run(the_plan)
    for name in ("a", "b"):
        site.engine.untag(f"jetson-containers/stage:{name}")
    site.built()
    site.engine.runs.clear()
    report = site.run(the_plan, tests="all")
    assert (report.ok, site.built()) == (True, [])
    assert [call.options[-1] for call in site.engine.runs] == ["/packages/b:/test:ro", "/packages/a:/test:ro"]


def test_package_test_without_a_gpu_is_skipped_and_run_when_there_is_one(site: Site) -> None:
    """A test without a GPU is skipped with its reason and run when there is one."""
    site.engine.answer = lambda call: RunResult(
        exit_code=0 if "nvidia" in call.options else 77, output="no CUDA device\n"
    )
    the_plan = chain("a", tests=("t.py",))
    report = site.run(the_plan)
    assert (report.ok, results_of(report)) == (True, {"a": "skipped"})
    assert "a: test `t.py` skipped: no CUDA device" in site.said()
    entry = site.label("jetson-containers/stage:a").tests["results"][0]
    assert (entry["status"], entry["reason"]) == ("skipped", "no CUDA device")

    runs = len(site.engine.runs)
    site.run(the_plan)
    assert len(site.engine.runs) == runs  # once per key, as long as nothing has changed
    report = site.run(the_plan, run_options=("--runtime", "nvidia"))
    assert results_of(report) == {"a": "passed"}


def test_package_test_that_was_edited_runs_again_without_a_build(site: Site) -> None:
    """An edited test script runs again, and nothing is rebuilt."""
    script = site.directory / "check.sh"
    script.write_text("true")
    the_plan = plan(stage("a", package={"test": ("check.sh",), "path": site.directory}))
    site.run(the_plan)
    script.write_text("false")
    site.built()
    report = site.run(the_plan)
    assert (site.built(), results_of(report), len(site.engine.runs)) == ([], {"a": "passed"}, 2)


def test_package_test_killed_for_memory_is_recognized(site: Site) -> None:
    """A test killed for memory is recognized."""
    site.engine.answer = lambda _: RunResult(exit_code=137, output="loading", oom_killed=True)
    with pytest.raises(PackageTestError) as caught:
        site.run(chain("a", tests=("t.sh",)))
    assert "memory ran out" in caught.value.message


def test_package_test_that_takes_too_long_fails(site: Site) -> None:
    """A test that takes too long is a failure."""
    site.engine.answer = lambda _: RunResult(exit_code=124, output="", timed_out=True)
    with pytest.raises(PackageTestError, match="took longer than 5 s"):
        site.run(chain("a", tests=("t.sh",)), test_timeout=5)


def test_package_tests_refuse_an_unknown_mode(site: Site) -> None:
    """An unknown mode of `--tests` is refused."""
    with pytest.raises(UsageError, match="--tests sometimes"):
        site.run(chain("a"), tests="sometimes")


# Failures.


def test_failed_stage_is_explained(site: Site) -> None:
    """A failed stage is explained."""
    site.engine.fail(":b$", "Get:1 http://deb/x", "collect2: ld", "E: Unable to locate package libfoo")
    with pytest.raises(BuildError) as caught:
        site.run(chain("a", "b", "c"), command="./build.sh c")
    error = caught.value
    assert error.exit_code == 1
    assert error.message.startswith("the build of stage `b` (2 of 3) failed: apt does not know the package `libfoo`")
    log = site.logs() / "build" / "02_b.log"
    assert error.details[-3:] == (
        "| E: Unable to locate package libfoo",
        "found: E: Unable to locate package libfoo",
        f"log: {log}:5",
    )
    assert log.read_text().splitlines()[4] == "E: Unable to locate package libfoo"
    assert not any("Get:1" in line for line in error.details)
    assert error.hint is not None
    assert error.hint.endswith("then `./build.sh c` resumes at `b`; what is built stays")


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


def test_out_of_memory_error_names_the_jobs_that_were_used(site: Site) -> None:
    """Exhausted memory is named with the jobs that were used."""
    site.engine.oom(":a$")
    with pytest.raises(OutOfMemoryError) as caught:
        site.run(chain("a"))
    assert "memory ran out" in caught.value.message
    assert "this stage ran with MAX_JOBS=4" in (caught.value.hint or "")


def test_engine_failure_keeps_its_class_and_exit_code(site: Site) -> None:
    """A failure of the engine keeps its class and exit code."""

    def refuse(_: object) -> None:
        raise DiskSpaceError("the disk that holds the engine's images is full")

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


@pytest.mark.parametrize("env", [{"DOCKER_HOST": "tcp://farm:2375"}, {"DOCKER_HOST": "ssh://me@farm"}])
def test_disk_space_of_another_machine_is_not_checked(site: Site, env: dict[str, str]) -> None:
    """The free space of another machine is not checked."""
    site.engine.capabilities_ = replace(CAPABILITIES, data_root=str(site.directory))
    assert site.run(chain("a"), disk_per_stage=10**18, env=env).ok


def test_log_folder_that_cannot_be_written_is_an_error_with_a_remedy(site: Site) -> None:
    """A log folder that cannot be written is an error with a remedy."""
    (site.directory / "logs").write_text("a file")
    with pytest.raises(Exception, match="cannot write logs") as caught:
        site.run(chain("a"))
    assert "--log-dir" in caught.value.hint  # type: ignore[attr-defined]


# Interruption.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_children_first_and_leaves_nothing_half_done(site: Site, number: signal.Signals) -> None:
    """A signal stops children first and leaves nothing half done."""
    site.engine.hang(":b$")

    def send() -> None:
        assert site.engine.hanging.wait(120)
        os.kill(os.getpid(), number)

    sender = threading.Thread(target=send)
    before = signal.getsignal(number)
    sender.start()
    with pytest.raises(InterruptedByUserError) as caught:
        site.run(chain("a", "b", "c"))
    sender.join()
    assert caught.value.exit_code == 130
    assert site.engine.stopped.is_set()
    assert signal.getsignal(number) is before
    assert site.engine.image("jetson-containers/stage:b") is None
    report = json.loads((site.logs() / "build.json").read_text())
    assert [(entry["state"], entry["cause"]) for entry in report["stages"]] == [
        ("built", ""),
        ("failed", "interrupted"),
        ("skipped", "interrupted"),
    ]
    site.engine.heal()
    site.built()
    site.run(chain("a", "b", "c"))
    assert site.built() == ["b", "c"]


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


# Two at once.


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


# Push.


def test_push_comes_after_the_tests(site: Site) -> None:
    """Final images are pushed after their tests."""
    report = site.run(chain("a", tests=("t.sh",)), push="reg.io:5000/me/")
    assert report.pushed == ("reg.io:5000/me/a:1-x86_64-cpu",)
    assert "reg.io:5000/me/a:1-x86_64-cpu" in site.engine.registry
    kinds = [call[0] for call in site.engine.calls]
    assert kinds.index("run") < kinds.index("push")


def test_push_includes_an_image_that_is_up_to_date(site: Site) -> None:
    """An image that is up to date is pushed too."""
    site.run(chain("a"))
    assert site.run(chain("a"), push="me").pushed == ("me/a:1-x86_64-cpu",)


def test_push_that_is_refused_fails_the_run_but_not_the_image(site: Site) -> None:
    """A registry that refuses fails the run but not the image."""
    site.engine.registry_down = True
    with pytest.raises(RegistryError) as caught:
        site.run(chain("a"), push="me")
    assert caught.value.exit_code == 4
    assert "✓ a:1-x86_64-cpu" in site.said()
    assert json.loads((site.logs() / "build.json").read_text())["ok"] is False
    site.built()
    assert site.run(chain("a")).ok
    assert site.built() == []


def test_push_does_not_happen_after_a_failure(site: Site) -> None:
    """Nothing is pushed after a failure."""
    site.engine.answer = lambda _: RunResult(exit_code=1, output="")
    with pytest.raises(PackageTestError):
        site.run(chain("a", tests=("t.sh",)), push="me")
    assert site.engine.registry == {}


# Logs and what is said.


def test_log_folder_holds_plan_stages_tests_and_summary(site: Site) -> None:
    """The log folder holds a file for each stage and test."""
    report = site.run(chain("a:1", "b", tests=("test.sh x", "test.py")))
    files = sorted(str(path.relative_to(report.log_dir)) for path in report.log_dir.rglob("*.log"))
    assert files == [
        "build/01_a_1.log",
        "build/02_b.log",
        "test/01-1_a_1_test.sh.log",
        "test/01-2_a_1_test.py.log",
        "test/02-1_b_test.sh.log",
        "test/02-2_b_test.py.log",
    ]
    assert site.logs() == report.log_dir.resolve()
    assert (report.log_dir / "build" / "02_b.log").read_text().startswith("$ docker build --tag")
    data = json.loads((report.log_dir / "build.json").read_text())
    assert (data["schema"], data["ok"], data["images"]) == (1, True, ["b:1-x86_64-cpu"])
    assert [entry["package"] for entry in data["stages"]] == ["a:1", "b"]


def test_log_folders_of_runs_of_one_second_differ(tmp_path: Path) -> None:
    """Runs of one second do not share a folder."""
    made = {RunLogs(tmp_path, Redactor()).directory for _ in range(5)}
    assert len(made) == 5


def test_secrets_reach_no_log_and_no_message(site: Site) -> None:
    """No secret reaches a log or a message."""
    site.engine.fail(":a$", "login with hunter2-token", "proxy http://bob:pw@proxy:3128/ refused")
    with pytest.raises(BuildError) as caught:
        site.run(
            chain("a"), env={"HF_TOKEN": "hunter2-token", "SHORT_KEY": "ab"}, build_args={"NEXUS_PASS": "letmein99"}
        )
    shown = "\n".join([caught.value.message, *caught.value.details, site.said()])
    logged = "\n".join(path.read_text() for path in site.logs().rglob("*") if path.is_file())
    for text in (shown, logged):
        assert "hunter2" not in text
        assert "bob:pw" not in text
        assert "letmein99" not in text
    assert "login with ***" in shown
    assert "http://***@proxy:3128/" in shown


def test_summary_shows_each_stage_the_image_and_the_logs(site: Site) -> None:
    """The end shows every stage, the image and the logs."""
    report = site.run(chain("a", "b", tests=("t.sh",)))
    said = site.said()
    table = [line.split() for line in said.splitlines()]
    assert ["stage", "state", "time", "size", "tests"] in table
    assert any(row[:2] == ["a", "built"] and row[-1] == "passed" for row in table)
    assert "✓ b:1-x86_64-cpu (1.0 kB)" in said
    assert f"logs: {report.log_dir}" in said


def test_plain_progress_prefixes_each_line_and_moves_no_cursor(site: Site) -> None:
    """Plain progress prefixes every line and moves no cursor."""
    site.run(chain("a"), progress="plain")
    said = site.said()
    assert "a | Step 1/1 : ARG BASE_IMAGE" in said
    assert "\x1b" not in said
    assert "\r" not in said


def test_json_progress_is_one_object_per_line(site: Site) -> None:
    """JSON progress is one object per line."""
    site.run(chain("a"), progress="json")
    lines = site.said().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert [event["event"] for event in events] == ["message", "begin", "start", "line", "end"]
    assert events[-1]["state"] == "built"


def test_github_progress_folds_each_stage_whole(site: Site) -> None:
    """Progress for GitHub folds each stage whole."""
    site.engine.fail(":b$", "::set-output name=x::y")
    summary = site.directory / "summary.md"
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    with pytest.raises(BuildError):
        site.run(chain("a", "b"), env=env)
    said = site.said()
    assert said.index("::group::a: built") < said.index("Step 1/1") < said.index("::endgroup::")
    assert "\n::set-output" not in said  # a log line is not a command to the runner
    assert "::error title=b failed::" in said
    assert "| a | built |" in summary.read_text()


def test_tty_progress_shows_running_stages_and_ends_clean() -> None:
    """Progress on a terminal shows running stages and ends clean."""
    err = io.StringIO()
    shown = progress.make("tty", Console(out=io.StringIO(), err=err, env={}), {})
    shown.started("pytorch", "building")
    shown.line("pytorch", "compiling 3/9")
    shown._live.refresh()  # type: ignore[attr-defined]
    report = StageReport(package="pytorch", key="k", image="i", state="built", seconds=2.0, tests="passed")
    shown.finished("pytorch", report, progress.Totals(done=1, all=2, cached=0, running=0, left=65.0))
    shown.close()
    text = err.getvalue()
    assert "pytorch  building" in text
    assert "compiling 3/9" in text
    assert "✓ pytorch built in 2.0s, tests passed" in text
    assert "1/2 done · 0 cached · ~1m05s left" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")  # the cursor is shown again


def test_progress_of_an_unknown_kind_is_refused() -> None:
    """An unknown kind of progress is refused."""
    with pytest.raises(UsageError, match="--progress loud"):
        progress.make("loud", Console(), {})


def test_quiet_progress_says_nothing_on_success(tmp_path: Path) -> None:
    """Quiet, nothing is said on success."""
    err = io.StringIO()
    options = run.BuildOptions(log_dir=tmp_path / "logs", env={}, disk_per_stage=0)
    run.run([chain("a")], FakeEngine(), options, Console(level=Level.QUIET, err=err, env={}))
    assert err.getvalue() == ""


# Order and shares.


def test_scheduler_starts_the_longest_remaining_chain_first() -> None:
    """The longest remaining chain starts first."""
    a = stage("a")
    short, long = stage("short", parent=a), stage("long", parent=a)
    graph = merge([plan(a, short), plan(a, long), plan(a, long, stage("top", parent=long))])
    order = priorities(graph, set(graph.nodes), {"short": 50.0, "long": 10.0, "top": 100.0, "a": 1.0})
    assert order == {"sha256:a": 111.0, "sha256:long": 110.0, "sha256:top": 100.0, "sha256:short": 50.0}


def test_state_keeps_times_for_the_next_run(site: Site) -> None:
    """Recorded times are used by the next run."""
    site.run(chain("a", "b"))
    assert set(BuildState(site.directory / "logs" / ".state").seconds()) == {"a", "b"}


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"seconds": 3}', '{"seconds": {"a": "x"}}'])
def test_state_that_is_damaged_is_ignored(site: Site, content: str) -> None:
    """A damaged record is ignored."""
    file = BuildState(site.directory / "logs" / ".state").file
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert site.run(chain("a")).ok


@pytest.mark.parametrize(
    ("per_job", "cores", "memory", "running", "waiting", "expected"),
    [
        (None, 8, 16 * GIB, 0, 1, 8),  # all cores when it is alone
        (2 * GIB, 8, 16 * GIB, 0, 1, 8),
        (4 * GIB, 8, 16 * GIB, 0, 1, 4),  # memory is the limit
        (4 * GIB, 8, 16 * GIB, 0, 2, 2),  # shared with the one that starts next
        (2 * GIB, 8, 16 * GIB, 1, 1, 4),  # cores shared with the one that runs
        (32 * GIB, 8, 16 * GIB, 0, 1, 1),  # never less than one
        (1 * GIB, 1, 16 * GIB, 0, 4, 1),
    ],
)
def test_jobs_fit_cores_and_memory(
    per_job: int | None, cores: int, memory: int, running: int, waiting: int, expected: int
) -> None:
    """Compile jobs fit cores and memory."""
    available = resources.Resources(cores=cores, memory=memory, slots=4)
    load = resources.StageLoad(memory_per_job=per_job)
    held = [(load, resources.Share(cores // 2, 0))] * running
    assert resources.share(load, available, running=held, waiting=[load] * (waiting - 1)).jobs == expected


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


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("test.py", ["python3", "/test/test.py"]),
        ("test.sh a 'b c'", ["/bin/bash", "/test/test.sh", "a", "b c"]),
        ("check --all", ["/test/check", "--all"]),
        ("sub/run.py", ["python3", "/test/sub/run.py"]),
    ],
)
def test_package_test_entries_become_commands(entry: str, expected: list[str]) -> None:
    """Test entries become commands."""
    assert package_tests.argv(entry) == expected


# Properties, over any graph.


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


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("#5 sha256:" + "a" * 64, False),
        ("#1 [internal] load build definition from Dockerfile", False),
        ("#5 transferring context: 2B done", False),
        ("#7 DONE 3.2s", False),
        (" ---> Running in 0123456789ab", False),
        ("#7 [3/3] RUN make", True),
        ("#7 0.69 Collecting numpy==2.2.6", True),
        ("#9 ERROR: process did not complete", True),
        ("Step 3/5 : RUN make", True),
    ],
)
@pytest.mark.parametrize("verbose", [False, True])
def test_plain_progress_leaves_out_what_the_builder_says_of_itself(line: str, shown: bool, verbose: bool) -> None:
    """Plain progress leaves out what the builder says of itself."""
    err = io.StringIO()
    console = Console(level=Level.VERBOSE if verbose else Level.NORMAL, err=err)
    progress.make("plain", console, {}).line("a", line)
    assert (line in err.getvalue()) is (shown or verbose)


@pytest.mark.parametrize(
    ("dockerfile", "script", "wants"),
    [
        ("FROM x\nRUN pip install numpy", "", True),
        ("FROM x\nRUN bash /tmp/a.sh", "/opt/venv/bin/python -m pip wheel .", True),
        ("FROM x\nRUN uv pip install y", "", True),
        ("FROM x\nRUN apt-get install -y pipewire", "make pipeline", False),
    ],
)
def test_wheelhouse_is_given_only_to_stages_that_use_pip(
    tmp_path: Path, dockerfile: str, script: str, wants: bool
) -> None:
    """Only stages that use pip get the wheelhouse."""
    (tmp_path / "a.sh").write_text(script)
    assert installs_wheels(dockerfile, tmp_path) is wants


# What an engine takes from its layer cache.

BUILDKIT_CACHED = """#4 [1/3] FROM docker.io/library/base:1
#4 CACHED
#5 [jetson-artifacts 2/3] RUN make
#5 CACHED
#6 [3/3] COPY a b
#6 DONE 0.1s"""
BUILDKIT_HALF = """#4 [1/3] FROM docker.io/library/base:1
#4 CACHED
#5 [2/3] RUN apt-get update
#5 CACHED
#6 [3/3] RUN make
#6 0.3 CACHED
#6 DONE 3.0s"""
BUILDKIT_NEW = """#4 [1/2] FROM docker.io/library/base:1
#4 CACHED
#6 [internal] load build context
#6 CACHED
#5 [2/2] RUN make
#5 0.3 #7 CACHED
#5 DONE 3.0s"""
LEGACY_CACHED = """Step 1/3 : FROM base:1
 ---> 0123456789ab
Step 2/3 : RUN make
 ---> Using cache
 ---> 1123456789ab
Step 3/3 : LABEL a=b
 ---> Running in 2123456789ab"""
LEGACY_NEW = """Step 1/3 : ARG A
 ---> Using cache
Step 2/3 : RUN make
 ---> Running in 1123456789ab
Step 3/3 : COPY a b
 ---> Using cache"""


@pytest.mark.parametrize(
    ("output", "runs", "reused"),
    [
        (BUILDKIT_CACHED, 1, 1),
        (BUILDKIT_HALF, 2, 1),
        (BUILDKIT_NEW, 1, 0),
        (LEGACY_CACHED, 1, 1),
        (LEGACY_NEW, 1, 0),
        ("Step 1/1 : FROM base:1\n ---> Using cache", 0, 0),
    ],
)
def test_layer_cache_reads_which_commands_were_reused(output: str, runs: int, reused: int) -> None:
    """The engine's output says which commands came from its cache."""
    cache = LayerCache()
    for line in output.splitlines():
        cache.line(line)
    assert (cache.runs, cache.reused, cache.everything) == (runs, reused, runs > 0 and runs == reused)


@pytest.mark.parametrize(
    ("output", "recorded", "cause"),
    [
        (BUILDKIT_NEW, True, ""),
        (BUILDKIT_HALF, False, ""),
        (BUILDKIT_CACHED, False, "every command came from the engine's layer cache"),
        (LEGACY_CACHED, False, "every command came from the engine's layer cache"),
    ],
)
def test_state_keeps_no_time_of_a_build_from_the_cache(site: Site, output: str, recorded: bool, cause: str) -> None:
    """The time of a build from the cache is not recorded as an estimate."""
    site.run(chain("a"))
    state = BuildState(site.directory / "logs" / ".state")
    state.record("a", seconds=1800.0)
    right = site.engine.build

    def build(request: Any, on_line: Any) -> None:
        for line in output.splitlines():
            on_line(line)
        right(request, on_line)

    site.engine.build = build  # type: ignore[method-assign]
    report = site.run(chain("a"), rebuild=True)
    assert (state.seconds()["a"] != 1800.0) == recorded
    assert [(entry.state, entry.cause) for entry in report.stages] == [("built", cause)]
    assert "a" in state.sizes()


def test_rebuild_says_that_unchanged_commands_come_from_the_cache(site: Site) -> None:
    """`--rebuild` says that unchanged commands come from the cache."""
    site.run(chain("a"), rebuild=True)
    assert "--no-cache runs them again" in site.said()
    site.run(chain("a"), rebuild=True, no_cache=True)
    assert "--no-cache runs them again" not in site.said()


@pytest.mark.parametrize(
    ("changes", "after_failure", "after_interrupt"),
    [
        ({}, "`./build.sh b` resumes at `b`; what is built stays", "`./build.sh b` resumes where it stopped"),
        ({"rebuild": True}, "come from the engine's cache", "come from the engine's cache"),
        ({"no_cache": True}, "at the first stage again, because of --no-cache", "because of --no-cache"),
        ({"rebuild": True, "no_cache": True}, "because of --no-cache", "because of --no-cache"),
    ],
)
def test_hint_says_what_the_same_command_does_next(
    site: Site, changes: dict[str, bool], after_failure: str, after_interrupt: str
) -> None:
    """The hint says what the same command does next."""
    site.engine.fail(":b$")
    with pytest.raises(BuildError) as failed:
        site.run(chain("a", "b"), command="./build.sh b", **changes)
    site.engine.heal()

    def interrupt(_request: Any) -> None:
        raise KeyboardInterrupt

    site.engine.on_build = interrupt
    with pytest.raises(InterruptedByUserError) as interrupted:
        site.run(chain("a", "b"), command="./build.sh b", **changes)
    for hint, expected in ((failed.value.hint, after_failure), (interrupted.value.hint, after_interrupt)):
        assert (hint or "").endswith(expected)
        assert ("resumes" in (hint or "")) == (not changes)
