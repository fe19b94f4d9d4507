"""A decoder as a list of layers: which matrices each layer has, and what of a token it keeps.

Families differ in what a layer is made of: attention over everything, over a window or in a compressed form; Mamba,
linear attention or a short convolution in its place; one feed-forward block, many experts, or none. `read` builds the
list from `config.json`, whose keys differ by family as well; layers that are alike are one `Block`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """One linear layer: `inputs` × `outputs`, `copies` (experts) of it, of which `used` take part in one token."""

    role: str
    inputs: int
    outputs: int
    copies: int = 1
    used: int = 1

    @property
    def weights(self) -> int:
        """Weights of all copies."""
        return self.inputs * self.outputs * self.copies


@dataclass(frozen=True, kw_only=True)
class Block:
    """Layers that are alike, at the positions `at`.

    `cache` elements are kept of each token, of the last `window` tokens only unless that is 0. `expanded`: elements
    where a runtime stores keys and values although the model compresses them. `state` elements are kept of a sequence,
    however long it is.
    """

    at: tuple[int, ...]
    matrices: tuple[Matrix, ...]
    cache: int = 0
    expanded: int = 0
    window: int = 0
    state: int = 0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What all families state, before their layers are told apart."""

    family: str  # of the language model, without `_text`
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    gated: bool


@dataclass(kw_only=True)
class Keys:
    """A configuration that remembers which of its keys were read: the others were not understood.

    `assumed` is what the family's class takes where a key, under none of its names, is stated.
    """

    values: Mapping[str, Any]
    assumed: Mapping[str, Any] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    experts: int | None = None  # how many a layer has, once somebody asked

    def get(self, key: str) -> Any:
        """The value as it is."""
        self.seen.add(key)
        return self.values[key] if key in self.values else self.assumed.get(key)

    def number(self, *keys: str) -> int:
        """The first of the keys that is a positive whole number; 0 without one."""
        return self.at(0, 0, *keys)

    def at(self, layer: int, layers: int, *keys: str) -> int:
        """As `number`, or the layer's own number where the value is a list of one per layer."""
        self.seen.update(keys)
        stated = False
        for key in keys:
            if key in self.values:
                stated = True
                if found := _of_one(self.values[key], layer, layers):
                    return found
        if stated or not self.assumed:
            return 0
        return next(filter(None, (_of_one(self.assumed.get(key), layer, layers) for key in keys)), 0)

    def numbers(self, *keys: str) -> tuple[int, ...] | None:
        """The first of the keys that is a list of whole numbers."""
        for key in keys:
            value = self.get(key)
            if isinstance(value, (list, tuple)) and all(isinstance(item, int) for item in value):
                return tuple(int(item) for item in value)
        return None

    def words(self, *keys: str) -> tuple[str, ...]:
        """The first of the keys that is a list of text."""
        for key in keys:
            value = self.get(key)
            if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
                return tuple(value)
        return ()

    def inner(self, key: str) -> Keys:
        """An object below; an empty one where there is none."""
        value = self.get(key)
        return Keys(values=value if isinstance(value, dict) else {})


def _of_one(value: object, layer: int, layers: int) -> int:
    """The number of one layer, where the value is a list of one per layer or holds for all."""
    if layers and isinstance(value, (list, tuple)) and len(value) == layers:
        return whole(value[layer])
    return whole(value)


def whole(value: object) -> int:
    """A positive whole number, or 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def uniform(
    shape: Shape, *, dense: int, intermediate: int, experts: tuple[int, int, int], shared: int
) -> tuple[Block, ...]:
    """Equal layers with attention and feed-forward; after `dense` of them, `experts` (how many, used, their width)."""
    attention, cache = _attention(shape, shape.heads, shape.kv_heads, shape.head_dim)
    sparse = _experts(shape, (experts,), shared)
    kinds = (((0, dense), _feed_forward(shape, intermediate)), ((dense, shape.layers), sparse))
    return tuple(
        Block(at=tuple(range(*span)), matrices=(*attention, *matrices), cache=cache)
        for span, matrices in kinds
        if span[0] < span[1]
    )


def read(keys: Keys, shape: Shape) -> tuple[Block, ...]:
    """Build the layers a configuration describes; keys that decide nothing known stay unread."""
    found: dict[Block, list[int]] = {}
    for layer, (mixer, block) in enumerate(_kinds(keys, shape)):
        one = _layer(keys, shape, layer, mixer, block)
        found.setdefault(one, []).append(layer)
    return tuple(
        Block(
            at=tuple(places),
            matrices=one.matrices,
            cache=one.cache,
            expanded=one.expanded,
            window=one.window,
            state=one.state,
        )
        for one, places in found.items()
    )


# Which kind of layer is where ---------------------------------------------------------------------------------------

_FULL, _SLIDING, _LINEAR, _MAMBA, _CONV, _RECURRENT, _PARALLEL, _HYBRID, _NONE = (
    "attention", "sliding", "linear", "mamba", "conv", "recurrent", "parallel", "hybrid", "none",
)  # fmt: skip
_AUTO = "auto"  # a feed-forward block, of experts where the layer has them
_LETTERS = {"M": (_MAMBA, _NONE), "*": (_FULL, _NONE), "-": (_NONE, "mlp"), "E": (_NONE, "moe")}
# What a family's class assumes where its configuration names no kinds, repeated over the layers.
_CYCLES: Mapping[str, tuple[str, ...]] = {
    "gemma2": (_SLIDING, _FULL),
    "gpt_oss": (_SLIDING, _FULL),
    "gemma3": (*[_SLIDING] * 5, _FULL),
    "gemma3n": (*[_SLIDING] * 4, _FULL),
    "gemma4": (*[_SLIDING] * 5, _FULL),
    "gemma4_unified": (*[_SLIDING] * 5, _FULL),
    "cohere2": (*[_SLIDING] * 3, _FULL),
    "olmo3": (*[_SLIDING] * 3, _FULL),
    "afmoe": (*[_SLIDING] * 3, _FULL),
    "llama4": (*[_SLIDING] * 3, _FULL),
    "qwen3_next": (*[_LINEAR] * 3, _FULL),
    "qwen3_5": (*[_LINEAR] * 3, _FULL),
    "qwen3_5_moe": (*[_LINEAR] * 3, _FULL),
    "olmo_hybrid": (*[_LINEAR] * 3, _FULL),
    "recurrent_gemma": (_RECURRENT, _RECURRENT, _FULL),
    "falcon_h1": (_PARALLEL,),
}
# Families whose every layer is one state-space block and nothing else.
STATE_SPACE = frozenset({"mamba", "mamba2", "falcon_mamba"})
_MIXERS = (
    ("sliding", _SLIDING), ("local", _SLIDING), ("chunked", _SLIDING), ("linear", _LINEAR), ("mamba", _MAMBA),
    ("recurrent", _RECURRENT), ("conv", _CONV), ("attention", _FULL), ("full", _FULL), ("global", _FULL),
)  # fmt: skip


# Keys that say which layer is of which kind.
KINDS = (
    "hybrid_override_pattern", "layers_block_type", "layer_types", "block_types", "_block_types", "full_attn_idxs",
    "attn_layer_indices", "linear_attn_config", "attn_layer_period", "full_attention_interval",
)  # fmt: skip


def _kinds(keys: Keys, shape: Shape) -> Iterator[tuple[str, str]]:
    """For each layer, what mixes the tokens and which feed-forward block follows."""
    pattern = keys.get("hybrid_override_pattern")
    if isinstance(pattern, str) and len(pattern) == shape.layers and set(pattern) <= set(_LETTERS):
        yield from (_LETTERS[letter] for letter in pattern)
        return
    if pattern:
        keys.seen.discard("hybrid_override_pattern")
    if shape.family == "zamba2":
        places = _hybrid_places(keys, shape)
        yield from ((_HYBRID if layer in places else _MAMBA, _NONE) for layer in range(shape.layers))
        return
    named = keys.words("layers_block_type", "layer_types", "block_types", "_block_types")
    # Where feed-forward blocks are layers of their own, no other layer has one.
    single = shape.family == "nemotron_h" or bool({"mlp", "moe"} & set(named))
    mixers = named or _mixers(keys, shape)
    for layer in range(shape.layers):
        word = mixers[layer % len(mixers)]
        if word in {"mlp", "moe"}:
            yield _NONE, word
            continue
        mixer = next((kind for part, kind in _MIXERS if part in word), word if word == _PARALLEL else "")
        if not mixer:  # an unknown kind: attention is the larger guess, and it is reported
            keys.seen -= {"layers_block_type", "layer_types", "block_types", "_block_types"}
        yield mixer or _FULL, _NONE if single or shape.family in STATE_SPACE else _AUTO


def _hybrid_places(keys: Keys, shape: Shape) -> tuple[int, ...]:
    """The layers of Zamba 2 that go through one of the shared blocks; where nothing says so, every sixth."""
    if named := keys.words("layers_block_type", "layer_types"):
        return tuple(layer for layer, word in enumerate(named) if word == _HYBRID)
    return keys.numbers("hybrid_layer_ids") or tuple(range(6, shape.layers, 6))


def _mixers(keys: Keys, shape: Shape) -> tuple[str, ...]:
    """The kinds where no list names them: by the positions of the full attention, or as the family's class does."""
    everywhere = range(shape.layers)
    full = keys.numbers("full_attn_idxs", "attn_layer_indices")
    linear = keys.inner("linear_attn_config")
    if full is not None:
        other = _CONV if keys.number("conv_L_cache", "conv_dim") else _MAMBA
        return tuple(_FULL if layer in full else other for layer in everywhere)
    if (places := linear.numbers("full_attn_layers")) is not None:  # counted from one
        return tuple(_FULL if layer + 1 in places else _LINEAR for layer in everywhere)
    if period := keys.number("attn_layer_period"):
        offset = keys.number("attn_layer_offset")
        return tuple(_FULL if layer % period == offset else _MAMBA for layer in everywhere)
    if every := keys.number("full_attention_interval"):
        return (*[_LINEAR] * (every - 1), _FULL)
    if shape.family in STATE_SPACE:
        return (_MAMBA,)
    pattern = keys.get("sliding_window_pattern") or keys.get("_sliding_window_pattern")
    if isinstance(pattern, str) and pattern and set(pattern) <= set("LG"):
        return tuple(_FULL if letter == "G" else _SLIDING for letter in pattern)
    if every := whole(pattern) or keys.number("global_attn_every_n_layers"):
        return (*[_SLIDING] * (every - 1), _FULL)
    return _CYCLES.get(shape.family, (_FULL,))


# One layer ----------------------------------------------------------------------------------------------------------


def _layer(keys: Keys, shape: Shape, layer: int, mixer: str, block: str) -> Block:
    matrices: list[Matrix] = []
    cache = expanded = window = state = 0
    if mixer in {_FULL, _SLIDING, _PARALLEL}:
        made, cache, expanded = _attention_of(keys, shape, layer, sliding=mixer == _SLIDING)
        matrices += made
        if mixer == _SLIDING:
            window = keys.at(
                layer, shape.layers, "sliding_window", "attention_chunk_size", "attention_window_size",
                "sliding_window_size",
            )  # fmt: skip
    if mixer in {_MAMBA, _PARALLEL, _HYBRID}:
        made, state = _mamba(keys, shape)
        matrices += made
    if mixer == _HYBRID:
        made, cache = _shared_block(keys, shape, layer)
        matrices += made
    if mixer in {_LINEAR, _CONV, _RECURRENT}:
        made, state = {_LINEAR: _linear, _CONV: _conv, _RECURRENT: _recurrent}[mixer](keys, shape)
        matrices += made
    if block == "moe" or (block == _AUTO and _is_sparse(keys, shape, layer)):
        matrices += _experts_of(keys, shape, layer)
    elif block in {"mlp", _AUTO}:
        matrices += _feed_forward(shape, _width(keys, shape, layer))
    if width := keys.number("hidden_size_per_layer_input"):
        matrices += [
            Matrix(role="other", inputs=shape.hidden, outputs=width),
            Matrix(role="other", inputs=width, outputs=shape.hidden),
        ]
    if rank := keys.number("laurel_rank"):
        matrices += [
            Matrix(role="small", inputs=shape.hidden, outputs=rank),
            Matrix(role="small", inputs=rank, outputs=shape.hidden),
        ]
    return Block(at=(), matrices=tuple(matrices), cache=cache, expanded=expanded, window=window, state=state)


def _attention_of(keys: Keys, shape: Shape, layer: int, *, sliding: bool) -> tuple[list[Matrix], int, int]:
    """Matrices, elements kept of a token, and elements where they are stored uncompressed."""
    count = shape.layers
    heads = keys.at(layer, count, "num_attention_heads") or shape.heads
    if (rank := keys.number("kv_lora_rank")) and keys.get("use_mla") is not False:
        return _latent(keys, shape, heads, rank)
    kv_heads, width = keys.at(layer, count, "num_key_value_heads") or shape.kv_heads, shape.head_dim
    stated = _of_layer(keys, layer, sliding=sliding)
    if stated is not None:
        width, kv_heads = stated.number("head_dim") or width, stated.number("num_key_value_heads") or kv_heads
    elif not sliding and (wider := keys.number("global_head_dim") or _GLOBAL_WIDTHS.get(shape.family, 0)):
        width = wider
        kv_heads = keys.number("num_global_key_value_heads") or kv_heads
    matrices, cache = _attention(shape, heads, kv_heads, width)
    gated = keys.get("attn_output_gate")
    if gated or (gated is None and shape.family in {"qwen3_next", "qwen3_5", "qwen3_5_moe", "afmoe"}):
        matrices.insert(1, Matrix(role="query", inputs=shape.hidden, outputs=heads * width))
    if keys.get("attention_k_eq_v") is True and not sliding:
        matrices = [matrix for matrix in matrices if matrix.role != "value"]
    # The last layers read the keys and values of an earlier one.
    shared = keys.number("num_kv_shared_layers", "num_kv_share_layers")
    if shared and layer >= count - shared:
        cache = 0
        if shape.family != "gemma3n":  # whose class makes the matrices all the same
            matrices = [matrix for matrix in matrices if matrix.role not in {"key", "value"}]
    return matrices, cache, 0


def _shared_block(keys: Keys, shape: Shape, layer: int) -> tuple[list[Matrix], int]:
    """What a hybrid layer of Zamba 2 has beside Mamba: one of a few shared blocks in turn, and what is its own.

    The shared block sees the model's input as well, so its attention is twice as wide. The layer that uses a block
    first holds it, and a token goes through it as often as layers use it.
    """
    places, blocks = _hybrid_places(keys, shape), keys.number("num_mem_blocks") or 1
    nth = places.index(layer)
    used = len(places[nth::blocks]) if nth < blocks else 0
    hidden, wide = shape.hidden, 2 * shape.hidden
    width = keys.number("num_attention_heads") * keys.number("attention_head_dim") or wide
    inner, rank = keys.number("intermediate_size") or 4 * hidden, keys.number("adapter_rank") or 128
    shared = [
        *[("query", wide, width), ("key", wide, width), ("value", wide, width), ("attention_output", width, hidden)],
        *[("gate", hidden, inner), ("up", hidden, inner), ("down", inner, hidden)],
    ]
    own = [("other", hidden, hidden)]
    if keys.get("use_shared_mlp_adapter") is not False:
        own += [("small", hidden, rank), ("small", rank, 2 * inner)]
    if keys.get("use_shared_attention_adapter") is True:
        own += [("small", wide, rank), ("small", rank, wide)] * 3
    return [
        *(Matrix(role=role, inputs=inputs, outputs=outputs, used=used) for role, inputs, outputs in shared if used),
        *(Matrix(role=role, inputs=inputs, outputs=outputs) for role, inputs, outputs in own),
    ], 2 * width


# The width of a head where a layer attends to everything, which the family's class assumes.
_GLOBAL_WIDTHS = {"gemma4": 512, "gemma4_unified": 512}


def _of_layer(keys: Keys, layer: int, *, sliding: bool) -> Keys | None:
    """What `per_layer_config` says of a layer, by its number or its kind; None where nothing is said of any."""
    every = keys.get("per_layer_config")
    if not isinstance(every, dict) or not every:
        return None
    kind = "sliding_attention" if sliding else "full_attention"
    found = [every[name] for name in (str(layer), layer, kind) if isinstance(every.get(name), dict)]
    return Keys(values=found[0] if found else {})


def _attention(shape: Shape, heads: int, kv_heads: int, width: int) -> tuple[list[Matrix], int]:
    query, key = heads * width, kv_heads * width
    return [
        Matrix(role="query", inputs=shape.hidden, outputs=query),
        Matrix(role="key", inputs=shape.hidden, outputs=key),
        Matrix(role="value", inputs=shape.hidden, outputs=key),
        Matrix(role="attention_output", inputs=query, outputs=shape.hidden),
    ], 2 * key


def _latent(keys: Keys, shape: Shape, heads: int, rank: int) -> tuple[list[Matrix], int, int]:
    """Attention whose keys and values are kept as one compressed vector and the part with the position."""
    nope = keys.number("qk_nope_head_dim") or shape.head_dim
    rope, value = keys.number("qk_rope_head_dim"), keys.number("v_head_dim") or nope
    queries, query_rank = heads * (nope + rope), keys.number("q_lora_rank")
    narrow = [
        Matrix(role="query", inputs=shape.hidden, outputs=query_rank),
        Matrix(role="query", inputs=query_rank, outputs=queries),
    ]
    return (
        [
            *(narrow if query_rank else [Matrix(role="query", inputs=shape.hidden, outputs=queries)]),
            Matrix(role="key", inputs=shape.hidden, outputs=rank + rope),
            Matrix(role="value", inputs=rank, outputs=heads * (nope + value)),
            Matrix(role="attention_output", inputs=heads * value, outputs=shape.hidden),
        ],
        rank + rope,
        heads * (nope + rope + value),
    )


def _mamba(keys: Keys, shape: Shape) -> tuple[list[Matrix], int]:
    """The first Mamba, or the second, which has heads."""
    heads = keys.number("mamba_num_heads", "mamba_n_heads", "n_mamba_heads", "num_heads")
    size = keys.number("mamba_head_dim", "mamba_d_head", "head_dim" if shape.family == "mamba2" else "mamba_headdim")
    expand = keys.number("mamba_expand", "expand") or 2
    inner = keys.number("mamba_d_ssm", "mamba_intermediate_size") or heads * size or expand * shape.hidden
    states = keys.number("mamba_d_state", "ssm_state_size", "state_size") or 16
    if heads:
        groups = keys.number("mamba_n_groups", "n_groups", "mamba_ngroups") or 1
        # gate and input, B and C of each group, a step of each head
        first = Matrix(role="mixer", inputs=shape.hidden, outputs=2 * inner + 2 * groups * states + heads)
        return [first, Matrix(role="mixer", inputs=inner, outputs=shape.hidden)], inner * states
    if shape.family in STATE_SPACE:
        inner = keys.number("intermediate_size") or inner
    rank = keys.number("mamba_dt_rank", "time_step_rank") or -(-shape.hidden // 16)
    return [
        Matrix(role="mixer", inputs=shape.hidden, outputs=2 * inner),
        Matrix(role="mixer", inputs=inner, outputs=rank + 2 * states),
        Matrix(role="mixer", inputs=rank, outputs=inner),
        Matrix(role="mixer", inputs=states, outputs=inner),
        Matrix(role="mixer", inputs=inner, outputs=shape.hidden),
    ], inner * states


def _linear(keys: Keys, shape: Shape) -> tuple[list[Matrix], int]:
    """Gated delta rule, or Kimi's form of it, whose gates are of low rank."""
    config = keys.inner("linear_attn_config")
    if heads := config.number("num_heads"):
        width = config.number("head_dim") or shape.head_dim
        low = [
            Matrix(role="mixer", inputs=shape.hidden, outputs=width),
            Matrix(role="mixer", inputs=width, outputs=heads * width),
        ]
        wide = [Matrix(role="mixer", inputs=shape.hidden, outputs=heads * width)] * 3
        ends = [
            Matrix(role="mixer", inputs=shape.hidden, outputs=heads),
            Matrix(role="mixer", inputs=heads * width, outputs=shape.hidden),
        ]
        return [*wide, *low, *low, *ends], heads * width * width
    heads = keys.number("linear_num_value_heads") or (shape.heads if shape.family == "olmo_hybrid" else 0)
    if not heads and keys.number("mamba_num_heads", "mamba_n_heads", "mamba_d_state", "ssm_state_size"):
        return _mamba(keys, shape)  # newer configurations call these linear attention too
    if not heads and keys.number("conv_L_cache"):
        return _conv(keys, shape)
    if not heads:  # another kind: as large as attention, and it is reported
        keys.seen -= {"layer_types", "layers_block_type"}
        return _attention(shape, shape.heads, shape.kv_heads, shape.head_dim)[0], 0
    key_heads = keys.number("linear_num_key_heads") or heads
    width = keys.number("linear_value_head_dim") or shape.head_dim
    key_width = keys.number("linear_key_head_dim") or width
    if shape.family == "olmo_hybrid":  # whose class derives both from the width of the model
        key_width = keys.number("linear_key_head_dim") or 3 * shape.hidden // (4 * key_heads)
        width = keys.number("linear_value_head_dim") or 2 * key_width
    key, value = key_heads * key_width, heads * width
    return [
        Matrix(role="fused", inputs=shape.hidden, outputs=2 * key + value),
        Matrix(role="mixer", inputs=shape.hidden, outputs=value),
        Matrix(role="mixer", inputs=shape.hidden, outputs=2 * heads),
        Matrix(role="mixer", inputs=value, outputs=shape.hidden),
    ], heads * key_width * width


def _conv(keys: Keys, shape: Shape) -> tuple[list[Matrix], int]:
    width = keys.number("conv_dim") or shape.hidden
    kept = keys.number("conv_L_cache") or 3
    return [
        Matrix(role="mixer", inputs=shape.hidden, outputs=3 * width),
        Matrix(role="mixer", inputs=width, outputs=shape.hidden),
    ], kept * width


def _recurrent(keys: Keys, shape: Shape) -> tuple[list[Matrix], int]:
    width, heads = keys.number("lru_width") or shape.hidden, max(shape.heads, 1)
    gates = [Matrix(role="mixer", inputs=width // heads, outputs=width)] * 2
    return [
        *[Matrix(role="mixer", inputs=shape.hidden, outputs=width)] * 2,
        *gates,
        Matrix(role="mixer", inputs=width, outputs=shape.hidden),
    ], width


EXPERT = frozenset({"expert", "expert_down"})
# Roles of the matrices of feed-forward blocks, of experts too.
FORWARD = frozenset({"up", "down"}) | EXPERT

# Feed-forward blocks ------------------------------------------------------------------------------------------------


def _feed_forward(shape: Shape, width: int) -> list[Matrix]:
    gate = [Matrix(role="gate", inputs=shape.hidden, outputs=width)] if shape.gated else []
    return [
        *gate,
        Matrix(role="up", inputs=shape.hidden, outputs=width),
        Matrix(role="down", inputs=width, outputs=shape.hidden),
    ]


def _experts(shape: Shape, groups: tuple[tuple[int, int, int], ...], shared: int) -> list[Matrix]:
    """Experts in groups of (count, used by a token, width), and what all tokens go through beside them."""
    made: list[Matrix] = []
    first = 2 if shape.gated else 1
    for count, used, width in groups:
        made += [
            Matrix(role="router", inputs=shape.hidden, outputs=count),
            Matrix(role="expert", inputs=shape.hidden, outputs=width, copies=count * first, used=used * first),
            Matrix(role="expert_down", inputs=width, outputs=shape.hidden, copies=count, used=used),
        ]
    return [*made, *(_feed_forward(shape, shared) if shared else [])]


def _width(keys: Keys, shape: Shape, layer: int) -> int:
    """The width of a feed-forward block without experts."""
    width = keys.at(layer, shape.layers, "intermediate_size") or shape.intermediate
    if shape.family == "llama4" and experts(keys):
        width = keys.number("intermediate_size_mlp") or width
    if shape.family == "recurrent_gemma":
        width //= 2  # states both halves of the gated block
    if keys.get("use_double_wide_mlp") is True:
        shared = keys.number("num_kv_shared_layers")
        width *= 2 if layer >= shape.layers - shared else 1
    if shape.family == "granitemoehybrid":
        width = keys.number("shared_intermediate_size") or width
    if shape.family.startswith("lfm2"):
        width = _rounded(keys, keys.number("block_ff_dim") or width)
    return shape.intermediate if shape.family == "qwen" else width


def _rounded(keys: Keys, width: int) -> int:
    """LFM2 states a width of which two thirds are taken, in multiples of a number, unless it says not to."""
    if keys.get("block_auto_adjust_ff_dim") is not True:
        return width
    width = 2 * width // 3
    factor, multiple = keys.get("block_ffn_dim_multiplier"), keys.number("block_multiple_of") or 256
    if isinstance(factor, (int, float)) and factor > 0:
        width = int(factor * width)
    return -(-width // multiple) * multiple


COUNTS = (
    "num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts", "num_moe_experts",
    "n_experts", "moe_num_routed_experts",
)  # fmt: skip
_USED = (
    "num_experts_per_tok", "experts_per_token", "num_experts_per_token", "moe_top_k", "moe_topk", "top_k_experts",
    "moe_k", "num_selected_experts", "moe_router_topk", "num_experts_used",
)  # fmt: skip
_WIDTHS = (
    "moe_intermediate_size", "expert_ffn_hidden_size", "moe_ffn_hidden_size", "expert_intermediate_size",
    "moe_ffn_dim",
)  # fmt: skip


def experts(keys: Keys) -> int:
    """How many experts a layer that has them has; 0 without."""
    if keys.experts is None:  # asked for each layer anew
        keys.experts = _experts_stated(keys)
    return keys.experts


def _experts_stated(keys: Keys) -> int:
    groups = keys.numbers(*COUNTS)
    count = sum(groups) if groups else keys.number(*COUNTS) or keys.inner("ffn_config").number("moe_num_experts")
    return count if count > 1 else 0


def used_experts(keys: Keys, layer: int = 0, layers: int = 0) -> int:
    """Through how many of them a token goes; all where it is not stated."""
    used = keys.at(layer, layers, *_USED) or keys.inner("ffn_config").number("moe_top_k")
    return min(used or experts(keys), experts(keys))


def expert_width(keys: Keys, layer: int = 0, layers: int = 0) -> int:
    """The width of one expert where it is stated."""
    several = keys.numbers(*_WIDTHS)
    return keys.at(layer, layers, *_WIDTHS) or (several[0] if several else 0)


def shared_width(keys: Keys, shape: Shape, layer: int = 0) -> int:
    """The width that all tokens go through beside the experts."""
    if shape.family in {"llama4", "gemma4", "gemma4_unified"}:  # a dense block of the usual width beside the experts
        return shape.intermediate
    stated = keys.number(
        "shared_expert_intermediate_size", "moe_shared_expert_intermediate_size", "shared_intermediate_size"
    )
    copies = keys.at(
        layer, shape.layers, "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert"
    )
    return stated or copies * (expert_width(keys, layer, shape.layers) or shape.intermediate)


def _experts_of(keys: Keys, shape: Shape, layer: int) -> list[Matrix]:
    layers = shape.layers
    width = expert_width(keys, layer, layers) or keys.at(layer, layers, "intermediate_size") or shape.intermediate
    used = used_experts(keys, layer, layers)
    counts, widths = keys.numbers(*COUNTS), keys.numbers(*_WIDTHS)
    groups: tuple[tuple[int, int, int], ...] = ((experts(keys), used, width),)
    if latent := keys.number("moe_latent_size"):  # the experts work on a narrower vector
        ends = [
            Matrix(role="mixer", inputs=shape.hidden, outputs=latent),
            Matrix(role="mixer", inputs=latent, outputs=shape.hidden),
        ]
        inside = replace(shape, hidden=latent)
        common = shared_width(keys, shape, layer)
        router = Matrix(role="router", inputs=shape.hidden, outputs=groups[0][0])
        return [*ends, router, *_experts(inside, groups, 0)[1:], *(_feed_forward(shape, common) if common else [])]
    if counts and widths and len(counts) == len(widths) > 1:  # for text and for pictures; text goes through the first
        groups = tuple(
            (count, min(used, count) if index == 0 else 0, wide)
            for index, (count, wide) in enumerate(zip(counts, widths, strict=True))
        )
    return _experts(shape, groups, shared_width(keys, shape, layer))


def _is_sparse(keys: Keys, shape: Shape, layer: int) -> bool:
    """Whether a layer has experts: stated as a list, as a period, or as where they begin and end."""
    if not experts(keys):
        return False
    kinds = keys.words("mlp_layer_types")
    if len(kinds) == shape.layers:
        return kinds[layer] not in {"dense", "mlp"}
    listed = keys.numbers("moe_layers")
    if listed is not None:
        return layer in listed
    named = keys.get("moe_layers_enum")
    if isinstance(named, str) and named:
        return str(layer) in {part.strip() for part in named.split(",")}
    frequency = keys.numbers("moe_layer_freq")
    if frequency is not None and len(frequency) == shape.layers:
        return bool(frequency[layer])
    if layer in (keys.numbers("mlp_only_layers") or ()):
        return False
    period = keys.number("expert_layer_period")
    if period:
        return layer % period == keys.number("expert_layer_offset")
    step = keys.number("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_interval") or 1
    begins = keys.number("first_k_dense_replace", "num_dense_layers") or min(
        keys.numbers("moe_layer_start_index") or (keys.number("moe_layer_start_index"),)
    )
    ends = max(keys.numbers("moe_layer_end_index") or (keys.number("moe_layer_end_index"),))
    ends = ends if ends > 0 else shape.layers
    every = keys.number("moe_layer_freq") or 1
    return begins <= layer <= ends and (layer + 1) % step == 0 and layer % every == 0


def check_positive(blocks: tuple[Block, ...], origin: str) -> None:
    """Raises UsageError for layers that hold nothing."""
    if not any(matrix.weights > 0 for block in blocks for matrix in block.matrices):
        raise UsageError(f"{origin} describes layers without weights, so its size is unknown")
