"""`llm fit`: one question about a model and a machine → all predictions, best first, and advice."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.core.memory import read_memory
from jetson_containers.host.swap import read_swap
from jetson_containers.llm.fit import cards, constants
from jetson_containers.llm.fit.advice import FitRequest, advise, ask
from jetson_containers.llm.fit.cards import Card
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named, of_board, of_card, of_platform, of_target
from jetson_containers.llm.fit.predict import (
    FitOptions,
    FitVerdict,
    default_context,
    loads,
    quality,
    quantization_named,
    variant_for,
)
from jetson_containers.llm.models.quantization_words import meant
from jetson_containers.platforms import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from jetson_containers.llm.fit.advice import Advice
    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.fit.predict import Fit
    from jetson_containers.llm.models.types import ModelShape
    from jetson_containers.platforms.platform import Platform

DEFAULT_RUNTIME = "llama_cpp"
# Checkpoints that are quantized already are served by the runtime that made their kind, or reads it without more.
DEFAULT_RUNTIMES = {
    "gptq": "gptq",
    "awq": "vllm",
    "compressed-tensors": "vllm",
    "bitsandbytes": "bitsandbytes",
    "exl2": "exllamav2",
    "exl3": "exllama",
}
_ORDER = (FitVerdict.FITS, FitVerdict.TIGHT, FitVerdict.SWAP, FitVerdict.UNKNOWN, FitVerdict.NO, FitVerdict.IMPOSSIBLE)


@dataclass(frozen=True, kw_only=True)
class FitQuestion:
    """What was asked; None or empty: the default. `swap` and `vram` in GiB (None: look at this machine)."""

    runtime: str = ""
    quantization: str = ""
    context: int | None = None
    max_batch: int = 1
    board: str = ""
    mode: str = ""
    swap: float | None = None
    vram: float | None = None
    baseline: str = ""
    kv_type: str = "f16"
    prefill_chunk: int | None = None
    every_quantization: bool = False


@dataclass(frozen=True, kw_only=True)
class FitAnswer:
    """The predictions, the best first, and how the best could become better."""

    model: str
    machine: Machine
    fits: tuple[Fit, ...]
    advice: tuple[Advice, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def best(self) -> Fit:
        """The first of them."""
        return self.fits[0]

    def to_json(self) -> dict[str, Any]:
        """The best one for `llm fit --json`; the others below `alternatives`."""
        first, *others = [{"model": self.model, **fit.to_json()} for fit in self.fits]
        return {**first, "advice": [item.text for item in self.advice], "alternatives": others}


def answer(
    shape: ModelShape, machine: Machine, question: FitQuestion, measured: Callable[[Fit], Fit] = lambda fit: fit
) -> FitAnswer:
    """Predict what was asked; `measured` puts what was measured in place of an estimate.

    Raises UsageError for a runtime or quantization that does not exist or cannot load it.
    """
    runtimes = runtimes_of(shape, question)
    options = FitOptions(
        prefill_chunk=question.prefill_chunk or 0,
        kv_type=question.kv_type,
        baseline=_baseline(question, machine),
        held=shape.held,
    )
    request = FitRequest(
        runtime=runtimes[0],
        quantization=question.quantization or shape.quantization,
        context=question.context or (default_context(shape.context) if shape.context else 0),
        max_batch=question.max_batch,
        options=options,
    )
    if shape.held is not None or shape.runtimes:
        if question.quantization and question.quantization.lower() != shape.quantization.lower():
            raise UsageError(
                f"{shape.name} is quantized already ({shape.quantization})", hint="leave out --quantization"
            )
        request = replace(request, quantization=_accepted(shape, request, machine))
    requests = [
        replace(request, runtime=runtime, quantization=quantization)
        for runtime in runtimes
        for quantization in _quantizations(shape, runtime, machine, request, question)
    ]
    if not requests:
        raise UsageError(
            f"no runtime has a quantization `{request.quantization}`",
            hint="; ".join(filter(None, (meant(request.quantization), "`--all` lists what each of them has"))),
        )
    pairs = [(ask(shape.config, each, machine), each) for each in requests]
    if shape.held is not None and shape.quantization:  # by its own name, whether the table has it or not
        pairs = [(replace(fit, quantization=shape.quantization), each) for fit, each in pairs]
    pairs = [(measured(fit), request) for fit, request in pairs]
    first = usual(shape)
    default = _default(shape, first, machine)
    pairs.sort(key=lambda pair: _rank(pair[0], first, default))
    best = pairs[0][1]
    advice = advise(shape.config, best, machine)
    return FitAnswer(model=shape.name, machine=machine, fits=tuple(fit for fit, _ in pairs), advice=advice)


def _baseline(question: FitQuestion, machine: Machine) -> str:
    """The baseline asked for; `now` is what this machine has in use at the moment."""
    if question.baseline != "now":
        return question.baseline or "desktop"
    if machine.used is None:
        raise UsageError("`--baseline now` measures this machine, but the prediction is for another one")
    return f"{machine.used / GIB:.3f}"


def machine_for(
    question: FitQuestion,
    platform: Callable[[], Platform],
    root: Path,
    query: Callable[[], Card | None] | None = None,
    *,
    cross: bool = False,
) -> Machine:
    """The machine a question is about: the board named, else the platform (this machine unless `--target` says other).

    `cross`: the platform is that of `--target`, whose L4T release then holds for the board too. `query` asks the driver
    for the largest graphics card. Raises UsageError where nothing says how much memory there is, and where
    board, target and mode contradict each other.
    """
    swap = int((question.swap or 0) * GIB)
    if question.board:
        if not tables.board_id(question.board) and (found := cards.named(question.board)) and not cross:
            return _of_card_named(found, question)
        board = board_named(question.board)
        if question.vram:
            raise UsageError(
                f"`--vram` is about a graphics card, and {board.id} has none", hint="leave one of them out"
            )
        if cross:
            return of_target(board, platform(), mode=question.mode, swap=swap)
        return of_board(board, mode=question.mode, swap=swap)
    here = platform()
    if question.swap is None and here.host:
        swap = disk_swap(root)
    card = Card(name="graphics card", memory=int(question.vram * GIB)) if question.vram else None
    if here.has_gpu and here.l4t is None and here.host:
        found = (query or cards.largest_here)()
        card = replace(found, memory=card.memory) if found and card else found or card
    machine = of_platform(here, card=card, swap=swap, mode=question.mode)
    return replace(machine, used=read_memory(root).in_use) if here.host else machine


def _of_card_named(card: Card, question: FitQuestion) -> Machine:
    """A graphics card of the table. Raises UsageError for a power mode, which only boards have."""
    if question.mode:
        raise UsageError(f"`--mode {question.mode}` is a power mode of a Jetson, and {card.name} is a graphics card")
    return of_card(replace(card, memory=int(question.vram * GIB)) if question.vram else card)


def disk_swap(root: Path) -> int:
    """Bytes of swap that is on a disk. ZRAM is not counted: it takes from the memory that is short."""
    swap = read_swap(root)
    return swap.disk if swap else 0


def runtimes_of(shape: ModelShape, question: FitQuestion) -> tuple[str, ...]:
    """The runtimes a question is about. Raises UsageError for one that does not exist or cannot load the artifact."""
    if question.runtime:
        constants.runtime(question.runtime)
        if shape.runtimes and question.runtime not in shape.runtimes:
            raise UsageError(
                f"{shape.name} is an artifact of {shape.runtimes[0]}; {question.runtime} cannot load it",
                hint="name the model it was made of",
            )
        return (question.runtime,)
    return shape.runtimes or tuple(constants.runtimes())


def is_in_table(shape: ModelShape, runtime: str, machine: Machine) -> bool:
    """Whether our tables say that the runtime's version for the machine loads the model."""
    variant = variant_for(constants.runtime(runtime), machine, shape.config.model_type)
    return loads(variant, shape.config) is True


def _accepted(shape: ModelShape, request: FitRequest, machine: Machine) -> str:
    """The artifact's quantization where the runtime's table has it, else the default: sizes are known anyway."""
    variant = variant_for(constants.runtime(request.runtime), machine, shape.config.model_type, request.quantization)
    known = {name.lower(): name for name in (*variant.accepted, *variant.formats)}
    return known.get(request.quantization.lower(), "")


def _quantizations(
    shape: ModelShape, runtime: str, machine: Machine, request: FitRequest, question: FitQuestion
) -> Sequence[str]:
    """What to predict for one runtime. A name that only another runtime has leaves this one out."""
    variant = variant_for(constants.runtime(runtime), machine, shape.config.model_type, request.quantization)
    if question.every_quantization and not request.quantization:
        return tuple(variant.formats)
    if question.runtime or not request.quantization:
        return (request.quantization,)
    known = {name.lower() for name in (*variant.accepted, *variant.formats)}
    return (request.quantization,) if request.quantization.lower() in known else ()


def usual(shape: ModelShape) -> str:
    """The runtime that `chat` and `serve` take for a model where none was asked for."""
    method = shape.config.quantized.method if shape.config.quantized is not None else ""
    return shape.runtimes[0] if shape.runtimes else DEFAULT_RUNTIMES.get(method, DEFAULT_RUNTIME)


def _default(shape: ModelShape, runtime: str, machine: Machine) -> str:
    """The quantization that a runtime takes where none was asked for."""
    row = constants.runtime(runtime)
    return quantization_named(row, variant_for(row, machine, shape.config.model_type), "", machine.sm, shape.config)


def _rank(fit: Fit, first: str, default: str) -> tuple[int, int, bool, bool, float, int, str]:
    """What fits before what does not, then four bits and more, then what `chat` would take, the faster, the smaller."""
    return (
        _ORDER.index(fit.verdict),
        quality(fit.quantization),
        fit.runtime != first,
        fit.runtime == first and fit.quantization != default,
        -(fit.decode_tokens_per_s_most or 0),
        fit.needed_bytes,
        fit.runtime,
    )
