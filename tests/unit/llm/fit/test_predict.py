"""Predictions: published tables reproduced, formulas checked against facts, and properties that hold for all models."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.core import facts
from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.fit import constants, memory
from jetson_containers.llm.fit.advice import FitRequest, advise, ask
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import Machine, board_named, of_board
from jetson_containers.llm.fit.predict import FitOptions, FitVerdict, predict
from jetson_containers.llm.fit.weights import linear_weights, weights
from jetson_containers.llm.models import known
from jetson_containers.llm.models.config import ModelConfig, Quantized
from jetson_containers.llm.runtimes import llama_cpp
from tests.paths import ROOT_DIR
from tools.fit_published import Account, Peak, accounts, comparisons, peaks

ROOT = ROOT_DIR
RUNTIMES = tuple(constants.runtimes())


def model(name: str) -> ModelConfig:
    config = known.config(name)
    assert config is not None
    return config


def board(name: str, **given: object) -> Machine:
    return of_board(board_named(name), **given)  # type: ignore[arg-type]


# Published figures ---------------------------------------------------------------------------------------------------


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
    rows = [row for row in comparisons() if row.model.endswith("20b") and row.runs]
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
    far = {(row.model, row.runtime, row.speed): row.speed_error for row in comparisons() if row.fitted}
    assert len(far) >= 17
    assert {place: error for place, error in far.items() if error is None or abs(error) > 0.17} == {}


def test_fit_page_is_current() -> None:
    """docs/fit.md is what tools/fit_report.py writes."""
    done = subprocess.run([sys.executable, "tools/fit_report.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run .venv/bin/python tools/fit_report.py"


def test_constants_name_no_model() -> None:
    """No model has a constant of its own."""
    names = [name.lower().rpartition("/")[2] for name in known.configs()]
    ours = ROOT / "jetson_containers"
    models = [ours / "llm" / "models" / name for name in ("gguf.py", "config.py", "layers.py")]
    for path in [*(ours / "llm" / "fit").glob("*.py"), ours / "facts" / "fit.yaml", *models]:
        text = path.read_text(encoding="utf-8").lower()
        assert [name for name in names if name in text] == [], path


def test_constants_have_a_source_in_every_part_of_the_table() -> None:
    """Every part of the table says where it comes from."""
    text = (ROOT / "jetson_containers" / "facts" / "fit.yaml").read_text(encoding="utf-8")
    sections = re.split(r"^(?=\w+:)", text, flags=re.MULTILINE)
    for before, section in itertools.pairwise(sections):
        comment = "".join(re.findall(r"^#.*$", before, flags=re.MULTILINE)[-12:]) + section
        assert "source:" in comment or "fitted" in comment, section.splitlines()[0]


# Weights -------------------------------------------------------------------------------------------------------------

# GiB in fp16, q4f16_1, q4f16_ft, group 128 with fp16 embeddings, TurboMind; KiB per token of KV cache
SIZES = [
    ("Qwen2.5-0.5B-Instruct", 0.92, 0.26, 0.24, 0.43, 0.43, 12),
    ("Llama-3.2-1B-Instruct", 2.30, 0.65, 0.59, 0.96, 0.97, 32),
    ("Qwen2.5-1.5B-Instruct", 2.88, 0.81, 0.73, 1.07, 1.08, 28),
    ("Llama-3.2-3B-Instruct", 5.98, 1.68, 1.52, 2.10, 2.13, 112),
    ("Llama-2-7b-chat-hf", 12.55, 3.53, 3.15, 3.62, 3.69, 512),
    ("Mistral-7B-Instruct-v0.2", 13.49, 3.79, 3.39, 3.87, 3.94, 128),
    ("Qwen2.5-7B-Instruct", 14.18, 3.99, 3.61, 5.19, 5.26, 56),
    ("Meta-Llama-3.1-8B-Instruct", 14.96, 4.21, 3.80, 5.33, 5.41, 128),
    ("Llama-2-13b-chat-hf", 24.24, 6.82, 6.08, 6.75, 6.89, 800),
    ("Llama-2-70b-chat-hf", 128.5, 36.1, 32.2, 34.1, 34.8, 320),
]


@pytest.mark.parametrize("row", SIZES, ids=[row[0] for row in SIZES])
def test_weights_have_the_sizes_of_the_facts(row: tuple[str, float, float, float, float, float, int]) -> None:
    """Sizes are those of the facts."""
    config = model(row[0])
    names = ("fp16", "mlc-q4", "mlc-q4-ft", "gptq-w4", "turbomind-w4")
    assert [weights(config, name).total / GIB for name in names] == pytest.approx(row[1:6], rel=0.003, abs=0.006)
    assert memory.kv_per_token(config) == row[6] * 1024


BITS = {
    "Q2_K": 3.1593, "Q3_K_S": 3.6429, "Q3_K_M": 3.9960, "Q3_K_L": 4.2979, "IQ4_XS": 4.4597, "IQ4_NL": 4.6818,
    "Q4_K_S": 4.6672, "Q4_K_M": 4.8944, "Q5_K_S": 5.5704, "Q5_K_M": 5.7036, "Q6_K": 6.5633, "Q8_0": 8.5008,
    "F16": 16.0005,
    "IQ1_S": 2.0042, "IQ1_M": 2.1460, "IQ2_XXS": 2.3824, "IQ2_XS": 2.5882, "IQ2_S": 2.7403, "IQ2_M": 2.9294,
    "IQ3_XXS": 3.2548, "IQ3_XS": 3.4977, "IQ3_S": 3.6606, "IQ3_M": 3.7628,
}  # fmt: skip


@pytest.mark.parametrize("name", BITS)
def test_weights_of_gguf_types_have_the_bits_that_llama_cpp_documents(name: str) -> None:
    """GGUF types have the bits per weight that llama.cpp documents."""
    config = model("Meta-Llama-3.1-8B-Instruct")
    elements = linear_weights(config) + 2 * config.vocab * config.hidden
    assert weights(config, name).total * 8 / elements == pytest.approx(BITS[name], abs=0.002)


def test_weights_of_other_shapes_mix_block_types_differently() -> None:
    """Llama-2-7B: 4.84 and 4.58 bits per weight in llama.cpp's older tables."""
    config = model("Llama-2-7b-chat-hf")
    elements = linear_weights(config) + 2 * config.vocab * config.hidden
    found = {name: weights(config, name).total * 8 / elements for name in ("Q4_K_M", "Q4_K_S", "Q5_K_M", "Q3_K_M")}
    assert found == pytest.approx({"Q4_K_M": 4.84, "Q4_K_S": 4.58, "Q5_K_M": 5.68, "Q3_K_M": 3.91}, abs=0.01)


def test_weights_with_rows_that_256_does_not_divide_get_larger_blocks() -> None:
    """Rows that 256 does not divide get larger blocks."""
    small = model("Qwen2.5-0.5B-Instruct")  # 896 wide; its published Q4_K_M file is 398 MB
    assert weights(small, "Q4_K_M").total == pytest.approx(397e6, rel=0.015)


@pytest.mark.parametrize(
    ("name", "megabytes"),  # of the files that are published, of which 5 to 10 MB are the vocabulary
    [
        ("Llama-3.2-1B-Instruct", 808),
        ("Llama-3.2-3B-Instruct", 2019),
        ("Phi-3.5-mini-instruct", 2393),  # query, key and value in one tensor
        ("gemma-2-2b-it", 1709),
        ("Qwen2.5-7B-Instruct", 4683),
    ],
)
def test_weights_are_as_large_as_published_files(name: str, megabytes: int) -> None:
    """Files are as large as those that are published."""
    assert weights(model(name), "Q4_K_M").total == pytest.approx(megabytes * 1e6, rel=0.016)


def test_predict_counts_a_quantized_checkpoint_as_it_is() -> None:
    """A quantized checkpoint counts as it is."""
    config = replace(model("Llama-2-7b-chat-hf"), quantized=Quantized(method="gptq", bits=4, group=128))
    predicted = predict(config, runtime="vllm", board=board("agx-orin-64gb"))
    assert (predicted.quantization, predicted.steps) == ("gptq-4bit", ())
    assert predicted.weights_bytes / GIB == pytest.approx(3.62, abs=0.01)
    refused = predict(config, runtime="mlc", board=board("agx-orin-64gb"))
    assert (refused.verdict, "gptq quantized already" in refused.reason) == (FitVerdict.IMPOSSIBLE, True)


# Memory beside the weights -------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("row", peaks(), ids=lambda row: f"{row.step}-{row.config.vocab}-{row.context}")
def test_peak_is_as_measured(row: Peak) -> None:
    """Peaks are as measured."""
    assert row.predicted == pytest.approx(row.measured, rel=0.16 if row.context == 2048 else 0.05)


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


# Making the artifact ------------------------------------------------------------------------------------------------


def test_peak_of_a_four_bit_model_fits_16_gb_where_tensors_are_streamed() -> None:
    """Making a four-bit model on 16 GB is possible where tensors are streamed."""
    config, nx = model("Llama-2-7b-chat-hf"), board("orin-nx-16gb")
    possible = {name: predict(config, runtime=name, board=nx).makes_here for name in RUNTIMES}
    assert [name for name in ("mlc", "llama_cpp", "bitsandbytes", "gptq") if not possible[name]] == []
    assert (possible["lmdeploy"], possible["awq"]) == (False, False)


def test_peak_is_the_highest_of_the_named_steps() -> None:
    """The steps are named, and the highest is the peak."""
    predicted = predict(model("Llama-2-7b-chat-hf"), runtime="llama_cpp", board=board("orin-nx-16gb"))
    assert [name for name, _ in predicted.steps] == ["convert", "quantize"]
    assert predicted.peak_bytes == max(predicted.total_bytes, *(size for _, size in predicted.steps))


# What cannot be ------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_weights_have_a_size_for_every_quantization_of_every_runtime(runtime: str) -> None:
    """Every quantization of every runtime has a size."""
    for variant in constants.runtime(runtime).variants:
        for name, (form, _) in {**variant.accepted, **variant.formats}.items():
            assert weights(model("Mistral-7B-Instruct-v0.2"), form).total > GIB, name


def runtimes_own_names() -> dict[tuple[str, str], list[str]]:
    """What the runtimes' own tables call quantizations: runtime → interface → names, the default first."""
    own = {("mlc", api): list(names) for api, names in load_facts("mlc")["quantizations"].items()}
    if (facts.FACTS / "runtimes.yaml").is_file():
        for runtime, interfaces in load_facts("runtimes")["runtimes"].items():
            own.update({(runtime, kind): list(row["quantizations"]) for kind, row in interfaces.items()})
    return own


@pytest.mark.parametrize(("place", "names"), runtimes_own_names().items(), ids=str)
def test_weights_have_a_size_for_all_that_a_runtime_can_make(place: tuple[str, str], names: list[str]) -> None:
    """What a runtime can make has a size."""
    for variant in constants.runtime(place[0]).variants:
        if variant.api in {"", place[1]}:
            assert set(names) <= {*variant.formats, *variant.accepted}


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


# Boards --------------------------------------------------------------------------------------------------------------


def test_machine_without_a_published_memtotal_is_estimated_with_a_note() -> None:
    """Boards without a published MemTotal are estimated and say so."""
    assert board("orin-nx-16gb", mode="MAXN").notes == ()
    estimated = board("agx-orin-32gb")
    assert estimated.memory == int(32 * GIB * 0.91)
    assert "estimated" in estimated.notes[0]


def test_machine_that_starts_with_less_power_has_a_note() -> None:
    """A board that starts with less power says so."""
    assert "starts in the mode 15W" in board("orin-nx-16gb").notes[0]
    assert board("agx-thor").notes == ()


def test_machine_power_mode_changes_clock_and_bandwidth() -> None:
    """Power modes change clock and bandwidth."""
    assert board("orin-nano-8gb").bandwidth == 68e9
    assert board("orin-nano-8gb", mode="25W").bandwidth == 102e9
    assert board("orin-nx-16gb", mode="15W").sm_hz == 4 * 612e6
    slow, full = board("agx-orin-64gb", mode="15W").bandwidth, board("agx-orin-64gb").bandwidth
    assert slow is not None
    assert full is not None
    assert slow / full == pytest.approx(2 / 3, abs=0.001)
    with pytest.raises(UsageError, match="unknown power mode `9W`"):
        board("orin-nx-16gb", mode="9W")


def test_constants_of_power_modes_belong_to_boards() -> None:
    """Every mode belongs to a board."""
    for name, modes in load_facts("fit")["modes"].items():
        assert modes["default"] in modes
        for mode in modes:
            if mode != "default":
                assert board(name, mode=mode).mode == mode


def test_machine_of_an_unknown_board_gets_a_suggestion() -> None:
    """A board that does not exist gets a suggestion."""
    with pytest.raises(UsageError, match="unknown board `orin-nx-16`") as error:
        board_named("orin-nx-16")
    assert "orin-nx-16gb" in (error.value.hint or "")


# Properties ----------------------------------------------------------------------------------------------------------

HEADS = st.sampled_from([(8, 8), (16, 4), (32, 8), (32, 32)])


@st.composite
def shapes(draw: st.DrawFn) -> ModelConfig:
    heads, kv_heads = draw(HEADS)
    hidden = heads * 64 * draw(st.integers(1, 3))
    experts = draw(st.sampled_from([0, 0, 8]))
    return ModelConfig(
        architecture="LlamaForCausalLM", model_type="llama", layers=draw(st.integers(4, 60)), hidden=hidden,
        intermediate=hidden * draw(st.integers(2, 4)), heads=heads, kv_heads=kv_heads, head_dim=hidden // heads,
        vocab=draw(st.sampled_from([32000, 128256])), tied=draw(st.booleans()), experts=experts,
        experts_used=min(experts, 2),
    )  # fmt: skip


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    size = draw(st.integers(4, 64))
    return Machine(
        id="any",
        memory=size * GIB,
        bandwidth=100e9,
        sm=87,
        l4t=(draw(st.sampled_from([35, 36])),),
        swap=draw(st.sampled_from([0, 8])) * GIB,
    )


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


@given(shapes(), machines(), st.sampled_from(RUNTIMES), st.integers(512, 32768), st.integers(1, 4))
@settings(deadline=None, max_examples=40)
def test_advise_gives_options_that_fit_when_applied(
    config: ModelConfig, machine: Machine, runtime: str, context: int, batch: int
) -> None:
    """Advice fits when it is applied."""
    request = FitRequest(runtime=runtime, context=context, max_batch=batch)
    first = ask(config, request, machine)
    for advice in advise(config, request, machine):
        again = ask(config, advice.request, advice.machine)
        assert again == advice.fit
        assert again.fits
        assert not (first.fits and again.verdict is not FitVerdict.FITS)
        assert advice.options


@pytest.mark.parametrize("name", list(known.configs())[:6])
def test_advise_is_silent_where_it_fits_well(name: str) -> None:
    """Nothing is advised where it fits well."""
    config = model(name)
    for runtime in RUNTIMES:
        if predict(config, runtime=runtime, board=board("agx-orin-64gb")).verdict is FitVerdict.FITS:
            assert advise(config, FitRequest(runtime=runtime), board("agx-orin-64gb")) == ()


def test_advise_begins_with_the_smallest_change() -> None:
    """Advice begins with the smallest change."""
    advice = advise(model("Llama-2-7b-chat-hf"), FitRequest(runtime="llama_cpp"), board("orin-nano-8gb"))
    assert [item.text for item in advice][:3] == [
        "--context 2048",
        "--swap 2",
        "--quantization Q3_K_S",
    ]
