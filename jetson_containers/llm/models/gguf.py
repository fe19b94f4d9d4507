"""What a `.gguf` file says of itself: metadata and the directory of its tensors, never the tensors.

Source of the layout: llama.cpp, `ggml/include/gguf.h`. Everything before the tensors' data is read, so the first few MB
of a file that is still on the hub are enough. Lengths come from the file and are trusted with nothing: each is
checked against what is left before anything of that size is read or kept.
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.models import other_kinds
from jetson_containers.llm.models.config import ModelConfig, Quantized
from jetson_containers.llm.models.layers import Block, Matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MAGIC = b"GGUF"
HEADER_LIMIT = 64 << 20  # bytes read of a file; the vocabulary of 256k tokens takes about 8 MB
_KEPT_ITEMS = 4096  # of an array; the rest is counted, not kept
# Number, bytes of a block and elements in it (ggml-common.h), name.
_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 4, 1), 1: ("F16", 2, 1), 2: ("Q4_0", 18, 32), 3: ("Q4_1", 20, 32), 6: ("Q5_0", 22, 32),
    7: ("Q5_1", 24, 32), 8: ("Q8_0", 34, 32), 9: ("Q8_1", 36, 32), 10: ("Q2_K", 84, 256), 11: ("Q3_K", 110, 256),
    12: ("Q4_K", 144, 256), 13: ("Q5_K", 176, 256), 14: ("Q6_K", 210, 256), 15: ("Q8_K", 292, 256),
    16: ("IQ2_XXS", 66, 256), 17: ("IQ2_XS", 74, 256), 18: ("IQ3_XXS", 98, 256), 19: ("IQ1_S", 50, 256),
    20: ("IQ4_NL", 18, 32), 21: ("IQ3_S", 110, 256), 22: ("IQ2_S", 82, 256), 23: ("IQ4_XS", 136, 256),
    24: ("I8", 1, 1), 25: ("I16", 2, 1), 26: ("I32", 4, 1), 27: ("I64", 8, 1), 28: ("F64", 8, 1),
    29: ("IQ1_M", 56, 256), 30: ("BF16", 2, 1), 34: ("TQ1_0", 54, 256), 35: ("TQ2_0", 66, 256), 39: ("MXFP4", 17, 32),
    40: ("NVFP4", 36, 64),
}  # fmt: skip
# `general.file_type`: llama.h, llama_ftype.
_FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip
_SCALARS: Mapping[int, str] = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d",
}  # fmt: skip
_STRING, _ARRAY = 8, 9
_RANK = 4  # LLAMA_POOLING_TYPE_RANK of llama.h; 1 to 3 are mean, the first token, the last
_MOST_LAYERS = 4096
_NESTING = 4  # arrays of arrays exist in no published file; deeper than this is an attack


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """One tensor: `shape` as the file orders it (row length first), `size` in bytes."""

    name: str
    shape: tuple[int, ...]
    type: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A long array of the metadata, of which only the length is kept."""

    length: int


@dataclass(frozen=True, kw_only=True)
class GgufFile:
    """The header of a file. Metadata values are numbers, text, truth values, lists, or `Counted`."""

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]

    @property
    def weights_bytes(self) -> int:
        """What the tensors take, in the file and in memory."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def embedding_bytes(self) -> int:
        """What the token embedding takes; a row of it is read per token."""
        return sum(tensor.size for tensor in self.tensors if tensor.name == "token_embd.weight")

    @property
    def head_bytes(self) -> int:
        """What the output matrix takes; 0 where the embedding serves as output (tied)."""
        return sum(tensor.size for tensor in self.tensors if tensor.name == "output.weight")

    @property
    def file_type(self) -> str:
        """The quantization as `llama-quantize` names it: Q4_K_M. Empty where the file does not say."""
        number = self.metadata.get("general.file_type")
        return _FILE_TYPES.get(number, "") if isinstance(number, int) else ""


def read(path: Path) -> GgufFile:
    """Read a file's header. Raises UsageError for what is not a readable GGUF file."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEADER_LIMIT)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    return parse(head, str(path))


def joined(files: Sequence[GgufFile]) -> GgufFile:
    """One model that is split over several files: what the first says of it, with the tensors of all."""
    return replace(files[0], tensors=tuple(tensor for file in files for tensor in file.tensors))


def parse(head: bytes, origin: str = "file") -> GgufFile:
    """Read the first bytes of a file: all of its header must be among them. Raises UsageError saying what is wrong."""
    reader = _GgufReader(head, origin)
    if reader.take(4) != MAGIC:
        raise UsageError(f"{origin} is not a GGUF file: it does not begin with `GGUF`")
    version = reader.number("<I")
    if version == 1 or version > 3:
        kind = "of a big-endian machine" if version > 0xFFFF else str(version)
        raise UsageError(
            f"{origin}: GGUF version {kind} is not supported, only 2 and 3",
            hint="convert the model again with a current convert_hf_to_gguf.py",
        )
    tensor_count, value_count = reader.number("<Q"), reader.number("<Q")
    reader.expect(tensor_count, 24, "tensors")
    reader.expect(value_count, 13, "metadata values")
    metadata = {}
    for _ in range(value_count):
        key = reader.text()
        metadata[key] = reader.value(reader.number("<I"))
    return GgufFile(version=version, metadata=metadata, tensors=tuple(_tensor(reader) for _ in range(tensor_count)))


def parse_begun(head: bytes, origin: str) -> GgufFile:
    """As `parse`, for bytes after which more may come: ValueError where the header may go on in them."""
    try:
        return parse(head, origin)
    except UsageError as error:
        if head.startswith(MAGIC):
            raise ValueError(error.message) from error
        raise


def model_config(file: GgufFile, origin: str = "file") -> ModelConfig:
    """The shape in our vocabulary. Raises UsageError naming the metadata key that is missing."""
    family = str(file.metadata.get("general.architecture") or "")
    if not family:
        raise other_kinds.OtherKindError(f"{origin} has no `general.architecture`, so it is not a language model")
    other_kinds.refuse_config({"model_type": family}, f"the header of {origin}")
    values = _Values(file.metadata, family, origin)
    hidden, heads = values.number("embedding_length"), values.number("attention.head_count")
    used = values.optional("expert_used_count")
    layers = values.number("block_count")
    if layers > _MOST_LAYERS:
        raise UsageError(f"{origin} is damaged: it announces {layers} layers", hint="download it again")
    kv_heads = values.optional("attention.head_count_kv") or heads
    head_dim = values.optional("attention.key_length") or max(hidden // heads, 1)
    return ModelConfig(
        architecture="",
        model_type=family,
        layers=layers,
        hidden=hidden,
        intermediate=values.optional("feed_forward_length") or 4 * hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab=values.optional("vocab_size") or _vocabulary(file, origin),
        tied=file.head_bytes == 0,
        gated_mlp=any(".ffn_gate" in tensor.name for tensor in file.tensors),
        max_position=values.optional("context_length"),
        sliding_window=values.optional("attention.sliding_window"),
        experts=values.optional("expert_count"),
        experts_used=used,
        expert_intermediate=values.optional("expert_feed_forward_length"),
        silent=_silent(file, family),
        quantized=Quantized(method=f"gguf:{file.file_type or 'unknown'}", bits=_bits(file)),
        blocks=_blocks(file, values, 2 * kv_heads * head_dim, used),
    )


def _silent(file: GgufFile, family: str) -> str:
    """What it is where it writes no text: llama.cpp's converter notes how such models sum up a text."""
    pooling = file.metadata.get(f"{family}.pooling_type")
    if pooling in {1, 2, 3}:
        return "an embedding model"
    return "a reranker or classifier" if pooling == _RANK else other_kinds.silent("", family)


def _blocks(file: GgufFile, values: _Values, fused: int, used: int) -> tuple[Block, ...]:
    """The layers as the directory of tensors has them. `fused`: elements kept where query, key and value are one."""
    count, windows = values.number("block_count"), values.windows()
    shared = values.optional("attention.shared_kv_layers")
    state = values.optional("ssm.inner_size") * values.optional("ssm.state_size")
    layers: dict[int, list[tuple[str, Tensor]]] = {}
    for tensor in file.tensors:
        part = _PART.fullmatch(tensor.name)
        if part and int(part["layer"]) < count and len(tensor.shape) in {2, 3}:
            layers.setdefault(int(part["layer"]), []).append((part["name"], tensor))
    found: dict[Block, list[int]] = {}
    for layer, tensors in sorted(layers.items()):
        kept = sum(tensor.shape[1] for name, tensor in tensors if name in _KEPT)
        kept = kept or (fused if any(name == "attn_qkv" for name, _ in tensors) else 0)
        one = Block(
            at=(),
            matrices=tuple(_matrix(tensor, used) for _, tensor in tensors),
            cache=0 if shared and layer >= count - shared else kept,
            window=windows[layer] if layer < len(windows) else 0,
            state=state if any(name.startswith("ssm_") for name, _ in tensors) else 0,
        )
        found.setdefault(one, []).append(layer)
    return tuple(
        Block(at=tuple(at), matrices=one.matrices, cache=one.cache, expanded=0, window=one.window, state=one.state)
        for one, at in found.items()
    )


_PART = re.compile(r"blk\.(?P<layer>[0-9]{1,5})\.(?P<name>[\w.]+)\.weight")
_KEPT = frozenset({"attn_k", "attn_v", "attn_kv_a_mqa"})


def _matrix(tensor: Tensor, used: int) -> Matrix:
    copies = tensor.shape[2] if len(tensor.shape) == 3 else 1
    inputs, outputs = tensor.shape[:2]
    return Matrix(
        role="expert" if copies > 1 else "other",
        inputs=inputs,
        outputs=outputs,
        copies=copies,
        used=min(used or copies, copies),
    )


def _bits(file: GgufFile) -> int:
    elements = sum(math.prod(tensor.shape) for tensor in file.tensors)
    return round(8 * file.weights_bytes / elements) if elements else 0


def _vocabulary(file: GgufFile, origin: str) -> int:
    tokens = file.metadata.get("tokenizer.ggml.tokens")
    count = tokens.length if isinstance(tokens, Counted) else len(tokens) if isinstance(tokens, list) else 0
    if count <= 0:
        raise UsageError(f"{origin} has neither `vocab_size` nor `tokenizer.ggml.tokens`")
    return count


def _tensor(reader: _GgufReader) -> Tensor:
    name = reader.text()
    rank = reader.number("<I")
    if rank > 8:
        raise reader.broken(f"tensor `{name[:60]}` has {rank} dimensions")
    shape = tuple(reader.number("<Q") for _ in range(rank))
    number = reader.number("<I")
    reader.number("<Q")  # offset
    if number not in _TYPES:
        raise UsageError(
            f"{reader.origin}: tensor `{name[:60]}` has the unknown type {number}",
            hint="the file is newer than this program; use llama-fit-params of its llama.cpp to get the size",
        )
    label, block, elements = _TYPES[number]
    count = math.prod(shape)
    if count >= 1 << 50:
        raise reader.broken(f"tensor `{name[:60]}` has {count} elements")
    return Tensor(name=name, shape=shape, type=label, size=-(-count // elements) * block)


class _Values:
    """Metadata of one architecture; a number per layer counts with its largest."""

    def __init__(self, metadata: Mapping[str, Any], family: str, origin: str) -> None:
        self._metadata = metadata
        self._family = family
        self._origin = origin

    def optional(self, key: str) -> int:
        value = self._metadata.get(f"{self._family}.{key}")
        if isinstance(value, list):
            value = max((item for item in value if isinstance(item, int)), default=0)
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 32 else 0

    def windows(self) -> list[int]:
        """The window of each layer, 0 for none, where the file says which layers have one."""
        window, pattern = (
            self.optional("attention.sliding_window"),
            self._metadata.get(f"{self._family}.attention.sliding_window_pattern"),
        )
        if isinstance(pattern, list):
            return [window if sliding else 0 for sliding in pattern]
        if isinstance(pattern, int) and not isinstance(pattern, bool) and pattern > 1:
            return [window if (layer + 1) % pattern else 0 for layer in range(self.number("block_count"))]
        return []

    def number(self, key: str) -> int:
        value = self.optional(key)
        if value <= 0:
            raise UsageError(f"{self._origin} has no usable `{self._family}.{key}`, so it is not a language model")
        return value


class _GgufReader:
    """A cursor over the first bytes of a file."""

    def __init__(self, head: bytes, origin: str) -> None:
        self._head = head
        self._at = 0
        self.origin = origin

    def broken(self, what: str) -> UsageError:
        """Make the error of a file that cannot be right."""
        return UsageError(f"{self.origin} is damaged: {what}", hint="download it again")

    def take(self, count: int) -> bytes:
        if count > len(self._head) - self._at:
            raise self.broken(f"its header ends in the middle (after {len(self._head)} bytes)")
        self._at += count
        return self._head[self._at - count : self._at]

    def expect(self, count: int, least: int, what: str) -> None:
        """Refuse a count that the bytes left cannot hold, before anything is made of it."""
        if count * least > len(self._head) - self._at:
            raise self.broken(f"it announces {count} {what}, and has {len(self._head) - self._at} bytes left for them")

    def number(self, kind: str) -> int:
        return int(struct.unpack(kind, self.take(struct.calcsize(kind)))[0])

    def text(self) -> str:
        return self.take(self.number("<Q")).decode("utf-8", errors="replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return struct.unpack(_SCALARS[kind], self.take(struct.calcsize(_SCALARS[kind])))[0]
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY and depth < _NESTING:
            return self._array(depth)
        raise self.broken(f"a metadata value has type {kind}, which does not exist")

    def _array(self, depth: int) -> list[Any] | Counted:
        kind, count = self.number("<I"), self.number("<Q")
        if kind in _SCALARS:
            size = struct.calcsize(_SCALARS[kind])
            if count > _KEPT_ITEMS:
                self.take(size * count)
                return Counted(length=count)
        else:
            self.expect(count, 8 if kind == _STRING else 12, "items of an array")
        kept: list[Any] = []
        for position in range(count):
            item = self.value(kind, depth + 1)
            if position < _KEPT_ITEMS:
                kept.append(item)
        return kept if count <= _KEPT_ITEMS else Counted(length=count)
