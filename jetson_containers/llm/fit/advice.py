"""What would fit instead: found by predicting it, so that every line of advice holds when it is applied."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit import constants
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import Machine, of_board
from jetson_containers.llm.fit.predict import Fit, FitOptions, FitVerdict, predict, variant_for
from jetson_containers.platforms import tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.llm.models.config import ModelConfig
    from jetson_containers.platforms.tables import Board

_LEAST_CONTEXT = 512  # below it, a chat forgets its own question
_SWAPS = (2, 4, 8, 16)  # GiB worth making a file for


@dataclass(frozen=True, kw_only=True)
class FitRequest:
    """What was asked, in the options of the command line."""

    runtime: str
    quantization: str = ""
    context: int = 0
    max_batch: int = 1
    options: FitOptions = field(default_factory=FitOptions)


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One change that makes it fit: the options to type, what they lead to, and what else is to be done."""

    options: tuple[str, ...]
    request: FitRequest
    machine: Machine
    fit: Fit
    also: str = ""

    @property
    def text(self) -> str:
        """As it is typed."""
        return " ".join(self.options)

    @property
    def for_any_command(self) -> bool:
        """Whether all of `llm` has these options; those about the machine only `llm fit` has."""
        return not {"--baseline", "--swap", "--board"} & set(self.options)


def ask(config: ModelConfig, request: FitRequest, machine: Machine) -> Fit:
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


def advise(config: ModelConfig, request: FitRequest, board: Board | Machine, limit: int = 6) -> tuple[Advice, ...]:
    """List changes that make a request fit, the smallest change first; for a tight fit, what gives room.

    None where it fits well already. Raises UsageError as `predict` does.
    """
    machine = board if isinstance(board, Machine) else of_board(board)
    first = ask(config, request, machine)
    if first.verdict is FitVerdict.FITS:
        return ()
    kept = request.quantization if _as_is(config) else first.quantization
    settled = replace(request, quantization=kept, context=first.context)
    found: list[Advice] = []
    for advice in _Search(config, settled, machine, first).run():
        if all(advice.options != other.options for other in found):
            found.append(advice)
        if len(found) == limit:
            break
    return tuple(found)


def _as_is(config: ModelConfig) -> bool:
    """Whether the checkpoint is quantized already, so that no other quantization can be chosen."""
    return config.quantized is not None


def _powers_below(context: int) -> Iterator[int]:
    """Powers of two below the context, largest first."""
    size = 1 << (context - 1).bit_length() - 1 if context > 1 else 0
    while size >= _LEAST_CONTEXT:
        yield size
        size //= 2


class _Search:
    """Tries changes in the order of how much they change; of each kind, the first that is good enough is yielded."""

    def __init__(self, config: ModelConfig, request: FitRequest, machine: Machine, first: Fit) -> None:
        self._config = config
        self._request = request
        self._machine = machine
        self._first = first
        roomy = first.verdict in {FitVerdict.TIGHT, FitVerdict.SWAP}
        self._context = 0  # tokens with which it fits with nothing else changed
        self._enough = {FitVerdict.FITS} if roomy else {FitVerdict.FITS, FitVerdict.TIGHT}

    def run(self) -> Iterator[Advice]:
        """All advice there is."""
        exact = self._request.options.held is not None
        if self._first.verdict is not FitVerdict.IMPOSSIBLE:
            shorter = list(self._first_of(self._contexts(self._request)))
            self._context = shorter[0].request.context if shorter else 0
            yield from shorter
            yield from self._first_of(iter([self._batch()] if self._request.max_batch > 1 else []))
            yield from self._less_around()
        if not exact and not _as_is(self._config):
            yield from self._other_quantization()
        if not exact:
            yield from self._other_runtimes()
        if self._first.verdict is not FitVerdict.TIGHT:
            yield from self._larger_board()

    def _made(self, request: FitRequest, *options: str, also: str = "", machine: Machine | None = None) -> Advice:
        place = machine or self._machine
        return Advice(options=options, request=request, machine=place, fit=ask(self._config, request, place), also=also)

    def _first_of(self, candidates: Iterator[Advice]) -> Iterator[Advice]:
        yield from itertools.islice((advice for advice in candidates if advice.fit.verdict in self._enough), 1)

    def _contexts(self, request: FitRequest, *options: str) -> Iterator[Advice]:
        for size in _powers_below(request.context):
            yield self._made(replace(request, context=size), *options, "--context", str(size))

    def _batch(self) -> Advice:
        return self._made(replace(self._request, max_batch=1), "--max-batch", "1")

    def _less_around(self) -> Iterator[Advice]:
        """Stop the desktop; add swap for what swap can carry."""
        if not self._machine.discrete and self._first.baseline_bytes > constants.system().baseline["headless"]:
            options = replace(self._request.options, baseline="headless")
            also = "after `sudo systemctl isolate multi-user.target`, which stops the desktop"
            lean = self._made(replace(self._request, options=options), "--baseline", "headless", also=also)
            yield from self._first_of(iter([lean]))
        also = "with a swap file on NVMe; the system's own memory moves there, not the model"
        for size in _SWAPS:
            larger = replace(self._machine, swap=size * GIB)
            made = self._made(self._request, "--swap", str(size), also=also, machine=larger)
            if self._machine.swap < larger.swap and made.fit.verdict is FitVerdict.SWAP and not self._first.fits:
                yield made
                break

    def _other_quantization(self) -> Iterator[Advice]:
        """The largest smaller format, else one with a smaller context."""
        names = list(self._smaller_formats(self._request))
        requests = [(name, replace(self._request, quantization=name)) for name in names]
        found = list(self._first_of(self._made(request, "--quantization", name) for name, request in requests))
        if not found:
            found = list(
                self._first_of(
                    self._made(replace(request, context=size), "--quantization", name, "--context", str(size))
                    for size in _powers_below(self._request.context)
                    if size > self._context
                    for name, request in requests
                )
            )
        yield from found

    def _smaller_formats(self, request: FitRequest) -> Iterator[str]:
        variant = variant_for(
            constants.runtime(request.runtime), self._machine, self._config.model_type, request.quantization
        )
        current = ask(self._config, request, self._machine).weights_bytes
        sizes = {
            name: ask(self._config, replace(request, quantization=name), self._machine).weights_bytes
            for name in variant.formats
        }
        yield from sorted((name for name, size in sizes.items() if size < current), key=lambda name: -sizes[name])

    def _other_runtimes(self) -> Iterator[Advice]:
        """Of each other runtime the smallest change, those with the fewest changes first and then the fastest."""
        found: list[Advice] = []
        for name in constants.runtimes():
            if name != self._request.runtime:
                found += itertools.islice(self._with_runtime(name), 1)
        yield from sorted(found, key=lambda advice: (len(advice.options), -(advice.fit.decode_tokens_per_s_most or 0)))

    def _with_runtime(self, name: str) -> Iterator[Advice]:
        """With its default quantization, with a smaller one, with a smaller context."""
        options = replace(self._request.options, kv_type="f16")
        plain = replace(self._request, runtime=name, quantization="", options=options)
        made = self._made(plain, "--runtime", name)
        yield from self._first_of(iter([made]))
        if made.fit.verdict is not FitVerdict.NO:
            return
        if not _as_is(self._config):
            settled = replace(plain, quantization=made.fit.quantization)
            yield from self._first_of(
                self._made(replace(plain, quantization=smaller), "--runtime", name, "--quantization", smaller)
                for smaller in self._smaller_formats(settled)
            )
        yield from self._first_of(self._contexts(plain, "--runtime", name))

    def _larger_board(self) -> Iterator[Advice]:
        """The smallest module of the table on which the request fits as it is."""
        release = self._machine.release
        machines = [
            of_board(board, swap=self._machine.swap, release=release)
            for board in tables.boards().values()
            if release is None or board.boots(release)
        ]
        for machine in sorted(machines, key=lambda machine: (machine.memory, machine.id)):
            try:
                made = self._made(self._request, "--board", machine.id, machine=machine)
            except UsageError:
                continue  # its version of the runtime has no such quantization
            if made.fit.verdict in self._enough and machine.id != self._machine.id:
                yield made
                return
