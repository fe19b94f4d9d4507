"""Decode speed from memory bandwidth. Prefill is bound by other things and is not predicted.

tokens/s = 1 / (max(bytes / (efficiency · bandwidth), weights / (k · SMs · clock)) + overhead), where `bytes` is what
one token reads (weights it goes through, output matrix, filled KV cache). The second term exists only for runtimes
that were seen to be bound by dequantization, and only where the power mode says how many SMs run at which clock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.fit import constants
from jetson_containers.llm.fit.memory import kv_cache
from jetson_containers.llm.fit.weights import active_weights

if TYPE_CHECKING:
    from jetson_containers.llm.fit.constants import RuntimeConstants
    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.fit.weights import Weights
    from jetson_containers.llm.models.config import ModelConfig


def is_known(runtime: RuntimeConstants, machine: Machine) -> bool:
    """Whether `decode` is a prediction, and not only what the memory allows.

    The constants hold for full power. Where a power mode lowers the clocks, only a runtime that was seen to be bound by
    them follows, and only where they are known.
    """
    return not machine.slowed or bool(machine.sm_hz and runtime.weights_per_cycle)


def decode(
    config: ModelConfig, held: Weights, runtime: RuntimeConstants, machine: Machine, filled: int, kv_type: str
) -> float | None:
    """Tokens per second of one sequence with `filled` tokens in its context; None where the bandwidth is unknown."""
    if machine.bandwidth is None:
        return None
    read = held.per_token + kv_cache(config, runtime, kv_type, filled)
    seconds = read / (constants.system().efficiency * machine.bandwidth)
    if machine.sm_hz and runtime.weights_per_cycle:
        seconds = max(seconds, active_weights(config) / (runtime.weights_per_cycle * machine.sm_hz))
    return 1 / (seconds + runtime.overhead + runtime.overhead_per_layer * config.layers)
