"""The truthful word before the 13 GB: what `llm fit` says of a job, and refusing what will not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import DoesNotFitError, UsageError
from jetson_containers.llm.fit import GIB, FitOptions, FitRequest, FitVerdict, advise, ask, board_named
from jetson_containers.llm.fit import query as fitting
from jetson_containers.llm.fit.predict import size_notes
from jetson_containers.llm.models import source as modelsource

if TYPE_CHECKING:
    from jetson_containers.core.console import Console
    from jetson_containers.llm.fit import Fit, Machine
    from jetson_containers.llm.models.config import ModelConfig
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.runtimes.interface import Job
    from jetson_containers.platforms.detect import Platform


def check(job: Job, runtime: str, request: LlmRequest, data: Path, platform: Platform, console: Console) -> None:
    """Say in one line what is expected. Raises DoesNotFitError with what would fit, unless the user goes on anyway.

    Nothing is said where the shape of the model or the memory of the machine is unknown.
    """
    machine = _machine(request.board, platform, console)
    question = _question(job, runtime, data, machine)
    if question is None or machine is None:
        return
    config, wanted = question
    try:
        fit = ask(config, wanted, machine)
    except UsageError as error:  # a quantization the table does not know is for the runtime to judge
        console.detail(f"fit: {error.message}")
        return
    for note in () if job.prepared else size_notes(config):
        console.warning(note)
    if fit.verdict is FitVerdict.NO and not request.anyway:
        advice = [item.text for item in advise(config, wanted, machine) if item.for_any_command]
        raise DoesNotFitError(
            f"{job.name} with {runtime} needs {_gib(fit.needed_bytes)}, {fit.board} has {_gib(fit.available_bytes)}",
            hint=("what fits: " + " · ".join(advice) if advice else "nothing smaller was found that fits here")
            + "\n`--anyway` goes on all the same",
        )
    _say(job, fit, console)


def predict(
    job: Job, runtime: str, data: Path, platform: Platform, console: Console, *, filled: int = 0
) -> dict[str, Any] | None:
    """What `llm fit --json` would say of a job on this machine with `filled` tokens in the context; None: unknown."""
    machine = _machine("", platform, console)
    question = _question(job, runtime, data, machine, filled)
    if question is None or machine is None:
        return None
    try:
        return ask(question[0], question[1], machine).to_json()
    except UsageError:
        return None


def _say(job: Job, fit: Fit, console: Console) -> None:
    if fit.verdict is FitVerdict.IMPOSSIBLE:
        return  # the runtime itself has judged that
    speed = f", about {fit.decode_tokens_per_s:.0f} tokens/s" if fit.decode_tokens_per_s else ""
    text = f"fit: {_gib(fit.total_bytes)} of {_gib(fit.available_bytes)} on {fit.board}{speed}"
    if fit.verdict in {FitVerdict.FITS, FitVerdict.UNKNOWN}:  # what is unknown, the runtime's notices say
        console.info(text)
    else:
        console.warning(f"{text}: {fit.verdict.value}", fit.reason or None)
    if not fit.makes_here and not job.prepared:
        console.warning(
            f"preparing it here takes up to {_gib(fit.peak_bytes)} of memory",
            "prepare it on a larger machine and copy the artefact with its .manifest.json; swap helps as well",
        )


def _gib(size: float) -> str:
    """Memory as boards are sold: in GiB."""
    return f"{size / GIB:.1f} GiB"


def _question(
    job: Job, runtime: str, data: Path, machine: Machine | None, filled: int = 0
) -> tuple[ModelConfig, FitRequest] | None:
    # Of this machine it is known how much is in use; of another, a desktop is assumed.
    baseline = f"{machine.used / GIB:.3f}" if machine is not None and machine.used else "desktop"
    options = FitOptions(prefill_chunk=job.prefill_chunk, baseline=baseline, filled=filled)
    config, quantization = job.config, job.quantization
    place = data / job.source.removeprefix("/data/")
    if job.prepared and place.exists():
        try:
            source = modelsource.load(str(place), _no_hub)
        except UsageError:
            return None
        config, quantization, options = source.config, source.quantization, replace(options, held=source.held)
    if config is None:
        return None
    return config, FitRequest(runtime, quantization, job.context, job.max_batch, options)


def _machine(board: str, platform: Platform, console: Console) -> Machine | None:
    try:
        cross = bool(board) and _has_release_of(board, platform)
        return fitting.machine_for(fitting.FitQuestion(board=board), lambda: platform, Path("/"), cross=cross)
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


def _no_hub(reference: str) -> ModelConfig:
    raise UsageError(f"{reference} is no local model")
