"""What a model's own metadata says of its architecture, in one vocabulary for all families.

Source of the names: Hugging Face `config.json` and MLC's `mlc-chat-config.json`, whose keys differ by family; `fit` and
the runtimes ask only here. What a configuration leaves out is what the family's class in transformers assumes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.models import assumed, other_kinds
from jetson_containers.llm.models.layers import (
    COUNTS,
    EXPERT,
    FORWARD,
    KINDS,
    STATE_SPACE,
    Block,
    Keys,
    Matrix,
    Shape,
    check_positive,
    expert_width,
    experts,
    read,
    shared_width,
    uniform,
    used_experts,
    whole,
)
from jetson_containers.llm.models.quantized import Quantized, read_quantized

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ModelConfig", "Quantized", "from_hf", "from_mlc"]

# Two matrices instead of three in the feed-forward block: no gate.
_PLAIN_MLP = frozenset(
    {
        "phi", "phi-msft", "gpt_neox", "gptj", "gpt2", "opt", "bloom", "falcon", "gpt_bigcode", "mpt", "starcoder2",
        "nemotron", "RefinedWeb", "RefinedWebModel", "codegen", "stablelm_alpha", "nemotron_h", "arcee", "apertus",
        "persimmon", "bert", "roberta", "xlm-roberta",
    }
)  # fmt: skip
# Activations that are used without a gate.
_PLAIN_ACTIVATIONS = frozenset({"relu2", "relu_squared", "xielu"})
# Families whose config leaves `tie_word_embeddings` out although they tie (their classes' default).
_TIED = frozenset(
    {
        "gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "gpt_bigcode", "bloom", "mpt", "cohere", "cohere2",
        "falcon", "opt", "starcoder2", "RefinedWeb", "RefinedWebModel", "gemma3n", "gemma3n_text", "gemma4",
        "gemma4_text", "lfm2", "lfm2_moe", "recurrent_gemma", "mamba", "falcon_mamba", "ernie4_5", "ernie4_5_moe",
        "roberta", "xlm-roberta", "modernbert",
    }
)  # fmt: skip
# Where multimodal configurations keep the language model, and the parts that are none.
_NESTED = ("text_config", "llm_config", "language_config", "llm_cfg", "thinker_config", "language_model", "decoder")
_NOT_TEXT = re.compile(
    r"vision|visual|image|video|audio|speech|talker|token2wav|quant|rope|draft|vq|sam_|mtp|projector"
)
_DEPTH = 3
# Keys that change what a model weighs, of any family: one that was not read was not understood.
_SIZES = re.compile(
    r"expert|moe|mamba|ssm|(^|_)conv_dim|per_layer|layer_types|layers?_block|block_types?$|block_configs|layer_?pattern"
    r"|hybrid|lora_rank|latent|_mlp$|mlp_(dim|hidden|size)|ffn_(dim|hidden|size|config|mult)|intermediate_size"
    r"|shared_layers|kv_share|attn_type|attention_type|lru_width|^linear_(num|key|value)|engram|ngram|d_ff|dim_feedforward"
)
# Of these it is known that they weigh nothing: how experts are chosen, trained or laid out.
_WEIGHTLESS = re.compile(
    r"bias|_act|coef|loss|drop|jitter|logits|dtype|scal|scor|norm|method|func|kernel|chunk|chunk_size|_dt_|capacity"
    r"|parallel|overlap|use_|group$|router_(type|aux|z)|gate$|sequence|warmup|_cache|mtp|nextn|activation_sparsity"
    r"|positional|sink|conv_use|kernels|vision|visual|audio|image|max_|_id$|_ids$|output_router|zero_expert_type"
)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A decoder's shape. Counts are elements, `max_position` and `sliding_window` tokens (0: not stated).

    In a mixture of experts, `intermediate` is the width of a layer without experts, `expert_intermediate` that of one
    expert, `experts_used` how many of them a token goes through, `shared_intermediate` the width that all tokens go
    through beside them, and `dense_layers` how many layers have no experts. All are 0 without experts.

    `model_type` decides what loads it, `text_type` what it weighs: that of the language model inside. `blocks` are the
    layers, empty where all are alike. `tables` are elements of embeddings of which a token reads one row, beside the
    usual one; `other` matrices outside the layers; `towers` weights of encoders for pictures and sound; `drafts` those
    of layers that predict further tokens: in the files, and in memory only where a runtime is asked to use them.
    `unread` names keys that change the size and were not understood. `scale`: what the weight files hold over what was
    counted, and `measured` the sentence about it. `silent`: what it is where it writes no text, such as "an embedding
    model".
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
    text_type: str = ""
    blocks: tuple[Block, ...] = ()
    tables: int = 0
    other: tuple[Matrix, ...] = ()
    towers: int = 0
    drafts: int = 0
    unread: tuple[str, ...] = ()
    scale: float = 1.0
    measured: str = ""
    silent: str = ""

    @property
    def family(self) -> str:
        """What the language model itself is called: what it weighs."""
        return self.text_type or self.model_type

    @property
    def names(self) -> tuple[str, ...]:
        """What a runtime's list may call it: the outer type decides what loads, also of a part saved on its own."""
        return (self.model_type, self.model_type.removesuffix("_text"))

    def layer_blocks(self) -> tuple[Block, ...]:
        """The layers; of a shape that was stated without them, equal ones with attention and feed-forward."""
        if self.blocks:
            return self.blocks
        shape = Shape(
            family="",
            layers=self.layers,
            hidden=self.hidden,
            intermediate=self.intermediate,
            heads=self.heads,
            kv_heads=self.kv_heads,
            head_dim=self.head_dim,
            gated=self.gated_mlp,
        )
        return uniform(
            shape,
            dense=min(self.dense_layers, self.layers) if self.experts else self.layers,
            intermediate=self.intermediate,
            experts=(
                self.experts,
                min(self.experts_used or self.experts, self.experts),
                self.expert_intermediate or self.intermediate,
            ),
            shared=self.shared_intermediate,
        )


def from_hf(config: Mapping[str, Any], origin: str = "config.json", beside: object = None) -> ModelConfig:
    """Read a `config.json`. Raises UsageError naming the first key that is missing or no number.

    Multimodal configurations keep the language model below `text_config` (or `llm_config`, `language_config`, …).
    `beside`: what hf_quant_config.json holds, for checkpoints whose quantization stands there.
    """
    _refuse_adapter(config, origin)
    other_kinds.refuse_config(config, origin)
    text, taken = _text_model(config)
    keys = Keys(values=text, assumed=taken)
    architecture = _architecture(config, text)
    # InternLM2 checkpoints first had `model_type: internlm`; the class name tells them apart.
    family = "internlm2" if architecture.startswith("InternLM2") else str(text.get("model_type") or "")
    shape = _shape(keys, origin, family)
    blocks = read(keys, shape)
    check_positive(blocks, origin)
    outer = str(config.get("model_type") or "")
    vocab = _number(keys, origin, "vocab_size", "padded_vocab_size")
    extra, other = _further(keys, shape, vocab, origin)
    towers, unmeasured = _towers(config, shape.hidden)
    return ModelConfig(
        architecture=architecture,
        model_type=outer if outer and text.get("model_type") != outer else family,
        text_type=family,
        layers=shape.layers,
        hidden=shape.hidden,
        intermediate=shape.intermediate,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        vocab=vocab,
        tied=bool(_tied(config, keys, family)),
        gated_mlp=shape.gated,
        max_position=_optional(
            keys, "max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "model_max_length", "n_ctx",
            "max_sequence_length",
        ),
        sliding_window=_optional(text, "sliding_window") if text.get("use_sliding_window", True) else 0,
        dtype=str(next((each[key] for each in (config, text) for key in _TYPES if each.get(key)), "")),
        quantized=read_quantized(_quantization(config, text), beside),
        **_experts(keys, shape, blocks),
        blocks=blocks,
        tables=extra,
        other=other,
        towers=towers,
        drafts=_drafts(keys, shape, blocks, vocab),
        silent=other_kinds.silent(architecture, family),
        unread=(*_unread(keys), *unmeasured, *(key for key in _SPEAKERS if config.get(key))),
    )  # fmt: skip


def _architecture(config: Mapping[str, Any], text: Mapping[str, Any]) -> str:
    architectures = config.get("architectures") or text.get("architectures") or [""]
    return str(architectures[0]) if isinstance(architectures, (list, tuple)) else str(architectures)


def _shape(keys: Keys, origin: str, family: str) -> Shape:
    hidden = _number(keys, origin, "hidden_size", "n_embd", "d_model", "n_embed")
    layers = _layers(keys, origin)
    heads = _heads(keys, origin, family)
    return Shape(
        family=family.removesuffix("_text"),
        layers=layers,
        hidden=hidden,
        intermediate=_intermediate(keys, family, hidden),
        heads=heads,
        kv_heads=_kv_heads(keys, family, heads),
        head_dim=_head_dim(keys, origin, hidden, heads) if heads else 0,
        gated=_is_gated(keys, family),
    )


def from_mlc(config: Mapping[str, Any], origin: str = "mlc-chat-config.json") -> ModelConfig:
    """Read an `mlc-chat-config.json` of MLC ≥ 0.1.1; `quantized.method` is then `mlc:q4f16_1` or the like.

    Raises UsageError for one of the old API, which does not hold the shape, and for missing keys.
    """
    model = config.get("model_config")
    if not isinstance(model, dict):
        raise UsageError(
            f"{origin} has no `model_config`, so the size of the model is unknown",
            hint="this is an artifact of MLC's old API: specify the original model instead",
        )
    made = from_hf({"model_type": config.get("model_type"), **model}, f"{origin}: model_config")
    name = str(config.get("quantization") or model.get("quantization") or "")
    bits = re.match(r"q([0-9])", name)
    context = _optional(config, "context_window_size") or _optional(model, "context_window_size")
    quantized = Quantized(method=f"mlc:{name}", bits=(int(bits[1]) or 16) if bits else 16) if name else None
    return replace(made, quantized=quantized, max_position=context or made.max_position)


def _text_model(config: Mapping[str, Any], depth: int = _DEPTH) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The language model's keys over those around it, and what its class assumes of others.

    It is below a name that is usual, or whatever has a decoder's shape.
    """
    outer = str(config.get("model_type") or "")
    others = {key: value for key, value in config.items() if key not in _NESTED and not _NOT_TEXT.search(str(key))}
    shaped = [(key, value) for key, value in others.items() if isinstance(value, dict) and set(value) >= _SHAPED]
    nested = any(key in config for key in _SHAPED - {"vocab_size"})
    for key, inner in (*((name, config.get(name)) for name in _NESTED), *(() if nested else shaped)):
        if depth and isinstance(inner, dict) and inner:
            kind = str(inner.get("model_type") or assumed.part(outer, key))
            whole_one = {**_without_nested(config), **({"model_type": kind} if kind else {}), **inner}
            found, beyond = _text_model(whole_one, depth - 1)
            return found, {**beyond, **assumed.sizes(kind)}
    return config, assumed.beyond_its_own(outer)


_SHAPED = frozenset({"hidden_size", "num_hidden_layers", "vocab_size"})


def _without_nested(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _NESTED and not _NOT_TEXT.search(str(key))}


def _quantization(config: Mapping[str, Any], text: Mapping[str, Any]) -> object:
    """What says how the weights are quantized; MLX's older conversions have it under a name of their own."""
    stated = config.get("quantization_config") or text.get("quantization_config")
    own = config.get("quantization")
    return stated or (own if isinstance(own, dict) and {"bits", "group_size"} <= own.keys() else None)


def _refuse_adapter(config: Mapping[str, Any], origin: str) -> None:
    """Raises UsageError for the configuration of a LoRA adapter, or of a head that drafts, which are not models."""
    names = config.get("architectures")
    if "draft_vocab_size" in config or re.search(r"Eagle|Medusa", str(names)):
        raise UsageError(
            f"{origin} is a head that drafts tokens for another model, not a model",
            hint="name the model that it was trained for; a server takes the head as an option beside it",
        )
    base = config.get("base_model_name_or_path")
    if "peft_type" not in config and not (base and "lora_alpha" in config):
        return
    kind = str(config.get("peft_type") or "LORA")
    of = f" of {base}" if base else ""
    raise UsageError(
        f"{origin} is a {'LoRA' if kind.upper() == 'LORA' else kind} adapter{of}, not a model",
        hint="merge it into the model it was trained on first (peft: `merge_and_unload`), and name the result",
    )


def _layers(keys: Keys, origin: str) -> int:
    names = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
    taken = keys.number(*names)
    listed = keys.words("layers_block_type", "layer_types")
    pattern = keys.values.get("hybrid_override_pattern")
    stated = taken if any(name in keys.values for name in names) else 0
    found = stated or len(listed) or (len(pattern) if isinstance(pattern, str) else 0) or taken
    if not 0 < found <= _MOST_LAYERS:
        raise _unusable(origin, "num_hidden_layers")
    return found


_TYPES = ("torch_dtype", "dtype")
_MOST_LAYERS = 4096  # more is not a model, and would be built one by one


def _heads(keys: Keys, origin: str, family: str) -> int:
    """Attention heads, the most of any layer; 0 for families that have none."""
    names = ("num_attention_heads", "n_head", "n_heads")
    several = keys.numbers("num_attention_heads")
    found = keys.number(*names) or (max(several) if several and len(several) == _layers(keys, origin) else 0)
    if not found and family not in STATE_SPACE:
        raise _unusable(origin, "num_attention_heads")
    return found


def _is_gated(keys: Keys, family: str) -> bool:
    activation = keys.get("mlp_hidden_act") or keys.get("hidden_act")
    return family not in _PLAIN_MLP and str(activation) not in _PLAIN_ACTIVATIONS


def _tied(config: Mapping[str, Any], keys: Keys, family: str) -> object:
    for key in ("tie_word_embeddings", "tie_embedding"):
        if key in keys.values:
            return keys.values[key]
    return config.get("tie_word_embeddings", family in _TIED or keys.assumed.get("tie_word_embeddings") is True)


_LEARNED_POSITIONS = frozenset({"gpt2", "gpt_bigcode", "bert", "roberta", "xlm-roberta", "opt"})
_SUMMED_UP = frozenset({"bert", "roberta", "xlm-roberta"})  # by one more matrix


def _further(keys: Keys, shape: Shape, vocab: int, origin: str) -> tuple[int, tuple[Matrix, ...]]:
    """Embeddings of each layer of which one row is read, and matrices outside the layers."""
    other: list[Matrix] = []
    tables = 0
    rows = keys.number("vocab_size_per_layer_input") or vocab
    if width := keys.number("hidden_size_per_layer_input"):
        tables = rows * width * shape.layers
        other.append(Matrix(role="small", inputs=shape.hidden, outputs=width * shape.layers))
    if copies := keys.number("altup_num_inputs"):
        if copies > _MOST_LAYERS:
            raise _unusable(origin, "altup_num_inputs")
        other += [Matrix(role="small", inputs=shape.hidden, outputs=shape.hidden)] * (2 * (copies - 1))
    if shape.family in _LEARNED_POSITIONS:
        tables += (keys.number("n_positions", "max_position_embeddings")) * shape.hidden
    if shape.family in _SUMMED_UP:
        other.append(Matrix(role="other", inputs=shape.hidden, outputs=shape.hidden))
    return tables, tuple(other)


def _drafts(keys: Keys, shape: Shape, blocks: tuple[Block, ...], vocab: int) -> int:
    """Weights of the layers that predict further tokens: one with attention and what follows it, and its inlet."""
    stated = Keys(values=keys.values)
    count = stated.number("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_layers", "mtp_num_layers")
    if not count:
        return 0
    mixing = max((block for block in blocks if block.cache), key=lambda block: block.at, default=None)
    following = max((block for block in blocks if FORWARD & _roles(block)), key=lambda block: block.at, default=None)
    parts = [*(mixing.matrices if mixing else ())]
    if following is not None and following is not mixing and not (mixing and FORWARD & _roles(mixing)):
        parts += following.matrices
    tables = 2 * vocab * shape.hidden if shape.family in _OWN_TABLES else 0
    return count * (sum(matrix.weights for matrix in parts) + 2 * shape.hidden * shape.hidden + tables)


# Families whose layers for further tokens are stored with an embedding and an output matrix of their own.
_OWN_TABLES = frozenset({"deepseek_v3", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa"})


def _roles(block: Block) -> set[str]:
    return {matrix.role for matrix in block.matrices}


_DEPTHS = ("depth", "num_hidden_layers", "num_layers", "n_layers", "layers", "encoder_layers")
_TOWER_WIDTHS = ("embed_dim", "hidden_size", "width", "d_model", "dim")


def _towers(config: Mapping[str, Any], hidden: int) -> tuple[int, tuple[str, ...]]:
    """Weights of encoders for pictures and sound, by the shape of a plain transformer, and those without a shape."""
    total, unknown = 0, []
    for key, tower, around in _encoders(config):
        if size := _of_other_kinds(tower):
            total += size
            continue
        layers, width = tower.number(*_DEPTHS), tower.number(*_TOWER_WIDTHS)
        if not layers or not width or layers > _MOST_LAYERS:
            unknown.append(key)
            continue
        ratio = tower.get("mlp_ratio")
        inner = tower.number("intermediate_size", "encoder_ffn_dim", "mlp_dim", "intermediate_dim") or int(
            width * (ratio if isinstance(ratio, (int, float)) and 0 < ratio < 100 else 4)
        )
        gated = str(tower.get("hidden_act") or "") == "silu" or "gemma4" in str(tower.get("model_type"))
        total += layers * (4 * width * width + (3 if gated else 2) * width * inner)
        total += width * (_patch(tower) + _positions(tower)) + _mergers(tower, around, width, hidden)
    return total, tuple(unknown)


# Convolutional encoders, which are named and not described, in weights. source: what is left of Gemma 3n's counts.
_NAMED_ENCODERS = {"mobilenetv5_300m_enc": 300_000_000}


def _of_other_kinds(tower: Keys) -> int:
    """Weights of an encoder of another kind than a plain transformer; 0 of a plain one."""
    if named := _NAMED_ENCODERS.get(str(tower.get("architecture"))):
        return named
    kind = str(tower.get("model_type") or "")
    if kind.startswith("glm4v"):
        return _glm_encoder(tower)
    layers = tower.number("conf_num_hidden_layers") or (
        tower.number("num_hidden_layers") if kind == "gemma4_audio" else 0
    )
    width = tower.number("hidden_size")
    # A Conformer: two feed-forward blocks of four widths, attention with positions, a convolution between two matrices.
    return layers * (16 + 5 + 3) * width * width if layers and width and layers <= _MOST_LAYERS else 0


def _glm_encoder(tower: Keys) -> int:
    """GLM-4V's, whose blocks are as wide inside as the language model, and whose merger is a feed-forward block."""
    layers, width, out = tower.number("depth"), tower.number("hidden_size"), tower.number("out_hidden_size")
    if layers > _MOST_LAYERS:
        return 0
    blocks = layers * (4 * width * width + 3 * width * out)
    merger = out * out + 3 * out * tower.number("intermediate_size") + 4 * width * out
    return blocks + merger + width * (_patch(tower) + _positions(tower))


def _patch(tower: Keys) -> int:
    """Numbers of one patch of a picture; 0 where the encoder is of sound, or does not say."""
    side = _side(tower, "patch_size")
    return side * side * (tower.number("in_channels", "num_channels") or 3) * (tower.number("temporal_patch_size") or 1)


def _positions(tower: Keys) -> int:
    """Patches that have a place of their own; 0 where turning them says it."""
    if str(tower.get("model_type")) == "pixtral":
        return 0
    side = _side(tower, "patch_size")
    return tower.number("num_position_embeddings") or (_side(tower, "image_size") // side) ** 2 if side else 0


def _side(tower: Keys, key: str) -> int:
    value = tower.get(key)
    return whole(value[0]) if isinstance(value, list) and value else whole(value)


def _mergers(tower: Keys, around: Mapping[str, Any], width: int, hidden: int) -> int:
    """What makes the tokens of the language model out of patches, of several next to each other in most families."""
    ratio = around.get("downsample_ratio")
    joined = (
        tower.number("spatial_merge_size")
        or _optional(around, "scale_factor", "downsample_factor")
        or (round(1 / ratio) if isinstance(ratio, float) and 0.05 < ratio < 1 else 1)
    )
    merged = width * joined**2
    if "scale_factor" in around:  # Idefics 3 has one matrix
        return merged * hidden
    if tower.number("spatial_merge_size") > 1:
        deep = tower.get("deepstack_visual_indexes")
        return (1 + (len(deep) if isinstance(deep, list) else 0)) * (merged * merged + merged * hidden)
    between = _optional(around, "projector_hidden_size") or hidden
    return merged * between + between * hidden


_ENCODERS = frozenset(
    {"vision_config", "audio_config", "visual_config", "vit_config", "vision_tower_cfg", "vision_encoder"}
)
_ENCODER = re.compile(r"^(?!.*(talker|draft|quant|rope))(.*(vision|visual|vit_|image|audio|speech|encoder|qformer))")
# Parts that speak: most runtimes leave them out, their files hold them.
_SPEAKERS = ("talker_config", "token2wav_config", "code2wav_config", "vocoder_config")


def _has_layers(part: Mapping[str, Any]) -> bool:
    """Whether a part of another name has the shape of a transformer."""
    tower = Keys(values=part)
    return bool(tower.number(*_DEPTHS) and tower.number(*_TOWER_WIDTHS))


def _encoders(config: Mapping[str, Any], depth: int = _DEPTH) -> Iterator[tuple[str, Keys, Mapping[str, Any]]]:
    """The encoders, each with the configuration around it."""
    for key, value in config.items():
        if not isinstance(value, dict):
            continue
        if key in _ENCODERS or (_ENCODER.search(key) and _has_layers(value)):
            outer, kind = str(config.get("model_type") or ""), str(value.get("model_type") or "")
            if kind in {"", outer}:  # older ones give an encoder the type of the whole
                kind = assumed.part(outer, key)
            taken = assumed.sizes(kind)
            if value or taken:
                yield key, Keys(values=value, assumed=taken), config
        elif depth and key in _NESTED:
            yield from _encoders(value, depth - 1)


def _unread(keys: Keys) -> tuple[str, ...]:
    """Keys that change what a model weighs and were not understood."""
    without = any(key in keys.values for key in COUNTS) and not experts(keys)
    kinds = any(keys.values.get(key) and key in keys.seen for key in KINDS)
    keys.number("intermediate_size_mlp")  # of Llama 4's layers without experts, which some have none of
    return tuple(
        key
        for key, value in keys.values.items()
        if key not in keys.seen
        and _SIZES.search(key)
        and not _WEIGHTLESS.search(key)
        and _is_size(value)
        and not (without and re.search(r"expert|moe", key))  # it says itself that it has none
        and not (kinds and re.match(r"mamba|ssm|linear|conv|lru", key))  # or that no layer is of this kind
    )


def _is_size(value: object) -> bool:
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return value > 1
    return isinstance(value, (str, list, dict)) and bool(value)


def _intermediate(text: Keys, family: str, hidden: int) -> int:
    found = _optional(text, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "inner_hidden_size")
    several = text.numbers("intermediate_size")
    if not found and several:
        found = max(several)  # one for each layer; the layers have their own
    if family == "qwen" and found:
        return found // 2  # Qwen 1 states both halves of the gated block
    inner = text.get("ffn_config")
    if not found and isinstance(inner, dict):
        found = _optional(inner, "ffn_hidden_size")
    ratio = _optional(text, "expansion_ratio") or 4
    return found or ratio * hidden


def _kv_heads(text: Keys, family: str, heads: int) -> int:
    stated = _optional(text, "num_key_value_heads", "multi_query_group_num")
    attention = text.get("attn_config")
    if not stated and isinstance(attention, dict):
        stated = _optional(attention, "kv_n_heads")
    several = text.numbers("num_key_value_heads")
    if stated or (several and max(several) > 0):
        return stated or max(several or (0,))
    if family in {"falcon", "RefinedWeb", "RefinedWebModel"}:
        if text.get("new_decoder_architecture") or family == "RefinedWeb":
            return _optional(text, "num_kv_heads", "n_head_kv") or heads
        return 1 if text.get("multi_query") is True else heads  # states `num_kv_heads` and does not use it
    if text.get("multi_query") is True:
        return 1
    return _optional(text, "num_kv_heads") or heads


def _head_dim(text: Keys, origin: str, hidden: int, heads: int) -> int:
    nope, rope = _optional(text, "qk_nope_head_dim"), _optional(text, "qk_rope_head_dim")
    found = _optional(text, "head_dim", "kv_channels") or (nope + rope if nope else 0) or hidden // heads
    if found <= 0:
        raise _unusable(origin, "head_dim")
    return found


def _experts(keys: Keys, shape: Shape, blocks: tuple[Block, ...]) -> dict[str, Any]:
    """Sizes of a mixture of experts; empty without one."""
    count = experts(keys)
    if not count:
        return {}
    sparse = [block for block in blocks if EXPERT & _roles(block)]
    return {
        "experts": count,
        "experts_used": used_experts(keys),
        "expert_intermediate": expert_width(keys, 0, shape.layers),
        "shared_intermediate": shared_width(keys, shape),
        "dense_layers": shape.layers - sum(len(block.at) for block in sparse),
    }


def _number(keys: Keys, origin: str, *names: str) -> int:
    value = keys.number(*names)
    if value <= 0:
        raise _unusable(origin, names[0])
    return value


def _unusable(origin: str, key: str) -> UsageError:
    return UsageError(
        f"{origin} has no usable `{key}`, so it is not the configuration of a known language model",
        hint="a decoder's config.json is needed; for a .gguf file its own metadata is read",
    )


def _optional(values: Mapping[str, Any] | Keys, *keys: str) -> int:
    if isinstance(values, Keys):
        return values.number(*keys)
    return next((found for found in (whole(values.get(key)) for key in keys) if found), 0)
