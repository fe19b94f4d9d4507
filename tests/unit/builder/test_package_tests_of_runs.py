"""Tests of packages within a build: when they run, are recorded, and run again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder import package_tests
from jetson_containers.core.errors import (
    PackageTestError,
    UsageError,
)
from jetson_containers.engine.interface import RunResult
from tests.unit.builder.helpers import Site, chain, plan, results_of, stage, states

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes import RunCall


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
        *("--cap-drop", "all", "--security-opt", "no-new-privileges", "--pids-limit", "4096"),
        *("--volume", "/data"),
        *("--runtime", "nvidia"),
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_package_test_reads_a_private_recipe(site: Site, tmp_path: Path) -> None:
    """Files of another user that only he can read need one capability; a recipe that all can read needs none."""
    recipe = tmp_path / "recipe"
    recipe.mkdir(mode=0o755)
    (recipe / "t.sh").write_text("true")
    os.chown(recipe / "t.sh", 4711, -1)
    given = []
    for mode in (0o644, 0o600):
        (recipe / "t.sh").chmod(mode)
        site.run(plan(stage("a", package={"test": ("t.sh",), "path": recipe})), tests="all")
        given.append("DAC_OVERRIDE" in site.engine.runs[-1].options)
    assert given == [False, True]


def test_package_test_has_the_engines_own_rights_where_asked(site: Site) -> None:
    """The setting `least_privilege: false` gives back the engine's own rights and the user's data."""
    data = site.directory / "data"
    site.run(chain("a", tests=("test",)), data=data, least=False)
    options = site.engine.runs[0].options
    assert "--cap-drop" not in options
    assert f"{data}:/data" in options


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
        ({"skip_tests": ("A",)}, {"a:1": "skipped", "b": "passed"}),
        ({"skip_tests": ("ALL",)}, {"a:1": "skipped", "b": "skipped"}),
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
    assert [word for call in site.engine.runs for word in call.options if word.endswith(":/test:ro")] == [
        "/packages/b:/test:ro",
        "/packages/a:/test:ro",
    ]


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
