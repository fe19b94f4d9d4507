"""`jetson-containers doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.cli.app import App, command
from jetson_containers.core.console import Level

if TYPE_CHECKING:
    from jetson_containers.doctor.types import Check, DoctorContext


@command(epilog="Example: jetson-containers doctor --json")
def doctor(app: App) -> int:
    """Check this machine and say what to do about what is wrong; changes nothing. Exits 1 when a check failed.

    `-v` also shows why each check matters, and the checks that do not apply here.
    """
    from jetson_containers.doctor.run import run_checks
    from jetson_containers.doctor.types import Status

    checks = run_checks(_context(app))
    failed = any(check.status is Status.FAIL for check in checks)
    if app.console.as_json:
        app.console.result_json(checks)
    else:
        _show(app, checks)
    return int(failed)


def _context(app: App) -> DoctorContext:
    """Settings that cannot be read are a finding, and the defaults are used for the other checks."""
    from jetson_containers.core import settings
    from jetson_containers.core.errors import ConfigError
    from jetson_containers.doctor.types import DoctorContext

    problem = ""
    try:
        loaded = app.settings
    except ConfigError as error:
        problem = error.message
        app.settings = loaded = settings.load({}, files=(), env={})
    return DoctorContext(
        platform=lambda: app.platform, engine=lambda: app.engine, settings=loaded, settings_error=problem
    )


_KINDS = {"ok": "ok", "note": "hint", "warn": "warning", "fail": "error", "skip": "dim"}


def _show(app: App, checks: list[Check]) -> None:
    from jetson_containers.doctor.run import count
    from jetson_containers.doctor.types import Status

    verbose = app.level >= Level.VERBOSE
    for check in checks:
        if check.status is Status.SKIP and not verbose:
            continue
        name = app.console.style_result(f"{check.status.value:<4}", _KINDS[check.status.value])
        app.console.result(f"{name}  {check.check}: {check.finding}")
        if verbose or check.status in {Status.WARN, Status.FAIL}:
            app.console.result(f"      {check.why}")
        if check.remedy:
            app.console.result(f"      → {check.remedy}")
    counted = count(checks)
    words = {"ok": "ok", "note": "to improve", "warn": "warnings", "fail": "failed", "skip": "not applicable"}
    shown = [f"{number} {words[status.value]}" for status, number in counted.items() if number]
    app.console.result(f"{len(checks)} checks: {', '.join(shown)}")
