"""Quantizations as people type them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.llm.fit import constants
from jetson_containers.llm.models import quantization_words
from jetson_containers.llm.models.lookup import split_quantization


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("q5ks", "Q5_K_S"),
        ("Q5-K-S", "Q5_K_S"),
        ("q5_k_s", "Q5_K_S"),
        ("Q5_K_S.gguf", "Q5_K_S"),
        ("iq3 xxs", "IQ3_XXS"),
        ("q3f161", "q3f16_1"),
        ("Q0F32", "q0f32"),
        ("mxfp4moe", "MXFP4_MOE"),
        ("Half", "fp16"),
        ("bfloat16", "bf16"),
        ("BF16", "BF16"),
        ("float32", "fp32"),
        ("W4A16", "w4a16"),
        ("3bpw", "3.0bpw"),
        ("6.0 bpw", "6.0bpw"),
        ("NF4", "nf4"),
        ("INT4-G64", "int4-g64"),
        ("UD-IQ2_M", "UD-IQ2_M"),
        ("Q6_K_L", "Q6_K_L"),
        ("hqq", "hqq"),
        ("", ""),
    ],
)
def test_spelled_is_the_name_of_the_runtime(typed: str, name: str) -> None:
    """What makes no difference is no reason to refuse a name; what no runtime makes may be the name of a file."""
    assert quantization_words.spelled(typed) == name


def test_spelled_leaves_every_name_of_a_runtime() -> None:
    """A name of the table is itself, whatever other names it resembles."""
    names = [
        name
        for runtime in constants.runtimes().values()
        for variant in runtime.variants
        for name in (*variant.formats, *variant.accepted)
    ]
    assert [name for name in names if quantization_words.spelled(name) != name] == []


@given(st.text(max_size=20))
def test_spelled_and_meant_take_any_text(text: str) -> None:
    """Any text has a spelling, and a hint or none."""
    assert isinstance(quantization_words.spelled(text), str)
    assert isinstance(quantization_words.meant(text), str)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("3bit", ["`Q3_K_L` (llama_cpp)", "`q3f16_1` (mlc)", "`int3` (gptq)", "`3.0bpw` (exllama, exllamav2)"]),
        ("8-bit", ["`Q8_0` (llama_cpp)", "`int8` (gptq, bitsandbytes)", "`8.0bpw` (exllama, exllamav2)"]),
        ("exl2", ["`4.0bpw` (exllamav2)"]),
        ("EXL3-2.5bpw", ["`4.0bpw` (exllama)"]),
        ("bnb-8bit", ["`int8` (bitsandbytes)"]),
        ("gptq-3bit", ["`int3` (gptq)"]),
        ("q3f16", ["`q3f16_1`", "`q3f16_0`"]),
        ("Q5_K_X", ["`Q5_K_M`"]),
        ("smoothquant", []),
    ],
)
def test_meant_names_what_a_runtime_has_of_it(typed: str, words: list[str]) -> None:
    """A width has names of several runtimes, a method those of its own, a near miss the nearest."""
    hint = quantization_words.meant(typed)
    assert [word for word in words if word not in hint] == []
    assert bool(hint) is bool(words)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("org/any-GGUF:q6-k", ("org/any-GGUF", "Q6_K")),
        ("hf.co/org/any-GGUF:iq4_nl", ("hf.co/org/any-GGUF", "IQ4_NL")),
        ("org/any-GGUF:latest", ("org/any-GGUF", "")),
        ("org/any:latest", ("org/any:latest", "")),  # may be one of Ollama's users
        ("org/any-GGUF:UD-Q5_K_XL", ("org/any-GGUF", "UD-Q5_K_XL")),
        ("oci://ghcr.io/org/any:latest", ("oci://ghcr.io/org/any:latest", "")),
        ("HuggingFace://org/any-GGUF:q8_0", ("hf://org/any-GGUF", "Q8_0")),
    ],
)
def test_quantization_behind_a_name_is_spelled_too(model: str, expected: tuple[str, str]) -> None:
    """As after `--quantization`; `latest` is Ollama's word for none in particular."""
    assert split_quantization(model) == expected
