"""What a run does with each stage: build it, test it, or leave it as it is.

One decision for `build` and `build --dry-run`: pure, over the options and what the local store holds (`Facts`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers.builder import finals, package_tests
from jetson_containers.builder.store import image_named, image_of_stage
from jetson_containers.core.errors import LayerBudgetError
from jetson_containers.dockerfile.inject import CA_COPY_LAYERS
from jetson_containers.images import labels
from jetson_containers.plan.plan import check_layers
from jetson_containers.plan.stage import StageState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from jetson_containers.builder.graph import Graph
    from jetson_containers.builder.stage_registry import RemoteStage, StageRegistry
    from jetson_containers.builder.store import Store
    from jetson_containers.builder.types import BuildOptions
    from jetson_containers.engine.interface import LocalImage
    from jetson_containers.plan.plan import BuildPlan


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the local store holds: images by stage key, and by name those finals that are of exactly this plan."""

    stages: Mapping[str, LocalImage] = field(default_factory=dict)
    finals: Mapping[str, LocalImage] = field(default_factory=dict)
    mounts: bool = True  # whether the builder has `RUN --mount`
    remote: Mapping[str, RemoteStage] = field(default_factory=dict)  # stages a registry has, by key


@dataclass(frozen=True, kw_only=True)
class BuildDecision:
    """Keys of stages. What is in none of the sets is complete, or below a stage that is.

    `build` is made; `pull` is taken from a registry; `test` is what is there already, or will be pulled, and is only
    tested; `used` are complete stages that something in `build` stands on, and complete tops. `together` names by final
    image the stages tested again in it.
    """

    build: frozenset[str]
    pull: frozenset[str]
    test: frozenset[str]
    used: frozenset[str]
    together: Mapping[str, tuple[str, ...]]
    tested: frozenset[str]  # stages whose tests run, those that are built included

    @property
    def nothing(self) -> bool:
        """Whether no stage is built or pulled and no test runs."""
        return not (self.build or self.pull or self.tested)

    def todo(self, graph: Graph) -> dict[str, None]:
        """The stages to build or to test, in build order."""
        return {key: None for key in graph.nodes if key in self.build or key in self.test}


def look(
    graph: Graph,
    plans: Sequence[BuildPlan],
    store: Store,
    options: BuildOptions,
    registry: StageRegistry | None = None,
    warn: Callable[[str], None] = lambda _text: None,
) -> Facts:
    """Look into the local store, and ask the registry for what would have to be built.

    Raises NotReadyError subclasses when the engine cannot be reached.
    """
    here = facts(graph, plans, store)
    if options.ca_bundle and not _fits_copies(plans):  # the engine is probed only where the answer counts
        here = replace(here, mounts=store.engine.capabilities.mounts)
    if registry is None or options.forced:
        return here
    missing = decide(graph, plans, here, options).build
    return replace(here, remote=registry.find((graph.nodes[key] for key in graph.nodes if key in missing), warn))


def facts(graph: Graph, plans: Sequence[BuildPlan], store: Store) -> Facts:
    """Look into the local store. What the builder can do is asked only where a CA bundle makes it matter.

    Raises NotReadyError subclasses when the engine cannot be reached.
    """
    names = [node.stage.image for node in graph.nodes.values()] + [plan.final for plan in plans if plan.final]
    images = store.engine.images_named(list(dict.fromkeys(names)))
    found = {key: image_of_stage(node, images) for key, node in graph.nodes.items()}
    named = {plan.final: finals.of_plan(plan, image_named(plan.final, images)) for plan in plans if plan.final}
    if not all(
        found.values()
    ):  # a final whose stages were pruned: only then the whole store counts, which takes seconds
        by_key: dict[str, list[LocalImage]] = {}
        for image in store.engine.images():
            by_key.setdefault(image.labels.get(labels.KEY, ""), []).append(image)
        found = {key: image or image_of_stage(graph.nodes[key], by_key.get(key, ())) for key, image in found.items()}
    return Facts(
        stages={key: image for key, image in found.items() if image is not None},
        finals={name: image for name, image in named.items() if image is not None},
    )


def _check_copies(plans: Sequence[BuildPlan]) -> None:
    for plan in plans:
        check_layers(plan, per_stage=CA_COPY_LAYERS)


def _fits_copies(plans: Sequence[BuildPlan]) -> bool:
    try:
        _check_copies(plans)
    except LayerBudgetError:
        return False
    return True


def decide(graph: Graph, plans: Sequence[BuildPlan], here: Facts, options: BuildOptions) -> BuildDecision:
    """Decide for every stage.

    Built is what the store lacks where it is the top of a plan, below something that is built, or a stage with tests
    of its own that no final image records; with `--rebuild` and `--no-cache` it is everything. What a registry has is
    pulled instead. What lies below a stage that is there is not missed. Tested is what is built, and what is there with
    tests that are due.

    Raises LayerBudgetError when a builder without mounts would add more layers for the CA bundle than fit.
    """
    if options.ca_bundle and not here.mounts:
        _check_copies(plans)
    if options.forced:
        build, pull, used = frozenset(graph.nodes), frozenset[str](), frozenset[str]()
    else:
        build, pull, used = _missing(graph, plans, here, options)
    ready: dict[str, LocalImage | RemoteStage] = {**here.stages, **{key: here.remote[key] for key in pull}}
    test = frozenset(key for key, image in ready.items() if key not in build and _is_due(graph, key, image, options))
    together = {
        plan.final: tuple(node.stage.key for node in finals.tested_together(plan, graph, options))
        for plan in plans
        if plan.final
    }
    after_build = {key for key in build if package_tests.due(graph.nodes[key], options, {})}
    tested = frozenset(after_build | test | {key for keys in together.values() for key in keys})
    return BuildDecision(build=build, pull=pull, test=test, used=used, together=together, tested=tested)


def shown(plan: BuildPlan, decision: BuildDecision, here: Facts) -> BuildPlan:
    """Write the decision into a plan, for `--dry-run`."""
    stages = []
    for stage in plan.stages:
        key, image = stage.key, here.stages.get(stage.key)
        if key in decision.build:
            state, source = StageState.BUILD, ""
        elif key in decision.pull:
            state, source = StageState.PULL, here.remote[key].reference
        else:
            state, source = StageState.CACHED, image.references[0] if image and image.references else ""
        needed = state is not StageState.CACHED or key in decision.used or key in decision.test
        stages.append(replace(stage, state=state, needed=needed, source=source))
    tests = tuple(stage.package for stage in plan.stages if stage.key in decision.tested)
    return replace(plan, stages=tuple(stages), tests=tests)


def recorded(graph: Graph, key: str, image: LocalImage | RemoteStage) -> Mapping[str, Any]:
    """What an image remembers of the tests of one of its stages."""
    return package_tests.of_package(labels.read(image.labels).tests, graph.nodes[key].stage.package)


def _missing(
    graph: Graph, plans: Sequence[BuildPlan], here: Facts, options: BuildOptions
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """The keys to build, to pull, and in use."""
    build: set[str] = set()
    pull: set[str] = set()
    used: set[str] = set()
    waiting = [
        key
        for key, node in graph.nodes.items()
        if node.last or (key in graph.test_only_stages and not _is_covered(graph, key, plans, here, options))
    ]
    while waiting:
        key = waiting.pop()
        if key in here.stages:
            used.add(key)
        elif key in here.remote:
            pull.add(key)
        elif key not in build:
            build.add(key)
            waiting.extend(graph.needs[key])
    return frozenset(build), frozenset(pull), frozenset(used)


def _is_due(graph: Graph, key: str, image: LocalImage | RemoteStage, options: BuildOptions) -> bool:
    return package_tests.due(graph.nodes[key], options, recorded(graph, key, image))


def _is_covered(graph: Graph, key: str, plans: Sequence[BuildPlan], here: Facts, options: BuildOptions) -> bool:
    """Whether a finished image that holds this stage remembers its tests as they should be, or is tested itself."""
    for plan in plans:
        image = here.finals.get(plan.final) if any(stage.key == key for stage in plan.stages) else None
        if image is None:
            continue
        if graph.nodes[key] in finals.tested_together(plan, graph, options):
            return True
        said = recorded(graph, key, image)
        if said and not package_tests.due(graph.nodes[key], options, said):
            return True
    return False
