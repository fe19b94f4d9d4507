"""From a request to an artifact: what is decided, what is read from the image, what is refused before it starts."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.console import Console
from jetson_containers.core.errors import DoesNotFitError, UsageError
from jetson_containers.llm import fit_check, prepare
from jetson_containers.llm.containers import Containers
from jetson_containers.llm.decide import Goal
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named, of_board
from jetson_containers.llm.fit.predict import FitVerdict
from jetson_containers.llm.models import known
from jetson_containers.llm.pipeline.steps import Pipeline
from jetson_containers.llm.request import LlmRequest
from jetson_containers.llm.runtimes.interface import Job, ServeOptions, Target
from jetson_containers.llm.runtimes.llama_cpp import QUANTIZATIONS, LlamaCpp
from jetson_containers.platforms import detect
from tests.fakes import FakeEngine
from tests.unit.llm.fakes import CPU, FakeCatalog, Local, llama, no_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.pipeline.types import Selection, Step, StepResult


ORIN = detect.parse_target("orin-nx-16gb,r36.4.3")


def test_prepare_refuses_what_cannot_work_before_anything_starts(context: LlmContext) -> None:
    """What cannot work is refused before anything starts."""
    with pytest.raises(UsageError, match="no quantization `q9`") as caught:
        prepare.prepare(LlmRequest(model="tiny", quantization="q9"), context)
    assert "possible: Q4_K_M" in (caught.value.hint or "")


def test_prepare_refuses_what_does_not_fit_before_anything_starts(context: LlmContext) -> None:
    """What does not fit is refused before anything starts."""
    request = LlmRequest(model=llama(context), quantization="F16", board="orin-nano-8gb")
    with pytest.raises(DoesNotFitError, match="orin-nano-8gb has") as caught:
        prepare.prepare(request, context)
    assert "--quantization" in (caught.value.hint or "")
    assert "`--anyway` to continue" in (caught.value.hint or "")
    assert prepare.plan(replace(request, anyway=True), context).forecast is not None


def test_forecast_of_the_post_s_largest_model_needs_swap_and_says_so() -> None:
    """InternLM2-20B on an Orin NX 16 GB: refused without swap, which is named, and run with it as measured."""
    config = known.config("InternLM2-20B")
    assert config is not None
    target = Target(platform=detect.parse_target("orin-nx-16gb,r35.4.1"), versions={"lmdeploy": "0.2.5"})
    job = Job(
        source="/data/m", name="internlm2-chat-20b", config=config, quantization="w4a16", target=target, context=4096
    )
    console = Console(out=io.StringIO(), err=io.StringIO())
    board = board_named("orin-nx-16gb")
    without = fit_check.forecast(job, "lmdeploy", of_board(board, l4t=35))
    assert without is not None
    with pytest.raises(DoesNotFitError, match=r"are missing; swap on a disk \(not ZRAM\) would be enough"):
        fit_check.report(without, job, console, anyway=False)
    swapped = fit_check.forecast(job, "lmdeploy", of_board(board, swap=8 * GIB, l4t=35))
    assert swapped is not None
    assert swapped.fit.verdict is FitVerdict.SWAP
    fit_check.report(swapped, job, console, anyway=False)


def test_plan_for_compile_refuses_a_runtime_that_compiles_nothing(context: LlmContext) -> None:
    """A runtime that has nothing to compile is refused for `llm compile`."""
    with pytest.raises(UsageError, match="llama_cpp has nothing to compile"):
        prepare.plan(LlmRequest(model="tiny"), context, goal=Goal.COMPILED)


def test_plan_takes_the_runtime_of_the_format(context: LlmContext) -> None:
    """The format of the model decides the runtime."""
    path = context.data / "models" / "x.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"GGUF")
    assert prepare.plan(LlmRequest(model="/data/models/x.gguf"), context).steps == ()
    with pytest.raises(UsageError, match="unknown runtime `nonsense`"):
        prepare.plan(LlmRequest(model="/data/models/x.gguf", runtime="nonsense"), context)


def test_target_of_reads_versions_and_device_from_the_image(context: LlmContext) -> None:
    """Versions and device come from the image."""
    engine = FakeEngine()
    engine.add_image(
        "llama_cpp:1",
        {
            "io.jetson-containers.packages": '["python:3.11","llama_cpp:0.3.36"]',
            "io.jetson-containers.platform": '{"cuda":null}',
        },
    )
    gpu = replace(context, platform=detect.parse_target("x86_64,cu129"))
    asked: list[tuple[str, ...]] = []

    class Probing(Containers):
        def capture(self, command: Any, *, seconds: float | None = None) -> str:
            asked.append(tuple(command))
            return "help text"

    containers = Probing(
        platform=gpu.platform,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image="llama_cpp:1",
        image_for=no_engine,
    )
    for _ in range(2):
        target = prepare.target_of(containers, LlamaCpp(), gpu)
        assert target.versions == {"python": "3.11", "llama_cpp": "0.3.36"}
        assert target.device == "cpu"
        assert target.probed == {" ".join(probe): "help text" for probe in LlamaCpp.probes}
    assert asked == [
        ("llama-server", "--help"),
        ("convert_hf_to_gguf.py", "--print-supported-models"),
    ]  # kept by the image's ID


def test_target_of_reads_versions_of_an_image_of_others_from_its_tag(context: LlmContext) -> None:
    """Versions of an image of others come from its tag."""
    engine = FakeEngine()
    engine.add_image("dustynv/mlc:0.1.0-r35.4.1")
    containers = Containers(
        platform=CPU,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image="dustynv/mlc:0.1.0-r35.4.1",
        image_for=no_engine,
    )
    silent = LlamaCpp()
    silent.probes = ()
    assert prepare.target_of(containers, silent, context).versions == {"mlc": "0.1.0"}


@pytest.mark.parametrize(
    ("image", "steps"),
    [
        ("dustynv/mlc:607dc5a-r36.2.0", ["link", "build"]),
        ("dustynv/mlc:3feed05-builder-r36.2.0", ["link", "build"]),
        ("dustynv/mlc:0.1.4-r36.4.2", ["convert", "config", "compile"]),
        ("mine/anything:latest", ["convert", "config", "compile"]),
        ("", ["convert", "config", "compile"]),
    ],
)
def test_plan_takes_the_interface_of_the_tag_of_the_image(context: LlmContext, image: str, steps: list[str]) -> None:
    """A dry run takes the interface of the image's tag."""
    orin = replace(context, platform=ORIN, catalog=lambda: FakeCatalog({"mlc": "0.20.0"}))
    request = LlmRequest(model=llama(orin), runtime="mlc", image=image)
    assert [step.name for step in prepare.plan(request, orin).steps] == steps


def test_plan_takes_the_first_quantization_by_default(context: LlmContext) -> None:
    """The default quantization is the first."""
    assert prepare.plan(LlmRequest(model="tiny"), context).job.quantization == QUANTIZATIONS[0] == "Q4_K_M"


@pytest.mark.parametrize("index", ["tensor-cache.json", "ndarray-cache.json", ""])
@pytest.mark.parametrize("folder", [".", "params"])
def test_plan_accepts_mlc_weights_under_either_name_of_their_index(
    context: LlmContext, index: str, folder: str
) -> None:
    """MLC's weights count under either name of their index."""
    place = context.data / "models" / "mlc" / "dist" / "m-q4f16_1-MLC" / folder
    place.mkdir(parents=True)
    for name in ("mlc-chat-config.json", "params_shard_0.bin", *([index] if index else [])):
        (place / name).write_text("{}")
    request = LlmRequest(model="/data/models/mlc/dist/m-q4f16_1-MLC")
    orin = replace(context, platform=ORIN)
    if index:
        assert prepare.plan(request, orin).runtime.name == "mlc"
        return
    with pytest.raises(UsageError, match="its weights are incomplete"):
        prepare.plan(request, orin)


def test_target_of_keeps_no_answer_that_docker_could_not_get(context: LlmContext) -> None:
    """What docker could not start says nothing about the image."""
    engine = FakeEngine()
    engine.add_image("llama_cpp:1")
    answers: list[str | None] = [None, "a list", "help text"]

    class Probing(Containers):
        def capture(self, command: Sequence[str], *, seconds: float | None = None) -> str | None:
            return answers.pop(0)

    probing = Probing(
        platform=CPU,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image="llama_cpp:1",
        image_for=lambda _packages: "",
    )
    helps, lists = (" ".join(probe) for probe in LlamaCpp.probes)
    assert prepare.target_of(probing, LlamaCpp(), context).probed == {lists: "a list"}
    assert prepare.target_of(probing, LlamaCpp(), context).probed == {helps: "help text", lists: "a list"}
    local = Local(
        platform=CPU,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image="llama_cpp:1",
        image_for=lambda _packages: "",
    )
    assert local.capture(["sh", "-c", "echo Error response from daemon; exit 125"]) is None
    assert local.capture(["sh", "-c", "echo usage; exit 1"]) == "usage\n"


def test_plan_refuses_until_where_no_model_is_left_to_serve(context: LlmContext) -> None:
    """--until may end before there is a model to be served."""
    with pytest.raises(UsageError, match="no model to serve after the step `convert`"):
        prepare.plan(LlmRequest(model="tiny", until="convert"), context)
    made = prepare.plan(LlmRequest(model="tiny", until="convert"), context, goal=Goal.QUANTIZED)
    assert [step.name for step in made.steps] == ["make", "convert"]
    with pytest.raises(UsageError, match="unknown step `nonsense`"):
        prepare.plan(LlmRequest(model="tiny", force=("nonsense",)), context)


@pytest.mark.parametrize(
    ("given", "goal"),
    [
        ({"quantization": "Q8_0"}, Goal.SERVED),
        ({"quantization": "F16"}, Goal.QUANTIZED),
        ({"until": "convert"}, Goal.QUANTIZED),
    ],
)
def test_prepare_runs_the_steps_that_plan_shows(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], goal: Goal
) -> None:
    """A dry run and a run decide the same."""
    engine = FakeEngine()
    engine.add_image("mine:1", {"io.jetson-containers.packages": '["llama_cpp:0.3.36"]'})
    ran: list[Step] = []

    def run(_self: Pipeline, steps: Sequence[Step], _selection: Selection) -> list[StepResult]:
        ran.extend(steps)
        return []

    monkeypatch.setattr(Pipeline, "run", run)
    monkeypatch.setattr(Containers, "capture", lambda _self, _command, **_given: "")
    here = replace(context, engine=lambda: engine)
    request = LlmRequest(model="tiny", image="mine:1", **given)
    shown = prepare.plan(request, context, goal)
    prepared = prepare.prepare(request, here, goal)
    assert [step.argv for step in ran] == [step.argv for step in shown.steps]
    assert prepared.decision.artifact == shown.artifact
    assert prepared.decision.service(ServeOptions(port=1)).argv == shown.service(ServeOptions(port=1)).argv
