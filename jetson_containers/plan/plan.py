"""Resolution → stages with content keys.

key = H(Dockerfile, context files, build args, docker platform, parent key, artifact keys); `keys` says what counts.
The same inputs give the same key on any machine, so an image with that key need not be built again, wherever it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from jetson_containers.core.console import columns, wrapped
from jetson_containers.core.errors import LayerBudgetError, UnavailablePackageError, UsageError, command
from jetson_containers.core.versions import pep440
from jetson_containers.dockerfile import inject
from jetson_containers.plan import economy
from jetson_containers.plan.final_name import final_name
from jetson_containers.plan.planner import Planner, always_taken, quoted
from jetson_containers.plan.stage import MAX_LAYERS, Stage, StageKind, StageState, stage_image
from jetson_containers.platforms import cuda
from jetson_containers.recipes import files, shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jetson_containers.plan.economy import Economy
    from jetson_containers.plan.estimate import Estimate
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.solve import Resolution

DECLARED, CANONICAL = "declared", "canonical"
ORDERS = (DECLARED, CANONICAL)  # of the packages in an image
NAMED = 8  # packages that a line names

__all__ = ["MAX_LAYERS", "Stage", "StageKind", "StageState", "stage_image"]  # and all defined here


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What one request needs, in build order. `final` is the image name the user gets; `""`: no more than a stage."""

    platform: Platform
    request: tuple[str, ...]
    stages: tuple[Stage, ...]
    final: str
    layers: int
    base: str
    packages: tuple[str, ...]  # names in the order they stand in the image
    notices: tuple[str, ...] = ()
    tests: tuple[str, ...] = ()  # packages whose tests a build would run now; known to `builder.decide`
    estimate: Estimate | None = None  # of what is to be built; known to `builder.estimates`

    @property
    def top(self) -> Stage:
        """The stage that becomes the final image."""
        return self.stages[-1]

    def to_json(self) -> dict[str, Any]:
        """The plan for `build --dry-run --json`."""
        return {
            "schema": 1,
            "platform": self.platform.to_json(),
            "request": list(self.request),
            "base": self.base,
            "packages": list(self.packages),
            "stages": [stage.to_json() for stage in self.stages],
            "final": self.final,
            "layers": self.layers,
            "notices": list(self.notices),
            "tests": list(self.tests),
            "estimate": self.estimate.to_json() if self.estimate else None,
        }


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What a user may change of a plan."""

    base: str = ""  # --base
    name: str = ""  # --name
    build_args: Mapping[str, str] = field(default_factory=dict)  # --build-args
    build_flags: tuple[str, ...] = ()  # --build-flags, split as a shell splits words
    no_cache: bool = False
    order: str = DECLARED  # --order


def make(
    resolution: Resolution,
    platform: Platform,
    options: PlanOptions,
    *,
    base_digest: str = "",
) -> BuildPlan:
    """Plan one image; reads recipes and their contexts, writes nothing.

    `base_digest` is in all keys: when a tag comes to mean another base image, all keys change.
    Raises LayerBudgetError, RecipeError for a Dockerfile that cannot be read, UsageError for an empty request or a
    `--name` that is not an image name.
    """
    if not resolution.packages:
        raise UsageError("nothing to build: no package is left", hint="see --skip-packages")
    base = options.base or _default_base(platform)
    planner = Planner(
        platform,
        resolution.build_closures,
        base,
        base_digest=base_digest,
        build_args=options.build_args,
        build_flags=options.build_flags,
    )
    planner.chain(resolution.packages)
    stages = tuple(planner.stages.values())
    platform, of_cuda = _of_what_it_holds(resolution.packages, platform)
    plan = BuildPlan(
        platform=platform,
        request=resolution.requested,
        stages=stages,
        final=final_name(_named(resolution), platform, options.name),
        layers=stages[-1].layers,
        base=base,
        packages=tuple(package.name for package in resolution.packages),
        notices=(*resolution.notices, *of_cuda, *planner.notices()),
    )
    check_layers(plan)
    return plan


def up_to(plan: BuildPlan, wanted: str) -> BuildPlan:
    """The part of a plan that one of its stages needs, without a final image.

    `wanted` is `PACKAGE#NUMBER` as in the table of a dry run, a package with one stage, or the beginning of a key.
    Raises UsageError when no stage is meant, or several.
    """
    by_key = {stage.key: stage for stage in plan.stages}
    top = _meant(plan, wanted)
    needed = {top.key}
    for stage in reversed(plan.stages):
        if stage.key in needed:
            needed |= {key for key in stage.depends if key in by_key}
    stages = tuple(stage for stage in plan.stages if stage.key in needed and stage.key != top.key)
    packages = tuple(part.package for part in reversed(_below(top, by_key)))
    return replace(plan, stages=(*stages, top), final="", layers=top.layers, packages=packages)


def _meant(plan: BuildPlan, wanted: str) -> Stage:
    package, sign, number = wanted.rpartition("#")
    found = [
        stage
        for place, stage in enumerate(plan.stages, 1)
        if (stage.package == package and number == str(place) if sign else stage.package == wanted)
        or (len(wanted) >= 8 and stage.key.removeprefix("sha256:").startswith(wanted.removeprefix("sha256:")))
    ]
    if len(found) == 1:
        return found[0]
    stages = [f"{stage.package}#{place}" for place, stage in enumerate(plan.stages, 1) if stage in found or not found]
    raise UsageError(
        f"--stage {wanted}: {'several stages are meant' if found else 'the plan has no such stage'}",
        details=[", ".join(stages)],
        hint="name one of these; a pipeline that names others was exported before a recipe changed: export it again",
    )


def check_layers(plan: BuildPlan, *, per_stage: int = 0) -> None:
    """Raise LayerBudgetError, naming the largest contributors, when a build would stack more than overlay2 can.

    `per_stage` is what the builder adds to each stage (`inject.CA_COPY_LAYERS` with the legacy builder).
    """
    by_key = {stage.key: stage for stage in plan.stages}
    for stage in plan.stages:
        below = _below(stage, by_key)
        total = stage.depth + per_stage * len(below)
        if total > MAX_LAYERS:
            hint = "join RUN and COPY lines of these recipes"
            if stage.kind is not StageKind.ARTIFACT:
                hint += _split(plan, by_key)
            raise _over_budget(stage, _own_layers(below, by_key), total, hint)


def check_build_args(plans: Iterable[BuildPlan], build_args: Mapping[str, str]) -> tuple[str, ...]:
    """A notice of those `--build-args` that no Dockerfile of the plans declares: they do nothing, as in docker.

    Raises UsageError for those that every build sets itself.
    """
    if "BASE_IMAGE" in build_args or "ARTIFACT_IMAGE" in build_args:
        raise UsageError("--build-args cannot set BASE_IMAGE or ARTIFACT_IMAGE", hint="use --base IMAGE")
    texts = {stage.dockerfile for plan in plans for stage in plan.stages}
    declared = frozenset[str]().union(*(inject.declared_args(text) for text in texts if text))
    unknown = [name for name in sorted(build_args) if name not in declared and not always_taken(name)]
    if not unknown:
        return ()
    known = ", ".join(sorted(declared - {"BASE_IMAGE", "ARTIFACT_IMAGE"})) or "none"
    message = f"--build-args: no Dockerfile of this build declares {quoted(unknown)}, which has no effect"
    return (f"{message}; declared are: {known}",)


def missing_tests(plans: Iterable[BuildPlan]) -> tuple[str, ...]:
    """A notice of each test whose file is not there or not a file: it fails at the end of a build that may be long."""
    definitions = {stage.package: stage.definition for plan in plans for stage in plan.stages if stage.definition}
    return tuple(
        f"the test `{entry}` of `{package}` is not a file of its recipe, so it will fail; or --skip-tests {package}"
        for package, definition in definitions.items()
        for entry in definition.test
        if not files.is_file(shared.script(definition, entry))
    )


def count(plans: Sequence[BuildPlan]) -> Economy:
    """Count what building some plans takes, a stage that they share once."""
    images = len({plan.final for plan in plans if plan.final})
    return economy.of([plan.stages for plan in plans], images=images)


def totals(plans: Sequence[BuildPlan]) -> dict[str, int]:
    """The numbers of `count` for JSON."""
    return count(plans).to_json()


def multiple_json(
    platform: Platform,
    plans: Sequence[BuildPlan],
    errors: Sequence[Mapping[str, str]],
    estimate: Estimate | None = None,
) -> dict[str, Any]:
    """Several plans for `build --multiple --dry-run --json`; `errors` are `{"request", "reason"}`."""
    return {
        "schema": 1,
        "platform": platform.to_json(),
        "plans": [plan.to_json() for plan in plans],
        "errors": [dict(error) for error in errors],
        "totals": totals(plans),
        "estimate": estimate.to_json() if estimate else None,
    }


def describe(plan: BuildPlan, width: int = 0) -> list[str]:
    """Write a plan for people: a table of its stages, for a terminal of this `width`, and a summary."""
    numbers = {stage.key: str(number) for number, stage in enumerate(plan.stages, start=1)}
    rows: list[tuple[str, ...]] = [("#", "package", "kind", "state", "key", "layers", "needs")]
    for stage in plan.stages:
        state = stage.state.value if stage.needed else "not needed"
        needs = " ".join(numbers[key] for key in stage.depends) or "base"
        key = stage.key.removeprefix("sha256:")[:12]
        rows.append((numbers[stage.key], stage.package, stage.kind.value, state, key, str(stage.layers), needs))
    if len({stage.tree for stage in plan.stages}) > 1:
        trees = ("tree", *(stage.tree for stage in plan.stages))
        rows = [(*row, tree) for row, tree in zip(rows, trees, strict=True)]
    return [*columns(rows, width), "", *(part for line in _summary(plan) for part in wrapped(line, width))]


def _kinds(found: Economy) -> str:
    """How many stages compile and how many are layers, each with what it could be where it is more than that."""
    compiles = _fewest("compiles code" if found.compiles == 1 else "compile code", found.compiles, found.compile_bound)
    return (
        f"{compiles}, {_fewest('is a layer' if found.layers == 1 else 'are layers', found.layers, found.layer_bound)}"
    )


def _fewest(what: str, number: int, bound: int) -> str:
    return f"{number} {what}" + (f" ({bound} would be the fewest)" if number > bound else "")


def describe_together(plans: Sequence[BuildPlan]) -> list[str]:
    """Write the numbers of several plans for people, and which packages are compiled more than once."""
    found = count(plans)
    lines = [f"{found.images} images of {found.stages} stages: {_kinds(found)}"]
    if found.repeated:
        often = sorted(found.repeated.items(), key=lambda item: (-item[1], item[0]))
        names = ", ".join(f"{name} ({times} times)" for name, times in often[:NAMED])
        more = f" and {len(often) - NAMED} more" if len(often) > NAMED else ""
        lines.append(f"compiled more than once, having no compile part: {names}{more}")
    return lines


def _default_base(platform: Platform) -> str:
    from jetson_containers.platforms.platform import default_base_image

    return default_base_image(platform)


def _of_what_it_holds(packages: Iterable[Package], platform: Platform) -> tuple[Platform, list[str]]:
    """The platform as name and labels of the image say it, which is with the CUDA that is in it, and what is said.

    Raises UnavailablePackageError for a CUDA that the target's driver is known not to run.
    """
    package = next((package for package in packages if package.family == "cuda"), None)
    version = pep440(package.version) if package else None
    if package is None or version is None or len(version.release) < 2:
        return platform, []
    held = Version(".".join(map(str, version.release[:2])))
    if platform.cuda and held == Version(".".join(map(str, platform.cuda.release[:2]))):
        return platform, []
    own = f"CUDA {platform.cuda}" if platform.cuda else "no CUDA"
    if platform.driver_cuda and cuda.runs(held, platform.l4t, platform.driver_cuda) is cuda.Runs.NOT:
        fine = cuda.runnable(platform.l4t, platform.driver_cuda) if platform.l4t else ()
        where = f"L4T {platform.l4t}, which runs" if platform.l4t else "this target, whose driver runs"
        raise UnavailablePackageError(
            f"`{package.name}` cannot run on {where} CUDA {', '.join(map(str, fine or [platform.driver_cuda]))}",
            hint=f"leave the version of `cuda` open for {own}, or choose another target with --target",
        )
    notice = f"the image holds `{package.name}` where the target has {own}: its name and labels say CUDA {held}"
    return replace(platform, cuda=held), [notice]


def _named(resolution: Resolution) -> Package:
    """Find the package the image is named after: the last one requested."""
    wanted = resolution.requested[-1] if resolution.requested else ""
    family = re.split(r"[:<>=!~ ]", wanted, maxsplit=1)[0]
    for names in ({wanted}, {family}):
        for package in reversed(resolution.packages):
            if names & {package.name, package.family, *package.aliases}:
                return package
    return resolution.packages[-1]


def _below(stage: Stage, by_key: Mapping[str, Stage]) -> list[Stage]:
    """List the stages an image consists of, itself included, from the top."""
    found = [stage]
    while found[-1].parent is not None:
        found.append(by_key[found[-1].parent])
    return [part for part in found if part.kind is not StageKind.META]


def _own_layers(below: Sequence[Stage], by_key: Mapping[str, Stage]) -> dict[str, int]:
    """How many layers each package adds to an image, from the top."""
    return {part.package: part.depth - (by_key[part.parent].depth if part.parent else 0) for part in below}


def _over_budget(stage: Stage, own: Mapping[str, int], total: int, hint: str) -> LayerBudgetError:
    largest = sorted(own.items(), key=lambda item: (-item[1], item[0]))[:5]
    return LayerBudgetError(
        f"`{stage.package}` would stand on {total} layers, and the storage driver stacks {MAX_LAYERS}",
        details=[f"{count:4} layers  {name}" for name, count in largest],
        hint=hint,
    )


def _split(plan: BuildPlan, by_key: Mapping[str, Stage]) -> str:
    """How an image could be built in two halves, the lower one flattened; empty where that would not be enough."""
    own = _own_layers(_below(plan.top, by_key), by_key)
    total = sum(own.values())
    lower: list[str] = []
    under = 0
    for package, layers in [*reversed(own.items())][:-1]:
        if lower and under + layers > total // 2:
            break
        lower.append(package)
        under += layers
    if not lower or under > MAX_LAYERS or total - under + 1 > MAX_LAYERS:
        return ""
    first = command("jetson-containers", "build", "--name=lower", *lower)
    skip = f"--skip-packages={','.join(lower)}"
    second = command("jetson-containers", "build", "--base=lower-flat", skip, *plan.request)
    image = final_name(_definition_of(lower[-1], plan), plan.platform, "lower")
    flat = command("jetson-containers", "flatten", image, "lower-flat")
    return f"; or build {first} ({under} layers), {flat}, and build {second} ({total - under + 1} layers)"


def _definition_of(package: str, plan: BuildPlan) -> Package:
    found = (stage.definition for stage in plan.stages if stage.package == package)
    return next(definition for definition in found if definition is not None)


def _summary(plan: BuildPlan) -> list[str]:
    build, pull = (sum(stage.state is state for stage in plan.stages) for state in (StageState.BUILD, StageState.PULL))
    pulled = f"{pull} to pull, " if pull else ""
    return [
        f"base    {plan.base}",
        f"image   {plan.final or 'none, no more than a stage is wanted'}",
        f"layers  {plan.layers} of {MAX_LAYERS}",
        f"stages  {len(plan.stages)}: {build} to build, {pulled}{len(plan.stages) - build - pull} ready",
        f"        {_kinds(count([plan]))}",
        *([f"tests   of {', '.join(plan.tests)}"] if plan.tests else []),
        *(plan.estimate.lines() if plan.estimate else []),
        *(f"note    {notice}" for notice in plan.notices),
    ]
