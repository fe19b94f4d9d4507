"""What the engine's API tells of a pull or push, event by event: which layers there are, and how far each is.

The form of the events is that of `docker pull` (moby's pkg/jsonmessage): `status` with the `id` of a layer,
`progressDetail` with bytes, `error`. Images of any registry decide what stands in them, so nothing is taken on trust.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked, json_text
from jetson_containers.core.console import human_bytes
from jetson_containers.core.live_line import INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MOVING = ("Downloading", "Pushing")  # `progressDetail` has the bytes of the layer in its compressed or packed form
_COMPLETE = ("Pull complete", "Pushed")
_PRESENT = ("Already exists", "Layer already exists", "Mounted from")  # nothing of these layers is moved
_OF_LAYERS = (
    *_MOVING, *_COMPLETE, *_PRESENT, "Pulling fs layer", "Waiting", "Verifying Checksum", "Download complete",
    "Extracting", "Preparing", "Retrying in",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Transferred:
    """How far a pull or push is. `total` has the bytes of the layers whose size is known, `is_all` whether that is all.

    `present` are the layers that were there already, `layers` all of them.
    """

    done: int = 0
    total: int = 0
    is_all: bool = True
    complete: int = 0
    present: int = 0
    layers: int = 0
    extracting: bool = False  # all bytes are here, and the engine unpacks them

    def __str__(self) -> str:
        """`1.2 GB of 4.5 GB, 3/12 layers`."""
        parts = []
        if self.total:
            least = "" if self.is_all else "at least "
            parts.append(f"{human_bytes(self.done)} of {least}{human_bytes(self.total)}")
        if self.layers:
            parts.append(f"{self.complete}/{self.layers} layers{', extracting' if self.extracting else ''}")
        return ", ".join(parts)


@dataclass(kw_only=True)
class _Layer:
    status: str = ""
    done: int = 0
    total: int = 0

    @property
    def is_present(self) -> bool:
        return self.status.startswith(_PRESENT)

    @property
    def is_complete(self) -> bool:
        return self.is_present or self.status in _COMPLETE

    @property
    def is_open(self) -> bool:
        """Whether its size is yet to be told."""
        return not self.total and not self.is_complete and self.status not in {"Download complete", "Extracting"}


class TransferEvents:
    """Reads events. `on_line` gets what docker prints without a terminal, `on_bytes` every change of the bytes.

    Without `on_bytes`, `on_line` gets the bytes too, every ten seconds. `error` is the message of the event that ended
    the transfer.
    """

    def __init__(
        self,
        on_line: Callable[[str], None],
        on_bytes: Callable[[Transferred], None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_line, self._on_bytes, self._clock = on_line, on_bytes, clock
        self._layers: dict[str, _Layer] = {}
        self._said_at = clock()
        self.error = ""

    def take(self, raw: bytes) -> None:
        """One line of the answer. A line that cannot be read as an event is passed on unchanged."""
        text = raw.decode("utf-8", errors="replace").strip()
        if not text:
            return
        try:
            event = checked.mapping(json_text.parse(text))
        except ValueError:
            self._on_line(text)
            return
        if problem := _error_of(event):
            self.error = problem
            return
        status, layer = _text(event.get("status")), _text(event.get("id"))
        if layer and status.startswith(_OF_LAYERS):
            self._moved(layer, status, event.get("progressDetail"))
        elif status:
            self._on_line(f"{layer}: {status}" if layer else status)

    def _moved(self, layer: str, status: str, detail: Any) -> None:
        entry = self._layers.setdefault(layer, _Layer())
        if status != entry.status:
            entry.status = status
            if status not in _MOVING and status != "Extracting":
                self._on_line(f"{layer}: {status}")
        if status in _MOVING:
            _count(entry, detail)
        elif status.startswith("Retrying in"):
            entry.done = 0
        elif status not in {"Pulling fs layer", "Waiting", "Preparing", "Verifying Checksum"}:
            entry.done = entry.total
        self._tell()

    def _tell(self) -> None:
        if self._on_bytes is not None:
            self._on_bytes(self.so_far())
            return
        now = self._clock()
        if now - self._said_at >= INTERVAL:
            self._said_at = now
            self._on_line(str(self.so_far()))

    def so_far(self) -> Transferred:
        """The sum over all layers."""
        layers = list(self._layers.values())
        done, total = sum(layer.done for layer in layers), sum(layer.total for layer in layers)
        moving = [layer for layer in layers if not layer.is_complete]
        return Transferred(
            done=done,
            total=total,
            is_all=not any(layer.is_open for layer in layers),
            complete=len(layers) - len(moving),
            present=sum(layer.is_present for layer in layers),
            layers=len(layers),
            extracting=bool(moving) and all(layer.status in {"Download complete", "Extracting"} for layer in moving),
        )


def _count(entry: _Layer, detail: Any) -> None:
    """Note bytes; a total that is missing or wrong (engines estimate it for a push) is what is known at least."""
    detail = detail if isinstance(detail, dict) else {}
    done, total = _number(detail.get("current")), _number(detail.get("total"))
    entry.done = done if done is not None else entry.done
    entry.total = max(entry.done, total if total is not None else entry.total)


def _number(value: Any) -> int | None:
    try:
        return checked.number(value)
    except ValueError:
        return None


def _text(value: Any) -> str:
    """A text of one line, without what would move a terminal's cursor."""
    return "".join(char if char.isprintable() else " " for char in value)[:400] if isinstance(value, str) else ""


def _error_of(event: Mapping[str, Any]) -> str:
    detail = event.get("errorDetail")
    message = detail.get("message") if isinstance(detail, dict) else None
    if not (event.get("error") or message):
        return ""
    return _text(event.get("error")) or _text(message) or "the engine reports an error without a text"
