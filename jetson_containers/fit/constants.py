"""The constants of `facts/fit.yaml` as numbers: every figure of a prediction comes from here or from the model."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers import tables
from jetson_containers.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

GIB = 1 << 30


@dataclass(frozen=True)
class Format:
    """Bits per weight, scales included. `channel`: further bits per output channel of a linear layer."""

    linear: float
    embedding: float
    head: float
    channel: float = 0


@dataclass(frozen=True)
class Rule:
    """One tensor role that a GGUF file type stores otherwise, in some layers (`where`, see the table)."""

    role: str
    type: str
    where: str


@dataclass(frozen=True)
class FileType:
    """How a GGUF file type mixes block types."""

    base: str
    embedding: str
    output: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Variant:
    """What differs between a runtime's versions; chosen by the board's L4T.

    `formats` maps the runtime's names of quantizations to (format, lowest compute capability or 0), the default first.
    `families` empty: all but `refused`. `chunk`: tokens of one prefill step, `context`, `prefill` or "" (has none).
    """

    l4t: int
    api: str
    formats: Mapping[str, tuple[str, int]]
    kv: str
    fraction: float
    chunk: str
    steps: tuple[str, ...]
    families: frozenset[str]
    refused: frozenset[str]
    sm: int

    @property
    def default(self) -> str:
        """The quantization where none was asked for."""
        return next(iter(self.formats))


@dataclass(frozen=True)
class RuntimeConstants:
    """One runtime. Sizes in bytes, times in seconds per token; `budget` is a fraction of the device's memory or 0."""

    name: str
    process: float
    workspace: str
    variants: tuple[Variant, ...]
    overhead: float
    overhead_per_layer: float
    weights_per_cycle: float
    budget: float
    fractions: tuple[tuple[float, float], ...]  # (memory up to, fraction), ascending
    micro_batch: int
    block: int
    cpu: bool
    gguf: bool


@dataclass(frozen=True)
class SystemConstants:
    """The machine around the runtime. Sizes in bytes, `warn` and `unknown_visible` fractions."""

    margin: float
    saturation: float
    warn: float
    unknown_visible: float
    unevictable: float
    discrete: float
    baseline: Mapping[str, float]
    context_small: int
    context_large: int
    context_large_from: float
    prefill_chunk: int
    efficiency: float
    filled: int


@functools.cache
def system() -> SystemConstants:
    """The constants that no runtime decides."""
    table = tables.load("fit")
    row, context, speed = table["system"], table["context"], table["speed"]
    return SystemConstants(
        margin=float(row["margin"]) * GIB,
        saturation=float(row["saturation"]) * GIB,
        warn=float(row["warn"]),
        unknown_visible=float(row["unknown_visible"]),
        unevictable=float(row["unevictable"]) * GIB,
        discrete=float(row["discrete"]) * GIB,
        baseline={name: float(size) * GIB for name, size in row["baseline"].items()},
        context_small=int(context["small"]),
        context_large=int(context["large"]),
        context_large_from=float(context["large_from"]) * GIB,
        prefill_chunk=int(table["prefill_chunk"]),
        efficiency=float(speed["efficiency"]),
        filled=int(speed["filled"]),
    )


@functools.cache
def runtimes() -> Mapping[str, RuntimeConstants]:
    """All runtimes by name, in the order of the table."""
    return {name: _runtime(name, row) for name, row in tables.load("fit")["runtimes"].items()}


def runtime(name: str) -> RuntimeConstants:
    """One runtime. Raises UsageError listing those there are."""
    if name not in runtimes():
        raise UsageError(f"no runtime `{name}`", hint=f"there is: {', '.join(sorted(runtimes()))}")
    return runtimes()[name]


@functools.cache
def formats() -> Mapping[str, Format]:
    """Bits per weight by the name of the format."""
    rows = tables.load("fit")["formats"].items()
    return {name: Format(**{key: float(value) for key, value in row.items()}) for name, row in rows}


@functools.cache
def file_types() -> Mapping[str, FileType]:
    """GGUF file types by the name `llama-quantize` gives them."""
    return {
        name: FileType(
            row["base"], row.get("embedding", row["base"]), row["output"], tuple(Rule(*r) for r in row.get("rules", ()))
        )
        for name, row in tables.load("fit")["gguf"]["files"].items()
    }


def gguf_aliases() -> Mapping[str, str]:
    """Further names of file types: Q4_K is Q4_K_M."""
    found: Mapping[str, str] = tables.load("fit")["gguf"]["also"]
    return found


@functools.cache
def blocks() -> Mapping[str, tuple[float, int]]:
    """Bits per weight of a GGUF block type, and what a row's length must be a multiple of."""
    return {name: (float(bits), int(row)) for name, (bits, row) in tables.load("fit")["gguf"]["blocks"].items()}


def block_for(name: str, row: int) -> float:
    """Bits per weight of a block type, or of the one that stands in where rows are no multiple of its block."""
    bits, multiple = blocks()[name]
    while row % multiple:
        name = tables.load("fit")["gguf"]["fallback"].get(name, "F16")
        bits, multiple = blocks()[name]
    return bits


def kv_bits(name: str) -> float:
    """Bits per element of the KV cache. Raises UsageError listing the types there are."""
    table = tables.load("fit")["kv_types"]
    if name not in table:
        raise UsageError(f"no KV cache type `{name}`", hint=f"there is: {', '.join(table)}")
    return float(table[name])


@functools.cache
def conversion() -> Mapping[str, float]:
    """Constants of the steps that make an artefact, as in the table (GiB or counts)."""
    return {name: float(value) for name, value in tables.load("fit")["conversion"].items()}


def modes(board: str) -> Mapping[str, Any]:
    """Power modes of a board by name, with `default`; empty where none are known."""
    found: Mapping[str, Any] = tables.load("fit")["modes"].get(board, {})
    return found


def _runtime(name: str, row: Mapping[str, Any]) -> RuntimeConstants:
    return RuntimeConstants(
        name=name,
        process=float(row["process"]) * GIB,
        workspace=row["workspace"],
        variants=tuple(_variant(row, variant) for variant in row["variants"]),
        overhead=float(row.get("overhead", 0)) / 1000,
        overhead_per_layer=float(row.get("overhead_per_layer", 0)) / 1000,
        weights_per_cycle=float(row.get("weights_per_cycle", 0)),
        budget=float(row.get("budget", 0)),
        fractions=tuple((float(size) * GIB, float(part)) for size, part in row.get("fractions", {}).items()),
        micro_batch=int(row.get("micro_batch", 0)),
        block=int(row.get("block", 1)),
        cpu="cpu" in row,
        gguf="gguf" in row,
    )


def _variant(row: Mapping[str, Any], variant: Mapping[str, Any]) -> Variant:
    default = variant["default"]
    if "gguf" in row:
        named: dict[str, Any] = {name: name for name in tables.load("fit")["gguf"]["files"]}
    else:
        named = dict(variant["quantizations"])
    ordered = {default: named[default], **named}
    return Variant(
        l4t=int(variant["l4t"]),
        api=variant.get("api", ""),
        formats={name: (f, 0) if isinstance(f, str) else (f[0], int(f[1])) for name, f in ordered.items()},
        kv=variant.get("kv", row.get("kv", "")),
        fraction=float(variant.get("fraction", 0)),
        chunk=variant.get("chunk", ""),
        steps=tuple(variant.get("steps", ())),
        families=frozenset(variant.get("families", ())),
        refused=frozenset(variant.get("refused", ())),
        sm=int(variant.get("sm", row["sm"])),
    )
