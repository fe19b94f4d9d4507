"""From a request to an artifact that can be served: look the model up, decide, and do what was decided.

`plan` ends with the decision, for a dry run; `prepare` also finds the image and runs the steps in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import JetsonError, UsageError
from jetson_containers.images import labels
from jetson_containers.llm import disk_space, fit_check, image_answers
from jetson_containers.llm.containers import Containers
from jetson_containers.llm.decide import Decision, Findings, Goal, choose_runtime, decide
from jetson_containers.llm.image import pull_missing, refuse_without_programs
from jetson_containers.llm.models import known, lookup
from jetson_containers.llm.models.other_kinds import OtherKindError
from jetson_containers.llm.pipeline.steps import Pipeline
from jetson_containers.llm.runtimes import support_table
from jetson_containers.llm.runtimes.interface import ServeOptions, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.core.console import Console
    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.models.types import Model
    from jetson_containers.llm.pipeline.types import StepResult
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.runtimes.interface import Runtime


@dataclass(frozen=True, kw_only=True)
class PreparedModel:
    """A model that is ready to be served, the containers that can, and what became of the steps."""

    decision: Decision
    containers: Containers
    results: tuple[StepResult, ...] = ()


def plan(request: LlmRequest, context: LlmContext, goal: Goal = Goal.SERVED) -> Decision:
    """Decide, and do nothing: the steps are those selected. Raises as `decide`, and DoesNotFitError."""
    decision = decided(request, context, goal, dry_run=True)
    _show_notices(decision, context.console)
    return replace(decision, steps=decision.selected)


def prepare(request: LlmRequest, context: LlmContext, goal: Goal = Goal.SERVED) -> PreparedModel:
    """Decide, then do what is missing; nothing is downloaded before the verdict and the fit.

    Raises UsageError for what cannot work (with the reason and the nearest thing that can), DoesNotFitError, what the
    download and the image search raise, and StepError.
    """
    return make(decided(request, context, goal), context)


def make(decision: Decision, context: LlmContext) -> PreparedModel:
    """Find the image, decide again for what it really has, and run the steps."""
    containers = containers_for(decision, context)
    decision = decision.on(target_of(containers, decision.runtime, context))
    _show_notices(decision, context.console)
    steps = decision.selected
    pipeline = pipeline_for(decision, containers, context)
    planned = pipeline.plan(steps, decision.selection)
    if decision.request.image:
        packages = decision.runtime.packages(context.platform)
        server = decision.service(ServeOptions(port=0)).argv if decision.goal is Goal.SERVED else ()
        refuse_without_programs(containers, packages, planned, server)
    weights = decision.forecast.fit.weights_bytes if decision.forecast else 0
    disk_space.check(decision.job, planned, context.data, int(weights))
    results = pipeline.run(steps, decision.selection)
    decision = replace(decision, model=lookup.with_shape(decision.model, context.data))
    return PreparedModel(decision=decision, containers=containers, results=tuple(results))


def look_up(request: LlmRequest, context: LlmContext, *, dry_run: bool) -> Findings:
    """Find out what the decision needs: the model, which runtime, what it would run in, whose memory counts.

    In a dry run an unreachable hub is not an error. Raises as `lookup.find`, and UsageError for an unknown runtime.
    """
    shapes = known.config if dry_run else None
    model = lookup.find(request.model, context.data, context.hub, request.quantization, known=shapes)
    for note in model.notes:
        context.console.warning(note)
    if model.meant:
        context.console.info(f"note: {model.meant}")
    model = _weighed(model, request, context)
    bare = Target(platform=context.platform, device="cuda" if context.platform.has_gpu else "cpu")
    runtime = choose_runtime(request, model, bare)
    machine = fit_check.machine_for(request.board, context.platform, context.console)
    try:
        target = assumed_target(runtime, context, request.image)
    except UsageError as error:
        raise support_table.for_model(error, runtime.name, model.config, bare) from error
    return Findings(model=model, runtime=runtime, target=target, machine=machine)


def _weighed(model: Model, request: LlmRequest, context: LlmContext) -> Model:
    """The same with the shape that the header of its GGUF file says, before any of it is fetched."""
    if model.shape is not None or model.prepared != "llama_cpp" or not model.facts.get("revision"):
        return model
    try:
        found = context.hub.shape(request.model, request.quantization)
    except OtherKindError:
        raise
    except JetsonError as error:
        context.console.warning(f"it is not known whether {model.name} fits", error.message)
        return model
    return replace(model, shape=found)


def decided(request: LlmRequest, context: LlmContext, goal: Goal = Goal.SERVED, *, dry_run: bool = False) -> Decision:
    """Decide, and do nothing: the first half of `prepare`. Raises as it."""
    named = lookup.as_typed(request.model, context.settings)
    model, quantization = lookup.split_quantization(named, request.quantization)
    request = replace(request, model=model, quantization=quantization)
    decision = decide(request, look_up(request, context, dry_run=dry_run), goal)
    for what, why in decision.warnings:
        context.console.warning(what, why)
    if decision.unpredicted:
        context.console.detail(f"fit: {decision.unpredicted}")
    if decision.forecast is not None:
        fit_check.report(decision.forecast, decision.job, context.console, anyway=request.anyway)
    return decision


def _show_notices(decision: Decision, console: Console) -> None:
    for notice in decision.notices:
        console.info(f"note: {notice}")


def assumed_target(runtime: Runtime, context: LlmContext, image: str = "") -> Target:
    """The target before any image was asked: what the image's tag says, else what our own catalog would build."""
    packages = runtime.packages(context.platform)
    versions = context.versions_of(packages)
    tagged = {name: version for name, version in _versions_of_tag(image).items() if version} if image else {}
    families = {package.partition(":")[0] for package in packages} | versions.keys()
    if tagged.keys() & families:
        versions = {**versions, **tagged}
    return Target(platform=context.platform, device="cuda" if context.platform.has_gpu else "cpu", versions=versions)


def containers_for(decision: Decision, context: LlmContext) -> Containers:
    """Containers of the image asked for, or of the one autotag finds."""
    request, engine = decision.request, context.engine()
    engine.run_capabilities.require_here(f"the models below {context.data}")

    def image_for(packages: Sequence[str]) -> str:
        return pull_missing(context.find_image(packages), engine, context.settings, context.console)

    asked = request.image and pull_missing(request.image, engine, context.settings, context.console)
    return Containers(
        platform=context.platform,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image=asked or image_for(decision.runtime.packages(context.platform)),
        image_for=image_for,
        threads=request.threads,
    )


def target_of(containers: Containers, runtime: Runtime, context: LlmContext) -> Target:
    """What is in the image: versions from its labels or its tag, spellings from its programs' own help.

    The help is kept by image ID in the cache directory: asking costs a container's start each.
    """
    image = containers.engine.image(containers.image)
    marks = labels.read(image.labels) if image else labels.ImageLabels()
    versions = {name.partition(":")[0]: name.partition(":")[2] for name in marks.packages}
    if not versions:
        versions = _versions_of_tag(containers.image)
    device = "cuda" if context.platform.has_gpu and (not marks.platform or marks.platform.get("cuda")) else "cpu"
    return Target(
        platform=context.platform,
        device=device,
        versions=versions,
        probed=image_answers.ask(containers, runtime.probes, image.id if image else ""),
    )


def pipeline_for(decision: Decision, containers: Containers, context: LlmContext) -> Pipeline:
    """The pipeline with everything that a manifest records."""
    job, platform = decision.job, context.platform
    image = containers.engine.image(containers.image)
    built_for = labels.read(image.labels).platform if image else {}
    facts: dict[str, Any] = {
        **decision.model.facts,
        "runtime": decision.runtime.name,
        "quantization": job.quantization,
        "context": job.context,
        "image": containers.image,
        "image_id": image.id if image else "",
        "versions": dict(job.target.versions),
        "platform": dict(built_for) or platform.build_facts(),
        "board": platform.board,
        "device": job.device or job.target.device,
    }
    return Pipeline(
        data=context.data, runner=containers, console=context.console, origin=decision.model.origin, facts=facts
    )


def _versions_of_tag(image: str) -> dict[str, str]:
    from jetson_containers.images.name import ImageName

    name = ImageName.parse(image)
    return {name.name: name.version or ""}
