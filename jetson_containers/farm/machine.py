"""A worker's machine: builds one stage after the other, or several, on its own engine with its own settings.

The registry decides what is done already: a stage that it holds by key is not built, so a task that Dask starts again,
because a worker died with the results of finished ones, costs one question.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers import __version__
from jetson_containers.builder import base_image, known_base, progress, resources, stage_registry, summary
from jetson_containers.builder.logs import RunLogs
from jetson_containers.builder.stage_builder import StageBuilder, foreign_platform
from jetson_containers.builder.state import BuildState
from jetson_containers.builder.store import Store
from jetson_containers.core.errors import JetsonError, NotReadyError, RegistryError
from jetson_containers.core.secrets import Redactor
from jetson_containers.farm.stage_task import StageResult, unpack
from jetson_containers.images import labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jetson_containers.builder.graph import Node
    from jetson_containers.builder.resources import Resources, Share, StageLoad
    from jetson_containers.builder.stage_builder import StageFailure
    from jetson_containers.builder.stage_registry import StageRegistry
    from jetson_containers.builder.types import BuildOptions
    from jetson_containers.core.console import Console
    from jetson_containers.engine.interface import Engine
    from jetson_containers.farm.stage_task import StageTask
    from jetson_containers.platforms.platform import Platform

PREFIX = "jetson-containers-farm-"  # of temporary directories


class StageMachine:
    """Builds stages; `build` may run in several threads at once."""

    def __init__(
        self,
        engine: Engine,
        options: BuildOptions,
        available: Resources,
        host: Platform,
        registry_for: Callable[[str], StageRegistry],
        console: Console,
        *,
        name: str,
        remote: bool = False,
    ) -> None:
        self.engine = engine
        self.name = name
        self._options = options
        self._remote = remote
        self._available = available
        self._host = host
        self._registry_for = registry_for
        self._console = console
        self._running: dict[str, tuple[StageLoad, Share]] = {}
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def stop(self) -> None:
        """End what runs; its calls raise InterruptedByUserError."""
        self._cancelled.set()
        self.engine.stop()

    def build(self, task: StageTask, parents: Sequence[StageResult], tell: Callable[[str], None]) -> StageResult:
        """Make a stage, or find it; afterwards it is in the registry. `tell` hears "building" when a build begins.

        Raises JetsonErrors that can be pickled: those of a build or a test that failed with the last lines of its log.
        """
        try:
            return self._build(task, parents, tell)
        except JetsonError as error:
            raise _portable(error, self.name) from None

    def _build(self, task: StageTask, parents: Sequence[StageResult], tell: Callable[[str], None]) -> StageResult:
        if task.version != __version__:
            raise NotReadyError(
                f"the build is of jetson-containers {task.version}, and this worker of {__version__}",
                hint="bring the checkouts of client and workers to the same commit",
            )
        began = time.monotonic()
        registry = self._registry_for(task.registry)
        found = _look(registry, task.node)
        if found is not None:
            return self._result(task.node, found, "cached", began)
        with (
            tempfile.TemporaryDirectory(prefix=PREFIX) as directory,
            self.share(task.node.stage.key, task.load) as share,
        ):
            node = unpack(task, Path(directory))
            tell("building")
            if Store(self.engine).find(node) is None:
                node = self._with_base(node, task.base, task.registry)
                self._fetch(node, {**task.below, **{parent.image: parent.reference for parent in parents}})
            report_state, tests = self._make(node, share, task)
            registry.push(node.stage, self.engine, self._console.detail)
        pushed = _look(registry, node)
        if pushed is None:
            raise RegistryError(f"{registry.repository} does not have `{node.stage.image}` although it was pushed")
        return self._result(node, pushed, report_state, began, tests)

    def _make(self, node: Node, share: Share, task: StageTask) -> tuple[str, str]:
        options = task.options(self._options)
        if not shares_gpu(self._host, node.plan.platform):
            options = replace(options, run_options=())
        options = replace(options, engine_elsewhere=self._remote)
        logs = RunLogs(options.log_dir, Redactor(options.env or {}, options.build_args))
        shown = progress.make("plain", self._console, {})
        builder = StageBuilder(
            store=Store(self.engine),
            options=options,
            logs=logs,
            progress=shown,
            state=BuildState(options.state),
            cancelled=self._cancelled,
        )
        outcome = builder.run(node, share)
        if outcome.failure is not None:
            raise self._explained(outcome.failure, task.total, options)
        self._console.info(f"{node.stage.package} | {progress.describe(outcome.report)}")
        return outcome.report.state, outcome.report.tests

    def _explained(self, failure: StageFailure, total: int, options: BuildOptions) -> JetsonError:
        error = summary.explain(failure, total, replace(options, command=""))
        error.details = (*error.details[:-1], f"log on {self.name}: {failure.log}:{failure.number}")
        return error

    def _with_base(self, node: Node, source: str, registry: str) -> Node:
        """Have the base image here, under a name of the farm's own: the user's images of that name stay as they are."""
        if node.stage.parent is not None:
            return node
        alias = f"{base_image.REPOSITORY}:farm-{source.rpartition(':')[2][:16]}"
        if self.engine.image(alias) is None:
            self.engine.pull(source, self._console.detail, platform=node.plan.platform.docker_platform)
            self.engine.tag(source, alias)
            copies = f"{registry.removeprefix('docker.io/')}/{known_base.COPIES}"
            if source.startswith(f"{copies}@"):  # pushed there by the client
                stage_registry.forget(self.engine, source)
        own = node.stage.build_args
        arguments = {**own, "BASE_IMAGE": alias} if "BASE_IMAGE" in own else own
        return replace(node, stage=replace(node.stage, base=alias, build_args=arguments))

    def _fetch(self, node: Node, references: Mapping[str, str]) -> None:
        """Pull the images a stage stands on, but for those that are here."""
        platform = foreign_platform(node, self.engine)
        for image in node.images:
            if self.engine.image(image) is not None:  # its name holds the key
                continue
            self._console.info(f"{node.stage.package} | pulling {image}")
            self.engine.pull(references[image], self._console.detail, platform=platform)
            self.engine.tag(references[image], image)

    @contextlib.contextmanager
    def share(self, key: str, load: StageLoad) -> Iterator[Share]:
        """Divide the machine among the stages that run on it now, for as long as one of them does."""
        with self._lock:
            share = resources.share(load, self._available, running=[*self._running.values()], waiting=())
            self._running[key] = (load, share)
        try:
            yield share
        finally:
            with self._lock:
                del self._running[key]

    def _result(
        self, node: Node, found: stage_registry.RemoteStage, state: str, began: float, tests: str = ""
    ) -> StageResult:
        image = self.engine.image(node.stage.image)
        return StageResult(
            key=node.stage.key,
            image=node.stage.image,
            reference=found.reference,
            state=state,
            worker=self.name,
            seconds=time.monotonic() - began,
            size=image.size if image else 0,
            tests=tests or str(labels.read(found.labels).tests.get("status", "")),
        )


def _look(registry: StageRegistry, node: Node) -> stage_registry.RemoteStage | None:
    """A stage in the registry. Raises RegistryError where that does not answer: without it nothing can be done."""

    def refuse(reason: str) -> None:
        raise RegistryError(reason, hint="check that every worker reaches the registry of `--stage-registry`")

    return registry.find([node], refuse).get(node.stage.key)


def shares_gpu(host: Platform, wanted: Platform) -> bool:
    """Whether tests of images for `wanted` may use this machine's GPU: same L4T release, a driver for their CUDA."""
    if wanted.cuda is None or host.driver_cuda is None or host.arch is not wanted.arch:
        return False
    same = (host.l4t and host.l4t.release[:2]) == (wanted.l4t and wanted.l4t.release[:2])
    return same and wanted.cuda <= host.driver_cuda


def _portable(error: JetsonError, worker: str) -> JetsonError:
    """The error as it can be sent, with the worker's name; one of a class that takes more becomes a plain one."""
    kind = type(error) if type(error).__init__ is JetsonError.__init__ else JetsonError
    return kind(f"{worker}: {error.message}", hint=error.hint, details=error.details)
