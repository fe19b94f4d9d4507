"""What is decided of a request: by `decide` alone, without a machine to ask."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.decide import Decision, Findings, Goal, choose_runtime, decide
from jetson_containers.llm.fit import suggest
from jetson_containers.llm.fit.machine import board_named, of_board
from jetson_containers.llm.fit.predict import FitVerdict
from jetson_containers.llm.fit.query import FitQuestion, answer
from jetson_containers.llm.models import known
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.models.types import Model, ModelShape
from jetson_containers.llm.request import LlmRequest, runtime_named
from jetson_containers.llm.runtimes.interface import ServeOptions, Target
from jetson_containers.platforms import detect

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
    "intermediate_size": 128, "num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 512,
}  # fmt: skip
ORIN = detect.parse_target("orin-nano-8gb,r36.4.3")


def decided(runtime: str = "llama_cpp", goal: Goal = Goal.SERVED, **asked: object) -> Decision:
    model = Model(
        asked="org/m", name="m", path="/data/m", identity="hub:org/m", config=known.config("Llama-2-7b-chat-hf")
    )
    found = Findings(
        model=model,
        runtime=runtime_named(runtime),
        target=Target(platform=ORIN, versions={"mlc": "0.20.0"}),
        machine=of_board(board_named("orin-nano-8gb")),
    )
    return decide(LlmRequest(model="org/m", **asked), found, goal)  # type: ignore[arg-type]


def test_decide_has_steps_forecast_and_command_without_asking_anybody() -> None:
    """A decision has steps, forecast and command without asking the engine or the hub."""
    decision = decided(quantization="Q4_K_M", context=512)
    assert [step.name for step in decision.selected] == ["convert", "quantize"]
    assert decision.forecast is not None
    assert decision.forecast.fit.fits
    assert decision.service(ServeOptions(port=1)).argv[0] == "llama-server"
    assert (decision.quantization, decision.title) == ("Q4_K_M", "m Q4_K_M (llama_cpp)")


def test_decide_leaves_what_does_not_fit_to_the_report() -> None:
    """A model that does not fit is left to the report."""
    forecast = decided(quantization="F16").forecast
    assert forecast is not None
    assert forecast.fit.verdict is FitVerdict.NO


def test_decide_is_the_same_each_time() -> None:
    """A decision is the same each time."""
    first, second = decided(), decided()
    assert (first.job, first.steps, first.forecast) == (second.job, second.steps, second.forecast)


def test_decide_says_why_nothing_is_predicted() -> None:
    """A decision says why nothing is predicted."""
    decision = decided(runtime="lmdeploy", quantization="w4a16", prefill_chunk=64)
    assert (decision.forecast is None) == bool(decision.unpredicted)


def test_decision_on_another_target_keeps_its_forecast_and_takes_its_steps() -> None:
    """A decision on another target keeps its forecast and takes its steps."""
    first = decided(runtime="mlc", quantization="q4f16_1")
    assert [step.name for step in first.selected] == ["convert", "config", "compile"]
    again = first.on(Target(platform=ORIN, versions={"mlc": "0.1.0"}))
    assert [step.name for step in again.selected] == ["link", "build"]
    assert again.forecast is first.forecast


def test_decision_on_a_target_that_cannot_do_it_is_refused() -> None:
    """A decision on a target that cannot do it is refused."""
    with pytest.raises(UsageError, match="does not compile for `cpu`"):
        decided(runtime="mlc").on(Target(platform=ORIN, device="cpu", versions={"mlc": "0.1.0"}))


def test_decision_selects_up_to_a_step_that_only_the_image_has() -> None:
    """Names of steps are checked when the target is that of the image: an assumed one may have others."""
    first = decided(runtime="mlc", goal=Goal.COMPILED, until="link")
    again = first.on(Target(platform=ORIN, versions={"mlc": "0.1.0"}))
    assert [step.name for step in again.selected] == ["link"]
    with pytest.raises(UsageError, match="unknown step `link`"):
        _ = first.selected


@pytest.mark.parametrize(
    ("method", "maker", "asked", "expected"),
    [
        ("compressed-tensors", "", "", "vllm"),
        ("compressed-tensors", "awq", "", "awq"),
        ("awq", "gptq", "", "gptq"),
        ("awq", "gptq", "vllm", "vllm"),
        ("", "", "", "llama_cpp"),
    ],
)
def test_choose_runtime_takes_the_maker_unless_another_is_asked_for(
    method: str, maker: str, asked: str, expected: str
) -> None:
    """A model is served by its maker unless another runtime is asked for."""
    raw = {**LLAMA, "quantization_config": {"quant_method": method, "bits": 4}} if method else LLAMA
    model = Model(asked="m", name="m", path="/data/m", identity="i", config=from_hf(raw, "m"), maker=maker)
    assert choose_runtime(LlmRequest(model="m", runtime=asked), model).name == expected


@pytest.mark.parametrize(
    ("name", "most"), [("Qwen3-4B", 0), ("TinyLlama-1.1B-Chat-v1.0", 2048), ("Meta-Llama-3.1-8B-Instruct", 0)]
)
@pytest.mark.parametrize("board", ["orin-nano-8gb", "agx-orin-64gb", "agx-thor"])
def test_decide_takes_the_context_that_fit_and_suggest_take(name: str, most: int, board: str) -> None:
    """Without --context, `chat` and `serve` take the context of `fit` and `suggest`, on each board."""
    config, machine = known.config(name), of_board(board_named(board))
    assert config is not None
    model = Model(asked=name, name=name, path="/data/m", identity="m", config=config)
    found = Findings(
        model=model, runtime=runtime_named("llama_cpp"), target=Target(platform=ORIN, versions={}), machine=machine
    )
    chosen = decide(LlmRequest(model=name), found)
    shape = ModelShape(name=name, config=config, origin="")
    fitting = answer(shape, machine, FitQuestion(runtime="llama_cpp")).best
    suggested = suggest.suggestions(machine, suggest.SuggestQuestion(limit=1))[0].fit
    assert chosen.job.context == fitting.context == (most or suggested.context)
    said = any("are the default" in note for note in fitting.notes)
    assert said == (config.max_position > fitting.context)


def test_decide_bounds_the_default_context_by_what_a_file_here_was_trained_for() -> None:
    """A prepared file has no configuration of a checkpoint, and its own limit holds all the same."""
    config = from_hf({**LLAMA, "max_position_embeddings": 1024})
    held = ModelShape(name="m", config=config, origin="", runtimes=("llama_cpp",))
    model = Model(asked="m.gguf", name="m", path="/data/m.gguf", identity="m", prepared="llama_cpp", shape=held)
    found = Findings(model=model, runtime=runtime_named("llama_cpp"), target=Target(platform=ORIN, versions={}))
    assert decide(LlmRequest(model="m.gguf"), found).job.context == 1024


def test_decide_refuses_a_context_that_no_forecast_would_refuse() -> None:
    """A model that nothing is predicted for says what it takes; more would end its server without a reason."""
    model = Model(asked="tiny", name="tiny-llama", path="/data/t", identity="t", max_context=512)
    found = Findings(model=model, runtime=runtime_named("llama_cpp"), target=Target(
        platform=detect.parse_target("cpu"), device="cpu"
    ))  # fmt: skip
    with pytest.raises(UsageError, match=r"at most 512 tokens.*--context 513"):
        decide(LlmRequest(model="tiny", context=513), found)
    assert decide(LlmRequest(model="tiny", context=512), found).job.context == 512
    assert decide(LlmRequest(model="tiny", context=513, anyway=True), found).job.context == 513
