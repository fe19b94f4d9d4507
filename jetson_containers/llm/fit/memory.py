"""Memory beside the weights: KV cache, activations and buffers. All in bytes.

Sources: MLC's engine budget (mlc-llm, cpp/serve/config.cc), TurboMind's static buffers (lmdeploy, context decoder with
max_context_token_num = session length), llama.cpp's own account, peaks of transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit import constants
from jetson_containers.llm.fit.constants import GIB

if TYPE_CHECKING:
    from jetson_containers.llm.fit.constants import RuntimeConstants, Variant
    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.models.config import ModelConfig

_MLC_FIXED = 48 << 20  # of kv_aux
_MLC_KV_EXTRA = 1.25  # bytes per token of bookkeeping
_AHEAD = 256  # tokens that a window is allocated with beyond itself
_TURBOMIND_BATCH = 64  # logits are held for so many sequences


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a server is prepared for. Tokens, sequences, and bits per element of the KV cache.

    `session`: the longest sequence its buffers are made for, where that is more than `context`. `used`: tokens that
    really are in the cache, for the runtimes that allocate as they go; 0 means all of `context`.
    """

    context: int
    max_batch: int = 1
    prefill_chunk: int = 0
    session: int = 0
    used: int = 0
    kv_type: str = "f16"


def kv_per_token(config: ModelConfig, kv_type: str = "f16") -> float:
    """Bytes of keys and values for one token in the layers that keep every token, compressed where the model does."""
    elements = sum(block.cache * len(block.at) for block in config.layer_blocks() if not block.window)
    return elements * constants.kv_bits(kv_type) / 8


def kv_cache(config: ModelConfig, runtime: RuntimeConstants, kv_type: str, tokens: int) -> float:
    """Bytes that one sequence of so many tokens keeps in all layers.

    A window counts where layers of different kinds show that it is used, and the runtime uses it; the state of layers
    without attention, in 32 bits, does not grow.
    """
    kept = state = 0
    blocks = config.layer_blocks()
    mixed = len({bool(block.window) for block in blocks if block.cache}) > 1
    for block in blocks:
        elements = (block.cache if runtime.latent else block.expanded or block.cache) * len(block.at)
        most = tokens
        if block.window and mixed and runtime.windows:
            most = _window_cells(block.window, runtime)
        kept += elements * min(tokens, most)
        state += block.state * len(block.at)
    return kept * constants.kv_bits(kv_type) / 8 + state * 4


def _window_cells(window: int, runtime: RuntimeConstants) -> int:
    """Tokens that are allocated for a window: llama.cpp's with a micro batch beside it, in multiples of 256."""
    if not runtime.micro_batch:
        return window + _AHEAD
    return -(-(window + runtime.micro_batch) // _AHEAD) * _AHEAD


def kv_needed(config: ModelConfig, runtime: RuntimeConstants, variant: Variant, load: Load) -> float:
    """Bytes for the whole context of every sequence, in the runtime's blocks."""
    tokens = load.context
    if variant.kv == "lazy":  # a block more than full: blocks come one ahead
        tokens = (-(-(load.used or load.context) // runtime.block) + 1) * runtime.block
    extra = _MLC_KV_EXTRA * tokens if runtime.workspace == "mlc" else 0
    return (kv_cache(config, runtime, load.kv_type, tokens) + extra) * load.max_batch


def chunk_of(variant: Variant, load: Load) -> int:
    """Tokens of one prefill step, which is what activations are sized by."""
    return min(load.prefill_chunk or variant.chunk or load.context, load.context)


def workspace(config: ModelConfig, runtime: RuntimeConstants, variant: Variant, load: Load) -> float:
    """Bytes of activations and buffers."""
    chunk = chunk_of(variant, load)
    if runtime.workspace == "mlc":
        return _mlc(config, variant, chunk, load.max_batch)
    if runtime.workspace == "turbomind":
        return _turbomind(config, load.session or load.context)
    if runtime.workspace == "llama_cpp":
        return _llama_cpp(config, min(runtime.micro_batch, load.context), load.context)
    return _torch(config, chunk, load.max_batch)


def _mlc(config: ModelConfig, variant: Variant, chunk: int, sequences: int) -> float:
    heads, keys, width = config.heads, config.kv_heads, config.head_dim
    auxiliary = (sequences + 1) * 88 + chunk * (heads + 1) * 8 + chunk * width * (heads + keys) * 4 + _MLC_FIXED
    model = chunk * 4 + sequences * 4 + (2 * chunk + sequences) * config.hidden * 2
    logits = sequences * 20 + sequences * config.vocab * 16.125
    # Compiled metadata states the temporary buffer and the engine counts it twice; here: the widest activations of one
    # block, estimated. The old API plans no such buffer apart.
    temporary = 2 * chunk * 2 * _width(config) * 2 if variant.api == "new" else 0
    return auxiliary + model + logits + temporary


def _width(config: ModelConfig) -> int:
    """Widest activations of one block, in elements per token."""
    return max(config.intermediate, config.expert_intermediate * max(config.experts_used, 1))


def _turbomind(config: ModelConfig, session: int) -> float:
    hidden = 2 * session * config.hidden * 2
    keys = 2 * session * config.kv_heads * config.head_dim * 2
    return hidden + keys + 2 * _TURBOMIND_BATCH * config.vocab * 4


def _llama_cpp(config: ModelConfig, batch: int, context: int) -> float:
    """Its compute buffer: the logits or the widest block, whichever is more, in 32 bits; the attention mask in 16.

    Within 5 % of what llama.cpp 0.3.36 says itself for seven shapes, contexts and batches (flash attention on).
    """
    widest = max(config.vocab + config.hidden, 3 * _width(config) + 4 * config.hidden)
    return batch * (4 * widest + 2 * context)


def _torch(config: ModelConfig, chunk: int, sequences: int) -> float:
    """Activations of one block at 16 bits and the last token's logits in 32 and 16.

    The factors were fitted on peaks of transformers 5.13.1 on a CPU, SDPA: two shapes with 4096 tokens, within 2 %, and
    one with 2048, 15 % below.
    """
    return chunk * (3 * _width(config) + 9 * config.hidden) * 2 + sequences * config.vocab * 6


def share(runtime: RuntimeConstants, machine: Machine) -> float:
    """Which part of the device's memory a runtime takes that fills it."""
    if machine.discrete:
        return runtime.share_discrete
    prefixes = [prefix for prefix in runtime.shares if machine.id.startswith(prefix)]
    return runtime.shares[max(prefixes, key=len)] if prefixes else runtime.share


def baseline_of(name: str) -> float:
    """Bytes of a named baseline, or of a number of GiB. Raises UsageError listing the names."""
    known = constants.system().baseline
    if name in known:
        return known[name]
    try:
        size = float(name)
    except ValueError:
        size = -1.0
    if not 0 <= size < 1024:
        raise UsageError(f"unknown baseline `{name}`", hint=f"baselines: {', '.join(known)}, or a number of GiB")
    return size * GIB
