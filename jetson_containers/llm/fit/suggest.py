"""Which of the known models to run on a machine, and which machine a model needs."""

from __future__ import annotations

import functools
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.fit import constants
from jetson_containers.llm.fit.machine import of_board
from jetson_containers.llm.fit.predict import Fit, FitOptions, FitVerdict, predict, quality, variant_for
from jetson_containers.llm.fit.weights import active_weights, parameters
from jetson_containers.llm.models import known
from jetson_containers.platforms import tables

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.models.config import ModelConfig

RUNTIMES = ("llama_cpp", "vllm", "mlc")  # which serve without a long conversion; others by name
_FIRST_YEAR = 2023
_LEAST = 512  # tokens of context; less is of use only where it was asked for
_SOLD = 36  # the L4T from which on boards get releases: nobody buys older ones for a model


@dataclass(frozen=True, kw_only=True)
class SuggestQuestion:
    """What a suggested model has to do: `least` tokens/s of one answer, with `context` tokens (None: the default)."""

    runtimes: tuple[str, ...] = ()  # none: those of `RUNTIMES`
    context: int | None = None
    least: float = 7.0  # tokens/s, about as fast as people read
    baseline: str = "desktop"
    limit: int = 10

    @property
    def asked(self) -> tuple[str, ...]:
        """The runtimes to look at."""
        return self.runtimes or RUNTIMES


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One model and the best way to run it. `score` is an estimate of quality by size and age, see `score`."""

    model: str
    score: float
    fit: Fit


@dataclass(frozen=True, kw_only=True)
class Need:
    """The smallest board on which a model runs in one quantization."""

    runtime: str
    quantization: str
    fit: Fit


def suggestions(machine: Machine, question: SuggestQuestion) -> tuple[Suggestion, ...]:
    """Models that fit and answer fast enough, the best first. Raises UsageError for a runtime that does not exist."""
    found = [
        Suggestion(model=name, score=score(name, config), fit=fit)
        for name, config in _chat_models()
        if (fit := _best(config, machine, question)) is not None
    ]
    found.sort(key=lambda one: (-one.score, -(one.fit.decode_tokens_per_s or 0), one.model))
    return tuple(found[: question.limit])


def score(name: str, config: ModelConfig) -> float:
    """Quality, estimated: doublings of size, and one for each year of age.

    Of a mixture of experts, the geometric mean of all and of the used weights counts. That a year is worth a doubling
    is cautious: "Densing law of LLMs" (2024) finds more. Nobody asked the model anything.
    """
    whole = math.log2(max(parameters(config), 1))
    used = math.log2(max(active_weights(config), 1))
    return (whole + used) / 2 + _year(name) - _FIRST_YEAR


def needs(config: ModelConfig, question: SuggestQuestion) -> tuple[Need, ...]:
    """Per runtime and quantization the smallest board that runs it well, the smallest first."""
    boards = [of_board(board) for board in tables.boards().values()]
    machines = sorted((one for one in boards if max(one.l4t, default=0) >= _SOLD), key=lambda one: (one.memory, one.id))
    found: list[Need] = []
    for runtime in question.asked:
        for quantization in _quantizations(config, runtime, machines[-1]):
            fits = (_ask(config, runtime, quantization, machine, question) for machine in machines)
            fit = next((one for one in fits if one is not None and _runs_well(one, question)), None)
            if fit is not None:
                found.append(Need(runtime=runtime, quantization=fit.quantization, fit=fit))
    order = {machine.id: place for place, machine in enumerate(machines)}
    found.sort(key=lambda one: (order[one.fit.board], quality(one.quantization), -one.fit.weights_bytes))
    return tuple(found)


def _best(config: ModelConfig, machine: Machine, question: SuggestQuestion) -> Fit | None:
    """The default of the first runtime that runs it well; of several, the faster."""
    asked = [_ask(config, runtime, "", machine, question) for runtime in question.asked]
    fits = [fit for fit in asked if fit is not None and _runs_well(fit, question)]
    return max(fits, key=lambda fit: fit.decode_tokens_per_s or 0, default=None)


def _ask(
    config: ModelConfig, runtime: str, quantization: str, machine: Machine, question: SuggestQuestion
) -> Fit | None:
    options = FitOptions(baseline=question.baseline)
    constants.runtime(runtime)
    try:
        return predict(
            config,
            runtime=runtime,
            board=machine,
            quantization=quantization,
            context=min(question.context or 0, config.max_position or sys.maxsize),
            options=options,
        )
    except UsageError:  # its version of the runtime has no such quantization
        return None


def _runs_well(fit: Fit, question: SuggestQuestion) -> bool:
    fast = (fit.decode_tokens_per_s or 0) >= question.least
    return (
        fit.verdict in {FitVerdict.FITS, FitVerdict.TIGHT}
        and fast
        and fit.context >= min(question.context or _LEAST, _LEAST)
    )


def _quantizations(config: ModelConfig, runtime: str, machine: Machine) -> Sequence[str]:
    if config.quantized is not None:
        return ("",)
    return tuple(variant_for(constants.runtime(runtime), machine, config.model_type).formats)


def _chat_models() -> Iterator[tuple[str, ModelConfig]]:
    """The known models that answer: those for embeddings do not."""
    for name in known.configs():
        config = known.config(name)
        if config is not None and not _embeds(name, config):
            yield name, config


def _embeds(name: str, config: ModelConfig) -> bool:
    return bool(config.silent) or "embed" in name.lower()


@functools.cache
def _generations() -> tuple[tuple[str, int], ...]:
    rows = load_facts("generations").items()
    return tuple(sorted(((start, int(year)) for start, year in rows), key=lambda row: -len(row[0])))


def _year(name: str) -> int:
    last = name.rpartition("/")[2]
    return next((year for start, year in _generations() if last.lower().startswith(start.lower())), _FIRST_YEAR)
