"""Tests of packages on a platform with a GPU: a skipped test counts only after the check that needs no GPU."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder import image_check, package_tests
from jetson_containers.core.errors import PackageTestError
from jetson_containers.engine.interface import RunResult
from jetson_containers.platforms.detect import parse_target
from tests.unit.builder.helpers import Site, chain, results_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.plan.plan import BuildPlan
    from tests.fakes import RunCall

ORIN = parse_target("r36.4.3")


def gpu_plan(*names: str) -> BuildPlan:
    """A chain of tested packages for Orin."""
    return replace(chain(*names, tests=("t.py",)), platform=ORIN)


def answers(contents: dict[str, Any], *, tests: int = 77) -> Callable[[RunCall], RunResult]:
    """An engine's runs: the packages' own tests end with a status, the check of the image finds this."""
    found = {"files": 1, "missing": {}, "programs": [], "gpu_code": {}, "imports": {}, "complete": True, **contents}

    def answer(call: RunCall) -> RunResult:
        if image_check.SCRIPTS.name in call.command:
            return RunResult(exit_code=0, output=json.dumps(found) + "\n")
        return RunResult(exit_code=tests, output="no CUDA device\n")

    return answer


def test_package_tests_record_the_check_of_the_image_beside_a_skipped_test(site: Site) -> None:
    """A test that needs a GPU is deferred; the record says what was looked at instead."""
    site.engine.answer = answers({"gpu_code": {"/opt/x/libx.so": {"code": ["87"], "ptx": []}}})
    report = site.run(gpu_plan("a"))
    assert results_of(report) == {"a": "deferred"}
    test, check = site.label("jetson-containers/stage:a").tests["results"]
    assert (test["command"], test["status"]) == ("t.py", "deferred")
    assert (check["command"], check["status"]) == (package_tests.IMAGE_CHECK, "passed")
    assert check["reason"] == "1 linked files, GPU code in 1: native"


def test_package_tests_fail_where_a_skipped_test_hid_a_broken_image(site: Site) -> None:
    """The image that builds, whose tests want a GPU, and which is dead on the board."""
    site.engine.answer = answers({"missing": {"/opt/tvm/libtvm.so": ["libflash_attn.so"]}})
    with pytest.raises(PackageTestError) as caught:
        site.run(gpu_plan("a"))
    assert "/opt/tvm/libtvm.so needs libflash_attn.so" in caught.value.message + "".join(caught.value.details)
    assert site.label("jetson-containers/stage:a").tests["status"] == "failed"


def test_package_tests_fail_where_the_gpu_code_is_for_another_gpu(site: Site) -> None:
    """Also where the package's own tests pass, as they may without the GPU."""
    site.engine.answer = answers({"gpu_code": {"/opt/x/libx.so": {"code": ["90"], "ptx": []}}}, tests=0)
    with pytest.raises(PackageTestError):
        site.run(gpu_plan("a"))
    results = site.label("jetson-containers/stage:a").tests["results"]
    assert results[-1]["reason"] == "/opt/x/libx.so has no code for sm_87, only sm_90"


def test_package_tests_say_where_an_image_could_not_be_checked(site: Site) -> None:
    """An image without Python is not known to be right, and the record says so."""
    site.engine.answer = lambda call: RunResult(
        exit_code=0 if "t.py" in " ".join(call.command) else 127, output="python3: not found\n"
    )
    report = site.run(gpu_plan("a"))
    assert results_of(report) == {"a": "passed"}
    check = site.label("jetson-containers/stage:a").tests["results"][-1]
    assert check["status"] == "skipped"
    assert "could not be checked: python3: not found" in check["reason"]


def test_package_tests_check_an_image_once(site: Site) -> None:
    """What is recorded is not looked at again; a record from before the check existed is completed."""
    site.engine.answer = answers({}, tests=0)
    site.run(gpu_plan("a", "b"))
    runs = len(site.engine.runs)
    assert runs == 4
    site.run(gpu_plan("a", "b"))
    assert len(site.engine.runs) == runs


def test_package_tests_check_no_image_for_a_cpu(site: Site) -> None:
    """Its tests can run here, so nothing is hidden."""
    site.run(chain("a", tests=("t.py",)))
    assert [call.command for call in site.engine.runs] == [("python3", "/test/t.py")]
