"""What a user asked for: the finished chain under its final name, tested, labeled, pushed."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.builder import package_tests, stage_labels, stage_registry
from jetson_containers.builder.graph import plan_key
from jetson_containers.core.errors import NotReadyError
from jetson_containers.images import labels
from jetson_containers.plan.stage import StageKind
from jetson_containers.registry.types import ImageRepository

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.builder.graph import Graph, Node
    from jetson_containers.builder.resources import Share
    from jetson_containers.builder.stage_builder import StageBuilder, StageFailure
    from jetson_containers.builder.store import Store
    from jetson_containers.builder.types import BuildOptions
    from jetson_containers.engine.interface import LocalImage
    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.signing.signer import Signer


@dataclass(frozen=True, kw_only=True)
class Final:
    """A plan's image as it is now."""

    image: str
    fresh: bool  # named in this run; False: it stood there before
    size: int | None


def of_plan(plan: BuildPlan, image: LocalImage | None) -> LocalImage | None:
    """The image under the final name, when it is of exactly this plan."""
    return image if image is not None and _is(image, plan) else None


def name(plan: BuildPlan, graph: Graph, stage_builder: StageBuilder, share: Share) -> Final | StageFailure:
    """Put the final name and labels on the top of a plan, which is complete.

    With `--tests all` all packages are tested again in the finished image, before it gets its name; a StageFailure is
    returned when one of these tests fails. Raises NotReadyError subclasses of the engine.
    """
    with stage_builder.state.lock(plan.final, cancelled=stage_builder.cancelled):
        return _name(plan, graph, stage_builder, share)


def _name(plan: BuildPlan, graph: Graph, stage_builder: StageBuilder, share: Share) -> Final | StageFailure:
    store = stage_builder.store
    top = graph.nodes[plan.top.key]
    before = store.engine.image(plan.final)
    known = _records(plan, graph, store, before)
    if tested_together(plan, graph, stage_builder.options):
        tested = _test_together(plan, graph, top, stage_builder, share)
        if not isinstance(tested, dict):
            return tested
        known.update(tested)
    statuses = {package: entry.get("status") for package, entry in known.items()}
    if before is not None and _is(before, plan) and statuses == _statuses(before):
        return Final(image=plan.final, fresh=False, size=before.size)
    source = store.find(top)
    if source is None:
        raise NotReadyError(
            f"the last stage of `{plan.final}` was removed while it was being named", hint="run the same command again"
        )
    store.engine.label(
        source.references[0],
        plan.final,
        stage_labels.of_final(plan, package_tests.of_image(known), stage_builder.revision, _now()),
    )
    image = store.engine.image(plan.final)
    return Final(image=plan.final, fresh=True, size=image.size if image else None)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def tested_together(plan: BuildPlan, graph: Graph, options: BuildOptions) -> list[Node]:
    """List the stages that `--tests all` tests again in the finished image; the top's image is the finished one."""
    if options.tests != "all":
        return []
    nodes = [graph.nodes[stage.key] for stage in plan.stages if stage.key != plan.top.key]
    return [node for node in nodes if package_tests.tests_of(node) and not package_tests.excluded(node, options)]


def push(plan: BuildPlan, namespace: str, stage_builder: StageBuilder, signer: Signer | None) -> str:
    """Push a final image to `REGISTRY/NAMESPACE`, under its own name and tag there, and sign it; that reference."""
    target = f"{ImageRepository.parse(namespace).reference}/{plan.final.rsplit('/', 1)[-1]}"
    if target != plan.final:
        stage_builder.store.engine.tag(plan.final, target)
    stage_builder.progress.started(target, "pushing")
    stage_registry.push(
        stage_builder.store.engine, target, signer, lambda line: stage_builder.progress.line(target, line)
    )
    return target


def _is(image: LocalImage, plan: BuildPlan) -> bool:
    written = labels.read(image.labels)
    same = written.plan == plan_key(plan) and written.key == plan.top.key
    return written.role == labels.FINAL and same and labels.is_ours(image.references, image.labels)


def _statuses(image: LocalImage) -> dict[str, Any]:
    packages = labels.read(image.labels).tests.get("packages")
    return {name: entry.get("status") for name, entry in packages.items()} if isinstance(packages, dict) else {}


def _records(
    plan: BuildPlan,
    graph: Graph,
    store: Store,
    before: LocalImage | None,
) -> dict[str, Mapping[str, Any]]:
    """The tests of every package, as its stage's image records them, else the final as it was."""
    old = labels.read(before.labels).tests if before is not None and _is(before, plan) else {}
    found: dict[str, Mapping[str, Any]] = {}
    stages = [stage for stage in plan.stages if stage.kind is not StageKind.ARTIFACT]
    images = store.find_all([graph.nodes[stage.key] for stage in stages])
    for stage in stages:
        image = images.get(stage.key)
        tests = labels.read(image.labels).tests if image else old
        found[stage.package] = package_tests.of_package(tests, stage.package)
    return found


def _test_together(
    plan: BuildPlan, graph: Graph, top: Node, stage_builder: StageBuilder, share: Share
) -> dict[str, Mapping[str, Any]] | StageFailure:
    """Run the tests of all packages below the top in the top's image: what stands above one may have broken it."""
    found: dict[str, Mapping[str, Any]] = {}
    source = stage_builder.store.find(top)  # under its stage name, or only under a final one when that was pruned
    reference = source.references[0] if source is not None else top.stage.image
    for node in tested_together(plan, graph, stage_builder.options):
        results = stage_builder.test(node, reference, where="final")
        package = node.stage.package
        found[package] = package_tests.record(node, results, stage_builder.options)
        if found[package]["status"] == package_tests.FAILED and stage_builder.options.tests != "warn":
            return stage_builder.failed_test(node, share, results[-1], where=f" in `{plan.final}`")
    return found
