"""Will it fit, how much memory does it take and how fast does it answer: one prediction."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit import constants, memory, peak, speed, weights
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import Machine, of_board
from jetson_containers.llm.runtimes import limits, support, support_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jetson_containers.llm.fit.constants import RuntimeConstants, Variant
    from jetson_containers.llm.fit.weights import Weights
    from jetson_containers.llm.models.config import ModelConfig, Quantized
    from jetson_containers.platforms.tables import Board


# Methods in which models are first published: there is no other original.
_PUBLISHED = frozenset({"mxfp4", "fp8"})
_TWO_BITS = ("q2", "iq2", "iq1", "tq", "q1", "int2", "2.")
_THREE_BITS = ("q3", "iq3", "int3", "3.")
_OURS = ("mlc:", "gguf:")  # metadata of artifacts, not of checkpoints to start from


class FitVerdict(enum.Enum):
    """What the prediction says. `SWAP` and better run; `UNKNOWN` has the room, and no table says whether it loads."""

    FITS = "fits"
    TIGHT = "tight"
    SWAP = "fits with swap"
    UNKNOWN = "unknown"
    NO = "does not fit"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """What else decides; zero or empty takes the table's default.

    `baseline` is a name of the table or a number of GiB. `session` and `used` are tokens, see `memory.Load`; `filled`:
    tokens in the context for the speed; `prompt`: tokens for the time to the first one.
    `held`: sizes known exactly, from a GGUF file.
    """

    prefill_chunk: int = 0
    kv_type: str = "f16"
    baseline: str = "desktop"
    session: int = 0
    used: int = 0
    filled: int = 0
    prompt: int = 0
    held: Weights | None = None


@dataclass(frozen=True, kw_only=True)
class Fit:
    """One prediction. Sizes in bytes, speeds in tokens/s of one sequence (None: unknown).

    Of a power mode it may be known only what the memory allows: `decode_tokens_per_s_most`, else the same as without.
    `first_token_s` is how long a prompt of the options' length takes, `batch_tokens_per_s` what `max_batch` sequences
    get together, `sequences` how many contexts of this length fit at once. `measured`: the speeds were measured.

    `total_bytes` is everything in use while it runs, `needed_bytes` the least of it with which the context can be
    filled, `used_bytes` what `free` would show, `swap_bytes` what had to go to swap. `peak_bytes` is the highest of
    running and of the steps that make the artifact here, all with the system's baseline.
    """

    runtime: str
    quantization: str
    context: int
    max_batch: int
    board: str
    verdict: FitVerdict
    reason: str
    weights_bytes: int
    kv_bytes: int
    activation_bytes: int
    runtime_bytes: int
    baseline_bytes: int
    total_bytes: int
    needed_bytes: int
    used_bytes: int
    available_bytes: int
    swap_bytes: int
    peak_bytes: int
    steps: tuple[tuple[str, int], ...]
    decode_tokens_per_s: float | None
    decode_tokens_per_s_full: float | None
    decode_tokens_per_s_most: float | None
    prefill_tokens_per_s: float | None
    first_token_s: float | None
    batch_tokens_per_s: float | None
    sequences: int
    measured: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def fits(self) -> bool:
        """Whether it runs."""
        return self.verdict in {FitVerdict.FITS, FitVerdict.TIGHT, FitVerdict.SWAP}

    @property
    def memory_text(self) -> str:
        """The least it needs and what there is, with what the runtime takes where that is more by 100 MiB.

        A runtime that reserves memory for its cache takes that much whatever it needs.
        """
        text = f"{_gib(self.needed_bytes)} of {_gib(self.available_bytes)}"
        more = self.total_bytes - self.needed_bytes > 100 << 20
        return f"{text} ({_gib(self.total_bytes)} with what {self.runtime} reserves)" if more else text

    @property
    def makes_here(self) -> bool:
        """Whether the artifact can be made on this machine without swap."""
        return self.peak_bytes <= self.available_bytes

    def to_json(self) -> dict[str, Any]:
        """The prediction for `llm fit --json`."""
        rounded = {
            name: None if value is None else round(value, 2)
            for name, value in (
                ("decode_tokens_per_s", self.decode_tokens_per_s),
                ("decode_tokens_per_s_full", self.decode_tokens_per_s_full),
                ("decode_tokens_per_s_most", self.decode_tokens_per_s_most),
                ("prefill_tokens_per_s", self.prefill_tokens_per_s),
                ("first_token_s", self.first_token_s),
                ("batch_tokens_per_s", self.batch_tokens_per_s),
            )
        }
        return {
            "runtime": self.runtime,
            "quantization": self.quantization,
            "context": self.context,
            "board": self.board,
            "weights_bytes": self.weights_bytes,
            "kv_bytes": self.kv_bytes,
            "runtime_bytes": self.runtime_bytes,
            "baseline_bytes": self.baseline_bytes,
            "total_bytes": self.total_bytes,
            "available_bytes": self.available_bytes,
            "fits": self.fits,
            "peak_bytes": self.peak_bytes,
            **rounded,
            "max_batch": self.max_batch,
            "sequences": self.sequences,
            "measured": self.measured,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "activation_bytes": self.activation_bytes,
            "needed_bytes": self.needed_bytes,
            "swap_bytes": self.swap_bytes,
            "steps": dict(self.steps),
            "notes": list(self.notes),
        }


def predict(
    config: ModelConfig,
    *,
    runtime: str,
    board: Board | Machine,
    quantization: str = "",
    context: int = 0,
    max_batch: int = 1,
    options: FitOptions | None = None,
) -> Fit:
    """Predict one combination. A combination that cannot run has its reason; the sizes are those it would have.

    `context` 0 is the table's default for the memory, at most what the model was trained for. Raises UsageError for a
    runtime, quantization, KV type or baseline that does not exist, and for numbers out of range.
    """
    wanted = options or FitOptions()
    if context < 0 or max_batch < 1 or wanted.prefill_chunk < 0:
        raise UsageError("context and prefill chunk are numbers of tokens, the batch is at least 1")
    machine = board if isinstance(board, Machine) else of_board(board)
    case = _case(config, constants.runtime(runtime), machine, quantization, wanted)
    tokens = context or default_context(config.max_position)
    sizes = _sizes(case, _load(wanted, tokens, max_batch), wanted)
    verdict, reason, swap = _verdict(case, sizes)
    made = () if case.ready_made else peak.steps(config, case.variant.steps, case.held.total)
    pace = _pace(case, wanted, tokens, max_batch)
    return Fit(
        runtime=runtime,
        quantization=case.quantization,
        context=tokens,
        max_batch=max_batch,
        board=machine.id,
        verdict=verdict,
        reason=reason,
        weights_bytes=int(case.held.total),
        kv_bytes=int(sizes.kv),
        activation_bytes=int(sizes.activations),
        runtime_bytes=int(sizes.process),
        baseline_bytes=int(sizes.baseline),
        total_bytes=int(sizes.total),
        needed_bytes=int(sizes.needed),
        used_bytes=int(min(sizes.total, machine.memory - constants.system().saturation)),
        available_bytes=int(sizes.available),
        swap_bytes=int(swap),
        peak_bytes=int(max([sizes.total, *(size + sizes.baseline for _, size in made)])),
        steps=tuple((name, size + int(sizes.baseline)) for name, size in made),
        decode_tokens_per_s=pace.decode,
        decode_tokens_per_s_full=pace.decode_full,
        decode_tokens_per_s_most=pace.most,
        prefill_tokens_per_s=pace.prefill,
        first_token_s=pace.first_token,
        batch_tokens_per_s=pace.batch,
        sequences=_sequences(case, sizes, wanted, tokens),
        notes=(*_notes(case, tokens, is_default=not context), *_unknown_speed_notes(runtime, machine, pace)),
    )


@dataclass(frozen=True, kw_only=True)
class _Pace:
    """Speeds of one case; None: unknown. `most`: what the memory allows, where a mode's clocks are not known."""

    most: float | None = None
    decode: float | None = None
    decode_full: float | None = None
    batch: float | None = None
    prefill: float | None = None
    first_token: float | None = None


def _pace(case: _Case, options: FitOptions, tokens: int, sequences: int) -> _Pace:
    """Speeds with a short and with a full context, of all sequences together, and of a prompt."""
    work, table = case.work(options.kv_type), constants.system()
    short = min(options.filled or table.filled, tokens)
    one = speed.step(work, short)
    if one is None or not speed.is_known(case.machine):
        return _Pace(most=1 / one if one else None)
    prompt = min(options.prompt or table.prompt, tokens)
    first = speed.prefill(work, prompt)
    return _Pace(
        most=1 / one,
        decode=1 / one,
        decode_full=_per_second(speed.step(work, tokens)),
        batch=_per_second(speed.step(work, short, sequences), sequences),
        prefill=_per_second(first, prompt),
        first_token=first,
    )


def _per_second(seconds: float | None, count: int = 1) -> float | None:
    return count / seconds if seconds else None


def _sequences(case: _Case, sizes: _Sizes, options: FitOptions, tokens: int) -> int:
    """How many contexts of this length the memory holds at once; 0 where not even one."""
    each = memory.kv_needed(case.config, case.runtime, case.variant, _load(options, tokens, 1))
    room = sizes.available - (sizes.needed - sizes.kv_filled)
    if sizes.limit:
        room = min(room, sizes.limit - (sizes.device_needed - sizes.kv_filled))
    return max(int(room // each), 0) if each else 0


def work(config: ModelConfig, *, runtime: str, machine: Machine, quantization: str = "") -> speed.Workload:
    """What a combination computes, for speeds of other loads than `predict` states. Raises UsageError as it does."""
    return _case(config, constants.runtime(runtime), machine, quantization, FitOptions()).work("f16")


@dataclass(frozen=True, kw_only=True)
class _Case:
    """One combination: what is loaded, by which version of a runtime, on which machine.

    `quantized` is what the model's own checkpoint is quantized with (None: not, or by one of our steps). `exact`:
    `held` was read from a file instead of calculated. `lowest_sm`: the least compute capability of the weights' format.
    """

    config: ModelConfig
    runtime: RuntimeConstants
    variant: Variant
    machine: Machine
    quantization: str
    lowest_sm: int
    held: Weights
    exact: bool
    quantized: Quantized | None
    format: str

    def work(self, kv_type: str) -> speed.Workload:
        """What is computed, for the speed."""
        return speed.Workload(
            config=self.config,
            held=self.held,
            format=self.format,
            runtime=self.runtime,
            machine=self.machine,
            kv_type=kv_type,
        )

    @property
    def ready_made(self) -> bool:
        """Whether the runtime loads the weights as they are, with no step before it."""
        return self.exact or (self.quantized is not None and not self.runtime.gguf)


def _case(
    config: ModelConfig, runtime: RuntimeConstants, machine: Machine, quantization: str, options: FitOptions
) -> _Case:
    """Settle version, quantization and weights."""
    variant = variant_for(runtime, machine, config.model_type, quantization)
    chosen = quantization_named(runtime, variant, quantization, machine.sm, config)
    format_name, lowest_sm = {**variant.accepted, **variant.formats}[chosen]
    quantized = config.quantized if config.quantized and not config.quantized.method.startswith(_OURS) else None
    held = options.held or weights.weights(config, format_name)
    if quantized is not None and not runtime.gguf:
        held = weights.of_checkpoint(config, quantized)
        lowest_sm, chosen = support.lowest_sm(quantized), quantized.label
        format_name = quantized.form
    return _Case(
        config=config,
        runtime=runtime,
        variant=variant,
        machine=machine,
        quantization=chosen,
        lowest_sm=lowest_sm,
        held=held,
        exact=options.held is not None,
        quantized=quantized,
        format=format_name,
    )


def _load(options: FitOptions, tokens: int, max_batch: int) -> memory.Load:
    return memory.Load(
        context=tokens,
        max_batch=max_batch,
        prefill_chunk=options.prefill_chunk,
        session=options.session,
        used=options.used,
        kv_type=options.kv_type,
    )


def _verdict(case: _Case, sizes: _Sizes) -> tuple[FitVerdict, str, float]:
    """Verdict, reason, bytes that must go to swap: first whether the runtime can load it at all, then the memory."""
    refusal, doubt = _refusal(case)
    if not refusal and case.quantized is not None:
        refusal, doubt = _unreadable_reason(case, case.quantized, doubt)
    elif not refusal and not case.exact:
        refusal = _unquantizable_reason(case)
    if refusal:
        return FitVerdict.IMPOSSIBLE, refusal, 0.0
    verdict, reason, swap = _judge(sizes, case.machine, case.runtime)
    if doubt and verdict is not FitVerdict.NO:
        return FitVerdict.UNKNOWN, doubt, swap
    return verdict, reason, swap


def quality(quantization: str) -> int:
    """How much a quantization takes from the answers, in steps: 0 from four bits on, more below.

    source: perplexity of the 8B model in llama.cpp's tools/quantize/README.md, which rises slowly down to four bits, by
    several percent at three and by a quarter at two.
    """
    name = quantization.lower()
    if name.startswith(_TWO_BITS):
        return 2
    return 1 if name.startswith(_THREE_BITS) else 0


def default_context(most: int, usual: int = 0) -> int:
    """Tokens where none were asked for, for `fit`, `suggest`, `chat` and `serve`.

    `most`: what the model takes, 0: unknown; `usual`: the default where a device has its own.
    """
    wanted = usual or constants.system().context
    return min(wanted, most or wanted)


def variant_for(runtime: RuntimeConstants, machine: Machine, family: str = "", quantization: str = "") -> Variant:
    """The runtime's newest version that the machine's L4T runs and that knows the architecture and the quantization.

    Where none does all of it, the newest that runs; where none runs or there is no L4T, the last of all.
    """
    running = [variant for variant in runtime.variants if set(variant.l4t) & set(machine.l4t)]
    knowing = [variant for variant in running if _loads(variant, family)]
    having = [variant for variant in knowing if not quantization or _has(variant, quantization)]
    return (having or knowing or running or list(runtime.variants))[-1]


def loads(variant: Variant, config: ModelConfig, probed: Mapping[str, str] | None = None) -> bool | None:
    """Whether a runtime's version loads the model, by the tables, or by what its image `probed`; None: not known."""
    if not any(variant.list):
        return support.generic(config)
    return support.knows(*variant.list, config, probed)


def _loads(variant: Variant, family: str) -> bool:
    names = {family, family.removesuffix("_text")}
    return not variant.families or not family or bool(names & variant.families)


def _has(variant: Variant, quantization: str) -> bool:
    return quantization.lower() in {name.lower() for name in (*variant.formats, *variant.accepted)}


def quantization_named(
    runtime: RuntimeConstants, variant: Variant, name: str, sm: int | None = None, config: ModelConfig | None = None
) -> str:
    """The runtime's own spelling of a quantization; for none, the first that the GPU and the model can have.

    Raises UsageError listing them.
    """
    if not name:
        possible = [each for each, (_, lowest) in variant.formats.items() if sm is None or sm >= lowest]
        known = [each for each in possible if limits.quantizes(*variant.interface, each, config)]
        if (own := support.kept(runtime.name, config)) and _has(variant, own):
            return own
        return next(iter(known or possible or variant.formats))
    spelled = {known.lower(): known for known in (*variant.accepted, *variant.formats)}
    if name.lower() in spelled:
        return spelled[name.lower()]
    raise UsageError(f"{runtime.name} has no quantization `{name}`", hint=f"it has: {', '.join(variant.formats)}")


@dataclass(frozen=True, kw_only=True)
class _Sizes:
    """Bytes.

    `kv` is what the runtime reserves, `kv_filled` what the contexts take; `limit` what the runtime itself lets the
    device's part have (0: all).
    """

    kv: float
    kv_filled: float
    activations: float
    process: float
    baseline: float
    needed: float
    total: float
    available: float
    device_needed: float
    limit: float
    limit_name: str


def _sizes(case: _Case, load: memory.Load, options: FitOptions) -> _Sizes:
    table = constants.system()
    config, runtime, variant, machine, held = case.config, case.runtime, case.variant, case.machine, case.held
    baseline = table.discrete if machine.discrete else memory.baseline_of(options.baseline)
    activations = memory.workspace(config, runtime, variant, load)
    kv = filled = memory.kv_needed(config, runtime, variant, load)
    available = machine.memory - (0 if machine.discrete else table.margin)
    fixed = held.total + activations + runtime.process + baseline
    needed = fixed + kv
    device = held.total + activations + kv
    limit, name = 0.0, ""
    if variant.kv == "total":
        part = memory.share(runtime, machine)
        limit, name = part * machine.memory, f"--gpu-memory-utilization {part:g}"
        device += runtime.process
        kv = max(kv, limit - (device - kv))
    elif variant.kv == "free":
        kv = max(kv, variant.fraction * (available - fixed))
    elif variant.budget:
        limit, name = variant.budget * machine.memory, f"gpu_memory_utilization={variant.budget:g}"
    return _Sizes(
        kv=kv,
        kv_filled=filled,
        activations=activations,
        process=runtime.process,
        baseline=baseline,
        needed=needed,
        total=fixed + kv,
        available=available,
        device_needed=device,
        limit=limit,
        limit_name=name,
    )


def _judge(sizes: _Sizes, machine: Machine, runtime: RuntimeConstants) -> tuple[FitVerdict, str, float]:
    """Verdict, reason, bytes that must go to swap.

    Swap can carry what of the baseline is not needed now. It cannot carry what CUDA allocated, and weights that are
    read for every token would be read from the disk for every token.
    """
    table = constants.system()
    if sizes.limit and sizes.device_needed > sizes.limit:
        reason = f"{runtime.name} stops at its own limit of {_gib(sizes.limit)} ({sizes.limit_name})"
        return FitVerdict.NO, f"{reason}, but {_gib(sizes.device_needed)} are needed", 0.0
    missing = sizes.needed - sizes.available
    if missing <= 0:
        tight = sizes.needed > table.warn * sizes.available
        reason = f"{sizes.needed / sizes.available:.0%} of the usable memory" if tight else ""
        return (FitVerdict.TIGHT if tight else FitVerdict.FITS), reason, 0.0
    evictable = 0.0 if machine.discrete else max(sizes.baseline - table.unevictable, 0.0)
    if missing > evictable:
        return FitVerdict.NO, f"needs {_gib(missing)} more memory", 0.0
    if machine.swap >= missing:
        return (
            FitVerdict.SWAP,
            f"{_gib(missing)} of what the system uses must go to swap (on a disk, not ZRAM)",
            missing,
        )
    return FitVerdict.NO, f"{_gib(missing)} are missing; swap on a disk (not ZRAM) would be enough", 0.0


def _refusal(case: _Case) -> tuple[str, str]:
    """Why a combination cannot be, whatever the memory, and what is not known of it; empty: nothing."""
    config, runtime, variant, machine = case.config, case.runtime, case.variant, case.machine
    if machine.sm is None and not runtime.cpu:
        return f"{runtime.name} needs an NVIDIA GPU", ""
    if machine.l4t and not set(machine.l4t) & set(variant.l4t):
        has = f"L4T {_list(machine.l4t)}" if len(machine.l4t) > 1 else f"L4T {machine.l4t[0]}"
        known = sorted({major for each in runtime.variants for major in each.l4t})
        return f"{runtime.name} exists for L4T {_list(known)}; this machine runs {has}", ""
    lowest = max(variant.sm, case.lowest_sm)
    weight_only = support.weight_only_sm(config.quantized) if config.quantized else 0
    if machine.sm is not None and machine.sm < (weight_only or lowest):
        what = f"{runtime.name} {case.quantization}" if case.lowest_sm > variant.sm else runtime.name
        return f"{what} needs compute capability {lowest / 10:g}; this GPU has {machine.sm / 10:g}", ""
    printed = machine.probed.get(runtime.name, {})
    known_there = loads(variant, config, printed)
    version = f" ({variant.api} API)" if variant.api else ""
    if known_there is False:
        source = ", by the list of its image here" if support.listed_by(runtime.name, printed) else ""
        return f"{runtime.name}{version} does not know the architecture `{config.model_type}`{source}", ""
    if known_there is None:
        return "", f"whether {runtime.name} knows the architecture `{config.model_type}` is not in our table"
    return "", ""


def _unreadable_reason(case: _Case, quantized: Quantized, doubt: str) -> tuple[str, str]:
    """Why a quantized checkpoint cannot be loaded, or why that is not known."""
    runtime, machine = case.runtime, case.machine
    found = support.reads(runtime.name, runtime.reads, quantized)
    if found is False:
        remedy = "" if quantized.method in _PUBLISHED else ": take the original model"
        return f"{runtime.name} cannot load weights that {quantized.method} quantized already{remedy}", ""
    if found:
        with_it = support_table.helpers(runtime.name, case.variant.interface[1], quantized.method)
        if with_it is None:
            return f"{runtime.name} does not read weights quantized with {quantized.described} here", ""
        if with_it:
            return f"{runtime.name} reads {quantized.method} weights only in an image with {' or '.join(with_it)}", ""
    if found is None:
        return "", f"whether {runtime.name} reads a checkpoint quantized with {quantized.described} is not in our table"
    if machine.sm is not None and machine.sm < case.lowest_sm and not runtime.gguf:
        below = f"below compute capability {case.lowest_sm / 10:g} with weight-only kernels"
        return "", f"{runtime.name} reads {quantized.label} {below}, which has not been reported on a Jetson"
    return "", doubt


def _unquantizable_reason(case: _Case) -> str:
    """Why the runtime cannot quantize this model so; empty where it can."""
    config, runtime, variant, quantization = case.config, case.runtime, case.variant, case.quantization
    if limits.quantizes(*variant.interface, quantization, config):
        return ""
    possible = ", ".join(name for name in variant.formats if limits.quantizes(*variant.interface, name, config))
    family = config.model_type
    return f"{runtime.name} does not quantize the architecture `{family}` to {quantization}; it can to {possible}"


def _list(majors: Iterable[int]) -> str:
    return ", ".join(str(major) for major in majors)


def _notes(case: _Case, context: int, *, is_default: bool) -> tuple[str, ...]:
    notes = [*case.machine.notes, *size_notes(case.config)]
    if case.config.silent:
        notes.append(f"it is {case.config.silent}, which writes no text: the speed is that of reading and writing one")
    trained = case.config.max_position
    if is_default and trained > context:
        notes.append(f"{context} tokens are the default; the model takes up to {trained} (`--context`)")
    if trained and context > trained:
        notes.append(f"the model was trained for {trained} tokens; answers degrade beyond that")
    return (*notes, *_older(case.runtime, case.variant, case.machine))


def size_notes(config: ModelConfig) -> tuple[str, ...]:
    """What is doubtful about the size: weight files that disagree, or parts of the configuration that were not read."""
    if config.measured:
        return (config.measured,)
    notes = []
    if config.quantized is not None and not config.quantized.stored:
        notes.append(f"the number of bits that {config.quantized.method} stores is unknown: 16 are assumed")
    if config.unread:
        names = ", ".join(f"`{name}`" for name in config.unread[:4])
        notes.append(f"the configuration has unknown keys ({names}): the model may be larger or smaller than predicted")
    return tuple(notes)


def _unknown_speed_notes(runtime: str, machine: Machine, pace: _Pace) -> tuple[str, ...]:
    """Say that a power mode's speed is not known, and what its memory allows; nothing where it is."""
    if speed.is_known(machine):
        return ()
    limit = f"; its memory allows {pace.most:.1f} tokens/s at most" if pace.most else ""
    return (f"the speed of {runtime} in the mode {machine.mode} of {machine.id} is not published{limit}",)


def _older(runtime: RuntimeConstants, variant: Variant, machine: Machine) -> tuple[str, ...]:
    """Say so where the newest version that the board could have cannot do it."""
    newest = [each for each in runtime.variants if set(each.l4t) & set(machine.l4t)][-1:]
    if variant in newest or not newest:
        return ()
    majors = [major for major in machine.l4t if major in variant.l4t]
    return (f"only with {runtime.name} for L4T {_list(majors)}; newer versions do not support it",)


def _gib(size: float) -> str:
    return f"{size / GIB:.1f} GiB"
