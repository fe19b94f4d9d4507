"""Sizes of weights by format."""

from __future__ import annotations

import pytest

from jetson_containers.core import facts
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.fit import constants, memory
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.weights import linear_weights, weights
from tests.unit.llm.fit.helpers import RUNTIMES, model

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
