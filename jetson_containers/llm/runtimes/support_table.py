"""Which runtime does what where: the rows of `facts/runtimes.yaml` against a job. Pure.

A refusal is a sentence; `nearest` says which words to type for the closest thing that is possible.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.runtimes import limits, support
from jetson_containers.llm.runtimes.interface import OK, Job, JobVerdict
from jetson_containers.platforms import tables
from jetson_containers.recipes.rules import check_all

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jetson_containers.llm.models.config import ModelConfig, Quantized
    from jetson_containers.llm.runtimes.interface import Target
    from jetson_containers.platforms.platform import Platform

# Options of `Job` that only mean something to a runtime that compiles.
_COMPILER_OPTIONS = ("device", "host", "opt", "overrides", "system_lib_prefix", "sliding_window")


@dataclass(frozen=True, kw_only=True)
class Quantization:
    """One way to store weights. `bits` without scales; `models` and `devices` None: as the row."""

    name: str
    bits: int
    sm: int = 0
    models: frozenset[str] | None = None
    devices: frozenset[str] | None = None
    unstable: frozenset[str] = frozenset()  # model types whose activations leave its range


@dataclass(frozen=True, kw_only=True)
class SupportRow:
    """One interface of a runtime, as in the table."""

    runtime: str
    kind: str
    packages: tuple[str, ...]
    family: str
    names: frozenset[str]  # of the library by itself, whatever its version
    version: SpecifierSet
    requires: tuple[str, ...]
    sm: int
    devices: frozenset[str]
    models: frozenset[str]
    list: str  # their name in architectures.yaml
    quantizations: tuple[Quantization, ...]
    pattern: str
    reads: Mapping[str, tuple[str, ...]]
    notes: Mapping[str, str]
    memory_bits: int  # of a weight while it is served; 0: as it is stored

    def made_with(self, versions: Mapping[str, str]) -> bool:
        """Whether an image with these packages has this interface."""
        if self.names & versions.keys():
            return True
        version = versions.get(self.family, "")
        if re.fullmatch(r"v[0-9]", version):  # images of others say the interface itself
            return version == self.kind
        try:
            return self.family in versions and self.version.contains(Version(versions[self.family]), prereleases=True)
        except InvalidVersion:
            return False


# What the table says ------------------------------------------------------------------------------------------------


@functools.cache
def rows(runtime: str) -> tuple[SupportRow, ...]:
    """The interfaces of a runtime, the preferred first."""
    return tuple(_row(runtime, kind, row) for kind, row in load_facts("runtimes")["runtimes"][runtime].items())


def architectures(runtime: str, kind: str) -> frozenset[str]:
    """The `model_type`s a runtime's interface loads; `*` stands for all."""
    return limits.families(runtime, kind)


def needs_remote_code(config: ModelConfig | None) -> bool:
    """Whether the model's code comes with the checkpoint, because transformers has none of it."""
    return config is not None and bool({*config.names} & {*load_facts("architectures")["remote_code"]})


def gpu_memory(platform: Platform) -> float:
    """The share of the device's memory a server may take on this board."""
    table = load_facts("runtimes")["gpu_memory"]
    prefixes = [name for name in table["boards"] if (platform.board or "").startswith(name)]
    if prefixes:
        return float(table["boards"][max(prefixes, key=len)])
    return float(table["chips"].get(platform.soc, table["other"]))


def kv_cache(platform: Platform) -> float:
    """The share of the memory left after loading that the KV cache may take."""
    return float(load_facts("runtimes")["kv_cache"]["jetson" if platform.l4t else "other"])


def saves_memory(platform: Platform) -> bool:
    """Whether the board is so small that CUDA graphs are not worth their memory."""
    limit = int(load_facts("runtimes")["cuda_graphs_from"])
    board = tables.boards().get(platform.board or "")
    return board is not None and board.memory < limit


# What is possible ---------------------------------------------------------------------------------------------------


def device(target: Target) -> str:
    """Where the model runs: a platform without a GPU has only the CPU."""
    return "cpu" if target.device == "cpu" or not target.platform.has_gpu else "cuda"


def row_for(runtime: str, target: Target) -> SupportRow | None:
    """The interface the image has, else the one an image for the platform would have; None where there is none."""
    known = rows(runtime)
    made = [row for row in known if row.made_with(target.versions)]
    fitting = [row for row in made or known if not _unsupported_reason(row, target)]
    return next(iter(fitting or made), None)


def quantizations(runtime: str, target: Target) -> tuple[str, ...]:
    """What is possible on the target, the default first; nothing where the runtime itself is not."""
    row = row_for(runtime, target)
    if row is None or _unsupported_reason(row, target):
        return ()
    return tuple(each.name for each in row.quantizations if not _device_refusal(row, each, target))


def served_as_is(job: Job) -> bool:
    """Whether nothing is left to do but load it: a quantized checkpoint, or what the runtime itself once made."""
    return job.prepared or (job.config is not None and job.config.quantized is not None)


def quantization(runtime: str, job: Job) -> Quantization | None:
    """What the job asks for, else the runtime's default for this model; None for a name it does not have.

    The default is the first that the model and the device allow, and the checkpoint's own 16-bit type among equals.
    """
    row = row_for(runtime, job.target)
    if row is None:
        return None
    if job.quantization:
        return _named(row, job.quantization)
    possible = [each for each in row.quantizations if not _quantization_refusal(row, each, job)] or list(
        row.quantizations
    )
    stored = {"bfloat16": "bf16", "float16": "fp16"}.get(job.config.dtype if job.config else "")
    same = [each for each in possible if each.name == stored and possible[0].bits == 16]
    return (same or possible)[0]


def verdict(runtime: str, job: Job, *, chat_templates: bool = False) -> JobVerdict:
    """Judge a job. `chat_templates`: the runtime knows conversation templates by name."""
    for option in (*_COMPILER_OPTIONS, *(() if chat_templates else ("conv_template",))):
        if getattr(job, option):
            flag = f"--{option.replace('_', '-')}"
            return JobVerdict(ok=False, reason=f"{runtime} does not support `{flag}`", instead=f"leave out `{flag}`")
    reason = refusal(runtime, job)
    return JobVerdict(ok=False, reason=reason, instead=nearest(runtime, job)) if reason else OK


def refusal(runtime: str, job: Job) -> str:
    """Why a runtime cannot do a job; empty when it can."""
    row = row_for(runtime, job.target)
    if row is None:
        return no_platform(runtime, job.target)
    if why := _unsupported_reason(row, job.target):
        return f"{runtime} cannot run here: {why}"
    if job.prepared:
        return ""
    if why := _architecture_refusal(row, job):
        return why
    if job.config is not None and job.config.quantized is not None:
        return _checkpoint_refusal(row, job, job.config.quantized)
    wanted = quantization(runtime, job)
    if wanted is None:
        names = tables.listing(each.name for each in row.quantizations)
        return f"{runtime} has no quantization `{job.quantization}`; it has {names}"
    return _quantization_refusal(row, wanted, job)


def no_platform(runtime: str, target: Target) -> str:
    """Why a runtime has no image for the platform."""
    platform = target.platform
    if platform.l4t and platform.l4t.major <= 32:
        return (
            f"{runtime} does not exist for JetPack {platform.jetpack}: Python {platform.python}, CUDA {platform.cuda}"
        )
    # Of several interfaces the one that fails for the fewest reasons is the one that was meant.
    known = [row for row in rows(runtime) if device(target) in row.devices] or rows(runtime)
    row = min(known, key=lambda each: _unsupported_reason(each, target).count(";"))
    return f"{runtime} cannot run here: {_unsupported_reason(row, target)}"


def gguf_refusal(config: ModelConfig | None) -> str:
    """Why a checkpoint cannot become a GGUF file for being quantized already; empty when it can.

    llama.cpp's converter dequantizes some methods and refuses the others (AWQ, bitsandbytes).
    """
    row = rows("llama_cpp")[0]
    if config is None or config.quantized is None or config.quantized.method in row.reads:
        return ""
    readers = tables.listing(each for each in _order() if rows(each)[0].reads.get(config.quantized.method) == ())
    return (
        f"the checkpoint is quantized with {config.quantized.described}, which llama.cpp's converter cannot read; "
        f"take the original model{f', or a runtime that reads it: {readers}' if readers else ''}"
    )


def nearest(runtime: str, job: Job) -> str:
    """The words to type for the closest possible thing; empty when nothing is.

    Close is: as many bits, then the same runtime, then the order of the table.
    """
    for name, quantized, target in _closest(runtime, _bits(runtime, job), job.target):
        as_is = served_as_is(job) and name != "llama_cpp"
        if not refusal(name, replace(job, target=target, quantization="" if as_is else quantized)):
            if as_is:
                return f"--runtime {name}" if name != runtime else "leave out `--quantization`"
            return f"--runtime {name} --quantization {quantized}"
    return ""


def first_that_loads(usual: str, config: ModelConfig, target: Target) -> str:
    """The runtime that loads a quantized checkpoint on a target: the usual one, else the first that can."""
    job = Job(source="", name="", config=config, quantization="", target=target)
    others = (name for name in _order() if rows(name)[0].runtime != "llama_cpp")  # which makes other weights of them
    return next((name for name in (usual, *others) if not refusal(name, job)), usual)


def for_model(error: UsageError, runtime: str, config: ModelConfig | None, target: Target) -> UsageError:
    """The refusal of a runtime with what can load a quantized checkpoint as its hint; other weights become anything."""
    if config is None or config.quantized is None:
        return error
    job = Job(source="", name="", config=config, quantization="", target=target)
    return UsageError(error.message, hint=remedy(nearest(runtime, job)))


def helpers(runtime: str, listing: str, method: str) -> tuple[str, ...] | None:
    """What an image needs besides a runtime's own packages to read weights quantized so, one of them; None: none helps.

    `listing` is the interface, by its name in architectures.yaml; empty: any.
    """
    able = [row for row in rows(runtime) if method in row.reads and listing in {"", row.list}]
    found = [() if {*row.reads[method]} & {*row.packages} else row.reads[method] for row in able]
    return min(found, key=len, default=None)


def nearest_on(runtime: str, target: Target) -> str:
    """The words to type for the closest thing that is possible on a target, whatever the model; empty when nothing is.

    Four bits are assumed to be wanted.
    """
    for name, quantized, where in _closest(runtime, 4, target):
        if quantized in quantizations(name, where):
            return f"--runtime {name} --quantization {quantized}"
    return ""


def _closest(runtime: str, bits: int, target: Target) -> Iterator[tuple[str, str, Target]]:
    """Runtimes, their quantizations and targets, the closest first; another runtime needs another image."""
    other = replace(target, versions={}, probed={})
    found: list[tuple[int, bool, int, int, str, str]] = []
    for place, name in enumerate(_order()):
        row = row_for(name, target if name == runtime else other)
        for index, each in enumerate(row.quantizations if row else ()):
            found.append((abs(_class(each.bits) - _class(bits)), name != runtime, place, index, name, each.name))
    for _, is_other, _, _, name, quantized in sorted(found):
        yield name, quantized, other if is_other else target


def remedy(instead: str) -> str:
    """The hint of a refusal: the nearest possible thing, or who knows where there is one."""
    return f"possible: {instead}" if instead else "`jetson-containers llm fit MODEL` says which board can"


# The single rules ---------------------------------------------------------------------------------------------------


def _unsupported_reason(row: SupportRow, target: Target) -> str:
    """Why the interface does not run on the target; the image's own Python and CUDA count where there is one."""
    platform = _on_device(target.platform)
    where = device(target)
    if where not in row.devices:
        return "it needs a GPU" if where == "cpu" else "it is for the CPU"
    rules = () if row.made_with(target.versions) else row.requires
    if row.sm and where == "cuda":
        rules = (f">=sm{row.sm}", *rules)
    failed = [result for result in check_all(rules, platform) if not result.ok]
    notes = [f" ({row.notes[each.rule]})" if each.rule in row.notes else "" for each in failed]
    return "; ".join(f"{each.reason}{note}" for each, note in zip(failed, notes, strict=True))


def _on_device(platform: Platform) -> Platform:
    """The platform with the device's own architecture, where the board is known, not all that images are made for."""
    return replace(platform, sm=(tables.soc_sm(platform.soc),)) if platform.soc and platform.has_gpu else platform


def _architecture_refusal(row: SupportRow, job: Job) -> str:
    config = job.config
    if config is None or support.knows(row.runtime, row.list, config, job.target.probed) is not False:
        return ""
    others = [each for each in rows(row.runtime) if support.loads(each.models, config)]
    only = f"; only{_kind(others[0])} does" if others else ""
    return f"{row.runtime}{_kind(row)} does not load the architecture `{config.model_type}`{only}"


def unknowns(runtime: str, job: Job) -> tuple[str, ...]:
    """What no table says of a job that is allowed: whether the runtime knows the model, and reads its weights."""
    row = row_for(runtime, job.target)
    config = job.config
    if row is None or config is None or job.prepared:
        return ()
    notices = []
    if support.knows(runtime, row.list, config, job.target.probed) is None:
        notices.append(
            f"whether {runtime} knows the architecture `{config.model_type}` is not in our table; it will tell"
        )
    made = config.quantized
    if made is not None and support.reads(runtime, row.reads, made) is None:
        notices.append(
            f"whether {runtime} reads weights quantized with {made.described} is not in our table; it will tell"
        )
    elif made is not None and runtime != "llama_cpp" and _below(support.lowest_sm(made), job.target):
        notices.append(f"{made.label} is read here with weight-only kernels, which has not been reported on a Jetson")
    return tuple(notices)


def _kind(row: SupportRow) -> str:
    """Which of several interfaces is meant."""
    if len(rows(row.runtime)) == 1:
        return ""
    return f" {row.version}" if str(row.version) else f" with {row.family}" if row.family != row.runtime else ""


def _checkpoint_refusal(row: SupportRow, job: Job, found: Quantized) -> str:
    what = f"the checkpoint is quantized already ({found.described})"
    asked = _named(row, job.quantization) if job.quantization else None
    usual = row.quantizations[0].name  # what callers fill in where nothing was asked for
    same = job.quantization in {"", usual, found.method} or (asked is not None and asked.bits == found.bits)
    if found.method not in row.reads and row.runtime == "llama_cpp":
        return gguf_refusal(job.config)
    if support.reads(row.runtime, row.reads, found) is False:
        return f"{what}, and {row.runtime} does not read that"
    if not same and row.runtime != "llama_cpp":
        return f"{what}, and cannot be quantized again to `{job.quantization}`"
    helpers = row.reads.get(found.method, ())
    if helpers and not any(name in job.target.versions for name in helpers):
        return f"{what}, and {row.runtime} reads that only in an image with {' or '.join(helpers)}"
    if row.runtime == "llama_cpp":
        return ""  # the converter makes plain tensors of it
    if found.method not in row.reads:
        return ""
    least = support.weight_only_sm(found) or support.lowest_sm(found)
    return _too_old(least, job.target, f"{found.method} with {found.bits:g} bits")


def _quantization_refusal(row: SupportRow, wanted: Quantization, job: Job) -> str:
    """Why this model cannot be quantized so."""
    if why := _device_refusal(row, wanted, job.target):
        return why
    kind = job.config.model_type if job.config else ""
    if kind and wanted.models is not None and kind not in wanted.models:
        return f"{row.runtime}{_kind(row)} does not quantize the architecture `{kind}` to {wanted.name}"
    if kind in wanted.unstable:
        return f"the activations of `{kind}` leave the range of {wanted.name}"
    return ""


def _device_refusal(row: SupportRow, wanted: Quantization, target: Target) -> str:
    if wanted.devices is not None and device(target) not in wanted.devices:
        return f"{row.runtime} has {wanted.name} only on {', '.join(sorted(wanted.devices))}"
    return _too_old(wanted.sm, target, f"{row.runtime} {wanted.name}")


def _below(least: int, target: Target) -> bool:
    """Whether no chip of the target has the compute capability."""
    return bool(least) and device(target) != "cpu" and all(sm < least for sm in _on_device(target.platform).sm)


def _too_old(least: int, target: Target, what: str) -> str:
    present = _on_device(target.platform).sm
    if not _below(least, target):
        return ""
    return (
        f"{what} needs compute capability {least // 10}.{least % 10}; "
        f"this is {tables.listing(tables.gpu_name(sm) or sm for sm in present)} with {_dotted(max(present, default=0))}"
    )


def _dotted(sm: int) -> str:
    return f"{sm // 10}.{sm % 10}"


def _named(row: SupportRow, name: str) -> Quantization | None:
    for each in row.quantizations:
        if each.name.casefold() == name.casefold():
            return each
    found = re.fullmatch(row.pattern, name) if row.pattern else None
    return Quantization(name=name, bits=round(float(found[1]))) if found else None


def _bits(runtime: str, job: Job) -> int:
    """How many bits were meant: of the checkpoint, the name in this or another runtime, or 4."""
    if job.config is not None and job.config.quantized is not None:
        return round(job.config.quantized.bits) or 16
    for name in (runtime, *_order()):
        for row in rows(name):
            if job.quantization and (found := _named(row, job.quantization)):
                return found.bits
    digits = re.search(r"[0-9]+", job.quantization)
    return int(digits[0]) if digits else 4


def _class(bits: int) -> int:
    """4, 8 or 16: what a user means by few, half and all."""
    return 4 if bits <= 6 else 8 if bits <= 8 else 16


def _order() -> tuple[str, ...]:
    return tuple(load_facts("runtimes")["order"])


def _row(runtime: str, kind: str, row: Mapping[str, Any]) -> SupportRow:
    return SupportRow(
        runtime=runtime,
        kind=kind,
        packages=tuple(row["packages"]),
        family=row["family"],
        names=frozenset(row.get("names", ())),
        version=SpecifierSet(row.get("version", "")),
        requires=tuple(row["requires"]),
        sm=int(row.get("sm", 0)),
        devices=frozenset(row["devices"]),
        models=architectures(runtime, row["models"]),
        list=row["models"],
        quantizations=tuple(_quantization(runtime, name, each) for name, each in row["quantizations"].items()),
        pattern=row.get("pattern", ""),
        reads={method: tuple(helpers) for method, helpers in row["reads"].items()},
        notes=row.get("notes", {}),
        memory_bits=int(row.get("memory_bits", 0)),
    )


def _quantization(runtime: str, name: str, row: Mapping[str, Any]) -> Quantization:
    return Quantization(
        name=name,
        bits=int(row["bits"]),
        sm=int(row.get("sm", 0)),
        models=architectures(runtime, row["models"]) if "models" in row else None,
        devices=frozenset(row["devices"]) if "devices" in row else None,
        unstable=frozenset(row.get("unstable", ())),
    )
