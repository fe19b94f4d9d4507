"""`build --farm`: stages become tasks of Dask under their keys, and the registry holds what comes of them.

Dask decides who builds what and when; it is told what each stage stands on, what it needs, and how urgent it is. A
stage that has begun is finished even when this program ends, so another run finds it under its key.
"""

from __future__ import annotations

import contextlib
import logging
import queue
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.builder import decide, graph, scheduler
from jetson_containers.builder.state import BuildState
from jetson_containers.builder.store import Store
from jetson_containers.core.console import human_bytes, human_seconds
from jetson_containers.core.errors import InterruptedByUserError, JetsonError, NotReadyError, RegistryError
from jetson_containers.engine.transfer_progress import TransferProgress
from jetson_containers.farm import access, labels, serve, stage_task
from jetson_containers.farm.handover import Handover, Offer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.builder.stage_registry import StageRegistry
    from jetson_containers.builder.types import BuildOptions
    from jetson_containers.core.console import Console
    from jetson_containers.engine.interface import Engine
    from jetson_containers.farm.access import FarmAccess
    from jetson_containers.farm.stage_task import StageResult, StageTask
    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.plan.stage import Stage

CONNECT = 30.0  # seconds a scheduler may take to answer
LOOK = 2.0  # seconds after which it is looked for workers that have joined
AGAIN = "start the scheduler again, then the same command resumes"


@dataclass(frozen=True, kw_only=True)
class FarmOptions:
    """Which farm builds, and which labels a worker must have."""

    address: str
    access: FarmAccess
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class FarmReport:
    """What became of the stages that the farm was given. `failures` are by key, what stands on them included."""

    results: Mapping[str, StageResult] = field(default_factory=dict)
    failures: Mapping[str, JetsonError] = field(default_factory=dict)


class FarmBuild:
    """Builds the missing stages of plans on a farm."""

    def __init__(
        self,
        plans: Sequence[BuildPlan],
        engine: Engine,
        options: BuildOptions,
        registry: StageRegistry,
        console: Console,
    ) -> None:
        self._plans = [plan for plan in plans if plan.stages]
        self.graph = graph.merge(self._plans)
        self._engine = engine
        self._options = options
        self._registry = registry
        self._console = console
        self._state = BuildState(options.state)
        self._failed: dict[str, JetsonError] = {}
        self._results: dict[str, StageResult] = {}

    def run(self, farm: FarmOptions) -> FarmReport:
        """Build what neither the local store nor the registry has; afterwards all of it is in the registry.

        Raises the JetsonError of the first stage that failed unless `keep_going`; InterruptedByUserError after Ctrl-C;
        NotReadyError where no scheduler answers, or it is gone before the end.
        """
        tasks = self.tasks()
        if not tasks:
            return FarmReport()
        try:
            with _connected(farm) as client:
                self._submit(client, farm, tasks)
        except KeyboardInterrupt:
            raise InterruptedByUserError(
                "interrupted", hint="the same command again resumes; stages that run are finished by their workers"
            ) from None
        if self._failed and not self._options.keep_going:
            raise next(iter(self._failed.values()))
        return FarmReport(results=self._results, failures=self._failed)

    # Before.

    def tasks(self) -> dict[str, StageTask]:
        """A task for each stage that has to be built, in build order."""
        here = decide.look(
            self.graph, self._plans, Store(self._engine), self._options, self._registry, self._console.warning
        )
        build = decide.decide(self.graph, self._plans, here, self._options).build
        missing = [key for key in self.graph.nodes if key in build]
        below = self._below(missing)
        loads = scheduler.loads(self.graph, missing, self._state.seconds())
        bases: dict[str, str] = {}
        tasks = {}
        for key in missing:
            node = self.graph.nodes[key]
            base = node.plan.base
            if base not in bases:
                bases[base] = self._base(base)
            images = {self.graph.nodes[name].stage.image: name for name in self.graph.needs[key] if name not in build}
            tasks[key] = stage_task.of(
                node,
                loads[key],
                self._options,
                registry=self._registry.namespace,
                base=bases[base],
                below={image: below[name] for image, name in images.items()},
                total=len(self.graph.nodes),
            )
        return tasks

    def _below(self, missing: Sequence[str]) -> dict[str, str]:
        """References by digest of the finished stages that others stand on; those that are only here are pushed."""
        wanted = {name for key in missing for name in self.graph.needs[key]} - set(missing)
        nodes = [self.graph.nodes[key] for key in self.graph.nodes if key in wanted]
        store = Store(self._engine)
        for node in nodes:
            image = store.find(node)
            if image is None:
                continue
            store.adopt(image, node, image.labels)
            if self._push(node.stage):
                self._console.info(f"{node.stage.package}: pushed to {self._registry.repository}, for the workers")
        found = self._registry.find(nodes, self._refuse)
        return {key: remote.reference for key, remote in found.items()}

    def _push(self, stage: Stage) -> str:
        with TransferProgress(console=self._console, name=f"pushing {stage.image}") as progress:
            return self._registry.push(stage, self._engine, progress.line, progress.on_bytes)

    def _base(self, reference: str) -> str:
        """The reference by digest of a base image, which goes to the registry where no other has it."""
        image = self._engine.image(reference)
        if image is None:
            raise NotReadyError(f"the base image `{reference}` is not here", hint="run the same command again")
        return self._registry.publish(image, reference, self._engine, self._console.detail)

    def _refuse(self, reason: str) -> None:
        raise RegistryError(reason, hint="a farm needs its registry: check `--stage-registry`")

    # The work.

    def _submit(self, client: Any, farm: FarmOptions, tasks: Mapping[str, StageTask]) -> None:
        seconds = self._state.seconds()
        weights = {key: seconds[name] for key in tasks if (name := self._weight_name(key)) in seconds}
        _tell_durations(client, weights)
        priorities = graph.priorities(self.graph, set(tasks), seconds)
        needs = {
            key: labels.needed(farm.labels, task.node.plan.platform.docker_platform, task.load.memory_per_job)
            for key, task in tasks.items()
        }
        self._warn_of_missing_workers(client, tasks, needs)
        self._console.info(f"{len(tasks)} stages go to the farm at {farm.address}; dashboard: {client.dashboard_link}")
        handover = Handover(
            parents={key: [name for name in self.graph.needs[key] if name in tasks] for key in tasks},
            urgency=priorities,
            needs=needs,
        )
        futures: dict[str, Any] = {}
        client.subscribe_topic(stage_task.TOPIC, lambda event: self._heard(event, futures))
        self._carry_out(client, handover, tasks, futures)

    def _carry_out(
        self, client: Any, handover: Handover, tasks: Mapping[str, StageTask], futures: dict[str, Any]
    ) -> None:
        """Hand over what a worker is free for, and wait for what ends; a worker may join at any time."""
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        while handover.going_on:
            for future in self._hand_over(client, handover, tasks, futures):
                future.add_done_callback(done.put)
            try:
                ended = done.get(timeout=LOOK)
            except queue.Empty:
                continue
            if not self._ended(ended, handover, len(tasks)):
                return

    def _hand_over(
        self, client: Any, handover: Handover, tasks: Mapping[str, StageTask], futures: dict[str, Any]
    ) -> list[Any]:
        """Give Dask the stages whose turn it is; returns their futures."""
        given = []
        for due in handover.due(_offers(client)):
            names = [name for name in self.graph.needs[due.key] if name in tasks]
            parents = [futures[name] if due.beside else self._results[name] for name in names]
            futures[due.key] = client.submit(
                serve.run_stage, tasks[due.key], *parents, key=due.key,
                resources=handover.needs[due.key], priority=handover.urgency[due.key], pure=False,
            )  # fmt: skip
            given.append(futures[due.key])
        return given

    def _weight_name(self, key: str) -> str:
        return graph.weight_name(self.graph.nodes[key].stage)

    def _heard(self, event: tuple[float, Mapping[str, str]], futures: Mapping[str, Any]) -> None:
        """A worker has begun with a stage: from now on Dask finishes it, whether this program lives or not."""
        _time, said = event
        future = futures.get(said["key"])
        if future is not None and not future.done():
            access.require().fire_and_forget(future)
            self._console.info(f"{said['package']}: {said['action']} on {said['builder']}")

    def _ended(self, future: Any, handover: Handover, total: int) -> bool:
        """Note what became of a stage; false where that ends the build."""
        key = future.key
        package = self.graph.nodes[key].stage.package
        if future.status == "finished":
            result = self._results[key] = future.result()
            handover.finish(key, result.worker)
            if result.state == "built":
                self._state.record(self._weight_name(key), seconds=result.seconds)
            tests = f", tests {result.tests}" if result.tests not in {"", "none"} else ""
            size = f", {human_bytes(result.size)}" if result.size else ""
            took = human_seconds(result.seconds)
            count = f"({len(self._results) + len(self._failed)} of {total})"
            self._console.info(f"{package}: {result.state} on {result.worker} in {took}{size}{tests} {count}")
            return True
        error = _error_of(future, package)
        for lost in handover.fail(key):  # what stands on a stage ends with the error of that stage
            self._failed.setdefault(lost, error)
        if self._options.keep_going:
            self._console.warning(error.message)
        return self._options.keep_going

    def _warn_of_missing_workers(
        self, client: Any, tasks: Mapping[str, StageTask], needs: Mapping[str, Mapping[str, float]]
    ) -> None:
        offers = [info["resources"] for info in _workers(client).values()]
        waiting = [key for key in tasks if labels.lacking(needs[key], offers)]
        kinds = Counter(_described(needs[key]) for key in waiting)
        for kind, count in kinds.items():
            self._console.warning(
                f"no worker takes {count} of these stages yet, which need {kind}",
                "they wait until one joins: `jetson-containers farm worker ADDRESS`; `farm status` shows who is there",
            )


def _described(need: Mapping[str, float]) -> str:
    return ", ".join([*(name for name in need if name != labels.MEMORY), human_bytes(int(need[labels.MEMORY]))])


def _error_of(future: Any, package: str) -> JetsonError:
    """Turn how a task failed into an error of ours."""
    if future.status in {"cancelled", "lost"}:
        return NotReadyError(
            f"`{package}`: the scheduler is gone, or somebody cancelled the task",
            hint=AGAIN,
        )
    error = future.exception()
    if isinstance(error, JetsonError):
        return error
    if type(error).__name__ == "KilledWorker":
        return NotReadyError(
            f"`{package}`: several workers died one after the other while they built it",
            hint="look at the logs of the workers; a stage that takes all memory needs `memory_per_job` in its recipe",
        )
    raise error


@contextlib.contextmanager
def _connected(farm: FarmOptions) -> Iterator[Any]:
    """A client of a scheduler. Raises NotReadyError where none answers."""
    library = access.require()
    # What they would print is said by the errors of this module; Dask gives some of them levels of their own.
    for name in ("distributed", "distributed.client", "tornado", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    security = farm.access.security(tls=access.is_tls(farm.address))
    access.check_listens(farm.address)
    try:
        client = library.Client(farm.address, timeout=CONNECT, security=security, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise NotReadyError(f"no scheduler answers at {farm.address}: {error}", hint=access.START) from error
    try:
        yield client
    finally:
        client.close()


def _workers(client: Any) -> Mapping[str, Mapping[str, Any]]:
    """What the scheduler says of its workers, by address."""
    found: Mapping[str, Mapping[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return found


def _offers(client: Any) -> list[Offer]:
    """What each worker offers, and which tasks it has. Raises NotReadyError where the scheduler is gone."""
    try:
        given = client.processing()
        rows = _workers(client).items()
    except OSError as error:
        raise NotReadyError(f"the scheduler is gone: {error}", hint=AGAIN) from error
    return [
        Offer(
            name=str(info["name"]),
            slots=int(info["nthreads"]),
            resources=info["resources"],
            keys=frozenset(given.get(address, ())),
        )
        for address, info in rows
    ]


def _tell_durations(client: Any, seconds: Mapping[str, float]) -> None:
    """Tell Dask how long stages took before: it weighs pulling a parent against waiting for the worker that has it."""
    if seconds:
        client.run_on_scheduler(_set_durations, dict(seconds))


def _set_durations(seconds: Mapping[str, float]) -> None:
    """Run in the scheduler: Dask's own setting, which it reads when it first hears of a task."""
    import dask

    name = "distributed.scheduler.default-task-durations"
    dask.config.set({name: {**dask.config.get(name), **seconds}})


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """One worker: what it offers (memory in bytes) and what it does. `waiting`: stages assigned to it, not begun."""

    name: str
    address: str
    labels: tuple[str, ...]
    memory: int
    slots: int
    building: tuple[str, ...]
    waiting: int


@dataclass(frozen=True, kw_only=True)
class FarmStatus:
    """A scheduler's workers, and where Dask's dashboard is."""

    dashboard: str
    workers: tuple[WorkerStatus, ...]


def status(farm: FarmOptions) -> FarmStatus:
    """Ask a scheduler what its workers offer and do. Raises NotReadyError where none answers."""
    with _connected(farm) as client:
        begun = {event["key"]: event for _time, event in client.get_events(stage_task.TOPIC)}
        assigned = client.processing()
        workers = []
        for address, info in _workers(client).items():
            keys = assigned.get(address, ())
            mine = [begun[key]["package"] for key in keys if key in begun and begun[key]["builder"] == info["name"]]
            offers = info["resources"]
            workers.append(
                WorkerStatus(
                    name=str(info["name"]),
                    address=address,
                    labels=tuple(sorted(name for name in offers if name != labels.MEMORY)),
                    memory=int(offers.get(labels.MEMORY, 0)),
                    slots=int(info["nthreads"]),
                    building=tuple(sorted(mine)),
                    waiting=len(keys) - len(mine),
                )
            )
        link = str(client.dashboard_link)
    return FarmStatus(dashboard=link, workers=tuple(sorted(workers, key=lambda worker: worker.name)))
