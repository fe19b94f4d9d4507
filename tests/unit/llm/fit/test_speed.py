"""Speeds: of one sequence, several, a prompt; by board, power mode and kind of layer; and how they were fitted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jetson_containers.llm.fit import constants, speed
from jetson_containers.llm.fit.predict import predict, work
from jetson_containers.llm.fit.weights import weights
from tests.unit.llm.fit.helpers import board, model
from tools import fit_constants
from tools.fit_published import comparisons


def of(name: str, runtime: str, where: str, quantization: str = "", **given: object) -> speed.Workload:
    return work(model(name), runtime=runtime, machine=board(where, **given), quantization=quantization)


def step(job: speed.Workload, filled: int = 512, sequences: int = 1) -> float:
    seconds = speed.step(job, filled, sequences)
    assert seconds is not None
    return seconds


CYCLES = {
    "kilocycles_per_layer": "cycles",
    "kilocycles_batched": "cycles_batched",
    "kilocycles_experts": "cycles_experts",
}


def as_written(runtime: constants.RuntimeConstants, name: str) -> float:
    """A constant of the table in the unit of the fit; of bytes per cycle, that of the formats with their own."""
    if name == "bytes_per_cycle":
        return next(iter(runtime.slower_formats.values()), runtime.bytes_per_cycle)
    if name in CYCLES:
        return float(getattr(runtime, CYCLES[name])) / 1000
    return float(getattr(runtime, name)) * (1000 if name.startswith("overhead") else 1)


def test_speed_constants_are_those_the_fitted_rows_lead_to() -> None:
    """The table's constants are what the fit on the rows marked so finds."""
    for fitted in fit_constants.fits():
        runtime = constants.runtime(fitted.runtime)
        for name, found in fitted.constants.items():
            written = as_written(runtime, name)
            assert written == pytest.approx(found, rel=0.03), (fitted.runtime, name)


def test_speed_rows_are_predicted_by_constants_fitted_without_them() -> None:
    """Each fitted row is predicted within 15 % in the mean by the other models of its runtime."""
    for fitted in fit_constants.fits():
        errors = [abs(predicted / row.speed - 1) for row, predicted in fitted.rows if row.speed]
        assert len(errors) >= 3
        assert sum(errors) / len(errors) < 0.15, fitted.runtime


@pytest.mark.parametrize(("runtime", "most"), [("lmdeploy", 0.1), ("mlc", 0.12), ("vllm", 0.22), ("llama_cpp", 0.15)])
def test_speed_of_rows_that_nothing_was_fitted_on(runtime: str, most: float) -> None:
    """The mean error of free rows stays where docs/fit.md says it is."""
    rows = [
        row.speed_error
        for row in comparisons()
        if row.runtime == runtime and row.sequences == 1 and not row.fitted and not row.beyond
    ]
    errors = [abs(error) for error in rows if error is not None]
    assert len(errors) >= 6
    assert sum(errors) / len(errors) <= most


def test_speed_published_rows_with_an_address_are_many() -> None:
    """At least sixty free rows name their public address."""
    rows = [row for row in comparisons() if row.speed is not None and not row.fitted and "https://" in row.source]
    assert len(rows) >= 60


def test_speed_of_every_published_verdict_is_right() -> None:
    """What was seen to run is predicted to run, and what was not is not."""
    wrong = [(row.model, row.runtime, row.board) for row in comparisons() if row.runs not in {None, row.fit.fits}]
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "mode", "published"),
    [
        ("Meta-Llama-3.1-8B-Instruct", "15W", 14.0),
        ("Meta-Llama-3.1-8B-Instruct", "MAXN_SUPER", 19.14),
        ("Qwen2.5-7B-Instruct", "MAXN_SUPER", 21.75),
    ],
)
def test_speed_follows_the_power_mode(name: str, mode: str, published: float) -> None:
    """The faster memory and clocks of the Super mode give what was published of it."""
    found = predict(
        model(name), runtime="mlc", quantization="q4f16_ft", context=1024, board=board("orin-nano-8gb", mode=mode)
    )
    assert found.decode_tokens_per_s == pytest.approx(published, rel=0.15)


def test_speed_of_a_mode_with_slow_clocks_is_what_the_sms_take_in() -> None:
    """Four SMs at 612 MHz take in less than the memory gives."""
    slow, full = (
        of("Llama-2-7b-chat-hf", "mlc", "orin-nx-16gb", "q4f16_ft", mode="15W"),
        of("Llama-2-7b-chat-hf", "mlc", "orin-nx-16gb", "q4f16_ft"),
    )
    size = 4e9
    assert speed.transfer(slow, size) == pytest.approx(size / (slow.runtime.bytes_per_cycle * 4 * 612e6))
    assert speed.transfer(full, size) == pytest.approx(size / (full.runtime.efficiency * 102.4e9))


def test_speed_layers_without_attention_cost_what_they_cost() -> None:
    """Layers with attention and layers that keep a state take time: Nemotron's hybrid has six and 23 of 52."""
    job = of("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "llama_cpp", "agx-thor", "Q4_K_M")
    assert speed.mixers(job.config) == (6, 23)
    assert speed.overhead(job) == pytest.approx(29 * job.runtime.cycles / 1575e6)
    assert speed.overhead(job, 8) == pytest.approx(29 * (job.runtime.cycles + job.runtime.cycles_experts) / 1575e6)
    other = of("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "vllm", "agx-thor")
    assert speed.overhead(other) == pytest.approx(other.runtime.overhead + 23 * other.runtime.overhead_recurrent)


def test_speed_of_a_batch_reads_dense_weights_once_and_more_experts() -> None:
    """Eight sequences read a dense model's weights once; of experts they read more, at most all."""
    dense, sparse = (weights(model(name), "fp16") for name in ("Qwen3-8B", "Qwen3-30B-A3B-Instruct-2507"))
    assert dense.read(8) == dense.per_token
    assert sparse.per_token < sparse.read(2) < sparse.read(8) < sparse.read(4096) <= sparse.total
    assert sparse.read(1) == pytest.approx(sparse.per_token)
    job = of("Qwen3-8B", "vllm", "agx-orin-64gb")
    assert step(job) < step(job, sequences=8) < 2 * step(job)


def test_speed_of_a_prompt_is_bound_by_the_rate() -> None:
    """Twice the tokens take about twice the time, and FP8 half of it where the GPU multiplies in it."""
    job = of("Qwen3-8B", "vllm", "agx-thor")
    once, twice = speed.prefill(job, 4096), speed.prefill(job, 8192)
    assert once is not None
    assert twice is not None
    assert 1.9 < twice / once < 2.3
    assert speed.rate(replace(job, format="fp8")) == 2 * (speed.rate(job) or 0)
    assert speed.rate(of("Qwen3-8B", "vllm", "agx-orin-64gb", "w4a16")) == pytest.approx(42.6e12, rel=0.01)


def test_speed_of_a_prompt_agrees_with_what_llama_bench_measured() -> None:
    """llama.cpp's prompts of 512 tokens on AGX Orin are predicted within a tenth."""
    rows = [row for row in comparisons() if row.prefill and row.board == "agx-orin-64gb"]
    assert len(rows) == 2
    for row in rows:
        assert row.predicted_prefill == pytest.approx(row.prefill, rel=0.1)


def test_predict_says_how_many_contexts_fit() -> None:
    """As many sequences fit as the answer says, and one more does not."""
    config, machine = model("Qwen3-8B"), board("agx-orin-64gb")
    for runtime in ("llama_cpp", "vllm"):
        most = predict(config, runtime=runtime, board=machine).sequences
        assert most > 1
        assert predict(config, runtime=runtime, board=machine, max_batch=most).fits
        assert not predict(config, runtime=runtime, board=machine, max_batch=most + 1).fits
    assert predict(config, runtime="transformers", board=board("orin-nano-8gb")).sequences == 0


def test_predict_gives_the_first_token_and_the_batch_in_json() -> None:
    """The JSON has the time to the first token, the prompt's rate and what a batch gets together."""
    found = predict(model("Qwen3-8B"), runtime="llama_cpp", board=board("agx-orin-64gb"), max_batch=4).to_json()
    assert found["first_token_s"] * found["prefill_tokens_per_s"] == pytest.approx(512, rel=0.02)
    assert found["decode_tokens_per_s"] < found["batch_tokens_per_s"] < 4 * found["decode_tokens_per_s"]


@pytest.mark.parametrize(("sequences", "rows", "most"), [(1, 10, 0.1), (8, 5, 0.12), (32, 5, 0.15)])
def test_speed_of_a_batch_agrees_with_llama_batched_bench(sequences: int, rows: int, most: float) -> None:
    """Rows of llama.cpp's own benchmark that nothing was fitted on, with 4096 tokens and more in each sequence."""
    found = [
        row
        for row in comparisons()
        if row.board == "gb10" and row.filled > 1000 and row.sequences == sequences and not row.fitted
    ]
    assert len(found) == rows
    errors = [abs(row.speed_error) for row in found if row.speed_error is not None]
    assert sum(errors) / len(errors) <= most


def test_speed_of_graphics_cards_follows_their_bandwidth() -> None:
    """Free rows of graphics cards are predicted within 15 % in the mean, each by its card's bandwidth alone."""
    found = [
        row for row in comparisons() if row.work.machine.discrete and not row.fitted and row.speed_error is not None
    ]
    assert len(found) >= 30
    assert sum(abs(row.speed_error or 0) for row in found) / len(found) <= 0.15
    assert len({row.board for row in found}) >= 10


def test_speed_of_prompts_that_are_cached_is_that_of_the_steps() -> None:
    """Prompts that were read before cost a step's overhead, and those that are not cost their reading."""
    job = of("Qwen3-8B", "vllm", "agx-orin-64gb", "w4a16")
    cached, fresh = speed.served(job, 2048, 128, 8, cached=True), speed.served(job, 2048, 128, 8)
    assert cached is not None
    assert fresh is not None
    steps = 8 / step(job, 2048 + 64, 8)
    assert fresh < cached < steps
    assert cached == pytest.approx(steps, rel=0.1)
    kept = {(row.model, row.board): row.cached for row in comparisons() if row.runtime == "vllm" and row.prompt}
    assert kept["Qwen3-8B", "agx-orin-64gb"]
    assert not kept["Qwen3-8B", "orin-nx-16gb"]  # 16 GB of keys and values are more than it has
    assert not kept["NVIDIA-Nemotron-Nano-9B-v2", "agx-thor"]  # keeps a state
    assert not any(row.cached for row in comparisons() if row.runtime != "vllm")


def test_speed_of_formats_that_are_unpacked_depends_on_the_multiprocessors() -> None:
    """Four bits that the SMs unpack are slower with few of them; what a GPU computes in is not unpacked."""
    orin, thor = of("Qwen3-8B", "vllm", "agx-orin-64gb", "w4a16"), of("gpt-oss-20b", "vllm", "agx-thor")
    slow = orin.runtime.slower_formats["compressed-w4"]
    assert orin.runtime.intake("compressed-w4", 87) == slow < orin.runtime.bytes_per_cycle
    assert thor.runtime.intake("mxfp4", 87) == slow
    assert thor.runtime.intake("mxfp4", 110) == thor.runtime.bytes_per_cycle
    size = 5e9
    assert speed.transfer(orin, size) == pytest.approx(size / (slow * 16 * 1.3e9), rel=0.01)
