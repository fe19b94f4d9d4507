"""Speed from memory bandwidth and from the GPU's rate: of one sequence, of several at once, and of reading a prompt.

A step makes one token of each sequence:

    max(bytes / (efficiency · bandwidth), bytes / (k · SMs · clock)) + operations / (compute · rate) + overhead

`bytes` is what the step reads: the weights its tokens go through (of experts, those that at least one of them chooses),
the output matrix, the filled KV caches. The second term of the maximum is what the SMs can take in and unpack, which
counts where they are few or slow beside the memory. The operations are those of the sequences beside the first, whose
own are done while its weights come. The overhead is constant, per layer, or per layer in cycles of the SMs: kernels
that start one after another. A prompt takes max(operations / (compute · rate), what its bytes take) + overhead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.llm.fit import constants
from jetson_containers.llm.fit.memory import kv_cache
from jetson_containers.llm.fit.weights import active_weights

if TYPE_CHECKING:
    from jetson_containers.llm.fit.constants import RuntimeConstants
    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.fit.weights import Weights
    from jetson_containers.llm.models.config import ModelConfig


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is computed: a model with its weights as they are `held`, in a format of the table, on a machine."""

    config: ModelConfig
    held: Weights
    format: str
    runtime: RuntimeConstants
    machine: Machine
    kv_type: str = "f16"


def is_known(machine: Machine) -> bool:
    """Whether `step` is a prediction, and not only what the memory allows: lowered clocks have to be known."""
    return not machine.slowed or bool(machine.sm_hz)


def step(work: Workload, filled: int, sequences: int = 1) -> float | None:
    """Seconds for one token of each sequence with `filled` tokens in its context; None: the bandwidth is unknown."""
    size = read(work, filled, sequences)
    seconds = transfer(work, size)
    if seconds is None:
        return None
    return seconds + _further(work, filled, sequences) + overhead(work, sequences)


def read(work: Workload, filled: int, sequences: int) -> float:
    """Bytes that one step reads."""
    independent = sequences**work.runtime.spread
    return work.held.read(independent) + sequences * kv_cache(work.config, work.runtime, work.kv_type, filled)


def transfer(work: Workload, size: float) -> float | None:
    """Seconds to read so many bytes: the memory's rate, or the GPU's where that is lower."""
    if work.machine.bandwidth is None:
        return None
    seconds = size / (work.runtime.efficiency * work.machine.bandwidth)
    intake = work.runtime.intake(work.format, work.machine.sm) * (work.machine.sm_hz or 0)
    return max(seconds, size / intake if intake else 0)


def overhead(work: Workload, sequences: int = 1) -> float:
    """Seconds of a step that no bandwidth explains."""
    runtime = work.runtime
    attention, recurrent = mixers(work.config)
    constant = runtime.overhead + runtime.overhead_per_layer * attention + runtime.overhead_recurrent * recurrent
    return constant + cycles(work, sequences) / (work.machine.hz or constants.system().hz)


def cycles(work: Workload, sequences: int = 1) -> float:
    """Cycles of the SMs' clock in which the kernels of a step start; several sequences need more of them."""
    runtime = work.runtime
    further = runtime.cycles_experts if work.held.routed else runtime.cycles_batched
    return sum(mixers(work.config)) * (runtime.cycles + (further if sequences > 1 else 0))


def _further(work: Workload, filled: int, sequences: int) -> float:
    """Seconds of the operations of the sequences beside the first, in 16 bits; 0 where the rate is not known."""
    if not work.machine.flops:
        return 0.0
    return operations(work, sequences - 1, filled) / (work.runtime.compute_batched * work.machine.flops)


def mixers(config: ModelConfig) -> tuple[int, int]:
    """Layers with attention, and layers that keep a state instead."""
    blocks = config.layer_blocks()
    return (
        sum(len(block.at) for block in blocks if block.cache),
        sum(len(block.at) for block in blocks if block.state and not block.cache),
    )


def prefill(work: Workload, tokens: int) -> float | None:
    """Seconds to read a prompt of so many tokens, after which the first token comes; None: unknown."""
    seconds = transfer(work, work.held.read(tokens))
    if seconds is None or work.machine.flops is None:
        return None
    return max(seconds, _operations(work, tokens, tokens // 2)) + overhead(work)


def served(work: Workload, prompt: int, output: int, sequences: int, *, cached: bool = False) -> float | None:
    """Output tokens per second of so many requests at once, the reading of their prompts included; None: unknown.

    `cached`: the prompts were read before, and a prompt is a single step.
    """
    each = step(work, prompt + output // 2, sequences)
    first = overhead(work) if cached else prefill(work, prompt)
    if first is None or each is None:
        return None
    return sequences * output / (sequences * first + output * each)


def operations(work: Workload, tokens: int, filled: int) -> float:
    """Multiplications and additions for tokens with so many before them: weights and attention."""
    width = 2 * work.config.heads * work.config.head_dim  # scores and sums
    blocks = [block for block in work.config.layer_blocks() if block.cache]
    attention = sum(len(block.at) * min(filled, block.window or filled) for block in blocks)
    return 2.0 * tokens * (active_weights(work.config) + width * attention)


def rate(work: Workload) -> float | None:
    """Tensor operations per second at the peak, in the precision that the weights' format is computed in."""
    if work.machine.flops is None:
        return None
    return work.machine.flops * constants.faster(work.format, work.machine.sm)


def _operations(work: Workload, sequences: int, filled: int) -> float:
    peak = rate(work)
    part = work.runtime.compute_experts if work.held.routed else work.runtime.compute
    return operations(work, sequences, filled) / (part * peak) if peak else 0.0
