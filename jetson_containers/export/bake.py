"""A folder for `docker buildx bake`: the definition, and the build contexts that it names.

Every stage is a target that stands on others by `target:`, with the tags and labels that a build gives it; the final
images are the default group. Nothing is tested: a later `build` of the same packages finds the stages and tests them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.builder import graph, package_tests, resources, stage_labels
from jetson_containers.core.errors import ConfigError, UsageError
from jetson_containers.engine import bake
from jetson_containers.engine.context import Prepared, lay_out
from jetson_containers.engine.interface import BuildRequest
from jetson_containers.plan.stage import StageKind
from jetson_containers.recipes.shared import files_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.builder.graph import Graph, Node
    from jetson_containers.export.jobs import TargetPlans
    from jetson_containers.plan.plan import BuildPlan

DEFINITION = "docker-bake.json"
CONTEXTS = "contexts"
_RENAMES = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"


def write(targets: Sequence[TargetPlans], folder: Path, revision: str) -> Path:
    """Write the folder, which must not be there yet; returns the definition in it.

    Raises UsageError for a folder that is there and a recipe whose flags bake does not take, ConfigError for a folder
    that cannot be written.
    """
    if folder.exists():
        raise UsageError(f"{folder} exists already", hint="name a folder that is not there yet")
    plans = [plan for target in targets for plan in target.plans]
    merged = graph.merge(plans)
    try:
        stages = [_stage(node, folder, revision) for node in merged.nodes.values()]
        finals = [_final(plan, merged, folder, revision) for plan in {plan.final: plan for plan in plans}.values()]
        (folder / DEFINITION).write_text(_definition(stages, finals, merged), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}", hint="name another") from error
    return folder / DEFINITION


def _definition(stages: Sequence[Prepared], finals: Sequence[Prepared], merged: Graph) -> str:
    tags = [build.request.tag for build in (*stages, *finals)]
    names = bake.target_names(tags)
    made: dict[str, Any] = dict(bake.files([*stages, *finals], names, tags).definition)
    made["group"] = {
        "default": {"targets": [names[build.request.tag] for build in finals]},
        bake.GROUP: {"targets": [names[build.request.tag] for build in stages]},
    }
    for node in merged.nodes.values():
        definition = node.stage.definition
        if definition is not None and definition.network:
            made["target"][names[node.stage.image]]["network"] = definition.network
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _stage(node: Node, folder: Path, revision: str) -> Prepared:
    """One target. Raises UsageError for flags of `docker build`, which a definition cannot hold."""
    stage, definition = node.stage, node.stage.definition
    if definition is not None and definition.build_flags:
        raise UsageError(
            f"`{definition.name}` has flags of `docker build`, which bake does not take: {definition.build_flags}",
            hint="`jetson-containers build` builds it alone",
        )
    arguments, _ = resources.split_jobs(stage.build_args, 0)
    request = BuildRequest(
        context=Path(),
        dockerfile=_RENAMES if stage.kind is StageKind.META else stage.dockerfile,
        tag=stage.image,
        build_args={"BASE_IMAGE": stage.base, **arguments},
        labels=stage_labels.of_stage(node, package_tests.not_run(node, package_tests.PENDING), revision),
        platform=node.plan.platform.docker_platform,
        needs=node.images,
    )
    return _laid_out(request, node, folder)


def _final(plan: BuildPlan, merged: Graph, folder: Path, revision: str) -> Prepared:
    """The target of a final image: its topmost stage under another name, with other labels."""
    top = merged.nodes[plan.top.key].stage
    nodes = [merged.nodes[stage.key] for stage in plan.stages if stage.kind is not StageKind.ARTIFACT]
    records = {node.stage.package: package_tests.not_run(node, package_tests.PENDING) for node in nodes}
    tests = {"status": package_tests.PENDING, "packages": records}
    request = BuildRequest(
        context=Path(),
        dockerfile=_RENAMES,
        tag=plan.final,
        build_args={"BASE_IMAGE": top.image},
        labels=stage_labels.of_final(plan, tests, revision, ""),
        platform=plan.platform.docker_platform,
        needs=(top.image,),
    )
    return _laid_out(request, None, folder)


def _laid_out(request: BuildRequest, node: Node | None, folder: Path) -> Prepared:
    """Put context and Dockerfile of a target into the folder; its path in the definition is relative to the context."""
    name = bake.target_names([request.tag])[request.tag]
    dockerfile = f"{name}.Dockerfile"
    definition = node.stage.definition if node else None
    context = Path(CONTEXTS, "empty")
    if definition is not None and request.dockerfile != _RENAMES:
        context = Path(CONTEXTS, name)
        source = replace(request, context=definition.path, added=definition.added, shared=files_of(definition))
        (folder / CONTEXTS).mkdir(parents=True, exist_ok=True)
        lay_out(source, folder / context, link=False)
    else:
        (folder / context).mkdir(parents=True, exist_ok=True)
    (folder / CONTEXTS / dockerfile).write_text(request.dockerfile, encoding="utf-8")
    return Prepared(request=request, dockerfile=Path("..", dockerfile), context=context)
