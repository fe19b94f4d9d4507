"""`farm scheduler` and `farm worker`: Dask's servers, and what a worker runs for each task."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import InterruptedByUserError, NotReadyError, command
from jetson_containers.farm import access, labels
from jetson_containers.farm.stage_task import TOPIC

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from jetson_containers.core.console import Console
    from jetson_containers.farm.access import FarmAccess
    from jetson_containers.farm.machine import StageMachine
    from jetson_containers.farm.stage_task import StageResult, StageTask

PLUGIN = "jetson-containers"  # under which a worker holds its machine
UNKNOWN_STAGE = "5 minutes"  # how long a stage counts that was never timed, when Dask weighs a pull against waiting
NOT_SHOWN = "127.0.0.1:0"  # where Dask serves its pages that nobody asked for: it always does
JOIN = 60.0  # seconds a worker tries to reach its scheduler


@dataclass(frozen=True, kw_only=True)
class WorkerOptions:
    """What a worker is told: how many stages at once, which labels and platforms it offers, bytes of memory."""

    address: str
    slots: int
    labels: tuple[str, ...]
    platforms: tuple[str, ...]
    memory: int
    scratch: Path  # directory of Dask's own files
    host: str = ""  # address that the worker listens on; empty: the one that leads to the scheduler


def scheduler(host: str, port: int, dashboard: str, access_: FarmAccess, *, tls: bool, console: Console) -> None:
    """Run a scheduler until a signal ends it. `dashboard` is HOST:PORT; empty: none is served."""
    library = access.require()
    prepare_scheduler()
    security = access_.security(tls=tls)

    async def run() -> None:
        server = library.Scheduler(
            host=host, port=port, protocol="tls" if tls else "tcp", security=security,
            dashboard=bool(dashboard), dashboard_address=dashboard or NOT_SHOWN,
        )  # fmt: skip
        async with server:
            line = command("jetson-containers", "farm", "worker", server.address)
            console.info(f"scheduler at {server.address}; on each machine: {line}")
            if dashboard:
                console.info(f"dashboard: http://{dashboard}/status")
            await _until_a_signal(server.finished())

    _run(run, f"cannot listen at {host}:{port}")


def worker(options: WorkerOptions, machine: StageMachine, access_: FarmAccess, console: Console) -> None:
    """Run a worker until a signal ends it, or its scheduler is gone.

    Raises NotReadyError where no scheduler answers.
    """
    access.require()
    _quiet()
    security = access_.security(tls=access.is_tls(options.address))

    async def run() -> None:
        async with await start_worker(options, machine, security) as server:
            offer = ", ".join([*options.labels, *options.platforms])
            console.info(f"{machine.name} takes stages for {offer} from {options.address}")
            await _until_a_signal(server.finished())
            machine.stop()
            # What runs here is started again elsewhere, as when the machine had lost its power.
            await server.close(timeout=5, executor_wait=False)

    _run(run, f"no scheduler answers at {options.address}")


async def start_worker(options: WorkerOptions, machine: StageMachine, security: Any) -> Any:
    """Make Dask's worker with a machine; it is started by entering it."""
    library = access.require()
    from distributed.diagnostics.plugin import WorkerPlugin

    class MachinePlugin(WorkerPlugin):  # type: ignore[misc]
        name = PLUGIN

    plugin = MachinePlugin()
    plugin.machine = machine
    return library.Worker(
        options.address, name=machine.name, nthreads=options.slots, security=security, plugins=(plugin,),
        resources=labels.offered(options.labels, options.platforms, options.memory), host=options.host or None,
        # Dask would measure this process; the memory of a build is that of its containers.
        memory_limit=0, death_timeout=JOIN,
        dashboard_address=NOT_SHOWN, local_directory=str(options.scratch),
    )  # fmt: skip


def run_stage(task: StageTask, *parents: StageResult) -> StageResult:
    """What a worker does for a task, in a thread of its own. Raises the JetsonErrors of `StageMachine.build`."""
    library = access.require()
    here = library.get_worker()
    plugin = here.plugins.get(PLUGIN)
    if plugin is None:
        raise NotReadyError(
            f"worker {here.address} was not started by jetson-containers",
            hint="`jetson-containers farm worker ADDRESS`",
        )
    stage = task.node.stage

    def tell(action: str) -> None:
        event = {"key": stage.key, "package": stage.package, "action": action, "builder": plugin.machine.name}
        here.log_event(TOPIC, event)

    try:
        result: StageResult = plugin.machine.build(task, parents, tell)
    except InterruptedByUserError:  # the worker is being stopped, and not the build
        raise library.Reschedule from None
    return result


def default_name() -> str:
    """Name of a worker: its machine and process, so that two on one machine differ."""
    return f"{socket.gethostname()}-{os.getpid()}"


def prepare_scheduler() -> None:
    """Tell Dask, before a scheduler is made, that stages take minutes and not milliseconds."""
    import dask

    _quiet()
    dask.config.set({"distributed.scheduler.unknown-task-duration": UNKNOWN_STAGE})


def _quiet() -> None:
    """Dask's warnings are shown; what it does meanwhile is on its dashboard."""
    logging.getLogger("distributed").setLevel(logging.WARNING)
    logging.getLogger("distributed.worker").setLevel(logging.ERROR)  # a failed stage is shown where it was asked for


async def _until_a_signal(finished: Any) -> None:
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)  # ignored under nohup
    for number in (signal.SIGINT, signal.SIGTERM, *hangup):
        loop.add_signal_handler(number, stopped.set)
    waiting = [asyncio.ensure_future(finished), asyncio.ensure_future(stopped.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _run(start: Callable[[], Any], failed: str) -> None:
    try:
        asyncio.run(start())
    except (OSError, asyncio.TimeoutError) as error:
        raise NotReadyError(f"{failed}: {error}", hint="check the address and the port") from error
