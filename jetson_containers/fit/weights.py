"""How many weights a decoder has, and what they take in each format.

Source of the counts: the shapes of the matrices that `config.json` implies (norms and biases, below 0.1 %, left out).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.fit import constants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.fit.constants import FileType, Format
    from jetson_containers.gguf import GgufFile
    from jetson_containers.modelconfig import ModelConfig, Quantized


@dataclass(frozen=True)
class Matrix:
    """One linear layer of every decoder block: `inputs` × `outputs`, in `layers` blocks, `copies` (experts) in each.

    `used` copies take part in one token.
    """

    role: str
    inputs: int
    outputs: int
    layers: int
    copies: int = 1
    used: int = 1

    @property
    def weights(self) -> int:
        """Weights in all layers and copies."""
        return self.inputs * self.outputs * self.layers * self.copies


@dataclass(frozen=True)
class Weights:
    """Bytes. `per_token`: what is read from memory for one token, without the KV cache."""

    linear: float
    embedding: float
    head: float
    per_token: float

    @property
    def total(self) -> float:
        """All that is held in memory."""
        return self.linear + self.embedding + self.head


def matrices(config: ModelConfig) -> Iterator[Matrix]:
    """All linear layers of the decoder."""
    query, key = config.heads * config.head_dim, config.kv_heads * config.head_dim
    yield Matrix("query", config.hidden, query, config.layers)
    yield Matrix("key", config.hidden, key, config.layers)
    yield Matrix("value", config.hidden, key, config.layers)
    yield Matrix("attention_output", query, config.hidden, config.layers)
    dense = config.dense_layers if config.experts else config.layers
    if dense:
        yield from _feed_forward(config, config.intermediate, dense)
    sparse = config.layers - dense
    if sparse > 0:
        yield Matrix("router", config.hidden, config.experts, sparse)
        width = config.expert_intermediate or config.intermediate
        used = min(config.experts_used or config.experts, config.experts)
        yield Matrix("expert", config.hidden, width, sparse, config.experts * (2 if config.gated_mlp else 1),
                     used * (2 if config.gated_mlp else 1))  # fmt: skip
        yield Matrix("expert", width, config.hidden, sparse, config.experts, used)
        if config.shared_intermediate:
            yield from _feed_forward(config, config.shared_intermediate, sparse)


def _feed_forward(config: ModelConfig, width: int, layers: int) -> Iterator[Matrix]:
    if config.gated_mlp:
        yield Matrix("gate", config.hidden, width, layers)
    yield Matrix("up", config.hidden, width, layers)
    yield Matrix("down", width, config.hidden, layers)


def linear_weights(config: ModelConfig) -> int:
    """How many weights the linear layers have, all experts included."""
    return sum(matrix.weights for matrix in matrices(config))


def active_weights(config: ModelConfig) -> int:
    """How many of them one token goes through."""
    return sum(matrix.weights * matrix.used // matrix.copies for matrix in matrices(config))


def largest_tensor(config: ModelConfig) -> int:
    """Elements of the largest matrix, which conversions hold several times."""
    return max(config.vocab * config.hidden, *(matrix.inputs * matrix.outputs for matrix in matrices(config)))


@functools.lru_cache(maxsize=1024)
def weights(config: ModelConfig, format_name: str) -> Weights:
    """Bytes of the model in a format of the table, or in a GGUF file type."""
    if format_name in constants.file_types():
        return _of_gguf(config, constants.file_types()[format_name])
    return _of_format(config, constants.formats()[format_name])


def of_checkpoint(config: ModelConfig, quantized: Quantized) -> Weights:
    """Bytes of a checkpoint that is quantized already: f16 scales, and zeros of as many bits where it is asymmetric."""
    group = quantized.group or 128
    zeros = quantized.bits if quantized.method in {"gptq", "awq"} else 0
    scales = (16 + zeros) / group if quantized.bits < 8 or quantized.group else 0
    return _of_format(config, constants.Format(quantized.bits + scales, 16, 16))


def of_file(file: GgufFile, config: ModelConfig) -> Weights:
    """Bytes as a GGUF file's own directory says them."""
    linear = file.weights_bytes - file.embedding_bytes - file.head_bytes
    share = active_weights(config) / max(linear_weights(config), 1)
    return Weights(
        linear, file.embedding_bytes, file.head_bytes, linear * share + (file.head_bytes or file.embedding_bytes)
    )


def _of_format(config: ModelConfig, bits: Format) -> Weights:
    embedding = config.vocab * config.hidden * bits.embedding / 8
    # A tied matrix is stored once, as the embedding, and read whole as the head.
    head = 0.0 if config.tied else config.vocab * config.hidden * bits.head / 8
    linear = active = 0.0
    for matrix in matrices(config):
        size = matrix.weights * (bits.linear + bits.channel / matrix.inputs) / 8
        linear += size
        active += size * matrix.used / matrix.copies
    return Weights(linear, embedding, head, active + (head or embedding))


def _of_gguf(config: ModelConfig, kind: FileType) -> Weights:
    elements = config.vocab * config.hidden
    output = elements * constants.block_for(kind.output, config.hidden) / 8
    embedding = elements * constants.block_for(kind.embedding, config.hidden) / 8
    linear = active = 0.0
    for matrix in matrices(config):
        size = sum(_matrix_bytes(matrix, layer, config, kind) for layer in range(matrix.layers))
        linear += size
        active += size * matrix.used / matrix.copies
    if config.tied:  # the one matrix is stored as the output would be
        return Weights(linear, output, 0, active + output)
    return Weights(linear, embedding, output, active + output)


def _matrix_bytes(matrix: Matrix, layer: int, config: ModelConfig, kind: FileType) -> float:
    name = "F32" if matrix.role == "router" else _type_of(matrix.role, layer, config, kind)
    return matrix.inputs * matrix.outputs * matrix.copies * constants.block_for(name, matrix.inputs) / 8


def _type_of(role: str, layer: int, config: ModelConfig, kind: FileType) -> str:
    if role in {"query", "key", "value"} and config.model_type in constants.fused_families():
        return kind.fused
    rules = (rule for rule in kind.rules if rule.role == role and _applies(rule.where, layer, config))
    return next((rule.type for rule in rules), kind.base)


def _applies(where: str, layer: int, config: ModelConfig) -> bool:
    """Whether a rule of the table holds in a layer (llama-quant.cpp: `use_more_bits` and the like)."""
    count = config.layers
    if where == "more":
        return layer < count // 8 or layer >= 7 * count // 8 or (layer - count // 8) % 3 == 2
    if where == "grouped":
        return config.heads >= 4 * config.kv_heads
    firsts = {"all": count, "eighth": count // 8, "sixteenth": count // 16}
    limit = firsts[where] if where in firsts else int(where.removeprefix("first:"))
    return layer < limit
