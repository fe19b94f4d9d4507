"""The loop of a run: starts stages that are ready, records those that ended, and stops all on request."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from jetson_containers.builder.graph import weight_name
from jetson_containers.builder.progress import Totals
from jetson_containers.builder.stage_builder import StageOutcome
from jetson_containers.builder.types import StageReport
from jetson_containers.core.errors import JetsonError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jetson_containers.builder.graph import Graph, Node
    from jetson_containers.builder.progress import BuildProgress
    from jetson_containers.builder.resources import Share
    from jetson_containers.builder.scheduler import Scheduler
    from jetson_containers.builder.signals import Signals
    from jetson_containers.builder.stage_builder import StageFailure

LISTENS = 1.0  # seconds of a wait
STOP_GRACE = 60.0  # seconds that stopped children get to end, before they are left behind with a warning


class Loop:
    """Runs the stages of a scheduler in threads; `reports` gets an entry for each, `failures` the reasons."""

    def __init__(
        self,
        graph: Graph,
        scheduler: Scheduler,
        work: Callable[[Node, Share], StageOutcome],
        shown: BuildProgress,
        *,
        keep_going: bool,
        seconds: Mapping[str, float],
        reports: dict[str, StageReport],
    ) -> None:
        self.reports = reports
        self.failures: list[StageFailure] = []
        self._graph = graph
        self._scheduler = scheduler
        self._work = work
        self._shown = shown
        self._keep_going = keep_going
        self._seconds = seconds
        self._interrupted = False
        self._messages: SimpleQueue[tuple[str, StageOutcome | BaseException] | None] = SimpleQueue()  # None: a signal

    def run(self, signals: Signals, stop: Callable[[], None]) -> None:
        """Run to the end. `stop` must make running work end soon.

        Raises KeyboardInterrupt after a signal, and what the work itself raised; either way nothing runs any more.
        """
        signals.tell = self._interrupt
        self._shown.begin(self._totals())
        while True:
            while (started := self._scheduler.next()) is not None:
                self._start(*started)
            if not self._scheduler.running:
                break
            message = self._next_message()
            if message is None or self._interrupted:
                if message is not None:  # it may have failed because a child of it got the signal as well
                    self._ended(*message)
                    self._scheduler.finish(message[0])
                self._stop(stop)
                raise KeyboardInterrupt
            key, outcome = message
            if isinstance(outcome, BaseException):
                self._ended(key, outcome)
                self._scheduler.fail(key)
                self._stop(stop)
                raise outcome
            self._take(key, outcome)
        signals.tell = None

    def _next_message(self) -> tuple[str, StageOutcome | BaseException] | None:
        """Wait for one. A signal that comes just before Python begins to wait is heard only when the wait ends."""
        while True:
            with contextlib.suppress(Empty):
                return self._messages.get(timeout=LISTENS)

    def _interrupt(self) -> None:
        self._interrupted = True
        self._messages.put(None)

    def _start(self, key: str, share: Share) -> None:
        node = self._graph.nodes[key]

        def work() -> None:
            try:
                self._messages.put((key, self._work(node, share)))
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread
                self._messages.put((key, error))

        # A daemon, so that a child that cannot be stopped does not keep the program from ending.
        threading.Thread(target=work, name=node.stage.package, daemon=True).start()

    def _take(self, key: str, outcome: StageOutcome) -> None:
        report = self.reports[key] = outcome.report
        if outcome.failure is None:
            self._scheduler.finish(key)
        else:
            self.failures.append(outcome.failure)
            for lost in self._scheduler.fail(key):
                self._skip(lost, f"needs `{report.package}`, which failed")
            if not self._keep_going:
                for waiting in self._scheduler.stop():
                    self._skip(waiting, f"not started, because `{report.package}` failed")
        self._shown.finished(report.package, report, self._totals())
        if outcome.failure and not self._keep_going and self._running(but=self._graph.above(key)):
            self._shown.say(
                f"waiting for what still runs: {self._running(but=self._graph.above(key))} (Ctrl-C stops it)"
            )

    def _stop(self, stop: Callable[[], None]) -> None:
        """Stop what runs, and wait until it has ended."""
        for key in self._scheduler.stop():
            self._skip(key, "interrupted")
        running = set(self._scheduler.running)
        self._shown.say(f"stopping {self._running()}" if running else "stopping")
        stop()
        deadline = time.monotonic() + STOP_GRACE
        while running and (left := deadline - time.monotonic()) > 0:
            try:
                message = self._messages.get(timeout=left)
            except Empty:
                break
            if message is not None:
                running.discard(message[0])
                self._ended(*message)
        for key in running:
            self._shown.say(f"warning: {self._graph.nodes[key].stage.package} did not stop")

    def _ended(self, key: str, outcome: StageOutcome | BaseException) -> None:
        """Take in a stage that ended while everything was being stopped."""
        if isinstance(outcome, StageOutcome):
            self.reports[key] = outcome.report
            return
        cause = outcome.message if isinstance(outcome, JetsonError) else type(outcome).__name__
        self._skip(key, cause)
        self.reports[key] = replace(self.reports[key], state="failed")

    def _skip(self, key: str, cause: str) -> None:
        stage = self._graph.nodes[key].stage
        self.reports[key] = StageReport(
            package=stage.package, key=key, image=stage.image, state="skipped", seconds=0.0, cause=cause
        )

    def _running(self, but: Iterable[str] = ()) -> str:
        """Name what runs, but for stages that end because they stand on one that has failed."""
        return ", ".join(self._graph.nodes[key].stage.package for key in self._scheduler.running if key not in but)

    def _totals(self) -> Totals:
        waiting = [key for key in self._graph.nodes if key not in self.reports]
        known = [self._seconds.get(weight_name(self._graph.nodes[key].stage)) for key in waiting]
        return Totals(
            done=len(self.reports),
            all=len(self._graph.nodes),
            cached=sum(report.state == "cached" for report in self.reports.values()),
            running=len(self._scheduler.running),
            left=sum(value or 0.0 for value in known) if any(known) else None,
        )
