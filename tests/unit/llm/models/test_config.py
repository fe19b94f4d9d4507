"""Reading a model's own metadata: the shapes of all families, and what is said when a key is missing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit.weights import active_weights, linear_weights
from jetson_containers.llm.models import known
from jetson_containers.llm.models.config import Quantized, from_hf, from_mlc
from tests.paths import UNIT_DIR

LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008,
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 32, "vocab_size": 32000,
    "max_position_embeddings": 4096, "tie_word_embeddings": False, "torch_dtype": "float16", "hidden_act": "silu",
}  # fmt: skip

# config.json as each family writes it; parameters in billions as published, key/value heads and tying as implemented.
FAMILIES: list[dict[str, Any]] = json.loads((UNIT_DIR / "modelconfigs.json").read_text(encoding="utf-8"))
BY_NAME: dict[str, dict[str, Any]] = {row["what"]: row["config"] for row in FAMILIES}


@pytest.mark.parametrize("row", FAMILIES, ids=[row["what"] for row in FAMILIES])
def test_config_of_every_family_has_its_published_parameters(row: dict[str, Any]) -> None:
    """Every family has the parameters its authors publish."""
    read = from_hf(row["config"])
    parameters = linear_weights(read) + read.vocab * read.hidden * (1 if row["tied"] else 2)
    assert parameters / 1e9 == pytest.approx(row["billions"], rel=0.015)
    assert (read.kv_heads, read.tied) == (row["kv_heads"], row["tied"])


def test_config_counts_the_experts_a_token_goes_through() -> None:
    """A token goes through some of the experts."""
    config = from_hf(BY_NAME["mixtral"])
    assert (config.experts, config.experts_used) == (8, 2)
    assert (active_weights(config) + 2 * config.vocab * config.hidden) / 1e9 == pytest.approx(12.88, rel=0.01)


def test_config_class_name_tells_internlm2_from_internlm() -> None:
    """The class name tells InternLM2 from InternLM."""
    config = from_hf({**LLAMA, "model_type": "internlm", "architectures": ["InternLM2ForCausalLM"]})
    assert config.model_type == "internlm2"


def test_config_ignores_a_window_that_is_not_used() -> None:
    """A window that is not used counts as none."""
    assert from_hf(BY_NAME["qwen2 tied"]).sliding_window == 0
    assert from_hf(BY_NAME["mistral"]).sliding_window == 4096


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, ("gptq", 4, 128)),
        ({"quant_method": "awq", "w_bit": 4, "q_group_size": 128}, ("awq", 4, 128)),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, ("bitsandbytes", 4, 64)),
        ({"quant_method": "fp8"}, ("fp8", 8, 0)),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 4, "group_size": 32}}},
            },
            ("compressed-tensors", 4, 32),
        ),
    ],
)
def test_config_of_a_quantized_checkpoint_says_so(raw: dict[str, Any], expected: tuple[str, int, int]) -> None:
    """A quantized checkpoint says so."""
    found = from_hf({**LLAMA, "quantization_config": raw}).quantized
    assert found is not None
    assert (found.method, found.bits, found.group) == expected


@pytest.mark.parametrize("key", ["hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size"])
@pytest.mark.parametrize("wrong", ["absent", None, "4096", -1, 0, True, [4096]])
def test_config_names_a_missing_key(key: str, wrong: object) -> None:
    """A missing key is named."""
    config = {name: value for name, value in {**LLAMA, key: wrong}.items() if name != key or wrong != "absent"}
    with pytest.raises(UsageError, match=f"my/config.json has no usable `{key}`"):
        from_hf(config, "my/config.json")


def test_config_with_more_heads_than_width_is_refused() -> None:
    """More heads than width is not a model."""
    with pytest.raises(UsageError, match="head_dim"):
        from_hf({**LLAMA, "hidden_size": 8})


KEYS = st.sampled_from([*LLAMA, "moe_num_experts", "bits", "config_groups", "kv_n_heads"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**6) | st.just("llama"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.sampled_from([*LLAMA, "text_config", "quantization_config", "ffn_config", "attn_config"]), JSON)
)
def test_config_of_any_content_is_a_shape_or_a_usage_error(config: dict[str, Any]) -> None:
    """Whatever a configuration holds, the answer is a shape or a UsageError."""
    try:
        read = from_hf({**LLAMA, **config})
    except UsageError:
        return
    assert linear_weights(read) > 0


MLC = {
    "version": "0.1.0", "model_type": "llama", "quantization": "q4f16_1", "context_window_size": 4096,
    "prefill_chunk_size": 2048, "vocab_size": 32000, "conv_template": {"name": "llama-2"},
    "model_config": {
        "hidden_size": 4096, "intermediate_size": 11008, "num_attention_heads": 32, "num_hidden_layers": 32,
        "rms_norm_eps": 1e-05, "vocab_size": 32000, "tie_word_embeddings": False, "context_window_size": 4096,
        "num_key_value_heads": 32, "head_dim": 128, "max_batch_size": 1, "tensor_parallel_shards": 1},
}  # fmt: skip


def test_config_of_mlc_has_shape_context_and_quantization() -> None:
    """MLC's metadata has the shape, the context and the quantization."""
    read, original = from_mlc(MLC), from_hf(LLAMA)
    assert read.quantized == Quantized(method="mlc:q4f16_1", bits=4)
    assert (read.max_position, read.layers, linear_weights(read)) == (4096, 32, linear_weights(original))


def test_config_of_old_mlc_has_no_shape() -> None:
    """The metadata of MLC's old API does not hold the shape."""
    with pytest.raises(UsageError, match="no `model_config`"):
        from_mlc({"model_lib": "x", "local_id": "y", "conv_template": "llama-2", "vocab_size": 32000})


def test_known_models_are_found_by_any_spelling() -> None:
    """Every known model is found by any spelling."""
    assert len(known.configs()) >= 69
    for name in known.configs():
        for spelling in (name, name.upper(), name.rpartition("/")[2], f"{name}@main"):
            assert known.full_name(spelling) == name
        config = known.config(name)
        assert config is not None
        assert (config.architecture, config.unread) == (known.configs()[name]["architectures"][0], ())
    assert known.config("org/unknown") is None
