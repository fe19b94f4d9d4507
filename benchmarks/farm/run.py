"""How near a farm's makespan comes to the bound: our whole tree for r36.4.0 on 1 to 16 simulated workers.

    .venv/bin/python benchmarks/farm/run.py [--seconds 60] [--workers 1,2,4,8,16]

The graph is that of `build --multiple --target r36.4.0`. Times of stages are stated in `weights.json`, scaled so that
the bound takes `--seconds`. Everything of the farm is real (Dask's scheduler and workers, tasks, keys, priorities,
resources), but for the engine: a stage sleeps. The bound is max(critical path, work / workers): no schedule is shorter.
The makespan goes from the start of the first stage to the end of the last; what passes before (packing, sending) is not
scaled, and stands beside it. Pulling a parent that another worker built takes no time here; how many stages had to is
counted. It prints a line per number of workers and writes `result.json` beside itself, where the rows of other numbers
of workers stay.

`simulated_minutes` is what the same rules take on a simulated clock, where handing over takes no time: no load of the
machine is in it. What the measured makespan has more is time of this machine, which has all workers on its cores.
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
IMAGE = 3e9  # bytes that a worker without the parent would have to pull: 30 s at the 100 MB/s that Dask assumes
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


def simulated(merged: Graph, weights: dict[str, float], workers: int) -> float:
    """The makespan on a clock that only stages move, with the farm's own choice of what is next."""
    need = {labels.MEMORY: 1.0}
    work = handover.Handover(
        parents=merged.needs,
        urgency=graph.priorities(merged, set(merged.nodes), _by_name(merged, weights)),
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
        for turn in work.due(offers):
            heapq.heappush(running, (now + weights[turn.key], turn.key, free.pop()))
        now, key, name = heapq.heappop(running)
        work.finish(key, name)
    return now


def _by_name(merged: Graph, weights: dict[str, float]) -> dict[str, float]:
    return {graph.weight_name(node.stage): weights[key] for key, node in merged.nodes.items()}


class SleepingMachine:
    """A worker's machine without an engine; notes who built what, and when."""

    def __init__(self, name: str, seconds: dict[str, float], scale: float) -> None:
        self.name = name
        self._seconds = seconds
        self._scale = scale
        self._never = threading.Event()
        self.times: list[tuple[float, float]] = []  # when each stage began and ended
        self.pulls = 0  # stages with a parent of another worker

    def build(self, task: Any, parents: Sequence[Any], tell: Callable[[str], None]) -> stage_task.StageResult:
        """Sleep as long as the stage is stated to take."""
        self.pulls += any(parent.worker != self.name for parent in parents)
        tell("building")
        stage = task.node.stage
        began = time.monotonic()
        self._never.wait(self._seconds[stage.key])
        self.times.append((began, time.monotonic()))
        return stage_task.StageResult(
            key=stage.key, image=stage.image, reference="", state="built", worker=self.name,
            seconds=self._seconds[stage.key], size=int(IMAGE * self._scale),
        )  # fmt: skip


class SimulatedBuild(client.FarmBuild):
    """A build whose stages are all missing, and whose base image nobody needs."""

    def tasks(self) -> dict[str, Any]:
        """A task for each stage of the graph."""
        options = BuildOptions(log_dir=Path())
        load = resources.StageLoad()
        return {
            key: stage_task.of(node, load, options, registry="none", base="none@sha256:0", below={}, total=1)
            for key, node in self.graph.nodes.items()
        }


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


def measure(made: Sequence[BuildPlan], workers: int, limit: float) -> dict[str, Any]:
    """The makespan on so many workers, beside the bound, which takes `limit` seconds."""
    merged = graph.merge(made)
    weights = minutes(merged)
    least = bound(merged, weights, workers)
    scale = limit / least
    seconds = {key: weight * scale for key, weight in weights.items()}
    machines = [SleepingMachine(f"w{number}", seconds, scale / 60) for number in range(workers)]
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        scheduler = asyncio.run_coroutine_threadsafe(_farm(machines, Path(folder)), loop).result(120)
        options = BuildOptions(log_dir=Path(folder), state_dir=Path(folder) / "state", env={})
        registry: Any = StageRegistry("none.example/none", None)  # type: ignore[arg-type] - nobody asks it
        engine: Any = None
        build = SimulatedBuild(made, engine, options, registry, Console(level=Level.QUIET))
        for key, node in merged.nodes.items():
            BuildState(options.state).record(graph.weight_name(node.stage), seconds=seconds[key])
        asked = time.monotonic()
        build.run(client.FarmOptions(address=scheduler.address, access=access.FarmAccess()))
        asyncio.run_coroutine_threadsafe(scheduler.close(), loop).result(60)
    times = [each for machine in machines for each in machine.times]
    began = min(start for start, _ in times)
    makespan = max(end for _, end in times) - began
    return {
        "workers": workers,
        "seconds_of_the_bound": limit,
        "bound_minutes": round(least, 1),
        "makespan_minutes": round(makespan / scale, 1),
        "ratio": round(makespan / limit, 3),
        "simulated_minutes": round(simulated(merged, weights, workers), 1),
        "pulls": sum(machine.pulls for machine in machines),
        "load": round(os.getloadavg()[0], 1),
        "seconds_before_the_first_stage": round(began - asked, 1),
    }


def main() -> int:
    """Measure, print, write; 1 where a ratio is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
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
