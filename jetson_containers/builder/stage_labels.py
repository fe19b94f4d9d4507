"""The labels of what plans make: of a stage's image, and of a final one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetson_containers.builder.graph import plan_key
from jetson_containers.images import labels
from jetson_containers.plan.stage import StageKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.builder.graph import Node
    from jetson_containers.plan.plan import BuildPlan


def of_stage(node: Node, recorded: Mapping[str, Any], revision: str) -> dict[str, str]:
    """The labels of a stage; `recorded` is the record of its tests, `revision` the commit of the packages."""
    stage = node.stage
    artifact = stage.kind is StageKind.ARTIFACT
    return labels.make(
        role=labels.ARTIFACT if artifact else labels.STAGE,
        name=stage.image,
        key=stage.key,
        packages=(stage.package,) if artifact else node.packages,
        platform=node.plan.platform,
        tests=recorded,
        provenance=labels.Provenance(
            revision=revision,
            base=node.plan.base,
            licenses=(stage.definition.license,) if stage.definition else (),
        ),
    )


def of_final(plan: BuildPlan, tests: Mapping[str, Any], revision: str, created: str) -> dict[str, str]:
    """The labels of a final image; `created` is a moment in the form of RFC 3339."""
    return labels.make(
        role=labels.FINAL,
        name=plan.final,
        key=plan.top.key,
        packages=plan.packages,
        platform=plan.platform,
        plan=plan_key(plan),
        tests=tests,
        provenance=labels.Provenance(
            revision=revision,
            base=plan.base,
            created=created,
            licenses=tuple(stage.definition.license for stage in plan.stages if stage.definition),
        ),
    )
