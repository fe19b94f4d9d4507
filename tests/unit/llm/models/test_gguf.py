"""GGUF headers: exact sizes of real files, and a clear error for everything else, at once."""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit import weights
from jetson_containers.llm.models import gguf
from tests.paths import UNIT_DIR

if TYPE_CHECKING:
    from pathlib import Path

WRITTEN_BY_GGUF_PY = UNIT_DIR / "gguf" / "by-gguf-py.gguf"  # 0.19.0; the header alone
GOOD = WRITTEN_BY_GGUF_PY.read_bytes()


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def number(key: str, value: int) -> bytes:
    return text(key) + struct.pack("<II", 4, value)


def tensor(name: str, shape: tuple[int, ...], kind: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, 0)


def header(values: list[bytes], tensors: list[bytes], version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values)) + b"".join(values) + b"".join(tensors)


ARCHITECTURE = text("general.architecture") + struct.pack("<I", 8) + text("llama")
SHAPE = [
    ARCHITECTURE,
    number("llama.block_count", 2),
    number("llama.embedding_length", 64),
    number("llama.attention.head_count", 4),
    number("llama.vocab_size", 32),
]


def test_gguf_file_of_another_writer_is_read_exactly() -> None:
    """A file of another writer is read exactly."""
    file = gguf.read(WRITTEN_BY_GGUF_PY)
    assert file.version == 3
    assert file.file_type == "Q8_0"
    assert file.metadata["x.double"] == 2.5
    assert file.metadata["x.flag"] is True
    q8 = 34 / 32
    assert file.embedding_bytes == 32 * 64 * q8
    assert file.head_bytes == 32 * 64 * 2
    assert file.weights_bytes == 32 * 64 * q8 + 64 * 4 + 32 * 64 * 2 + 2 * (64 * 64 + 96 * 64) * q8
    assert file.tensors[0].shape == (64, 32)


def test_gguf_shape_comes_in_our_vocabulary() -> None:
    """The shape comes in our vocabulary."""
    config = gguf.model_config(gguf.read(WRITTEN_BY_GGUF_PY))
    assert (config.model_type, config.layers, config.hidden, config.intermediate) == ("llama", 2, 64, 96)
    assert (config.heads, config.kv_heads, config.head_dim, config.vocab) == (4, 2, 16, 32)
    assert (config.tied, config.gated_mlp, config.max_position) == (False, True, 128)
    assert config.quantized is not None
    assert config.quantized.method == "gguf:Q8_0"


def test_gguf_weights_read_for_a_token_leave_the_embedding_out() -> None:
    """The weights read for a token leave the embedding out."""
    file = gguf.read(WRITTEN_BY_GGUF_PY)
    held = weights.of_file(file, gguf.model_config(file))
    assert held.total == file.weights_bytes
    assert held.per_token == file.weights_bytes - file.embedding_bytes


def test_gguf_number_per_layer_counts_with_its_largest() -> None:
    """A number per layer counts with its largest."""
    per_layer = text("llama.attention.head_count_kv") + struct.pack("<IIQ2I", 9, 4, 2, 1, 2)
    config = gguf.model_config(gguf.parse(header([*SHAPE, per_layer], [])))
    assert config.kv_heads == 2


def test_gguf_long_array_is_counted_and_not_kept() -> None:
    """A long array is counted and not kept."""
    long = text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 10_000) + bytes(40_000)
    words = text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 5000) + text("a") * 5000
    file = gguf.parse(header([ARCHITECTURE, long, words], []))
    assert file.metadata["tokenizer.ggml.scores"] == gguf.Counted(length=10_000)
    assert file.metadata["tokenizer.ggml.tokens"] == gguf.Counted(length=5000)


def test_gguf_header_alone_is_enough() -> None:
    """The first bytes of a file are enough."""
    assert gguf.parse(GOOD + bytes(100)) == gguf.parse(GOOD)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "header ends in the middle"),
        (b"PK\x03\x04" + bytes(50), "is not a GGUF file"),
        (b"GGUF", "header ends in the middle"),
        (header([], [], version=1), "version 1 is not supported"),
        (header([], [], version=4), "version 4 is not supported"),
        (header([], [], version=0x03000000), "version of a big-endian machine"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 62), "announces 4611686018427387904 metadata values"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 0), "announces 4611686018427387904 tensors"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 63) + bytes(99), "header ends in the middle"),
        (header([text("a") + struct.pack("<IIQ", 9, 4, 1 << 60)], []), "header ends in the middle"),
        (header([text("a") + struct.pack("<IIQ", 9, 8, 1 << 60)], []), "items of an array"),
        (header([text("a") + struct.pack("<IIQ", 9, 9, 1)], []), "items of an array"),
        (header([text("a") + struct.pack("<I", 77)], []), "type 77"),
        (header([text("a") + struct.pack("<IIQ", 9, 77, 2) + bytes(40)], []), "type 77"),
        (header([], [tensor("t", (4,), 999)]), "the unknown type 999"),
        (header([], [tensor("t", tuple([1] * 9), 0)]), "9 dimensions"),
        (header([], [tensor("t", (1 << 40, 1 << 40), 0)]), "elements"),
    ],
)
def test_gguf_names_what_cannot_be_read(data: bytes, words: str) -> None:
    """What cannot be read is named."""
    with pytest.raises(UsageError, match=words):
        gguf.parse(data, "model.gguf")


def test_gguf_limits_arrays_in_arrays() -> None:
    """Arrays in arrays have a limit."""
    nested = struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 1000
    with pytest.raises(UsageError, match="does not exist"):
        gguf.parse(header([text("a") + nested], []) + bytes(2000))


@pytest.mark.parametrize("missing", range(len(SHAPE)))
def test_gguf_names_a_missing_key(missing: int) -> None:
    """A missing key is named."""
    values = [value for position, value in enumerate(SHAPE) if position != missing]
    with pytest.raises(UsageError, match=r"general\.architecture|llama|vocab_size"):
        gguf.model_config(gguf.parse(header(values, [])))


def test_gguf_names_a_missing_file(tmp_path: Path) -> None:
    """A missing file is named."""
    with pytest.raises(UsageError, match="No such file"):
        gguf.read(tmp_path / "no.gguf")


@given(st.integers(0, len(GOOD) - 1))
@settings(deadline=None, max_examples=60)
def test_gguf_truncated_file_is_damaged(length: int) -> None:
    """A truncated file is damaged."""
    with pytest.raises(UsageError):
        gguf.parse(GOOD[:length])


@given(st.lists(st.tuples(st.integers(4, len(GOOD) - 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4))
@settings(deadline=None, max_examples=150)
def test_gguf_damage_is_an_error_or_another_file(damage: list[tuple[int, bytes]]) -> None:
    """Damage is an error or another file, and never a crash."""
    data = bytearray(GOOD)
    for position, patch in damage:
        data[position : position + len(patch)] = patch
    try:
        file = gguf.parse(bytes(data))
        gguf.model_config(file)
    except UsageError:
        return
    assert file.weights_bytes >= 0


def test_gguf_layers_are_what_the_tensors_are() -> None:
    """Only layers with keys keep tokens, windows are per layer, and of experts a token reads some."""

    def part(name: str, *shape: int) -> gguf.Tensor:
        return gguf.Tensor(name=f"{name}.weight", shape=shape, type="F16", size=2 * math.prod(shape))

    tensors = [part("token_embd", 64, 1000), part("output", 64, 1000)]
    for layer in (0, 2):
        tensors += [part(f"blk.{layer}.{name}", 64, 32) for name in ("attn_k", "attn_v")]
    tensors += [part("blk.1.ssm_in", 64, 256), part("blk.3.attn_kv_a_mqa", 64, 48)]
    tensors += [part(f"blk.{layer}.ffn_up_exps", 64, 128, 8) for layer in range(4)]
    metadata = {
        "general.architecture": "x", "x.block_count": 4, "x.embedding_length": 64, "x.attention.head_count": 4,
        "x.vocab_size": 1000, "x.expert_count": 8, "x.expert_used_count": 2, "x.ssm.inner_size": 128,
        "x.ssm.state_size": 16, "x.attention.sliding_window": 256,
        "x.attention.sliding_window_pattern": [True, False, False, False],
    }  # fmt: skip
    file = gguf.GgufFile(version=3, metadata=metadata, tensors=tuple(tensors))
    config = gguf.model_config(file)
    kept = {layer: (block.cache, block.window, block.state) for block in config.blocks for layer in block.at}
    assert kept == {0: (64, 256, 0), 1: (0, 0, 2048), 2: (64, 0, 0), 3: (48, 0, 0)}
    held = weights.of_file(file, config)
    rest = sum(each.size for each in tensors if each.name.startswith("blk") and "exps" not in each.name)
    assert held.per_token == pytest.approx(rest + 4 * 2 * 64 * 128 * 2 + 2 * 64 * 1000)


def test_gguf_with_absurdly_many_layers_is_refused_at_once() -> None:
    """A file with absurdly many layers is refused at once."""
    metadata = {
        "general.architecture": "x", "x.block_count": 1 << 31, "x.embedding_length": 64, "x.attention.head_count": 4,
        "x.vocab_size": 1000, "x.attention.sliding_window": 8, "x.attention.sliding_window_pattern": 2,
    }  # fmt: skip
    with pytest.raises(UsageError, match="2147483648 layers"):
        gguf.model_config(gguf.GgufFile(version=3, metadata=metadata, tensors=()))
