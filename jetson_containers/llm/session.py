"""A server of the prepared model for the time of a session."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core import diagnosis
from jetson_containers.core.errors import StepError
from jetson_containers.core.memory import read_memory
from jetson_containers.core.text import is_number
from jetson_containers.llm import checked_requests, containers, servers
from jetson_containers.llm.client import OpenAIClient, ServerGoneError
from jetson_containers.llm.runtimes.interface import ServeOptions
from jetson_containers.llm.step_progress import StepProgress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.prepare import PreparedModel
    from jetson_containers.llm.runtimes.interface import Service

LOAD_TIMEOUT = 1800.0  # seconds; a JIT compile on a Nano takes that long, and the end of the process is noticed at once
_MOST_THREADS = 64
_KILLED = 137  # exit status of a process that SIGKILL ended


@dataclass(frozen=True, kw_only=True)
class Session:
    """A server that answers, the seconds it took to load, and its memory."""

    client: OpenAIClient
    log: Path
    loaded_s: float
    image: str
    service: Service
    memory: MemoryWatch = field(repr=False, default_factory=lambda: MemoryWatch(baseline=0))


@dataclass(kw_only=True)
class MemoryWatch:
    """Memory of the device: on a Jetson CPU and GPU share it, so what counts is what the whole board has in use.

    Bytes; the page cache does not count (`MemAvailable`).
    """

    baseline: int
    peak: int = 0

    @classmethod
    def start(cls) -> MemoryWatch:
        """Take the reading before the server starts."""
        return cls(baseline=used_memory())

    def measure(self) -> None:
        """Take another reading."""
        self.peak = max(self.peak, used_memory() - self.baseline)


def used_memory() -> int:
    """Bytes in use: MemTotal - MemAvailable of /proc/meminfo; plus the memory of a discrete GPU where there is one."""
    return (read_memory().in_use or 0) + _discrete_memory()


def _discrete_memory() -> int:
    if shutil.which("nvidia-smi") is None:
        return 0
    argv = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    numbers = [int(word) for word in done.stdout.split() if is_number(word)]  # a Jetson says [N/A]
    return sum(numbers) * 1024 * 1024


@contextlib.contextmanager
def open_session(
    prepared: PreparedModel, context: LlmContext, *, threads: int = 0, checked: bool = True
) -> Iterator[Session]:
    """Start the server on a free loopback port, wait until it has loaded, and end it on exit.

    Requests reach it behind checks, or itself where its speed is measured (`checked` false).

    Raises StepError with the end of its log and the likely cause when it ends before.
    """
    port = free_port()
    listening = prepared.containers.listening("127.0.0.1", port)
    options = ServeOptions(port=port, host=listening.host, threads=threads or default_threads())
    bare = prepared.decision.service(options)
    service = checked_requests.service_of(prepared, options, listening) if checked else bare
    name = f"jetson-llm-chat-{os.getpid()}-{options.port}"
    facts = servers.facts_of(prepared.decision, task="session", data=context.data)
    planned = prepared.containers.server(service, name=name, facts=facts.label, listening=listening)
    log = containers.log_of(context.settings, name)
    memory = MemoryWatch.start()
    context.console.detail(f"server: {planned.shell}")
    context.console.detail(f"log: {log}")
    started = time.monotonic()
    containers.remove_orphans(containers.client_of(planned))
    with containers.running(planned, log) as process:
        client = OpenAIClient(host="127.0.0.1", port=options.port, model=service.model)
        title = f"loading {prepared.decision.title}"
        with StepProgress(console=context.console, name=title, last_line=lambda: last_line(log)):
            wait_until_ready(client, service.health, process, log, memory)
        try:
            yield Session(
                client=client,
                log=log,
                loaded_s=time.monotonic() - started,
                image=prepared.containers.image,
                service=service,
                memory=memory,
            )
        except ServerGoneError as error:
            raise _gone_error(error, process, log) from error
    log.unlink(missing_ok=True)  # only a failure leaves its log


def _gone_error(error: ServerGoneError, process: subprocess.Popen[Any], log: Path) -> StepError:
    """The error of a connection that broke off: that of the server, whose end may take a moment to be noticed."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return server_failed(process.wait(5), log, loaded=True)
    return StepError(error.message, hint=f"full log: {log}")


def wait_until_ready(
    client: OpenAIClient, health: str, process: subprocess.Popen[Any], log: Path, memory: MemoryWatch | None = None
) -> None:
    """Poll the health path. Raises StepError when the server ends first, or never answers."""
    deadline = time.monotonic() + LOAD_TIMEOUT
    wait = 0.05
    while process.poll() is None and time.monotonic() < deadline:
        if client.is_ready(health):
            return
        if memory is not None:
            memory.measure()
        containers.pause(wait)
        wait = min(wait * 1.3, 1.0)
    raise server_failed(process.poll(), log)


def last_line(log: Path) -> str:
    """The end of what a server has printed so far."""
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - 2000, 0))
            lines = file.read(2000).decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")


def server_failed(code: int | None, log: Path, *, loaded: bool = False) -> StepError:
    """The error of a server that ended, or (no code) never got ready, with the likely cause from its log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    finding = diagnosis.diagnose(lines, exit_code=code, model=True)
    if finding and loaded and not finding.number and code == _KILLED:
        finding = replace(finding, cause="memory ran out, or its container was removed")
    what = f"ended (exit status {code})" if code is not None else f"did not answer within {LOAD_TIMEOUT:.0f} s"
    return StepError(
        f"the server {what}"
        + ("" if loaded else " before it had loaded the model")
        + (f": {finding.cause}" if finding else ""),
        details=diagnosis.relevant(lines, 15),
        hint=(f"{finding.remedy}\n" if finding else "") + f"full log: {log}",
    )


def free_port() -> int:
    """A free TCP port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def default_threads() -> int:
    """As many threads as cores: in a container, runtimes often guess the host's count or one too many."""
    return min(len(os.sched_getaffinity(0)), _MOST_THREADS)
