"""Stages built together by one command of the engine (`docker buildx bake`), each waited for by a thread of its own.

A stage's thread does what it does in every other mode: log, image, tests, report. Only where the others start a build,
it hands its request to the call and waits for its image. The tests of a stage run as soon as its image is there, beside
the build of what stands above it; those of a stage above wait until the ones below have passed.

Where a stage fails, the engine stops all of them. What stands above it is then skipped; with `keep_going` the others
are built by a further command, without it only those whose commands were complete, for their image may be missing.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from jetson_containers.core.errors import InterruptedByUserError, JetsonError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jetson_containers.builder.graph import Graph, Node
    from jetson_containers.builder.state import BuildState
    from jetson_containers.engine.interface import BuildRequest, Engine


_OWN_COMMAND = re.compile(r"#[0-9]+ \[(?!internal\])")  # what else is printed only prepares a build, while others run


class StageSkippedError(Exception):
    """A stage is not built, or not tested, because of another one; the message says why."""


@dataclass(kw_only=True)
class _Order:
    """What a stage's thread has handed in. `image` holds the seconds its own commands took."""

    request: BuildRequest
    on_begin: Callable[[], None]
    on_line: Callable[[str], None]
    image: Future[float]
    began: float | None = None  # when the first of its own commands started


class BakeCall:
    """One call for the stages `members`, which stand in build order."""

    def __init__(
        self, members: Sequence[str], graph: Graph, engine: Engine, state: BuildState, *, keep_going: bool
    ) -> None:
        self.members = tuple(members)
        self._above = {key: frozenset(graph.above(key)) & frozenset(members) for key in members}
        self._below = {key: [name for name in members if key in self._above[name]] for key in members}
        self._names = {key: graph.nodes[key].stage.package for key in members}
        self._engine = engine
        self._state = state
        self._keep_going = keep_going
        self._lock = threading.RLock()
        self._locking = threading.Lock()
        self._locks: dict[str, contextlib.ExitStack] | None = None
        self._missing = set(members)  # stages that have neither handed in a request nor said that they need none
        self._orders: dict[str, _Order] = {}
        self._ended: dict[str, Future[str]] = {key: Future() for key in members}  # why what stands above is skipped
        self._stop: Callable[[], None] | None = None

    # What a stage's thread calls, in this order.

    @contextlib.contextmanager
    def hold(self, node: Node, cancelled: threading.Event, on_wait: Callable[[str, str], None]) -> Iterator[None]:
        """Keep other processes from building the same stage. `on_wait` is told whose process is waited for.

        All locks of a call are taken at once and in the order of their names: two processes that build the same stages
        would else wait for each other.
        """
        key = node.stage.key
        lock = None
        try:
            with self._locking:
                if self._locks is None:
                    self._locks = self._all_locks(cancelled, on_wait)
                lock = self._locks.pop(key)
            yield
        finally:
            self.end(key, f"needs `{self._names[key]}`, which did not end")
            self.leave(key)
            if lock is not None:
                lock.close()

    def leave(self, key: str) -> None:
        """Say that a stage needs no build (any more): its image is there, or it has failed."""
        self._arrive(key)

    def build(
        self, node: Node, request: BuildRequest, *, on_begin: Callable[[], None], on_line: Callable[[str], None]
    ) -> float:
        """Wait until a stage's image is there; returns the seconds that its own commands took.

        Raises what its build raised, and StageSkippedError when it was not built because of another stage.
        """
        order = _Order(request=request, on_begin=on_begin, on_line=on_line, image=Future())
        with self._lock:
            self._orders[node.stage.key] = order
        self._arrive(node.stage.key)
        return order.image.result()

    def wait_below(self, key: str) -> None:
        """Wait until the stages below are complete, tests included. Raises StageSkippedError when one is not."""
        for name in self._below[key]:
            if reason := self._ended[name].result():
                raise StageSkippedError(reason)

    def fail(self, key: str) -> None:
        """Say that a stage has failed, its build or its tests."""
        self.end(key, f"needs `{self._names[key]}`, which failed")

    def end(self, key: str, reason: str = "") -> None:
        """Say that a stage has ended; `reason` is why what stands above it is skipped, `""` when it is complete."""
        with self._lock:
            if not self._ended[key].done():
                self._ended[key].set_result(reason)
            idle = self._stop is not None and self._nothing_useful_runs()
        if idle and self._stop is not None:
            threading.Thread(target=self._stop, name="stop bake", daemon=True).start()

    # What the engine's answer calls.

    def runs(self, stop: Callable[[], None]) -> None:
        """Say that the command runs, and how it is stopped."""
        with self._lock:
            self._stop = stop

    def order(self, key: str) -> _Order:
        """What the thread of a stage has handed in."""
        return self._orders[key]

    # The command.

    def _all_locks(
        self, cancelled: threading.Event, on_wait: Callable[[str, str], None]
    ) -> dict[str, contextlib.ExitStack]:
        with contextlib.ExitStack() as on_error:
            locks = {}
            for key in sorted(self.members):
                stack = locks[key] = on_error.enter_context(contextlib.ExitStack())
                wait = partial(on_wait, self._names[key])
                stack.enter_context(self._state.lock(key, cancelled=cancelled, on_wait=wait))
            on_error.pop_all()
        return locks

    def _arrive(self, key: str) -> None:
        with self._lock:
            if key not in self._missing:
                return
            self._missing.discard(key)
            ready = not self._missing and self._orders
        if ready:
            threading.Thread(target=self._run, name="bake", daemon=True).start()

    def _run(self) -> None:
        try:
            self._build_all()
        except BaseException as error:  # noqa: BLE001 - raised again in the threads of the stages
            self._give_up(error)

    def _build_all(self) -> None:
        keys = [key for key in self.members if key in self._orders]
        left = self._without_lost(keys)
        finished: frozenset[str] = frozenset()
        while left:
            requests = [self._request(key, finished) for key in keys]
            wanted = {self._orders[key].request.tag: key for key in left}
            if len(keys) == 1:
                self._build_alone(keys[0])
                return
            result = self._engine.bake(requests, _Watcher(self, wanted), wanted=tuple(wanted))
            for tag, error in result.failed.items():
                self._orders[wanted[tag]].image.set_exception(error)
                self.fail(wanted[tag])
            left = self._without_lost(left)
            if not result.failed:
                break
            finished |= result.finished
            if not self._keep_going:
                left = [key for key in left if self._orders[key].request.tag in finished]
        self._skip_rest("stopped, because another stage failed")

    def _request(self, key: str, finished: frozenset[str]) -> BuildRequest:
        """The request of a stage; what has run in this call comes from the engine's layer cache the second time."""
        order = self._orders[key]
        done = order.image.done() or order.request.tag in finished
        return replace(order.request, no_cache=False) if done and order.request.no_cache else order.request

    def _build_alone(self, key: str) -> None:
        order = self._orders[key]
        began = time.monotonic()
        order.on_begin()
        self._engine.build(order.request, order.on_line)
        order.image.set_result(time.monotonic() - began)

    def _without_lost(self, keys: Iterable[str]) -> list[str]:
        """Skip the stages that stand on one that has failed; returns those that are still to be built."""
        left = []
        for key in keys:
            reason = self._lost(key)
            if reason and not self._orders[key].image.done():
                self._orders[key].image.set_exception(StageSkippedError(reason))
            if not self._orders[key].image.done():
                left.append(key)
        return left

    def _lost(self, key: str) -> str:
        ended = (self._ended[name] for name in self._below[key])
        return next((end.result() for end in ended if end.done() and end.result()), "")

    def _nothing_useful_runs(self) -> bool:
        running = [key for key, order in self._orders.items() if not order.image.done()]
        return bool(running) and all(self._lost(key) for key in running)

    def _skip_rest(self, reason: str) -> None:
        for key, order in self._orders.items():
            if not order.image.done():
                order.image.set_exception(StageSkippedError(self._lost(key) or reason))

    def _give_up(self, error: BaseException) -> None:
        """Tell the stages that the command failed as a whole: the lowest one fails, unless all were interrupted."""
        interrupted = isinstance(error, InterruptedByUserError)
        for key in self.members:
            order = self._orders.get(key)
            if order is None or order.image.done() or (interrupted and order.began is None):
                continue
            order.image.set_exception(error)
            self.fail(key)
            if isinstance(error, JetsonError) and not interrupted:
                break
        self._skip_rest("interrupted" if interrupted else "not built, because the engine failed")


class _Watcher:
    """Hands on what the engine says to the stages that it is still to build, by their tags."""

    def __init__(self, call: BakeCall, wanted: dict[str, str]) -> None:
        self._call = call
        self._wanted = wanted

    def line(self, tag: str, text: str) -> None:
        """A stage's build printed a line; one that stands below those that are built here has its log closed."""
        order = self._order(tag)
        if order is None:
            return
        if order.began is None and _OWN_COMMAND.match(text):
            order.began = time.monotonic()
            order.on_begin()
        order.on_line(text)

    def built(self, tag: str) -> None:
        """A stage's image is in the local store."""
        order = self._order(tag)
        if order is not None:
            order.image.set_result(time.monotonic() - order.began if order.began is not None else 0.0)

    def started(self, stop: Callable[[], None]) -> None:
        """The command runs."""
        self._call.runs(stop)

    def _order(self, tag: str) -> _Order | None:
        key = self._wanted.get(tag)
        order = self._call.order(key) if key is not None else None
        return order if order is not None and not order.image.done() else None
