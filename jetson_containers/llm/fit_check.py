"""Check before the download whether a job fits into memory: the prediction of `llm fit` for what was decided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import DoesNotFitError, UsageError
from jetson_containers.llm.fit import query
from jetson_containers.llm.fit.advice import FitRequest, advise, ask
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.fit.machine import board_named
from jetson_containers.llm.fit.predict import FitOptions, FitVerdict, size_notes

if TYPE_CHECKING:
    from jetson_containers.core.console import Console
    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.fit.predict import Fit
    from jetson_containers.llm.models.config import ModelConfig
    from jetson_containers.llm.models.types import ModelShape
    from jetson_containers.llm.runtimes.interface import Job
    from jetson_containers.platforms.platform import Platform


@dataclass(frozen=True, kw_only=True)
class FitForecast:
    """What is predicted of a job on a machine, and of what it was predicted."""

    config: ModelConfig
    request: FitRequest
    machine: Machine
    fit: Fit


def forecast(
    job: Job, runtime: str, machine: Machine | None, shape: ModelShape | None = None, *, filled: int = 0
) -> FitForecast | None:
    """Predict a job; None where the shape of the model or the memory of the machine is unknown.

    `shape` is that of an artifact which is here already, `filled` the number of tokens in the context. Raises
    UsageError for a quantization that the table of predictions does not know.
    """
    if machine is None:
        return None
    # Of this machine it is known how much is in use; of another, a desktop is assumed.
    baseline = f"{machine.used / GIB:.3f}" if machine.used else "desktop"
    options = FitOptions(prefill_chunk=job.prefill_chunk, baseline=baseline, filled=filled)
    config, quantization = job.config, job.quantization
    if shape is not None:
        config, quantization, options = shape.config, shape.quantization, replace(options, held=shape.held)
    if config is None:
        return None
    request = FitRequest(
        runtime=runtime, quantization=quantization, context=job.context, max_batch=job.max_batch, options=options
    )
    return FitForecast(config=config, request=request, machine=machine, fit=ask(config, request, machine))


def report(found: FitForecast, job: Job, console: Console, *, anyway: bool) -> None:
    """Show the prediction in one line.

    Raises DoesNotFitError with what would fit, unless the user continues `anyway`.
    """
    for note in () if job.prepared else size_notes(found.config):
        console.warning(note)
    if found.fit.verdict is FitVerdict.NO and not anyway:
        raise _does_not_fit(found, job)
    _show(found.fit, job, console)


def _does_not_fit(found: FitForecast, job: Job) -> DoesNotFitError:
    fit = found.fit
    advice = [item.text for item in advise(found.config, found.request, found.machine) if item.for_any_command]
    return DoesNotFitError(
        f"{job.name} with {found.request.runtime} needs {_gib(fit.needed_bytes)}, "
        f"{fit.board} has {_gib(fit.available_bytes)}" + (f": {fit.reason}" if fit.reason else ""),
        hint=("what fits: " + " · ".join(advice) if advice else "nothing smaller was found that fits here")
        + "\nuse `--anyway` to continue anyway",
    )


def _show(fit: Fit, job: Job, console: Console) -> None:
    if fit.verdict is FitVerdict.IMPOSSIBLE:
        return  # the runtime itself has judged that
    speed = f", about {fit.decode_tokens_per_s:.0f} tokens/s" if fit.decode_tokens_per_s else ""
    text = f"fit: {fit.memory_text} on {fit.board} with {fit.context} tokens{speed}"
    if fit.verdict in {FitVerdict.FITS, FitVerdict.UNKNOWN}:  # what is unknown, the runtime's notices say
        console.info(text)
    else:
        console.warning(f"{text}: {fit.verdict.value}", fit.reason or None)
    if not fit.makes_here and not job.prepared:
        console.warning(
            f"preparing it here takes up to {_gib(fit.peak_bytes)} of memory",
            "prepare it on a larger machine and copy the artifact with its .manifest.json, or add swap",
        )


def _gib(size: float) -> str:
    """Memory as boards are sold: in GiB."""
    return f"{size / GIB:.1f} GiB"


def machine_for(board: str, platform: Platform, console: Console) -> Machine | None:
    """The board of that name, else the platform's machine; None where nothing says how much memory it has."""
    try:
        cross = bool(board) and _has_release_of(board, platform)
        return query.machine_for(query.FitQuestion(board=board), lambda: platform, Path("/"), cross=cross)
    except UsageError as error:
        if board:
            raise
        console.detail(f"fit: {error.message}")
        return None


def _has_release_of(board: str, platform: Platform) -> bool:
    """Whether the board will run what is asked for the platform: a cross target that is not another machine."""
    found = board_named(board)
    same = platform.board in {None, found.id}
    return not platform.host and same and platform.l4t is not None and found.boots(platform.l4t)
