"""Speeds that were measured here or by others: kept per board, power mode, model, runtime and quantization.

`llm bench` records them below the state folder, `llm fit` shows them in place of its estimate, and a file of them can
be handed on. What all users shall have goes to `facts/measured.yaml`, in the same words.
"""

from __future__ import annotations

import functools
import math
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.core.files import write_json

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from jetson_containers.llm.fit.predict import Fit

NAME = "measured.json"
_MOST = 100_000  # rows of a file, and tokens/s
_TEXT = 200  # characters of a name
_NEEDED = ("board", "model", "runtime", "quantization", "decode_tokens_per_s")
_HINT = "use a file that `llm measured --export` wrote"


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What one benchmark found: means of its answers, rates in tokens/s, memory in bytes. `when`: a date."""

    board: str
    model: str
    runtime: str
    quantization: str
    decode_tokens_per_s: float
    prefill_tokens_per_s: float = 0.0
    memory_bytes: int = 0
    context: int = 0
    mode: str = ""
    when: str = ""
    source: str = ""  # who measured it; empty: here

    @property
    def key(self) -> tuple[str, ...]:
        """What it is about; of two with the same, the newer counts."""
        last = self.model.rpartition("/")[2]
        return tuple(text.lower() for text in (self.board, self.mode, last, self.runtime, self.quantization))


class Measurements:
    """The measurements of one file, over those of the facts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> tuple[Measurement, ...]:
        """All of the file; none where there is none. Raises UsageError for a file that is something else."""
        return read(self.path) if self.path.is_file() else ()

    def add(self, found: Iterable[Measurement]) -> int:
        """Keep measurements, each in place of an older one about the same; how many."""
        added = tuple(found)
        rows = {row.key: row for row in (*self.rows(), *added)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write(self.path, rows.values())
        self.__dict__.pop("_known", None)
        return len(added)

    @functools.cached_property
    def _known(self) -> dict[tuple[str, ...], Measurement]:
        """Ours over those of the facts, read once for all combinations of an answer."""
        return {row.key: row for row in (*_of_facts(), *self.rows())}

    def of(self, fit: Fit, model: str, mode: str = "") -> Measurement | None:
        """What was measured of this combination, by us or by the facts."""
        wanted = Measurement(
            board=fit.board, mode=mode, model=model, runtime=fit.runtime, quantization=fit.quantization,
            decode_tokens_per_s=1.0,
        ).key  # fmt: skip
        return self._known.get(wanted)


def as_measured(fit: Fit, found: Measurement) -> Fit:
    """A prediction with the measured speed in place of the estimate, which a note still names."""
    estimate = f"; the estimate is {fit.decode_tokens_per_s:.1f}" if fit.decode_tokens_per_s else ""
    who = f" by {found.source}" if found.source else ""
    when = f" on {found.when}" if found.when else ""
    note = f"measured{who}{when}: {found.decode_tokens_per_s:.1f} tokens/s{estimate}"
    return replace(
        fit,
        decode_tokens_per_s=found.decode_tokens_per_s,
        decode_tokens_per_s_most=found.decode_tokens_per_s,
        prefill_tokens_per_s=found.prefill_tokens_per_s or fit.prefill_tokens_per_s,
        measured=True,
        notes=(*fit.notes, note),
    )


def read(path: Path) -> tuple[Measurement, ...]:
    """The measurements of a file. Raises UsageError naming the first thing that is wrong in it."""
    try:
        raw = json_text.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {path}: {error}", hint=_HINT) from error
    rows = raw.get("measured") if isinstance(raw, dict) else None
    if not isinstance(rows, list) or len(rows) > _MOST:
        raise UsageError(f"{path} holds no measurements", hint=_HINT)
    return tuple(_checked(row, f"{path}, row {number}") for number, row in enumerate(rows, 1))


def write(path: Path, rows: Iterable[Measurement]) -> None:
    """Write measurements, in the order of what they are about."""
    write_json(path, {"measured": [asdict(row) for row in sorted(rows, key=lambda row: row.key)]})


def _of_facts() -> tuple[Measurement, ...]:
    return tuple(_checked(row, "facts/measured.yaml") for row in load_facts("measured").get("measured", ()))


def _checked(row: object, where: str) -> Measurement:
    """One row with types and bounds. Raises UsageError for anything else."""
    if not isinstance(row, dict):
        raise UsageError(f"{where} is not a measurement")
    known = {field.name: str(field.type) for field in fields(Measurement)}
    unknown = sorted(set(row) - set(known))
    if unknown:
        raise UsageError(f"{where} has the unknown key `{unknown[0]}`", hint=f"keys: {', '.join(known)}")
    values = {name: _value(row[name], known[name], f"{where}: {name}") for name in row}
    missing = [name for name in _NEEDED if not values.get(name)]
    if missing:
        raise UsageError(f"{where} lacks `{missing[0]}`")
    return Measurement(**values)


def _value(value: object, kind: str, where: str) -> Any:
    if kind == "str":
        if not isinstance(value, str) or len(value) > _TEXT or not value.isprintable():
            raise UsageError(f"{where} is not a short text")
        return value
    try:
        number = float(str(value))
    except ValueError:
        number = math.nan
    most = 1 << 50 if kind == "int" else _MOST
    if not 0 <= number <= most:
        raise UsageError(f"{where} is not a number between 0 and {most}")
    return int(number) if kind == "int" else number
