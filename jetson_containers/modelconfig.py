"""What a model's own metadata says of its architecture, in one vocabulary for all families.

Source of the names: Hugging Face `config.json`, whose keys differ by family; `fit` and the runtimes ask only here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Two matrices instead of three in the feed-forward block: no gate.
_PLAIN_MLP = frozenset(
    {"phi", "phi-msft", "gpt_neox", "gptj", "gpt2", "opt", "bloom", "falcon", "gpt_bigcode", "mpt", "starcoder2"}
)
# Families whose config leaves `tie_word_embeddings` out although they tie (their classes' default).
_TIED = frozenset({"gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "gpt_bigcode", "bloom", "mpt", "cohere"})


@dataclass(frozen=True)
class Quantized:
    """How the checkpoint itself is quantized (`quantization_config`). `group` 0: unknown or per channel."""

    method: str  # gptq, awq, compressed-tensors, bitsandbytes, fp8 …
    bits: int
    group: int = 0


@dataclass(frozen=True)
class ModelConfig:
    """A decoder's shape. Counts are elements, `max_position` and `sliding_window` tokens (0: not stated)."""

    architecture: str  # LlamaForCausalLM; "" where the metadata does not say
    model_type: str  # llama
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool = False
    gated_mlp: bool = True
    max_position: int = 0
    sliding_window: int = 0
    experts: int = 0
    dtype: str = ""
    quantized: Quantized | None = None


def from_hf(config: Mapping[str, Any], origin: str = "config.json") -> ModelConfig:
    """Read a `config.json`. Raises UsageError naming the first key that is missing or no number.

    Multimodal configurations keep the language model below `text_config`.
    """
    inner = config.get("text_config")
    text: Mapping[str, Any] = {**config, **inner} if isinstance(inner, dict) else config
    family = str(text.get("model_type") or "")
    architectures = config.get("architectures") or [""]
    # InternLM2 checkpoints first said `model_type: internlm`; the class name tells them apart.
    architecture = str(architectures[0])
    if architecture.startswith("InternLM2"):
        family = "internlm2"
    hidden = _number(text, origin, "hidden_size", "n_embd", "d_model")
    heads = _number(text, origin, "num_attention_heads", "n_head", "n_heads")
    intermediate = _optional(text, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size") or 4 * hidden
    return ModelConfig(
        architecture=architecture,
        model_type=family,
        layers=_number(text, origin, "num_hidden_layers", "n_layer", "n_layers", "num_layers"),
        hidden=hidden,
        intermediate=intermediate,
        heads=heads,
        kv_heads=_kv_heads(text, heads),
        head_dim=_optional(text, "head_dim") or hidden // heads,
        vocab=_number(text, origin, "vocab_size", "padded_vocab_size"),
        tied=bool(text.get("tie_word_embeddings", family in _TIED)),
        gated_mlp=family not in _PLAIN_MLP,
        max_position=_optional(text, "max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "n_ctx"),
        sliding_window=_optional(text, "sliding_window") if text.get("use_sliding_window", True) else 0,
        experts=_optional(text, "num_local_experts", "num_experts", "n_routed_experts"),
        dtype=str(text.get("torch_dtype") or text.get("dtype") or ""),
        quantized=_quantized(config.get("quantization_config")),
    )


def _kv_heads(text: Mapping[str, Any], heads: int) -> int:
    if text.get("multi_query") is True and not _optional(text, "num_key_value_heads"):
        return _optional(text, "multi_query_group_num") or 1
    return _optional(text, "num_key_value_heads", "multi_query_group_num", "num_kv_heads") or heads


def _quantized(raw: object) -> Quantized | None:
    if not isinstance(raw, dict):
        return None
    method = str(raw.get("quant_method") or "unknown")
    bits = _optional(raw, "bits", "w_bit") or (4 if raw.get("load_in_4bit") else 8)
    group = _optional(raw, "group_size", "q_group_size")
    for scheme in (raw.get("config_groups") or {}).values():  # compressed-tensors
        weights = scheme.get("weights") or {}
        bits, group = _optional(weights, "num_bits") or bits, _optional(weights, "group_size") or group
    return Quantized(method, bits, group)


def _number(text: Mapping[str, Any], origin: str, *keys: str) -> int:
    value = _optional(text, *keys)
    if value <= 0:
        raise UsageError(
            f"{origin} has no usable `{keys[0]}`, so this is no language model's configuration that is known here",
            hint="a decoder's config.json is needed; for a .gguf file its own metadata is read",
        )
    return value


def _optional(text: Mapping[str, Any], *keys: str) -> int:
    for key in keys:
        value = text.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0
