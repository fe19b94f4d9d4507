"""What would fit instead: found by predicting it, so that every line of advice holds when it is applied."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers import tables
from jetson_containers.errors import UsageError
from jetson_containers.fit import constants
from jetson_containers.fit.constants import GIB
from jetson_containers.fit.machine import Machine, of_board
from jetson_containers.fit.predict import Fit, Options, Verdict, predict, variant_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.modelconfig import ModelConfig
    from jetson_containers.tables import Board

_LEAST_CONTEXT = 512  # below it, a chat forgets its own question
_SWAPS = (2, 4, 8, 16)  # GiB worth making a file for


@dataclass(frozen=True)
class Request:
    """What was asked, in the options of the command line."""

    runtime: str
    quantization: str = ""
    context: int = 0
    max_batch: int = 1
    options: Options = field(default_factory=Options)


@dataclass(frozen=True)
class Advice:
    """One change that makes it fit: the options to type, what they lead to, and what else is to be done."""

    options: tuple[str, ...]
    request: Request
    machine: Machine
    fit: Fit
    also: str = ""

    @property
    def text(self) -> str:
        """As it is typed."""
        return " ".join(self.options)


def ask(config: ModelConfig, request: Request, machine: Machine) -> Fit:
    """Predict a request."""
    return predict(
        config,
        runtime=request.runtime,
        quantization=request.quantization,
        context=request.context,
        max_batch=request.max_batch,
        options=request.options,
        board=machine,
    )


def advise(config: ModelConfig, request: Request, board: Board | Machine, limit: int = 6) -> tuple[Advice, ...]:
    """List changes that make a request fit well, the smallest change first; none where it already does.

    For a tight fit only what gives room. Raises UsageError as `predict` does.
    """
    machine = board if isinstance(board, Machine) else of_board(board)
    first = ask(config, request, machine)
    if first.verdict is Verdict.FITS:
        return ()
    kept = request.quantization if _as_is(config) else first.quantization
    settled = replace(request, quantization=kept, context=first.context)
    enough = {Verdict.FITS} if first.verdict in {Verdict.TIGHT, Verdict.SWAP} else {Verdict.FITS, Verdict.TIGHT}
    found: list[Advice] = []
    for advice in _candidates(config, settled, machine, first):
        accepted = advice.fit.verdict in enough or (advice.fit.verdict is Verdict.SWAP and first.verdict is Verdict.NO)
        if accepted and all(advice.options != other.options for other in found):
            found.append(advice)
        if len(found) == limit:
            break
    return tuple(found)


def _candidates(config: ModelConfig, request: Request, machine: Machine, first: Fit) -> Iterator[Advice]:
    """Changes in the order of how much they change. Of each kind the first that fits."""
    if first.verdict is not Verdict.IMPOSSIBLE:
        yield from _smaller_context(config, request, machine)
        if request.max_batch > 1:
            yield _made(config, replace(request, max_batch=1), machine, ("--max-batch", "1"))
        yield from _less_around(config, request, machine, first)
    exact = request.options.held is not None
    if not exact and not _as_is(config):
        yield from _other_quantization(config, request, machine)
    if not exact:
        yield from _other_runtimes(config, request, machine)
    if first.verdict is not Verdict.TIGHT:
        yield from _larger_board(config, request, machine)


def _as_is(config: ModelConfig) -> bool:
    """Whether the checkpoint is quantized already, so that no other quantization can be chosen."""
    return config.quantized is not None


def _made(config: ModelConfig, request: Request, machine: Machine, options: tuple[str, ...], also: str = "") -> Advice:
    return Advice(options, request, machine, ask(config, request, machine), also)


def _fitting(options: Iterator[Advice]) -> Iterator[Advice]:
    """The first that fits without swap, preferring one that is not tight."""
    tight: Advice | None = None
    for advice in options:
        if advice.fit.verdict is Verdict.FITS:
            yield advice
            return
        if advice.fit.verdict is Verdict.TIGHT and tight is None:
            tight = advice
    if tight is not None:
        yield tight


def _contexts(context: int) -> Iterator[int]:
    """Powers of two below the context, largest first."""
    size = 1 << (context - 1).bit_length() - 1 if context > 1 else 0
    while size >= _LEAST_CONTEXT:
        yield size
        size //= 2


def _smaller_context(config: ModelConfig, request: Request, machine: Machine) -> Iterator[Advice]:
    return _fitting(
        _made(config, replace(request, context=size), machine, ("--context", str(size)))
        for size in _contexts(request.context)
    )


def _less_around(config: ModelConfig, request: Request, machine: Machine, first: Fit) -> Iterator[Advice]:
    """Stop the desktop; add swap for what swap can carry."""
    headless = constants.system().baseline["headless"]
    if not machine.discrete and first.baseline_bytes > headless:
        lean = replace(request, options=replace(request.options, baseline="headless"))
        also = "after `sudo systemctl isolate multi-user.target`, which stops the desktop"
        yield _made(config, lean, machine, ("--baseline", "headless"), also)
    for size in _SWAPS:
        larger = replace(machine, swap=size * GIB)
        if machine.swap < larger.swap and (made := _made(config, request, larger, ("--swap", str(size)))).fit.fits:
            yield replace(made, also="with a swap file on NVMe; the system's own memory moves there, not the model")
            break


def _other_quantization(config: ModelConfig, request: Request, machine: Machine) -> Iterator[Advice]:
    """The largest smaller format, else one with a smaller context."""
    names = list(_smaller_formats(config, request, machine))
    same = [_made(config, replace(request, quantization=n), machine, ("--quantization", n)) for n in names]
    fitting = list(_fitting(iter(same)))
    yield from fitting
    if not fitting:
        yield from _fitting(
            _made(
                config,
                replace(request, quantization=name, context=size),
                machine,
                ("--quantization", name, "--context", str(size)),
            )
            for size in _contexts(request.context)
            for name in names
        )


def _smaller_formats(config: ModelConfig, request: Request, machine: Machine) -> Iterator[str]:
    runtime = constants.runtime(request.runtime)
    variant = variant_for(runtime, machine)
    sizes = {name: ask(config, replace(request, quantization=name), machine).weights_bytes for name in variant.formats}
    current = ask(config, request, machine).weights_bytes
    yield from sorted((name for name, size in sizes.items() if size < current), key=lambda name: -sizes[name])


def _other_runtimes(config: ModelConfig, request: Request, machine: Machine) -> Iterator[Advice]:
    """Each other runtime with its default quantization, fastest first; else with a smaller one."""
    found = []
    for name in constants.runtimes():
        if name == request.runtime:
            continue
        other = replace(request, runtime=name, quantization="", options=replace(request.options, kv_type="f16"))
        made = _made(config, other, machine, ("--runtime", name))
        if made.fit.verdict is Verdict.NO and not _as_is(config):
            other = replace(other, quantization=made.fit.quantization)
            smaller = list(_smaller_formats(config, other, machine))
            found += list(
                _fitting(
                    _made(config, replace(other, quantization=q), machine, ("--runtime", name, "--quantization", q))
                    for q in smaller
                )
            )
        else:
            found.append(made)
    yield from sorted(found, key=lambda advice: (len(advice.options), -(advice.fit.decode_tokens_per_s or 0)))


def _larger_board(config: ModelConfig, request: Request, machine: Machine) -> Iterator[Advice]:
    """The smallest module of the table on which the request fits as it is."""
    for board in sorted(tables.boards().values(), key=lambda board: (of_board(board).memory, board.id)):
        try:
            made = _made(config, request, of_board(board, swap=machine.swap), ("--board", board.id))
        except UsageError:
            continue  # its version of the runtime has no such quantization
        if made.fit.fits and made.fit.board != machine.id:
            yield made
            return
