"""How near a farm's makespan comes to the bound: our whole tree for r36.4.0 on 1 to 16 simulated workers.

    .venv/bin/python benchmarks/farm/run.py [--workers 1,2,4,8,16] [--seconds 60]

The graph is that of `build --multiple --target r36.4.0`, the times of its stages are stated in `weights.json`.
Everything of the farm is real (Dask's scheduler and workers, tasks, keys, priorities, resources), but for the engine
and the clock: a stage ends when a clock says so, which goes on only while the farm has nothing to do: each stage that
was handed over has begun, and the client waits for one to end. So the makespan shows what the farm decides, and not how
busy the machine is that has all workers on its cores. `--seconds` takes the clock of the wall instead, scaled so that
the bound takes so long; what the farm itself takes then counts, many times larger than beside stages of minutes.

The bound is max(critical path, work / workers): no schedule is shorter. `listed_minutes` is a second one, the makespan
of the same rules without a farm. Pulling a parent that another worker built takes no time; how many stages had to is
counted. `seconds_per_stage` is what the farm took on this machine, in seconds of the wall, for each stage. It prints a
line per number of workers and writes `result.json` beside itself, where the rows of other numbers of workers stay.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import os
import platform
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

import distributed  # noqa: E402 - this checkout stands on the module path

from jetson_containers.builder import graph, resources  # noqa: E402
from jetson_containers.builder.stage_registry import StageRegistry  # noqa: E402
from jetson_containers.builder.state import BuildState  # noqa: E402
from jetson_containers.builder.types import BuildOptions  # noqa: E402
from jetson_containers.cli.app import App  # noqa: E402
from jetson_containers.core.console import Console, Level  # noqa: E402
from jetson_containers.farm import access, client, handover, labels, serve, stage_task  # noqa: E402
from jetson_containers.plan import request  # noqa: E402
from jetson_containers.plan.plan import PlanOptions  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetson_containers.builder.graph import Graph, Node
    from jetson_containers.plan.plan import BuildPlan

RESULT = HERE / "result.json"
TARGET = "r36.4.0"
IMAGE = 3e9  # bytes of each result: what a worker without the parent would have to pull
STUCK = 5.0  # seconds of the wall until a stage counts as waiting behind another: Dask steals once in a second
LIMIT = 1.1  # of the makespan to the bound


def plans() -> tuple[BuildPlan, ...]:
    """One image per package of the tree."""
    app = App({"target": TARGET, "quiet": True})
    made = request.assemble(request.Request(packages=(), multiple=True), app.platform, app.catalog_for, PlanOptions())
    return made.plans


def minutes(merged: Graph) -> dict[str, float]:
    """The stated time of each stage by key."""
    stated = json.loads((HERE / "weights.json").read_text(encoding="utf-8"))

    def of(node: Node) -> float:
        name = graph.weight_name(node.stage)
        return float(stated["stages"].get(name, stated[node.stage.kind.value]))

    return {key: of(node) for key, node in merged.nodes.items()}


def bound(merged: Graph, weights: dict[str, float], workers: int) -> float:
    """The longest chain, or the work divided by the workers, whichever is more; in the unit of the weights."""
    longest: dict[str, float] = {}
    for key in merged.nodes:
        longest[key] = weights[key] + max((longest[name] for name in merged.needs[key]), default=0.0)
    return max(*longest.values(), sum(weights.values()) / workers)


def listed(merged: Graph, weights: dict[str, float], workers: int) -> float:
    """The makespan where handing over takes no time, with the farm's own choice of what is next."""
    need = {labels.MEMORY: 1.0}
    work = handover.Handover(
        parents=merged.needs,
        urgency=graph.priorities(merged, set(merged.nodes), _seconds(merged, weights)),
        needs=dict.fromkeys(merged.nodes, need),
    )
    running: list[tuple[float, str, str]] = []  # when it ends, key, worker
    now = 0.0
    while work.going_on:
        busy = {name: frozenset({key}) for _, key, name in running}
        names = [f"w{number}" for number in range(workers)]
        offers = [
            handover.Offer(name=name, slots=1, resources=need, keys=busy.get(name, frozenset())) for name in names
        ]
        free = [name for name in names if name not in busy]
        for due in work.due(offers):
            heapq.heappush(running, (now + weights[due.key], due.key, free.pop()))
        now, key, name = heapq.heappop(running)
        work.finish(key, name)
    return now


def _seconds(merged: Graph, weights: dict[str, float]) -> dict[str, float]:
    return {graph.weight_name(node.stage): 60 * weights[key] for key, node in merged.nodes.items()}


class WallClock:
    """Time as it is, in units of `scale` seconds."""

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._never = threading.Event()

    def now(self) -> float:
        """Units since some moment."""
        return time.monotonic() / self._scale

    def sleep(self, units: float) -> None:
        """Wait."""
        self._never.wait(units * self._scale)

    def go_on(self, _build: SimulatedBuild) -> None:
        """Nothing moves this clock."""


class SimulatedClock:
    """Time that goes on, to the next end of a sleep, while a build has nothing to do."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._count = 0
        self._lock = threading.Lock()
        self._never = threading.Event()

    def now(self) -> float:
        """Units since the beginning."""
        return self._now

    def sleep(self, units: float) -> None:
        """Wait until it is so much later."""
        woken = threading.Event()
        with self._lock:
            self._count += 1
            heapq.heappush(self._sleepers, (self._now + units, self._count, woken))
        woken.wait()

    def go_on(self, build: SimulatedBuild) -> None:
        """Move on until the build ends."""
        moved = time.monotonic()
        while not build.ended:
            self._never.wait(0.001)
            with self._lock:
                stuck = time.monotonic() - moved > STUCK
                if self._sleepers and (stuck or build.waits_for(len(self._sleepers))):
                    self._now, _, woken = heapq.heappop(self._sleepers)
                    woken.set()
                    moved = time.monotonic()


class SleepingMachine:
    """A worker's machine without an engine; notes who built what, and when."""

    def __init__(self, name: str, weights: dict[str, float], clock: WallClock | SimulatedClock) -> None:
        self.name = name
        self._weights = weights
        self._clock = clock
        self.times: list[tuple[float, float]] = []  # when each stage began and ended
        self.pulls = 0  # stages with a parent of another worker

    def build(self, task: Any, parents: Sequence[Any], tell: Callable[[str], None]) -> stage_task.StageResult:
        """Sleep as long as the stage is stated to take."""
        self.pulls += any(parent.worker != self.name for parent in parents)
        tell("building")
        stage = task.node.stage
        began = self._clock.now()
        self._clock.sleep(self._weights[stage.key])
        self.times.append((began, self._clock.now()))
        return stage_task.StageResult(
            key=stage.key, image=stage.image, reference="", state="built", worker=self.name,
            seconds=60 * self._weights[stage.key], size=int(IMAGE),
        )  # fmt: skip


class SimulatedBuild(client.FarmBuild):
    """A build whose stages are all missing, and whose base image nobody needs."""

    ended = False
    _handover: handover.Handover | None = None
    _waits = False

    def tasks(self) -> dict[str, Any]:
        """A task for each stage of the graph."""
        options = BuildOptions(log_dir=Path())
        load = resources.StageLoad()
        return {
            key: stage_task.of(node, load, options, registry="none", base="none@sha256:0", below={}, total=1)
            for key, node in self.graph.nodes.items()
        }

    def waits_for(self, sleeping: int) -> bool:
        """Whether nothing happens until one of the stages ends that sleep."""
        return self._waits and self._handover is not None and len(self._handover.given) == sleeping

    def _hand_over(self, client: Any, work: handover.Handover, tasks: Any, futures: Any) -> list[Any]:
        given = super()._hand_over(client, work, tasks, futures)
        self._handover, self._waits = work, True
        return given

    def _ended(self, future: Any, work: handover.Handover, total: int) -> bool:
        self._waits = False
        return super()._ended(future, work, total)


async def _farm(machines: Sequence[SleepingMachine], scratch: Path) -> Any:
    """A scheduler with a worker for each machine, in this process."""
    scheduler = await distributed.Scheduler(
        host="127.0.0.1", port=0, dashboard=False, dashboard_address=serve.NOT_SHOWN
    )
    platforms = ("linux/arm64", "linux/amd64")
    for machine in machines:
        told = serve.WorkerOptions(
            address=scheduler.address, slots=1, labels=(), platforms=platforms, memory=1 << 36, scratch=scratch
        )
        await (await serve.start_worker(told, machine, distributed.Security()))  # type: ignore[arg-type]
    return scheduler


def measure(made: Sequence[BuildPlan], workers: int, seconds: float) -> dict[str, Any]:
    """The makespan on so many workers, beside the bounds; the first takes `seconds` of the wall where that is not 0."""
    merged = graph.merge(made)
    weights = minutes(merged)
    least = bound(merged, weights, workers)
    clock = WallClock(seconds / least) if seconds else SimulatedClock()
    machines = [SleepingMachine(f"w{number}", weights, clock) for number in range(workers)]
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        scheduler = asyncio.run_coroutine_threadsafe(_farm(machines, Path(folder)), loop).result(120)
        options = BuildOptions(log_dir=Path(folder), state_dir=Path(folder) / "state", env={})
        registry: Any = StageRegistry("none.example/none", None)  # type: ignore[arg-type] - nobody asks it
        engine: Any = None
        build = SimulatedBuild(made, engine, options, registry, Console(level=Level.QUIET))
        for key, node in merged.nodes.items():
            BuildState(options.state).record(graph.weight_name(node.stage), seconds=60 * weights[key])
        moving = threading.Thread(target=clock.go_on, args=(build,), daemon=True)
        moving.start()
        asked = time.monotonic()
        build.run(client.FarmOptions(address=scheduler.address, access=access.FarmAccess()))
        took = time.monotonic() - asked
        build.ended = True
        moving.join()
        asyncio.run_coroutine_threadsafe(scheduler.close(), loop).result(60)
    times = [each for machine in machines for each in machine.times]
    makespan = max(end for _, end in times) - min(start for start, _ in times)
    return {
        "workers": workers,
        "clock": f"wall, {seconds:g} s for the bound" if seconds else "simulated",
        "bound_minutes": round(least, 1),
        "listed_minutes": round(listed(merged, weights, workers), 1),
        "makespan_minutes": round(makespan, 1),
        "ratio": round(makespan / least, 3),
        "pulls": sum(machine.pulls for machine in machines),
        **({} if seconds else {"seconds_per_stage": round(took / len(times), 3)}),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> int:
    """Measure, print, write; 1 where a ratio is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--workers", default="1,2,4,8,16")
    given = parser.parse_args()
    serve.prepare_scheduler()
    made = plans()
    merged = graph.merge(made)
    weights = minutes(merged)
    rows = []
    for workers in map(int, given.workers.split(",")):
        rows.append(measure(made, workers, given.seconds))
        print(rows[-1], flush=True)
    known = json.loads(RESULT.read_text(encoding="utf-8"))["rows"] if RESULT.exists() else []
    by_workers = {row["workers"]: row for row in (*known, *rows)}
    result = {
        "target": TARGET,
        "stages": len(merged.nodes),
        "work_minutes": round(sum(weights.values()), 1),
        "critical_path_minutes": round(bound(merged, weights, len(merged.nodes)), 1),
        "dask": distributed.__version__,
        "python": platform.python_version(),
        "limit": LIMIT,
        "rows": [by_workers[workers] for workers in sorted(by_workers)],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return int(any(row["ratio"] > LIMIT for row in rows))


if __name__ == "__main__":
    sys.exit(main())
