"""What a `.safetensors` file says of its tensors: the JSON at its beginning, never the tensors.

Source of the layout: the description of the safetensors format: eight bytes with the length of
the header (little-endian), and the header, one object with type, shape and place of each tensor.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.errors import UsageError
from jetson_containers.llm.models.gguf import Tensor

if TYPE_CHECKING:
    from pathlib import Path

HEADER_LIMIT = 64 << 20  # bytes; a model of 100,000 tensors has about 10 MB
MOST_TENSORS = 200_000  # of one file, twice those of the largest models as a whole; more would take seconds to read


def read(path: Path) -> tuple[Tensor, ...]:
    """The tensors of a file. Raises UsageError for what is not a readable safetensors file."""
    try:
        with path.open("rb") as stream:
            return parse_begun(stream.read(HEADER_LIMIT), str(path))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(str(error)) from error


def parse_begun(head: bytes, origin: str) -> tuple[Tensor, ...]:
    """The tensors of a file of which the first bytes are here; shapes as the file orders them.

    Raises ValueError where the header goes on behind them, UsageError for one that is damaged.
    """
    if len(head) < 8:
        raise ValueError(f"{origin} is damaged: it ends after {len(head)} bytes")
    length = struct.unpack("<Q", head[:8])[0]
    if length > HEADER_LIMIT - 8:
        raise UsageError(f"{origin} is not a safetensors file, or damaged: its header would have {length} bytes")
    if len(head) < 8 + length:
        raise ValueError(f"{origin} is damaged: its header ends in the middle (after {len(head)} bytes)")
    if head.count(b'"data_offsets"', 8, 8 + length) > MOST_TENSORS:
        raise UsageError(f"{origin} cannot be read: its header lists more than {MOST_TENSORS} tensors")
    try:
        found: Any = json_text.parse(head[8 : 8 + length])
    except ValueError as error:
        raise UsageError(f"{origin} is damaged: its header cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{origin} is damaged: its header holds no object")
    return tuple(_tensor(name, said, origin) for name, said in found.items() if name != "__metadata__")


def _tensor(name: str, said: Any, origin: str) -> Tensor:
    said = said if isinstance(said, dict) else {}
    kind, shape, place = said.get("dtype"), _counts(said.get("shape")), _counts(said.get("data_offsets"))
    if not isinstance(kind, str) or shape is None or place is None or len(place) != 2:
        raise UsageError(f"{origin} is damaged: tensor `{name[:60]}` has no type, shape or place")
    if place[0] > place[1] or math.prod(shape) >= 1 << 50:
        raise UsageError(f"{origin} is damaged: tensor `{name[:60]}` has an impossible size")
    return Tensor(name=name, shape=shape, type=kind[:20], size=place[1] - place[0])


def _counts(found: Any) -> tuple[int, ...] | None:
    """A list of counts; None for anything else."""
    if not isinstance(found, list) or len(found) > 16:
        return None
    for each in found:  # no generator: there are several numbers for each of 200,000 tensors
        if type(each) is not int or not 0 <= each < 1 << 62:
            return None
    return tuple(found)
