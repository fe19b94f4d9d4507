"""How many weights a decoder has, and what they take in each format.

Source of the counts: the shapes of the matrices that `config.json` implies (norms and biases, below 0.1 %, left out).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.llm.fit import constants
from jetson_containers.llm.models.layers import EXPERT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.llm.fit.constants import FileType, Format
    from jetson_containers.llm.models.config import ModelConfig, Quantized
    from jetson_containers.llm.models.gguf import GgufFile
    from jetson_containers.llm.models.layers import Matrix


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Bytes. `per_token`: what is read from memory for one token, without the KV cache.

    `routed`: of all experts that are chosen from for each token; `chosen`: which part of them one token uses.
    """

    linear: float
    embedding: float
    head: float
    per_token: float
    routed: float = 0.0
    chosen: float = 0.0

    @property
    def total(self) -> float:
        """All that is held in memory."""
        return self.linear + self.embedding + self.head

    def read(self, tokens: float) -> float:
        """What is read for so many tokens at once, each of which chooses its experts as if by chance."""
        missed: float = (1 - self.chosen) ** max(tokens, 1)
        return self.per_token + self.routed * (1 - missed - self.chosen)

    def times(self, factor: float) -> Weights:
        """All of it so many times larger."""
        if factor == 1:
            return self
        return Weights(
            linear=self.linear * factor,
            embedding=self.embedding * factor,
            head=self.head * factor,
            per_token=self.per_token * factor,
            routed=self.routed * factor,
            chosen=self.chosen,
        )


def matrices(config: ModelConfig) -> Iterator[tuple[Matrix, tuple[int, ...]]]:
    """All linear layers of the decoder, each with the layers it is in; none for those outside them."""
    for block in config.layer_blocks():
        for matrix in block.matrices:
            yield matrix, block.at
    for matrix in config.other:
        yield matrix, (0,)


def linear_weights(config: ModelConfig) -> int:
    """How many weights the linear layers have, all experts included."""
    return sum(matrix.weights * len(at) for matrix, at in matrices(config))


@functools.lru_cache(maxsize=1024)
def active_weights(config: ModelConfig) -> int:
    """How many of them one token goes through."""
    return sum(matrix.weights * len(at) * matrix.used // matrix.copies for matrix, at in matrices(config))


def _routed(config: ModelConfig) -> tuple[int, float]:
    """Weights of the experts that are chosen from, and which part of them one token uses."""
    rows = [(matrix, at) for matrix, at in matrices(config) if matrix.used < matrix.copies]
    held = sum(matrix.weights * len(at) for matrix, at in rows)
    used = sum(matrix.weights * len(at) * matrix.used / matrix.copies for matrix, at in rows)
    return held, used / held if held else 0.0


def parameters(config: ModelConfig) -> int:
    """All weights of the model's files: with encoders, and with layers that predict further tokens."""
    embeddings = config.vocab * config.hidden * (1 if config.tied else 2)
    return linear_weights(config) + embeddings + config.tables + config.towers + config.drafts


def largest_tensor(config: ModelConfig) -> int:
    """Elements of the largest matrix, which conversions hold several times."""
    sizes = (matrix.inputs * matrix.outputs for matrix, _ in matrices(config))
    return max(config.vocab * config.hidden, config.tables, *sizes)


@functools.lru_cache(maxsize=1024)
def weights(config: ModelConfig, format_name: str) -> Weights:
    """Bytes of the model in a format of the table, or in a GGUF file type."""
    if format_name in constants.file_types():
        return _of_gguf(config, constants.file_types()[format_name]).times(config.scale)
    return _of_format(config, constants.formats()[format_name]).times(config.scale)


def of_checkpoint(config: ModelConfig, quantized: Quantized) -> Weights:
    """Bytes of a checkpoint that is quantized already; of one whose width is not understood, as if it were not."""
    stored = quantized.stored or 16
    bits = constants.Format(linear=stored, embedding=16, head=min(quantized.head, 16) if quantized.bits else 16)
    return _of_format(config, bits, others=16 if quantized.experts_only else 0).times(config.scale)


def stored_bytes(config: ModelConfig) -> float:
    """Bytes of a checkpoint's weight files as its configuration describes them, of 16 bits where it is silent."""
    if config.quantized is not None:
        return of_checkpoint(config, config.quantized).total + config.drafts * 16 / 8
    return parameters(config) * (4 if config.dtype == "float32" else 2) * config.scale


def of_file(file: GgufFile, config: ModelConfig) -> Weights:
    """Bytes as a GGUF file's own directory says them."""
    linear = file.weights_bytes - file.embedding_bytes - file.head_bytes
    weights_of_all = max(linear_weights(config), 1)
    share = active_weights(config) / weights_of_all
    routed, chosen = _routed(config)
    return Weights(
        linear=linear,
        embedding=file.embedding_bytes,
        head=file.head_bytes,
        per_token=linear * share + (file.head_bytes or file.embedding_bytes),
        routed=linear * routed / weights_of_all,
        chosen=chosen,
    )


def _of_format(config: ModelConfig, bits: Format, others: float = 0) -> Weights:
    """Bytes in a format; `others`: bits of what is not an expert's, where that is not stored alike."""
    embedding = (config.vocab * config.hidden + config.tables) * bits.embedding / 8
    read = config.vocab * config.hidden * bits.embedding / 8
    # A tied matrix is stored once, as the embedding, and read whole as the head.
    head = 0.0 if config.tied else config.vocab * config.hidden * bits.head / 8
    linear = active = routed = 0.0
    for matrix, at in matrices(config):
        stored = others if others and matrix.role not in EXPERT else bits.linear
        size = matrix.weights * len(at) * (stored + bits.channel / max(matrix.inputs, 1)) / 8
        linear += size
        active += size * matrix.used / matrix.copies
        routed += size if matrix.used < matrix.copies else 0
    linear += config.towers * 16 / 8  # encoders are rarely quantized
    return Weights(
        linear=linear,
        embedding=embedding,
        head=head,
        per_token=active + (head or read),
        routed=routed,
        chosen=_routed(config)[1],
    )


def _of_gguf(config: ModelConfig, kind: FileType) -> Weights:
    elements = config.vocab * config.hidden
    output = elements * constants.block_for(kind.output, config.hidden) / 8
    embedding = elements * constants.block_for(kind.embedding, config.hidden) / 8
    # Embeddings of the layers are stored as the usual one is, which is the output where that is tied.
    tables = config.tables * constants.block_for(kind.output if config.tied else kind.embedding, config.hidden) / 8
    linear = active = routed = 0.0
    for matrix, at in matrices(config):
        size = sum(_matrix_bytes(matrix, layer, config, kind) for layer in at)
        linear += size
        active += size * matrix.used / matrix.copies
        routed += size if matrix.used < matrix.copies else 0
    # A tied matrix is one, stored as the output would be.
    return Weights(
        linear=linear,
        embedding=output + tables if config.tied else embedding + tables,
        head=0 if config.tied else output,
        per_token=active + output,
        routed=routed,
        chosen=_routed(config)[1],
    )


def _matrix_bytes(matrix: Matrix, layer: int, config: ModelConfig, kind: FileType) -> float:
    # Small matrices of some families stay as they are.
    kept = {"router": "F32", "small": "F16"}.get(matrix.role)
    name = kept or _type_of(matrix.role, layer, config, kind)
    return matrix.inputs * matrix.outputs * matrix.copies * constants.block_for(name, matrix.inputs) / 8


def _type_of(role: str, layer: int, config: ModelConfig, kind: FileType) -> str:
    if role == "fused" or (role in {"query", "key", "value"} and config.family in constants.fused_families()):
        return kind.fused
    roles = _AS.get(role, (role,))
    rules = (rule for rule in kind.rules if rule.role in roles and _applies(rule.where, layer, config))
    return next((rule.type for rule in rules), kind.base)


# Rules for a part of a feed-forward block hold for that part of an expert as well.
_AS = {"expert_down": ("expert", "down")}


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
