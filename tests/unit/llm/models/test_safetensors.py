"""Headers of safetensors files: types and sizes, and a clear error for everything else, at once."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.models import safetensors

if TYPE_CHECKING:
    from pathlib import Path


def header(tensors: dict[str, Any]) -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text


GOOD = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "BF16", "shape": [4, 8], "data_offsets": [0, 64]},
    "b": {"dtype": "F32", "shape": [3], "data_offsets": [64, 76]},
}


def test_safetensors_header_gives_type_shape_and_bytes(tmp_path: Path) -> None:
    """Each tensor has its type, its shape and its bytes; the metadata is not a tensor."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(header(GOOD) + bytes(76))
    found = safetensors.read(path)
    assert [(each.name, each.type, each.shape, each.size) for each in found] == [
        ("a", "BF16", (4, 8), 64),
        ("b", "F32", (3,), 12),
    ]


@pytest.mark.parametrize("length", [0, 7, 8, 60])
def test_safetensors_header_that_goes_on_asks_for_more(length: int) -> None:
    """While only a part of the header has arrived, more is asked for."""
    with pytest.raises(ValueError, match="damaged"):
        safetensors.parse_begun(header(GOOD)[:length], "file")


@pytest.mark.parametrize(
    "tensor",
    [
        None,
        {"shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0]},
        {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1] * 17, "data_offsets": [0, 4]},
    ],
)
def test_safetensors_tensor_that_cannot_be_is_refused(tensor: Any) -> None:
    """A tensor without a type, a shape and a place that can be is damage, and says which it is."""
    with pytest.raises(UsageError, match="`odd`"):
        safetensors.parse_begun(header({"odd": tensor}), "file")


def test_safetensors_pointer_of_git_lfs_is_refused_at_once() -> None:
    """Text in the place of a file (a pointer of Git LFS) would announce a header of exabytes."""
    with pytest.raises(UsageError, match="not a safetensors file"):
        safetensors.parse_begun(b"version https://git-lfs.github.com/spec/v1\n", "file")


@given(st.binary(max_size=300))
def test_safetensors_reader_survives_any_bytes(data: bytes) -> None:
    """Any bytes give tensors, a request for more, or a clear error."""
    for head in (data, struct.pack("<Q", len(data)) + data):
        with contextlib.suppress(ValueError, UsageError):
            safetensors.parse_begun(head, "file")


def test_safetensors_header_of_too_many_tensors_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A header within the limit of bytes may list tensors for seconds; their number is bounded too."""
    monkeypatch.setattr(safetensors, "MOST_TENSORS", 2)
    assert len(safetensors.parse_begun(header(GOOD), "f")) == 2
    with pytest.raises(UsageError, match="more than 2 tensors"):
        safetensors.parse_begun(header({**GOOD, "c": GOOD["b"]}), "f")
