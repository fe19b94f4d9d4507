"""What a model's own metadata says of its architecture, in one vocabulary for all families.

Source of the names: Hugging Face `config.json` and MLC's `mlc-chat-config.json`, whose keys differ by family; `fit` and
the runtimes ask only here. What a configuration leaves out is what the family's class in transformers assumes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Two matrices instead of three in the feed-forward block: no gate.
_PLAIN_MLP = frozenset(
    {
        "phi", "phi-msft", "gpt_neox", "gptj", "gpt2", "opt", "bloom", "falcon", "gpt_bigcode", "mpt", "starcoder2",
        "nemotron", "RefinedWeb", "RefinedWebModel", "codegen", "stablelm_alpha",
    }
)  # fmt: skip
# Families whose config leaves `tie_word_embeddings` out although they tie (their classes' default).
_TIED = frozenset(
    {
        "gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "gpt_bigcode", "bloom", "mpt", "cohere", "cohere2",
        "falcon", "opt", "starcoder2", "RefinedWeb", "RefinedWebModel",
    }
)  # fmt: skip
# What the class of a nested text model assumes; only there do published configurations leave such keys out.
_NESTED_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "llama": {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
              "vocab_size": 32000},
    "mistral": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
                "num_key_value_heads": 8, "vocab_size": 32000},
    "gemma3_text": {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208},
}  # fmt: skip
# Where multimodal configurations keep the language model.
_NESTED = ("text_config", "llm_config", "language_config")


@dataclass(frozen=True)
class Quantized:
    """How the checkpoint itself is quantized (`quantization_config`). `group` 0: unknown or per channel."""

    method: str  # gptq, awq, compressed-tensors, bitsandbytes, fp8, mlc, gguf …
    bits: int
    group: int = 0


@dataclass(frozen=True)
class ModelConfig:
    """A decoder's shape. Counts are elements, `max_position` and `sliding_window` tokens (0: not stated).

    In a mixture of experts, `intermediate` is the width of a layer without experts, `expert_intermediate` that of one
    expert, `experts_used` how many of them a token goes through, `shared_intermediate` the width that all tokens go
    through beside them, and `dense_layers` how many layers have no experts. All are 0 without experts.
    """

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
    experts_used: int = 0
    expert_intermediate: int = 0
    shared_intermediate: int = 0
    dense_layers: int = 0


def from_hf(config: Mapping[str, Any], origin: str = "config.json") -> ModelConfig:
    """Read a `config.json`. Raises UsageError naming the first key that is missing or no number.

    Multimodal configurations keep the language model below `text_config` (or `llm_config`, `language_config`).
    """
    text = _text_model(config)
    family = str(text.get("model_type") or "")
    architectures = config.get("architectures") or [""]
    # InternLM2 checkpoints first said `model_type: internlm`; the class name tells them apart.
    architecture = str(architectures[0]) if isinstance(architectures, (list, tuple)) else str(architectures)
    if architecture.startswith("InternLM2"):
        family = "internlm2"
    hidden = _number(text, origin, "hidden_size", "n_embd", "d_model", "n_embed")
    heads = _number(text, origin, "num_attention_heads", "n_head", "n_heads")
    layers = _number(text, origin, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    return ModelConfig(
        architecture=architecture,
        model_type=family,
        layers=layers,
        hidden=hidden,
        intermediate=_intermediate(text, family, hidden),
        heads=heads,
        kv_heads=_kv_heads(text, family, heads),
        head_dim=_head_dim(text, origin, hidden, heads),
        vocab=_number(text, origin, "vocab_size", "padded_vocab_size"),
        tied=bool(text.get("tie_word_embeddings", family in _TIED)),
        gated_mlp=family not in _PLAIN_MLP,
        max_position=_optional(
            text, "max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "model_max_length", "n_ctx",
            "max_sequence_length",
        ),
        sliding_window=_optional(text, "sliding_window") if text.get("use_sliding_window", True) else 0,
        dtype=str(text.get("torch_dtype") or text.get("dtype") or ""),
        quantized=_quantized(config.get("quantization_config") or text.get("quantization_config")),
        **_experts(text, layers),
    )  # fmt: skip


def from_mlc(config: Mapping[str, Any], origin: str = "mlc-chat-config.json") -> ModelConfig:
    """Read an `mlc-chat-config.json` of MLC ≥ 0.1.1; `quantized.method` is then `mlc:q4f16_1` or the like.

    Raises UsageError for one of the old API, which says nothing of the shape, and for missing keys.
    """
    model = config.get("model_config")
    if not isinstance(model, dict):
        raise UsageError(
            f"{origin} has no `model_config`, so it does not say how large the model is",
            hint="that is an artefact of MLC's old API: name the original model instead",
        )
    made = from_hf({"model_type": config.get("model_type"), **model}, f"{origin}: model_config")
    name = str(config.get("quantization") or model.get("quantization") or "")
    bits = re.match(r"q(\d)", name)
    context = _optional(config, "context_window_size") or _optional(model, "context_window_size")
    quantized = Quantized(f"mlc:{name}", (int(bits[1]) or 16) if bits else 16) if name else None
    return replace(made, quantized=quantized, max_position=context or made.max_position)


def _text_model(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in _NESTED:
        inner = config.get(key)
        if isinstance(inner, dict):
            defaults = _NESTED_DEFAULTS.get(str(inner.get("model_type") or ""), {})
            return {**defaults, **config, **inner}
    return config


def _intermediate(text: Mapping[str, Any], family: str, hidden: int) -> int:
    found = _optional(text, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "inner_hidden_size")
    if family == "qwen" and found:
        return found // 2  # Qwen 1 states both halves of the gated block
    inner = text.get("ffn_config")
    if not found and isinstance(inner, dict):
        found = _optional(inner, "ffn_hidden_size")
    ratio = _optional(text, "expansion_ratio") or 4
    return found or ratio * hidden


def _kv_heads(text: Mapping[str, Any], family: str, heads: int) -> int:
    stated = _optional(text, "num_key_value_heads", "multi_query_group_num")
    attention = text.get("attn_config")
    if not stated and isinstance(attention, dict):
        stated = _optional(attention, "kv_n_heads")
    if stated:
        return stated
    if family in {"falcon", "RefinedWeb", "RefinedWebModel"}:
        if text.get("new_decoder_architecture") or family == "RefinedWeb":
            return _optional(text, "num_kv_heads", "n_head_kv") or heads
        return 1 if text.get("multi_query") is True else heads  # states `num_kv_heads` and does not use it
    if text.get("multi_query") is True:
        return 1
    return _optional(text, "num_kv_heads") or heads


def _head_dim(text: Mapping[str, Any], origin: str, hidden: int, heads: int) -> int:
    nope, rope = _optional(text, "qk_nope_head_dim"), _optional(text, "qk_rope_head_dim")
    found = _optional(text, "head_dim", "kv_channels") or (nope + rope if nope else 0) or hidden // heads
    if found <= 0:
        raise _unusable(origin, "head_dim")
    return found


def _experts(text: Mapping[str, Any], layers: int) -> dict[str, int]:
    """Sizes of a mixture of experts; empty without one."""
    inner = text.get("ffn_config")
    keys = ("num_local_experts", "num_experts", "n_routed_experts")
    count = _optional(text, *keys) or (_optional(inner, "moe_num_experts") if isinstance(inner, dict) else 0)
    if count <= 1:
        return {}
    used = _optional(text, "num_experts_per_tok", "experts_per_token", "moe_top_k")
    if not used and isinstance(inner, dict):
        used = _optional(inner, "moe_top_k")
    width = _optional(text, "moe_intermediate_size")
    shared = _optional(text, "shared_expert_intermediate_size") or _optional(text, "n_shared_experts") * width
    return {
        "experts": count,
        "experts_used": min(used or count, count),
        "expert_intermediate": width,
        "shared_intermediate": shared,
        "dense_layers": min(_optional(text, "first_k_dense_replace"), layers),
    }


def _quantized(raw: object) -> Quantized | None:
    if not isinstance(raw, dict):
        return None
    method = str(raw.get("quant_method") or "unknown")
    bits = _optional(raw, "bits", "w_bit") or (4 if raw.get("load_in_4bit") else 8)
    group = _optional(raw, "group_size", "q_group_size")
    groups = raw.get("config_groups")
    for scheme in groups.values() if isinstance(groups, dict) else ():  # compressed-tensors
        weights = (scheme.get("weights") if isinstance(scheme, dict) else None) or {}
        bits, group = _optional(weights, "num_bits") or bits, _optional(weights, "group_size") or group
    return Quantized(method, bits, group)


def _number(text: Mapping[str, Any], origin: str, *keys: str) -> int:
    value = _optional(text, *keys)
    if value <= 0:
        raise _unusable(origin, keys[0])
    return value


def _unusable(origin: str, key: str) -> UsageError:
    return UsageError(
        f"{origin} has no usable `{key}`, so this is no language model's configuration that is known here",
        hint="a decoder's config.json is needed; for a .gguf file its own metadata is read",
    )


def _optional(text: Mapping[str, Any], *keys: str) -> int:
    for key in keys:
        value = text.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0
