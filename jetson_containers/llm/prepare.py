"""From a request to an artefact that can be served: model → verdict → fit → image → steps."""

from __future__ import annotations

import contextlib
import enum
import json
import os
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from jetson_containers.core.errors import UsageError
from jetson_containers.images import labels
from jetson_containers.llm import disk_space as room
from jetson_containers.llm.containers import Containers
from jetson_containers.llm.models import lookup as source
from jetson_containers.llm.pipeline.steps import Pipeline, Selection, chosen_steps
from jetson_containers.llm.request import DEFAULT_CONTEXT, DEFAULT_RUNTIME, runtime_named
from jetson_containers.llm.runtimes import support_table as rules
from jetson_containers.llm.runtimes.interface import Job, Target
from jetson_containers.llm.runtimes.mlc import devices as mlc_targets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import Engine
    from jetson_containers.llm.models.config import ModelConfig
    from jetson_containers.llm.models.lookup import Model, ModelHub
    from jetson_containers.llm.pipeline.steps import StepResult
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.runtimes.interface import Runtime, StepCommand
    from jetson_containers.platforms.detect import Platform

# Checkpoints that are quantized already are served by the runtime that made their kind.
_OF_METHOD = {
    "gptq": "gptq",
    "awq": "awq",
    "compressed-tensors": "vllm",
    "bitsandbytes": "bitsandbytes",
    "exl2": "exllamav2",
    "exl3": "exllama",
}


class Goal(enum.Enum):
    """How far to prepare."""

    SERVED = "served"  # everything a server loads
    QUANTIZED = "quantized"  # the weights, without the compiled library
    COMPILED = "compiled"  # as SERVED, and it is an error when nothing is compiled


class Fitting(Protocol):
    """Says before anything is downloaded whether it will fit; raises where it will not."""

    def __call__(self, job: Job, runtime: str, request: LlmRequest) -> None:
        """Check one job."""
        ...


@dataclass(frozen=True)
class World:
    """What the actions need of this machine. `engine` is probed when it is first needed.

    `versions_of` gives the versions an image built from our catalogue would have; `fitting` refuses what will not fit
    into this machine's memory; `predict` is what `llm fit` says of a job with so many tokens in the context, None where
    it cannot tell; `known` gives the shape of a well-known model by its name.
    """

    platform: Platform
    engine: Callable[[], Engine]
    settings: Settings
    console: Console
    hub: ModelHub
    versions_of: Callable[[Sequence[str]], Mapping[str, str]]
    fitting: Fitting
    predict: Callable[[Job, str, int], dict[str, Any] | None]
    known: Callable[[str], ModelConfig | None] = lambda _name: None

    @property
    def data(self) -> Path:
        """What containers see as /data."""
        return self.settings.path("data")

    def find_image(self, packages: Sequence[str]) -> str:
        """The image autotag finds. Raises NoCompatibleImageError with the way to build one."""
        from jetson_containers.autotag import search as autotag

        return autotag.find(packages, self.platform, self.engine, self.settings, self.console)


@dataclass(frozen=True)
class PreparedModel:
    """A job that is ready to be served, or (dry run) would be."""

    request: LlmRequest
    model: Model
    runtime: Runtime
    job: Job
    steps: tuple[StepCommand, ...]
    containers: Containers | None
    results: tuple[StepResult, ...] = ()

    @property
    def artefact(self) -> str:
        """What the server loads, as the container sees it."""
        return self.runtime.artefact(self.job)

    @property
    def title(self) -> str:
        """Name, quantization and runtime in a few words."""
        words = [self.model.name, "" if self.job.prepared else self.job.quantization, f"({self.runtime.name})"]
        return " ".join(word for word in words if word)


def prepare(request: LlmRequest, world: World, *, dry_run: bool = False, goal: Goal = Goal.SERVED) -> PreparedModel:
    """Do what is missing, or with `dry_run` only decide; nothing is downloaded before the verdict and the fit.

    Raises UsageError for what cannot work (with the reason and the nearest thing that can), what the download and the
    image search raise, and StepError.
    """
    known = world.known if dry_run else None
    model = source.find(request.model, world.data, world.hub, request.quantization, known=known)
    for note in model.notes:
        world.console.warning(note)
    runtime = choose_runtime(request, model)
    refuse_unread(request, model, runtime, world.console)
    job = make_job(request, model, runtime, assumed(runtime, world, request.image))
    refuse_impossible(runtime, job)
    world.fitting(job, runtime.name, request)
    containers = None if dry_run else containers_for(request, runtime, world)
    if containers is not None:
        job = replace(job, target=target_of(containers, runtime, world))
        refuse_impossible(runtime, job)
    for notice in runtime.notices(job):
        world.console.info(f"note: {notice}")
    steps = (*((model.first,) if model.first else ()), *_towards(goal, runtime, job))
    selection = Selection(request.force, request.start, request.until)
    chosen = chosen_steps(steps, selection)
    if goal is Goal.SERVED and len(chosen) < len(steps):
        raise UsageError(
            f"after `{request.until}` there is no model to be served yet", hint="`llm quantize` prepares a model only"
        )
    prepared = PreparedModel(request, model, runtime, job, chosen, containers)
    if containers is None:
        return prepared
    pipeline = pipeline_for(prepared, world)
    predicted = world.predict(job, runtime.name, 0) or {}
    room.check(job, model, pipeline.plan(steps, selection), world.data, int(predicted.get("weights_bytes", 0)))
    return replace(prepared, results=tuple(pipeline.run(steps, selection)))


def choose_runtime(request: LlmRequest, model: Model) -> Runtime:
    """The runtime asked for, else the one that made the model, or whose format it has.

    Raises UsageError when what was asked for disagrees with the format.
    """
    if model.prepared and request.runtime and runtime_named(request.runtime).name != model.prepared:
        raise UsageError(
            f"`{request.model}` is in the format of {model.prepared}; {request.runtime} cannot use it",
            hint=f"`--runtime {model.prepared}`, or the model's unquantized checkpoint",
        )
    quantized = model.config.quantized.method if model.config and model.config.quantized else ""
    usual = model.prepared or model.maker or _OF_METHOD.get(quantized, DEFAULT_RUNTIME)
    return runtime_named(request.runtime or usual)


def make_job(request: LlmRequest, model: Model, runtime: Runtime, target: Target) -> Job:
    """Fill in what was not asked for."""
    most = (model.config.max_position if model.config else 0) or model.max_context or DEFAULT_CONTEXT
    usual = mlc_targets.usual_context(request.device) or DEFAULT_CONTEXT  # only MLC compiles for other devices
    return Job(
        source=model.path,
        name=model.name,
        config=model.config,
        quantization=request.quantization or runtime.quantizations(target)[0],
        target=target,
        prepared=model.prepared == runtime.name,
        context=request.context or min(usual, most),
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


def refuse_unread(request: LlmRequest, model: Model, runtime: Runtime, console: Console) -> None:
    """Raises UsageError for a configuration that is not understood, of a kind the runtime's list has not either."""
    if model.config is not None or model.prepared or not model.problem:
        return
    listed = any({"*", model.kind} & row.models for row in rules.rows(runtime.name))
    if not listed and not request.anyway:
        raise UsageError(model.problem, hint="`--anyway` goes on all the same; what runs it, and whether, is not known")
    console.warning(f"whether {model.name} fits is not known", model.problem)


def refuse_impossible(runtime: Runtime, job: Job) -> None:
    """Raises UsageError with the reason and the nearest thing that works."""
    verdict = runtime.check(job)
    if not verdict.ok:
        raise UsageError(verdict.reason, hint=rules.remedy(verdict.instead))


def assumed(runtime: Runtime, world: World, image: str = "") -> Target:
    """The target before any image was asked: what the image's tag says, else what our own catalogue would build."""
    versions = world.versions_of(runtime.packages(world.platform))
    said = {name: version for name, version in _versions_of_tag(image).items() if version} if image else {}
    families = {package.partition(":")[0] for package in runtime.packages(world.platform)} | versions.keys()
    if said.keys() & families:
        versions = {**versions, **said}
    return Target(world.platform, "cuda" if world.platform.has_gpu else "cpu", versions)


def containers_for(request: LlmRequest, runtime: Runtime, world: World) -> Containers:
    """The image asked for, or the one autotag finds."""
    image = request.image or world.find_image(runtime.packages(world.platform))
    return Containers(
        world.platform, world.engine(), world.settings, world.console, image, world.find_image, request.threads
    )


def target_of(containers: Containers, runtime: Runtime, world: World) -> Target:
    """What is in the image: versions from its labels or its tag, spellings from its programs' own help.

    The help is kept by image ID in the cache directory: asking costs a container's start each.
    """
    image = containers.engine.image(containers.image)
    marks = labels.read(image.labels) if image else labels.ImageLabels()
    versions = {name.partition(":")[0]: name.partition(":")[2] for name in marks.packages}
    if not versions:
        versions = _versions_of_tag(containers.image)
    device = "cuda" if world.platform.has_gpu and (not marks.platform or marks.platform.get("cuda")) else "cpu"
    return Target(world.platform, device, versions, _probed(containers, runtime, image.id if image else "", world))


def pipeline_for(prepared: PreparedModel, world: World) -> Pipeline:
    """The pipeline with everything that a manifest records."""
    containers = prepared.containers
    if containers is None:
        raise UsageError("nothing runs in a dry run")
    job, platform = prepared.job, world.platform
    image = containers.engine.image(containers.image)
    built_for = labels.read(image.labels).platform if image else {}
    facts: dict[str, Any] = {
        **prepared.model.facts,
        "runtime": prepared.runtime.name,
        "quantization": job.quantization,
        "context": job.context,
        "image": containers.image,
        "image_id": image.id if image else "",
        "versions": dict(job.target.versions),
        "platform": dict(built_for) or platform.build_facts(),
        "board": platform.board,
        "device": job.device or job.target.device,
    }
    host = {prepared.model.first.name: prepared.model.host} if prepared.model.first and prepared.model.host else {}
    return Pipeline(world.data, containers, world.console, prepared.model.origin, facts, host)


def _towards(goal: Goal, runtime: Runtime, job: Job) -> tuple[StepCommand, ...]:
    steps = runtime.steps(job)
    compiling = [step for step in steps if step.name in {"compile", "build"}]
    if goal is Goal.COMPILED and not compiling:
        raise UsageError(
            f"{runtime.name} compiles nothing", hint="`llm quantize` prepares its models; `--runtime mlc` compiles"
        )
    return tuple(step for step in steps if step.name != "compile") if goal is Goal.QUANTIZED else steps


def show(prepared: PreparedModel, command: Sequence[str], console: Console) -> None:
    """Print the exact commands of a dry run, one a line, as they would run in the image."""
    if console.as_json:
        console.result_json(
            {
                "model": prepared.model.asked,
                "runtime": prepared.runtime.name,
                "quantization": prepared.job.quantization,
                "artefact": prepared.artefact,
                "steps": [{"name": step.name, "argv": shown(step), "output": step.output} for step in prepared.steps],
                "command": list(command),
            }
        )
        return
    for step in prepared.steps:
        console.result(shlex.join(shown(step)))
    if command:
        console.result(shlex.join(command))


def shown(step: StepCommand) -> list[str]:
    """A step's command as it can be pasted: with its final place for the temporary one."""
    place = step.output.removesuffix(f"/{step.result}") if step.result else step.output
    return [word.replace("{output}", place) for word in step.argv]


def _versions_of_tag(image: str) -> dict[str, str]:
    from jetson_containers.images.name import ImageName

    name = ImageName.parse(image)
    return {name.name: name.version or ""}


def _probed(containers: Containers, runtime: Runtime, image_id: str, world: World) -> dict[str, str]:
    place = world.settings.path("cache").expanduser() / "probes" / f"{image_id.removeprefix('sha256:')[:32]}.json"
    try:
        known: dict[str, str] = json.loads(place.read_text(encoding="utf-8")) if image_id else {}
    except (OSError, ValueError):
        known = {}
    said = {" ".join(probe): containers.capture(probe) for probe in runtime.probes if " ".join(probe) not in known}
    # What docker could not start just now says nothing of the image, and must not be kept.
    known |= {probe: text for probe, text in said.items() if text is not None}
    if said and image_id:
        with contextlib.suppress(OSError):  # only a cache: it is asked again
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_name(f"{place.name}.{os.getpid()}.part")
            part.write_text(json.dumps(known), encoding="utf-8")
            part.replace(place)
    return known
