"""One stage: its build request, its number of compile jobs, and the errors of its build."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder import resources
from jetson_containers.builder.stage_builder import installs_wheels
from jetson_containers.core.errors import (
    BuildError,
    InterruptedByUserError,
)
from jetson_containers.engine.interface import Builder, OutOfMemoryError
from jetson_containers.platforms.platform import Arch
from tests.unit.builder.helpers import GIB, PLATFORM, Site, chain, package, plan, stage

if TYPE_CHECKING:
    from pathlib import Path


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


def test_build_request_variables_are_the_recipes_until_the_user_names_an_index(site: Site) -> None:
    """The user's index, or a mirror of it, takes the place of the recipe's, for pip and for uv."""
    own = {"PIP_INDEX_URL": "http://own/", "UV_DEFAULT_INDEX": "http://own/", "TAR_INDEX_URL": ""}
    site.run(plan(stage("a", definition=package("a", variables=own))))
    assert site.engine.requests[-1].variables == own
    mirror = {"python": "http://mirror/simple"}
    site.run(plan(stage("c", definition=package("c", variables=own))), mirrors=mirror)
    request = site.engine.requests[-1]
    assert (request.variables, request.mirrors) == ({"TAR_INDEX_URL": ""}, mirror)
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


def test_out_of_memory_error_names_the_jobs_that_were_used(site: Site) -> None:
    """Exhausted memory is named with the jobs that were used."""
    site.engine.oom(":a$")
    with pytest.raises(OutOfMemoryError) as caught:
        site.run(chain("a"))
    assert "memory ran out" in caught.value.message
    assert "this stage ran with MAX_JOBS=4" in (caught.value.hint or "")


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


def test_rebuild_says_that_unchanged_commands_come_from_the_cache(site: Site) -> None:
    """`--rebuild` says that unchanged commands come from the cache."""
    site.run(chain("a"), rebuild=True)
    assert "--no-cache runs them again" in site.said()
    site.run(chain("a"), rebuild=True, no_cache=True)
    assert "--no-cache runs them again" not in site.said()


@pytest.mark.parametrize(
    ("changes", "index", "expected"),
    [
        ({"builder": Builder.LEGACY}, "https://i.invalid/simple", "the builder without BuildKit has"),
        ({"builder": Builder.BUILDX, "server_version": "26.1.5"}, "https://i.invalid/simple", "engine 26.1.5 has"),
        ({"builder": Builder.BUILDX, "server_version": "28.2.2"}, "https://i.invalid/simple", ""),
        ({"builder": Builder.LEGACY}, "", ""),
    ],
    ids=["legacy", "slow secrets", "BuildKit", "nothing set"],
)
def test_build_says_where_the_layer_cache_knows_how_to_fetch(
    site: Site, changes: dict[str, Any], index: str, expected: str
) -> None:
    """Where an index, mirrors and a CA bundle are in the engine's keys, one line says so."""
    site.engine.capabilities_ = replace(site.engine.capabilities_, **changes)
    site.run(chain("a"), index_url=index)
    found = [line for line in site.said().splitlines() if "in the keys of its layer cache" in line]
    assert [expected in line for line in found] == [True] * bool(expected)


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
