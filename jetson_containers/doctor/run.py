"""Runs the checks: all at once, each bounded in time, none able to stop another."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import JetsonError
from jetson_containers.doctor import (
    board_checks,
    disk_checks,
    engine_checks,
    gpu_checks,
    network_checks,
    tool_checks,
)
from jetson_containers.doctor.types import Check, CheckDefinition, Finding, Status, skip, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jetson_containers.doctor.types import DoctorContext
    from jetson_containers.engine.interface import Capabilities

CHECKS: tuple[CheckDefinition, ...] = (
    *board_checks.CHECKS,
    *engine_checks.CHECKS,
    *gpu_checks.CHECKS,
    *disk_checks.CHECKS,
    *network_checks.CHECKS,
    *tool_checks.CHECKS,
)

_AGAIN = "jetson-containers doctor --verbose  # once more"


class _Once:
    """Calls a function once, also from several threads; what it raised is raised again."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._lock = threading.Lock()
        self._result: object = None
        self._error: JetsonError | None = None
        self._done = False

    def __call__(self) -> object:
        with self._lock:
            if not self._done:
                try:
                    self._result = self._function()
                except JetsonError as error:
                    self._error = error
                self._done = True
        if self._error is not None:
            raise self._error
        return self._result


class _Running:
    """One check in its thread."""

    def __init__(self, definition: CheckDefinition, look: Callable[[], Finding]) -> None:
        self._definition = definition
        self._look = look
        self._finding: Finding | None = None
        self._deadline = time.monotonic() + definition.limit
        self._thread = threading.Thread(target=self._run, name=f"check {definition.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._finding = self._look()
        except JetsonError as error:
            self._finding = warn(f"could not be checked: {error.message}", error.hint or _AGAIN)
        except Exception as error:  # noqa: BLE001 - no check may stop another, whatever is wrong with it
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            self._finding = warn(f"could not be checked: {said}", _AGAIN)

    def result(self) -> Check:
        """Wait for the end of the check, or of its time."""
        self._thread.join(max(0.0, self._deadline - time.monotonic()))
        late = warn(f"could not be checked: it took longer than {self._definition.limit:g} s", _AGAIN)
        return _check(self._definition, self._finding or late)


def _check(definition: CheckDefinition, finding: Finding) -> Check:
    return Check(
        check=definition.name,
        status=finding.status,
        finding=finding.text,
        remedy=finding.remedy,
        why=definition.why,
        fix=finding.fix,
    )


def run_checks(context: DoctorContext, checks: Sequence[CheckDefinition] = CHECKS) -> list[Check]:
    """Run all checks, and give what they found in their fixed order.

    Those that look at the engine begin when the check `engine` has ended, and are left out where it failed.
    """
    context = replace(context, platform=_Once(context.platform), engine=_Once(context.engine))  # type: ignore[arg-type]
    running = {each.name: _Running(each, _bind(each.look, context)) for each in checks if each.look is not None}
    found = {"engine": running["engine"].result()} if "engine" in running else {}
    if capabilities := _capabilities(context, found.get("engine")):
        for each in checks:
            if capabilities.elsewhere and each.look_at_engine is not None and not each.anywhere:
                found[each.name] = _check(each, skip("the engine runs on another machine"))
            elif each.look_at_engine is not None:
                running[each.name] = _Running(each, _bind_engine(each.look_at_engine, context, capabilities))
    found |= {name: each.result() for name, each in running.items() if name not in found}
    return [found.get(each.name) or _check(each, skip("the engine does not answer")) for each in checks]


def _bind(look: Callable[[DoctorContext], Finding], context: DoctorContext) -> Callable[[], Finding]:
    return lambda: look(context)


def _bind_engine(
    look: Callable[[DoctorContext, Capabilities], Finding], context: DoctorContext, found: Capabilities
) -> Callable[[], Finding]:
    return lambda: look(context, found)


def _capabilities(context: DoctorContext, engine: Check | None) -> Capabilities | None:
    if engine is None or engine.status in {Status.FAIL, Status.SKIP}:
        return None
    return context.engine().capabilities


def count(checks: Iterable[Check]) -> dict[Status, int]:
    """How many checks ended in each way."""
    statuses = [check.status for check in checks]
    return {status: statuses.count(status) for status in Status}
