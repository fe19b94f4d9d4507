"""The constants of `facts/fit.yaml` as numbers: every figure of a prediction comes from here or from the model."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.runtimes import limits

if TYPE_CHECKING:
    from collections.abc import Mapping

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Format:
    """Bits per weight, scales included. `channel`: further bits per output channel of a linear layer."""

    linear: float
    embedding: float
    head: float
    channel: float = 0


@dataclass(frozen=True, kw_only=True)
class FitRule:
    """One tensor role that a GGUF file type stores otherwise, in some layers (`where`, see the table)."""

    role: str
    type: str
    where: str


@dataclass(frozen=True, kw_only=True)
class FileType:
    """How a GGUF file type mixes block types. `fused`: of a tensor that is query, key and value in one."""

    base: str
    embedding: str
    output: str
    fused: str
    rules: tuple[FitRule, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What differs between a runtime's versions; chosen by the machine's L4T, of which `l4t` are major releases.

    `formats` maps the runtime's names of quantizations to (format, lowest compute capability or 0), the default first;
    `accepted` are further names, never proposed. `families` are the `model_type`s it loads, empty: all. `chunk`: tokens
    of one prefill step, 0 for the whole context.
    """

    l4t: tuple[int, ...]
    api: str
    formats: Mapping[str, tuple[str, int]]
    accepted: Mapping[str, tuple[str, int]]
    kv: str
    fraction: float
    chunk: int
    steps: tuple[str, ...]
    interface: tuple[str, str]  # runtime and interface in the tables of architectures, else empty
    families: frozenset[str]
    sm: int
    budget: float  # of the device's memory, that the runtime keeps to; 0: none
    list: tuple[str, str] = ("", "")  # the runtime and interface of architectures.yaml that `families` are of


@dataclass(frozen=True, kw_only=True)
class RuntimeConstants:
    """One runtime. Sizes in bytes, times in seconds per step, `efficiency` and the `compute`s as fractions of the peak.

    `cycles…`: of the SMs' clock, per layer and step, in which kernels start one after another.
    """

    name: str
    process: float
    workspace: str
    variants: tuple[Variant, ...]
    efficiency: float  # of the memory bandwidth
    overhead: float
    overhead_per_layer: float  # with attention
    overhead_recurrent: float  # per layer that keeps a state instead of keys and values
    cycles: float
    cycles_batched: float  # further ones with several sequences at once
    cycles_experts: float  # the same in layers of experts
    bytes_per_cycle: float  # of weights that one SM takes in per clock
    slower_formats: Mapping[str, float]  # those with another such number
    compute: float  # of the GPU's tensor operations, while it reads a prompt
    compute_experts: float  # the same of a model with experts
    compute_batched: float  # the same for the sequences beside the first, where a step makes a token of each
    spread: float  # of experts: so many sequences to the power of this choose independently of each other
    shares: Mapping[str, float]  # of the device's memory that it fills, by the beginning of a board's id
    share: float
    share_discrete: float
    micro_batch: int
    block: int
    cpu: bool
    gguf: bool
    reads: frozenset[str]  # methods of quantized checkpoints
    windows: bool  # whether layers with a window keep only that much
    latent: bool  # whether compressed keys and values are kept compressed

    def intake(self, format_name: str, sm: int | None) -> float:
        """Bytes of weights in a format that one SM takes in per clock; what a GPU computes in need not be unpacked."""
        unpacked = faster(format_name, sm) == 1
        return self.slower_formats.get(format_name, self.bytes_per_cycle) if unpacked else self.bytes_per_cycle


@dataclass(frozen=True, kw_only=True)
class SystemConstants:
    """The machine around the runtime. Sizes in bytes, `warn` and `unknown_visible` fractions.

    `filled`, `prompt`: tokens for the headline figures; `hz`: of SMs whose clock is not known.
    """

    margin: float
    saturation: float
    warn: float
    unknown_visible: float
    unevictable: float
    discrete: float
    baseline: Mapping[str, float]
    context: int
    hz: float
    filled: int
    prompt: int


@functools.cache
def system() -> SystemConstants:
    """The constants that no runtime decides."""
    table = load_facts("fit")
    row, speed = table["system"], table["speed"]
    return SystemConstants(
        margin=float(row["margin"]) * GIB,
        saturation=float(row["saturation"]) * GIB,
        warn=float(row["warn"]),
        unknown_visible=float(row["unknown_visible"]),
        unevictable=float(row["unevictable"]) * GIB,
        discrete=float(row["discrete"]) * GIB,
        baseline={name: float(size) * GIB for name, size in row["baseline"].items()},
        context=int(table["context"]),
        hz=float(speed["mhz"]) * 1e6,
        filled=int(speed["filled"]),
        prompt=int(speed["prompt"]),
    )


@functools.cache
def runtimes() -> Mapping[str, RuntimeConstants]:
    """All runtimes by name, in the order of the table."""
    return {name: _runtime(name, row) for name, row in load_facts("fit")["runtimes"].items()}


def runtime(name: str) -> RuntimeConstants:
    """One runtime. Raises UsageError listing those there are."""
    if name not in runtimes():
        raise UsageError(f"unknown runtime `{name}`", hint=f"runtimes: {', '.join(sorted(runtimes()))}")
    return runtimes()[name]


@functools.cache
def formats() -> Mapping[str, Format]:
    """Bits per weight by the name of the format."""
    rows = load_facts("fit")["formats"].items()
    return {name: Format(**{key: float(value) for key, value in row.items()}) for name, row in rows}


@functools.cache
def file_types() -> Mapping[str, FileType]:
    """GGUF file types by the name `llama-quantize` gives them."""
    return {
        name: FileType(
            base=row["base"],
            embedding=row.get("embedding", row["base"]),
            output=row["output"],
            fused=row.get("fused", row["base"]),
            rules=tuple(FitRule(role=role, type=kind, where=where) for role, kind, where in row.get("rules", ())),
        )
        for name, row in load_facts("fit")["gguf"]["files"].items()
    }


@functools.cache
def fused_families() -> frozenset[str]:
    """Families whose query, key and value are one tensor of a GGUF file."""
    return frozenset(load_facts("fit")["gguf"]["fused"])


@functools.cache
def blocks() -> Mapping[str, tuple[float, int]]:
    """Bits per weight of a GGUF block type, and what a row's length must be a multiple of."""
    return {name: (float(bits), int(row)) for name, (bits, row) in load_facts("fit")["gguf"]["blocks"].items()}


def block_for(name: str, row: int) -> float:
    """Bits per weight of a block type, or of the one that stands in where rows are no multiple of its block."""
    bits, multiple = blocks()[name]
    while row % multiple:
        name = load_facts("fit")["gguf"]["fallback"].get(name, "F16")
        bits, multiple = blocks()[name]
    return bits


def kv_bits(name: str) -> float:
    """Bits per element of the KV cache. Raises UsageError listing the types there are."""
    table = load_facts("fit")["kv_types"]
    if name not in table:
        raise UsageError(f"unknown KV cache type `{name}`", hint=f"types: {', '.join(table)}")
    return float(table[name])


@functools.cache
def conversion() -> Mapping[str, float]:
    """Constants of the steps that make an artifact, as in the table (GiB or counts)."""
    return {name: float(value) for name, value in load_facts("fit")["conversion"].items()}


def modes(board: str) -> Mapping[str, Any]:
    """Power modes of a board by name, with `default`; empty where none are known."""
    found: Mapping[str, Any] = load_facts("fit")["modes"].get(board, {})
    return found


@dataclass(frozen=True, kw_only=True)
class Compute:
    """What one SM of a compute capability does. `flops`: dense 16-bit tensor operations per clock."""

    cores: int
    flops: int


@functools.cache
def compute() -> Mapping[int, Compute]:
    """By compute capability x10."""
    rows = load_facts("fit")["compute"].items()
    return {int(sm): Compute(cores=int(row["cores"]), flops=int(row["flops"])) for sm, row in rows}


def faster(format_name: str, sm: int | None) -> float:
    """How many times the 16-bit rate a GPU multiplies in a format that it computes in."""
    row = load_facts("fit")["computes"].get(format_name)
    return float(row[1]) if row and sm is not None and sm >= int(row[0]) else 1.0


def _runtime(name: str, row: Mapping[str, Any]) -> RuntimeConstants:
    speed = load_facts("fit")["speed"]
    return RuntimeConstants(
        name=name,
        process=float(row["process"]) * GIB,
        workspace=row["workspace"],
        variants=tuple(_variant(row, variant) for variant in row["variants"]),
        overhead=float(row.get("overhead", 0)) / 1000,
        cycles=float(row.get("kilocycles_per_layer", 0)) * 1000,
        cycles_batched=float(row.get("kilocycles_batched", 0)) * 1000,
        cycles_experts=float(row.get("kilocycles_experts", 0)) * 1000,
        bytes_per_cycle=float(row.get("bytes_per_cycle", speed["bytes_per_cycle"])),
        slower_formats={name: float(size) for name, size in row.get("slower_formats", {}).items()},
        compute_experts=float(row.get("compute_experts", row.get("compute", speed["compute"]))),
        compute_batched=float(row.get("compute_batched", row.get("compute", speed["compute"]))),
        spread=float(row.get("spread", 1)),
        overhead_per_layer=float(row.get("overhead_per_layer", 0)) / 1000,
        overhead_recurrent=float(row.get("overhead_recurrent", 0)) / 1000,
        efficiency=float(row.get("efficiency", speed["efficiency"])),
        compute=float(row.get("compute", speed["compute"])),
        shares={board: float(part) for board, part in row.get("shares", {}).items()},
        share=float(row.get("share", 0)),
        share_discrete=float(row.get("share_discrete", 0)),
        micro_batch=int(row.get("micro_batch", 0)),
        block=int(row.get("block", 1)),
        cpu="cpu" in row,
        gguf="gguf" in row,
        reads=frozenset(row.get("reads", ())),
        windows="windows" in row,
        latent="latent" in row,
    )


def _variant(row: Mapping[str, Any], variant: Mapping[str, Any]) -> Variant:
    runtime, interface = variant.get("architectures", ("", ""))
    families = limits.families(runtime, interface) if runtime else frozenset()
    return Variant(
        l4t=tuple(int(major) for major in variant["l4t"]),
        api=variant.get("api", ""),
        formats=_formats(variant["quantizations"]),
        accepted=_formats(variant.get("accepted", {})),
        kv=variant.get("kv", row.get("kv", "")),
        fraction=float(variant.get("fraction", 0)),
        chunk=int(variant["chunk"]) if variant.get("chunk", "context") != "context" else 0,
        steps=tuple(variant.get("steps", ())),
        interface=(runtime, interface),
        families=frozenset() if limits.ANY in families else families,
        sm=int(variant.get("sm", row["sm"])),
        budget=float(variant.get("budget", 0)),
        list=(runtime, interface),
    )


def _formats(named: Mapping[str, Any]) -> dict[str, tuple[str, int]]:
    return {name: (f, 0) if isinstance(f, str) else (f[0], int(f[1])) for name, f in named.items()}
