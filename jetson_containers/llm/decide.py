"""Decide how a model is prepared and served, from what is known of it: runtime, verdict, memory, steps. Pure.

A dry run ends here: nothing is downloaded, no image is looked for, nothing is printed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import UsageError
from jetson_containers.llm import fit_check, server_options
from jetson_containers.llm.fit.predict import default_context
from jetson_containers.llm.fit.query import DEFAULT_RUNTIME, DEFAULT_RUNTIMES
from jetson_containers.llm.pipeline.steps import chosen_steps
from jetson_containers.llm.pipeline.types import Selection
from jetson_containers.llm.request import runtime_named
from jetson_containers.llm.runtimes import support, support_table
from jetson_containers.llm.runtimes.interface import Job, ServeOptions
from jetson_containers.llm.runtimes.mlc import devices

if TYPE_CHECKING:
    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.fit_check import FitForecast
    from jetson_containers.llm.models.types import Model
    from jetson_containers.llm.pipeline.types import Step
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.runtimes.interface import Runtime, Service, Target
    from jetson_containers.llm.server_options import JoinedService


class Goal(enum.Enum):
    """How far to prepare."""

    SERVED = "served"  # everything a server loads
    QUANTIZED = "quantized"  # the weights, without the compiled library
    COMPILED = "compiled"  # as SERVED, and it is an error when nothing is compiled


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found out before anything is decided. `machine` is the one that must have the memory; None: unknown."""

    model: Model
    runtime: Runtime
    target: Target
    machine: Machine | None = None


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What will be done for a request, and what is expected of it.

    `steps` are all that lead to the goal, `selected` those that the user wants of them. `forecast` is None where
    nothing can be predicted, for the reason in `unpredicted` where there is one to give.
    """

    request: LlmRequest
    goal: Goal
    model: Model
    runtime: Runtime
    job: Job
    steps: tuple[Step, ...]
    forecast: FitForecast | None = None
    unpredicted: str = ""
    warnings: tuple[tuple[str, str], ...] = ()  # what, and why

    @property
    def artifact(self) -> str:
        """What the server loads, as the container sees it."""
        return self.runtime.artifact(self.job)

    @property
    def quantization(self) -> str:
        """What the weights are quantized to; empty where they are prepared already."""
        return "" if self.job.prepared else self.job.quantization

    @property
    def title(self) -> str:
        """Name, quantization and runtime in a few words."""
        return " ".join(word for word in (self.model.name, self.quantization, f"({self.runtime.name})") if word)

    @property
    def notices(self) -> tuple[str, ...]:
        """What was translated, limited, guessed, or replaced by the user's own options of the server."""
        joined = self._joined(ServeOptions(port=0)) if self.request.runtime_options else None
        return (*self.runtime.notices(self.job), *(joined.notices if joined else ()))

    @property
    def selection(self) -> Selection:
        """Which steps the user wants, in the words of the pipeline."""
        return Selection(force=self.request.force, start=self.request.start, until=self.request.until)

    @property
    def selected(self) -> tuple[Step, ...]:
        """The steps to do. Raises UsageError for a name that none has, and where nothing would be left to serve."""
        chosen = chosen_steps(self.steps, self.selection)
        if self.goal is Goal.SERVED and len(chosen) < len(self.steps):
            raise UsageError(
                f"there is no model to serve after the step `{self.request.until}`",
                hint="use `llm quantize` to prepare a model only",
            )
        return chosen

    def on(self, target: Target) -> Decision:
        """The same decision on another target: what the image really has. Raises UsageError where that cannot do it."""
        job = replace(self.job, target=target)
        _refuse_impossible(self.runtime, job)
        return replace(self, job=job, steps=_steps(self.goal, self.model, self.runtime, job))

    def service(self, options: ServeOptions) -> Service:
        """The command of the server. Raises UsageError for options that it cannot be given."""
        return self._joined(options).service

    def _joined(self, options: ServeOptions) -> JoinedService:
        made = self.runtime.serve(self.job, options)
        return server_options.join(made, self.request.runtime_options, self.job.target.probed)


def decide(request: LlmRequest, found: Findings, goal: Goal = Goal.SERVED) -> Decision:
    """Decide what to do. Whether it fits is in the decision, for `fit_check.report` to refuse.

    Raises UsageError for what cannot work, with the reason and the nearest thing that can.
    """
    model, runtime = found.model, found.runtime
    warnings = _warnings(request, model, runtime)
    _refuse_long_context(request, model)
    if goal is Goal.SERVED:
        _refuse_silent(request, model)
    job = make_job(request, model, runtime, found.target)
    _refuse_impossible(runtime, job)
    forecast, unpredicted = None, ""
    try:
        forecast = fit_check.forecast(job, runtime.name, found.machine, model.shape)
    except UsageError as error:  # a quantization the table does not know is for the runtime to decide
        unpredicted = error.message
    decision = Decision(
        request=request,
        goal=goal,
        model=model,
        runtime=runtime,
        job=job,
        steps=_steps(goal, model, runtime, job),
        forecast=forecast,
        unpredicted=unpredicted,
        warnings=warnings,
    )
    if request.runtime_options:
        decision.service(ServeOptions(port=0))  # refused before anything is prepared
    return decision


def choose_runtime(request: LlmRequest, model: Model, target: Target | None = None) -> Runtime:
    """The runtime asked for, else the one that made the model, or whose format it has and which the target can have.

    Raises UsageError when what was asked for disagrees with the format.
    """
    if model.prepared and request.runtime and runtime_named(request.runtime).name != model.prepared:
        raise UsageError(
            f"`{request.model}` is in the format of {model.prepared}; {request.runtime} cannot use it",
            hint=f"`--runtime {model.prepared}`, or the model's unquantized checkpoint",
        )
    quantized = model.config.quantized.method if model.config and model.config.quantized else ""
    usual = model.prepared or model.maker or DEFAULT_RUNTIMES.get(quantized, DEFAULT_RUNTIME)
    if model.config and quantized and target and not (model.prepared or model.maker or request.runtime):
        usual = support_table.first_that_loads(usual, model.config, target)
    return runtime_named(request.runtime or usual)


def _usual(runtime: Runtime, model: Model, target: Target) -> str:
    return support.kept(runtime.name, model.config) or runtime.quantizations(target)[0]


def _most(model: Model) -> int:
    """The longest context the model takes, in tokens; 0 where nothing says it."""
    config = model.config or (model.shape.config if model.shape else None)
    return (config.max_position if config else 0) or model.max_context


def make_job(request: LlmRequest, model: Model, runtime: Runtime, target: Target) -> Job:
    """Fill in what was not asked for."""
    usual = devices.usual_context(request.device)  # only MLC compiles for other devices
    return Job(
        source=model.path,
        name=model.name,
        config=model.config,
        quantization=request.quantization or _usual(runtime, model, target),
        target=target,
        prepared=model.prepared == runtime.name,
        context=request.context or default_context(_most(model), usual),
        prefill_chunk=request.prefill_chunk,
        sliding_window=request.sliding_window,
        max_batch=request.max_batch,
        conv_template=request.conv_template,
        device=request.device,
        host=request.host,
        opt=request.opt,
        overrides=request.overrides,
        system_lib_prefix=request.system_lib_prefix,
        calibration=request.calibration,
        samples=request.samples,
        files=model.files,
    )


def _warnings(request: LlmRequest, model: Model, runtime: Runtime) -> tuple[tuple[str, str], ...]:
    """What to warn of where a configuration is not understood.

    Raises UsageError where the runtime's list does not have the model's type either.
    """
    if model.config is not None or model.prepared or not model.problem:
        return ()
    listed = any({"*", model.kind} & row.models for row in support_table.rows(runtime.name))
    if not listed and not request.anyway:
        raise UsageError(model.problem, hint="use `--anyway` to continue; it is not known whether anything runs it")
    return ((f"it is not known whether {model.name} fits", model.problem),)


def _refuse_long_context(request: LlmRequest, model: Model) -> None:
    """Raises UsageError where more is asked than a model takes that no forecast is made for: its server would end."""
    if model.max_context and request.context > model.max_context and not request.anyway:
        raise UsageError(
            f"{model.name} takes at most {model.max_context} tokens, and `--context {request.context}` asks for more",
            hint="leave out `--context`, or use `--anyway` to try it",
        )


def _refuse_silent(request: LlmRequest, model: Model) -> None:
    """Raises UsageError for a model that makes vectors or scores of a text, and cannot answer."""
    config = model.config or (model.shape.config if model.shape else None)
    if config is not None and config.silent and not request.anyway:
        raise UsageError(
            f"{model.name} is {config.silent}, which writes no text",
            hint="name a model that answers, or use `--anyway` to serve it with options of its runtime",
        )


def _refuse_impossible(runtime: Runtime, job: Job) -> None:
    """Raises UsageError with the reason and the nearest thing that works."""
    verdict = runtime.check(job)
    if not verdict.ok:
        raise UsageError(verdict.reason, hint=support_table.remedy(verdict.instead))


def _steps(goal: Goal, model: Model, runtime: Runtime, job: Job) -> tuple[Step, ...]:
    return (*((model.first,) if model.first else ()), *_runtime_steps(goal, runtime, job))


def _runtime_steps(goal: Goal, runtime: Runtime, job: Job) -> tuple[Step, ...]:
    steps = runtime.steps(job)
    compiling = [step for step in steps if step.name in {"compile", "build"}]
    if goal is Goal.COMPILED and not compiling:
        raise UsageError(
            f"{runtime.name} has nothing to compile",
            hint="use `llm quantize` to prepare its models, or `--runtime mlc` to compile",
        )
    return tuple(step for step in steps if step.name != "compile") if goal is Goal.QUANTIZED else steps
