"""Peak memory of the steps that make an artifact. Bytes, without the system's baseline.

Source: facts on each tool's conversion; constants in `facts/fit.yaml`, estimates are marked there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.fit import constants
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.weights import largest_tensor, linear_weights, weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jetson_containers.llm.models.config import ModelConfig


def steps(config: ModelConfig, names: tuple[str, ...], quantization_bytes: float) -> tuple[tuple[str, int], ...]:
    """Peak of each step. `quantization_bytes`: the size of the finished weights."""
    return tuple((_STEPS[name][0], int(_STEPS[name][1](config, quantization_bytes))) for name in names)


def _torch() -> float:
    return constants.conversion()["torch"] * GIB


def _full(config: ModelConfig) -> float:
    return weights(config, "fp16").total


def _largest(config: ModelConfig) -> float:
    """The largest tensors a converter holds at once, at 16 bits."""
    return constants.conversion()["tensors"] * largest_tensor(config) * 2


def _calibration(config: ModelConfig) -> float:
    """Hidden states of all calibration text."""
    table = constants.conversion()
    return table["samples"] * table["tokens"] * config.hidden * 2


def _layer(config: ModelConfig) -> float:
    """One decoder block at 16 bits, and the Hessian of its widest input."""
    return linear_weights(config) / config.layers * 2 + config.intermediate**2 * 4


def _mlc_build(config: ModelConfig, _: float) -> float:
    loaded = min(_full(config), constants.conversion()["old_shard"] * GIB)
    return max(loaded + _largest(config) + _torch(), _mlc_compile(config, 0))


def _mlc_convert(config: ModelConfig, _: float) -> float:
    return min(_full(config), constants.conversion()["streamed"] * GIB) + _largest(config) + _torch()


def _mlc_compile(_config: ModelConfig, _: float) -> float:
    return constants.conversion()["compiler"] * GIB


def _gguf_convert(config: ModelConfig, _: float) -> float:
    """A bfloat16 tensor goes through 32 bits: within 1 % of a run; one in half precision takes a third of it."""
    return largest_tensor(config) * (2 + 4) + constants.conversion()["converter"] * GIB


def _gguf_quantize(config: ModelConfig, _: float) -> float:
    """The largest tensor in 32 bits, its source and what is made of it: within 3 % of three runs of llama-quantize."""
    return largest_tensor(config) * (4 + 2)


def _whole(config: ModelConfig, _: float) -> float:
    embedding = config.vocab * config.hidden * 2
    return _full(config) + _calibration(config) + _layer(config) + embedding + _torch()


def _layers(config: ModelConfig, _: float) -> float:
    return _layer(config) + _calibration(config) + config.vocab * config.hidden * 2 + _torch()


def _load_shard(config: ModelConfig, quantized: float) -> float:
    return quantized + min(_full(config), constants.conversion()["shard"] * GIB) + _torch()


# What the step is called, and its peak.
_STEPS: Mapping[str, tuple[str, Callable[[ModelConfig, float], float]]] = {
    "mlc_build": ("build", _mlc_build),
    "mlc_convert": ("convert", _mlc_convert),
    "mlc_compile": ("compile", _mlc_compile),
    "gguf_convert": ("convert", _gguf_convert),
    "gguf_quantize": ("quantize", _gguf_quantize),
    "awq_full": ("quantize", _whole),
    "gptq_full": ("quantize", _whole),
    "gptq_layers": ("quantize", _layers),
    "load_shard": ("load", _load_shard),
}
