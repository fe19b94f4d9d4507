"""Predictions: published tables reproduced, formulas checked against facts, and properties that hold for all models."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.fit import constants, memory
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import Machine, board_named
from jetson_containers.llm.fit.predict import FitOptions, FitVerdict, predict
from jetson_containers.llm.fit.weights import weights
from jetson_containers.llm.models.config import ModelConfig, Quantized
from jetson_containers.llm.runtimes import llama_cpp
from tests.unit.llm.fit.helpers import ROOT, RUNTIMES, board, machines, model, shapes
from tools.fit_published import Account, accounts, comparisons


def test_predict_agrees_with_every_verdict_of_the_published_lmdeploy_table() -> None:
    """Every verdict of LMDeploy's published table is predicted."""
    rows = [row for row in comparisons() if row.source == "LMDeploy-Jetson README"]
    assert len(rows) == 10
    assert [(row.board, row.model, row.fit.fits) for row in rows] == [(row.board, row.model, row.runs) for row in rows]


def test_predict_memory_is_within_ten_percent_of_the_published_lmdeploy_table() -> None:
    """The memory of LMDeploy's published table is within ten percent."""
    errors = {(row.board, row.model): row.memory_error for row in comparisons() if row.kind == "system"}
    assert len(errors) == 6
    assert {place: error for place, error in errors.items() if error is None or abs(error) > 0.1} == {}


def test_predict_saturated_rows_of_the_table_need_swap() -> None:
    """Rows of the table that fill the memory need swap and show what is visible."""
    rows = [row for row in comparisons() if row.model.endswith("20b") and row.kind == "system"]
    for row in rows:
        assert row.fit.verdict is FitVerdict.SWAP
        assert row.fit.total_bytes > row.fit.available_bytes
        assert row.fit.used_bytes == pytest.approx(14.68 * GIB, rel=0.001)
        without = replace(board("orin-nx-16gb", l4t=35), swap=0)
        options = FitOptions(baseline="desktop-remote", session=8200 if "internlm-" in row.model else 32776)
        refused = predict(model(row.model), runtime="lmdeploy", board=without, context=256, options=options)
        assert (refused.verdict, refused.fits) == (FitVerdict.NO, False)
        assert "swap on a disk (not ZRAM) would be enough" in refused.reason


def test_predict_agrees_with_the_tutorial_about_its_board() -> None:
    """The tutorial is right about its board."""
    llama = model("Llama-2-7b-chat-hf")
    j4012 = board("orin-nx-16gb", l4t=35)
    plain = predict(llama, runtime="transformers", board=j4012)
    assert (plain.quantization, plain.context, plain.verdict) == ("fp16", 4096, FitVerdict.NO)
    quantized = predict(llama, runtime="mlc", quantization="q4f16_ft", context=4096, board=j4012)
    assert (quantized.verdict, quantized.steps[0][0]) == (FitVerdict.FITS, "build")
    assert quantized.makes_here


def test_predict_reproduces_the_figures_its_constants_were_fitted_on() -> None:
    """The figures that the constants were fitted on are predicted closely."""
    fitted = [row for row in comparisons() if row.fitted]
    far = {(row.model, row.runtime, row.speed): row.speed_error for row in fitted if row.sequences == 1}
    assert len(far) >= 34
    assert {place: error for place, error in far.items() if error is None or abs(error) > 0.3} == {}
    several = [row.speed_error or 0 for row in fitted if row.sequences > 1]
    assert len(several) >= 34
    assert sum(abs(error) for error in several) / len(several) <= 0.12


@pytest.mark.long
def test_fit_page_is_current() -> None:
    """docs/fit.md is what tools/fit_report.py writes."""
    done = subprocess.run([sys.executable, "tools/fit_report.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run .venv/bin/python tools/fit_report.py"


def test_predict_counts_a_quantized_checkpoint_as_it_is() -> None:
    """A quantized checkpoint counts as it is."""
    config = replace(model("Llama-2-7b-chat-hf"), quantized=Quantized(method="gptq", bits=4, group=128))
    predicted = predict(config, runtime="vllm", board=board("agx-orin-64gb"))
    assert (predicted.quantization, predicted.steps) == ("gptq-4bit", ())
    assert predicted.weights_bytes / GIB == pytest.approx(3.62, abs=0.01)
    refused = predict(config, runtime="mlc", board=board("agx-orin-64gb"))
    assert (refused.verdict, "gptq quantized already" in refused.reason) == (FitVerdict.IMPOSSIBLE, True)


@pytest.mark.parametrize(
    ("l4t", "chunk", "expected"),
    [(35, 0, 0.236), (36, 1024, 0.10 + 0.084), (36, 4096, 0.236 + 0.336)],
)
def test_predict_mlc_buffers_follow_its_engine(l4t: int, chunk: int, expected: float) -> None:
    """MLC's buffers follow its engine."""
    predicted = predict(
        model("Llama-2-7b-chat-hf"), runtime="mlc", context=4096, board=board("agx-orin-64gb", l4t=l4t),
        options=FitOptions(prefill_chunk=chunk),
    )  # fmt: skip
    assert predicted.activation_bytes / GIB == pytest.approx(expected, abs=0.01)
    assert predicted.kv_bytes == pytest.approx(2 * GIB, rel=0.001)


@pytest.mark.parametrize(
    ("name", "session", "expected"),
    [("internlm-chat-7b", 2056, 0.11), ("internlm2-chat-1_8b", 32776, 0.42), ("internlm2-chat-20b", 32776, 0.92)],
)
def test_predict_turbomind_buffers_follow_the_session(name: str, session: int, expected: float) -> None:
    """TurboMind's buffers follow the session."""
    options = FitOptions(session=session)
    predicted = predict(model(name), runtime="lmdeploy", context=256, board=board("orin-nx-16gb"), options=options)
    assert predicted.activation_bytes / GIB == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("account", accounts(), ids=lambda row: f"{row.config.vocab}-{row.context}-{row.micro_batch}")
def test_predict_llama_cpp_takes_the_memory_that_it_logs(account: Account) -> None:
    """llama.cpp takes the memory that it logs."""
    assert account.predicted_kv == account.kv
    assert account.predicted_compute == pytest.approx(account.compute, rel=0.05)


def test_predict_vllm_takes_its_share_and_no_more() -> None:
    """vLLM takes its share of the memory and no more."""
    small = predict(model("Llama-3.2-1B-Instruct"), runtime="vllm", board=board("orin-nx-16gb"))
    assert small.total_bytes - small.baseline_bytes == pytest.approx(0.6 * 15288 * (1 << 20), rel=0.001)
    assert (small.verdict, small.needed_bytes < small.total_bytes) == (FitVerdict.FITS, True)
    large = predict(model("Mistral-7B-Instruct-v0.2"), runtime="vllm", board=board("orin-nx-16gb"))
    assert "--gpu-memory-utilization 0.6" in large.reason


def test_predict_lmdeploy_takes_a_part_of_free_memory_unless_it_grows_by_blocks() -> None:
    """LMDeploy takes a part of the free memory unless its cache grows by blocks."""
    config = model("internlm2-chat-1_8b")
    new = predict(config, runtime="lmdeploy", board=board("orin-nx-16gb", l4t=36), context=2048)
    free = new.available_bytes - (new.total_bytes - new.kv_bytes)
    assert new.kv_bytes == pytest.approx(0.5 * free, rel=0.001)
    old = predict(config, runtime="lmdeploy", board=board("orin-nx-16gb", l4t=35), context=2048)
    assert old.kv_bytes == 17 * 128 * memory.kv_per_token(config)


def test_predict_kv_type_shrinks_the_cache() -> None:
    """Smaller types of the KV cache shrink it."""
    config = model("Llama-2-7b-chat-hf")
    sizes = {
        kv: predict(config, runtime="llama_cpp", board=board("orin-nx-16gb"), options=FitOptions(kv_type=kv)).kv_bytes
        for kv in ("f16", "q8_0", "q4_0")
    }
    assert sizes["q8_0"] / sizes["f16"] == pytest.approx(8.5 / 16)
    assert sizes["q4_0"] / sizes["f16"] == pytest.approx(4.5 / 16)


def test_predict_mlc_limit_holds_only_in_the_new_api() -> None:
    """MLC keeps to its own limit only in the new API."""
    config, large = model("Meta-Llama-3.1-8B-Instruct"), 131072 * 3
    new = predict(config, runtime="mlc", board=board("agx-orin-64gb", l4t=36), context=large)
    assert "gpu_memory_utilization=0.85" in new.reason
    old = predict(config, runtime="mlc", board=board("agx-orin-64gb", l4t=35), context=large)
    assert "gpu_memory_utilization" not in old.reason


def test_predict_graphics_card_has_no_baseline_and_no_swap() -> None:
    """A graphics card has no system beside the model, and no swap."""
    card = Machine(id="card", memory=24 * GIB, sm=89, discrete=True, swap=64 * GIB)
    fits = predict(model("Llama-2-13b-chat-hf"), runtime="mlc", board=card)
    assert (fits.verdict, fits.baseline_bytes) == (FitVerdict.FITS, GIB // 2)
    assert predict(model("Llama-2-70b-chat-hf"), runtime="mlc", board=card).verdict is FitVerdict.NO


@pytest.mark.parametrize(
    ("name", "runtime", "quantization", "place", "words"),
    [
        ("Llama-2-7b-chat-hf", "vllm", "", "xavier-nx-8gb", "vllm exists for L4T 36, 38, 39"),
        ("Llama-2-7b-chat-hf", "bitsandbytes", "int8", "xavier-nx-8gb", "int8 needs compute capability 7.5"),
        ("Llama-2-7b-chat-hf", "mlc", "q4f16_ft", "xavier-nx-8gb", "q4f16_ft needs compute capability 8"),
        ("internlm2-chat-7b", "gptq", "", "agx-xavier-32gb", "does not know the architecture `internlm2`"),
        ("Llama-2-7b-chat-hf", "llama_cpp", "", "nano-4gb", "this machine runs L4T 32"),
        ("Llama-2-7b-chat-hf", "lmdeploy", "", "agx-thor", "lmdeploy exists for L4T 35, 36"),
        ("internlm2-chat-7b", "mlc", "", "xavier-nx-16gb", "mlc (old API) does not know the architecture `internlm2`"),
        ("internlm-chat-7b", "llama_cpp", "", "orin-nx-16gb", "does not know the architecture `internlm`"),
        ("Llama-2-7b-chat-hf", "vllm", "fp8", "agx-orin-64gb", "fp8 needs compute capability 8.9"),
    ],
)
def test_predict_impossible_combination_has_a_reason(
    name: str, runtime: str, quantization: str, place: str, words: str
) -> None:
    """What is impossible has its reason."""
    predicted = predict(model(name), runtime=runtime, quantization=quantization, board=board_named(place))
    assert (predicted.verdict, predicted.fits) == (FitVerdict.IMPOSSIBLE, False)
    assert words in predicted.reason


def test_predict_takes_an_older_version_where_only_that_knows_the_model() -> None:
    """A model that only an older version knows is predicted with that version."""
    old = predict(model("internlm-chat-7b"), runtime="lmdeploy", board=board("orin-nx-16gb"))
    assert old.verdict is FitVerdict.FITS
    assert old.notes[-1] == "only with lmdeploy for L4T 35; newer versions do not support it"
    assert predict(model("internlm-chat-7b"), runtime="lmdeploy", board=board("orin-nx-16gb", l4t=36)).fits is False
    named = predict(model("Llama-2-7b-chat-hf"), runtime="mlc", quantization="q8f16_1", board=board("agx-orin-64gb"))
    assert (named.fits, named.steps[0][0]) == (True, "build")


def test_predict_without_a_gpu_allows_only_cpu_runtimes() -> None:
    """Without a GPU only what runs on a CPU is possible."""
    cpu = Machine(id="pc", memory=64 * GIB)
    config = model("Qwen2.5-0.5B-Instruct")
    possible = {name for name in RUNTIMES if predict(config, runtime=name, board=cpu).fits}
    assert possible == {"llama_cpp", "transformers", "bitsandbytes", "gptq", "awq"}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"runtime": "nope"}, "unknown runtime `nope`"),
        ({"runtime": "mlc", "quantization": "Q4_K_M"}, "mlc has no quantization `Q4_K_M`"),
        ({"runtime": "mlc", "context": -1}, "numbers of tokens"),
        ({"runtime": "mlc", "max_batch": 0}, "at least 1"),
        ({"runtime": "mlc", "options": FitOptions(kv_type="f8")}, "unknown KV cache type `f8`"),
        ({"runtime": "mlc", "options": FitOptions(baseline="much")}, "unknown baseline `much`"),
        ({"runtime": "mlc", "options": FitOptions(baseline="nan")}, "unknown baseline `nan`"),
    ],
)
def test_predict_names_a_runtime_or_quantization_that_does_not_exist(given: dict[str, object], words: str) -> None:
    """What does not exist is named, with what does."""
    with pytest.raises(UsageError, match=words):
        predict(model("Llama-2-7b-chat-hf"), board=board("orin-nx-16gb"), **given)  # type: ignore[arg-type]


def test_formats_that_are_proposed_can_be_typed() -> None:
    """What is proposed can be typed."""
    for variant in constants.runtime("mlc").variants:
        assert set(variant.formats) <= set(load_facts("mlc")["quantizations"][variant.api])
        assert next(iter(variant.formats)) == next(iter(load_facts("mlc")["quantizations"][variant.api]))
    assert set(constants.runtime("llama_cpp").variants[0].formats) <= set(llama_cpp.QUANTIZATIONS)


def test_formats_are_found_in_any_case_and_by_short_names() -> None:
    """Quantizations are found in any case and by their short names."""
    for spelled, name in (("q4_k_s", "Q4_K_S"), ("Q4_K", "Q4_K_M"), ("", "Q4_K_M")):
        predicted = predict(
            model("Llama-2-7b-chat-hf"), runtime="llama_cpp", quantization=spelled, board=board("orin-nx-16gb")
        )
        assert predicted.weights_bytes == int(weights(model("Llama-2-7b-chat-hf"), name).total)


@given(shapes(), machines(), st.sampled_from(RUNTIMES), st.integers(64, 32768), st.integers(1, 32768))
@settings(deadline=None, max_examples=60)
def test_predict_memory_does_not_fall_with_more_context(
    config: ModelConfig, machine: Machine, runtime: str, context: int, more: int
) -> None:
    """More context never takes less memory."""
    less, greater = (
        predict(config, runtime=runtime, board=machine, context=size) for size in (context, context + more)
    )
    assert less.needed_bytes <= greater.needed_bytes
    assert less.total_bytes <= greater.total_bytes + 1
    assert greater.fits <= less.fits
    assert (less.decode_tokens_per_s_full or 0) >= (greater.decode_tokens_per_s_full or 0)


@given(shapes(), machines(), st.sampled_from(RUNTIMES), st.integers(1, 8), st.integers(1, 8))
@settings(deadline=None, max_examples=40)
def test_predict_memory_does_not_fall_with_a_larger_batch(
    config: ModelConfig, machine: Machine, runtime: str, batch: int, more: int
) -> None:
    """A larger batch never takes less memory."""
    one, many = (predict(config, runtime=runtime, board=machine, max_batch=size) for size in (batch, batch + more))
    assert one.needed_bytes <= many.needed_bytes
    assert many.fits <= one.fits


@given(
    shapes(), machines(), st.sampled_from(RUNTIMES), st.sampled_from(["layers", "intermediate", "vocab", "kv_heads"])
)
@settings(deadline=None, max_examples=60)
def test_predict_larger_model_takes_no_less_and_answers_no_faster(
    config: ModelConfig, machine: Machine, runtime: str, what: str
) -> None:
    """A larger model never takes less memory nor answers faster."""
    larger = replace(config, **{what: 2 * getattr(config, what)})
    small, large = (predict(each, runtime=runtime, board=machine, context=2048) for each in (config, larger))
    assert small.weights_bytes < large.weights_bytes
    assert small.needed_bytes < large.needed_bytes
    assert large.fits <= small.fits
    assert (small.decode_tokens_per_s or 0) >= (large.decode_tokens_per_s or 0)


@given(shapes(), machines(), st.sampled_from(RUNTIMES), st.integers(1, 32), st.integers(128, 16384))
@settings(deadline=None, max_examples=60)
def test_predict_larger_board_fits_whatever_a_smaller_one_does(
    config: ModelConfig, machine: Machine, runtime: str, more: int, context: int
) -> None:
    """A larger board never turns "fits" into "does not fit"."""
    larger = replace(machine, memory=machine.memory + more * GIB)
    small, large = (predict(config, runtime=runtime, board=each, context=context) for each in (machine, larger))
    assert small.fits <= large.fits
