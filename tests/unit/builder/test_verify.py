"""Tests that a build has deferred, run later in the finished image."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder.logs import RunLogs
from jetson_containers.builder.types import BuildOptions
from jetson_containers.builder.verify import ImageVerification, Verifier
from jetson_containers.core.console import Console
from jetson_containers.core.errors import UsageError
from jetson_containers.core.secrets import Redactor
from tests.unit.builder.helpers import PLATFORM, Site, package
from tests.unit.builder.test_package_tests import ORIN, answers, gpu_plan

if TYPE_CHECKING:
    from jetson_containers.recipes.package import Package

BOARD = replace(ORIN, board="orin-nx-16gb", host={"model": "the lab's own"})
GPU = ("--runtime", "nvidia")


def verified(
    site: Site, reference: str, *, gpu: tuple[str, ...] = GPU, missing: str = "", **more: Any
) -> ImageVerification:
    """Verify an image on the board; `missing` names a package whose recipe is not there."""
    image = site.engine.image(reference)
    assert image is not None

    def find(name: str) -> Package | None:
        return None if name == missing else package(name, test=("t.py",))

    options = BuildOptions(log_dir=site.directory / "board", env={}, run_options=gpu)
    logs = RunLogs(options.log_dir, Redactor({"HF_TOKEN": "hf_secretsecret"}))
    console = Console(out=site.out, err=site.err, env={})
    verifier = Verifier(
        engine=site.engine, options=options, logs=logs, console=console, platform=BOARD, find=find
    )  # fmt: skip
    return verifier.verify(reference, image, **more)


@pytest.fixture
def deferred(site: Site) -> str:
    """An image of two packages that was built without a GPU."""
    site.engine.answer = answers({})
    made = gpu_plan("a", "b")
    site.run(made)
    assert site.label(made.final).tests["status"] == "deferred"
    return made.final


def test_verify_runs_deferred_tests_and_writes_the_results_on_the_image(site: Site, deferred: str) -> None:
    """On the board the tests of both packages run with its GPU; afterwards there is nothing left to verify."""
    site.engine.answer = answers({}, tests=0)
    site.engine.runs.clear()
    result = verified(site, deferred)
    assert (result.status, result.ran) == ("passed", ("a", "b"))
    assert all(set(GPU) <= set(call.options) for call in site.engine.runs if "t.py" in " ".join(call.command))
    records = site.label(deferred).tests["packages"]
    assert {name: (entry["status"], entry["gpu"]) for name, entry in records.items()} == {
        "a": ("passed", True),
        "b": ("passed", True),
    }
    assert verified(site, deferred).ran == ()
    assert verified(site, deferred, everything=True).ran == ("a", "b")


def test_verify_tells_a_test_that_fails_on_the_board(site: Site, deferred: str) -> None:
    """A failure on the board is recorded; a build takes the image as failed from then on."""
    site.engine.answer = answers({}, tests=1)
    result = verified(site, deferred)
    assert result.status == "failed"
    assert site.label(deferred).tests["status"] == "failed"


def test_verify_without_a_gpu_leaves_tests_deferred(site: Site, deferred: str) -> None:
    """Where containers get no GPU nothing runs, and the report says what is still due."""
    result = verified(site, deferred, gpu=())
    assert (result.status, result.ran) == ("deferred", ())


def test_verify_says_whose_recipe_is_not_here(site: Site, deferred: str) -> None:
    """The record of a package without a recipe stays as it was."""
    site.engine.answer = answers({}, tests=0)
    result = verified(site, deferred, missing="a")
    assert result.ran == ("b",)
    assert result.packages["a"]["status"] == "deferred"
    assert result.status == "deferred"


def test_verify_report_tells_the_kind_of_machine_and_no_secret(site: Site, deferred: str) -> None:
    """The report has board, L4T and results; nothing tells whose machine it is, and no token that a test printed."""
    site.engine.answer = answers({}, tests=0)
    site.engine.runs.clear()
    plain = site.engine.answer

    def leaking(call: Any) -> Any:
        done = plain(call)
        return (
            replace(done, exit_code=77, output="no model with hf_secretsecret\n")
            if done.exit_code == 0 and not done.output.startswith("{")
            else done
        )

    site.engine.answer = leaking
    data = verified(site, deferred).to_json()
    assert data["board"] == {
        "board": "orin-nx-16gb", "soc": BOARD.soc, "l4t": str(BOARD.l4t), "driver_cuda": data["board"]["driver_cuda"],
        "arch": "tegra", "gpu": True,
    }  # fmt: skip
    text = json.dumps(data)
    assert "hf_secretsecret" not in text
    assert "the lab's own" not in text
    assert str(site.directory) not in text


def test_verify_refuses_an_image_of_somebody_else(site: Site) -> None:
    """An image without our labels has no tests of packages."""
    site.engine.add_image("somebody/llm:1")
    with pytest.raises(UsageError, match="was not built by jetson-containers") as caught:
        verified(site, "somebody/llm:1")
    assert "jetson-containers test IMAGE" in (caught.value.hint or "")


def test_tests_of_an_engine_elsewhere_are_deferred_and_run_by_verify(site: Site) -> None:
    """A worker whose engine is a board's over SSH runs no tests; its record says why, and verify runs them."""
    made = replace(gpu_plan("a"), platform=PLATFORM)
    report = site.run(made, engine_elsewhere=True)
    assert (report.stages[0].tests, site.engine.runs) == ("deferred", [])
    record = site.label("jetson-containers/stage:a").tests
    assert (record["status"], "another machine" in record["reason"]) == ("deferred", True)
    assert verified(site, made.final).ran == ("a",)
