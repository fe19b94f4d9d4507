"""`jetson-containers doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core.console import Level, width_of, wrapped
from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from jetson_containers.doctor.types import Check, DoctorContext


@command(epilog="Example: jetson-containers doctor --json")
@click.option("--fix", is_flag=True, help="Then go through the steps of setup that help here; each is asked.")
@click.option("-y", "--yes", is_flag=True, help="With --fix: do not ask.")
@click.option("--dry-run", is_flag=True, help="With --fix: only show what would be changed.")
def doctor(app: App, *, fix: bool, yes: bool, dry_run: bool) -> int:
    """Check this machine and say what to do about what is wrong; changes nothing. Exits 1 when a check failed.

    `-v` also shows why each check matters, and the checks that do not apply here.
    """
    if fix and app.console.as_json:
        raise UsageError("--fix asks, so it has no --json", hint="jetson-containers setup --json --dry-run")
    if (yes or dry_run) and not fix:
        raise UsageError("--yes and --dry-run are for --fix", hint="jetson-containers doctor --fix --dry-run")
    from jetson_containers.doctor.run import run_checks
    from jetson_containers.doctor.types import Status

    checks = run_checks(_context(app))
    failed = any(check.status is Status.FAIL for check in checks)
    if app.console.as_json:
        app.console.result_json(checks)
    else:
        show(app, checks)
    if fix:
        _fix(app, checks, yes=yes, dry_run=dry_run)
    return int(failed)


def _fix(app: App, checks: list[Check], *, yes: bool, dry_run: bool) -> None:
    from jetson_containers.cli import setup

    wanted = {check.fix for check in checks if check.fix}
    steps = [name for name in setup.NAMES if name in wanted]
    if not steps:
        app.console.ok("setup has no step that would help here")
        return
    setup.run_steps(app, setup.machine_of(app, setup.SetupOptions()), steps, yes=yes, dry_run=dry_run)


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


def show(app: App, checks: list[Check]) -> None:
    """Print the checks and a count; texts go on below themselves in a terminal, commands stay whole."""
    from jetson_containers.doctor.run import count
    from jetson_containers.doctor.types import Status

    verbose, width = app.level >= Level.VERBOSE, width_of(app.console.out)
    for check in checks:
        if check.status is Status.SKIP and not verbose:
            continue
        status = f"{check.status.value:<4}"
        first, *more = wrapped(f"{status}  {check.check}: {check.finding}", width)
        app.console.result(app.console.style_result(status, _KINDS[check.status.value]) + first[len(status) :])
        if verbose or check.status in {Status.WARN, Status.FAIL}:
            more += wrapped(f"      {check.why}", width)
        for line in more:
            app.console.result(line)
        if check.remedy:
            app.console.result(f"      → {check.remedy}")
    counted = count(checks)
    words = {"ok": "ok", "note": "to improve", "warn": "warning", "fail": "failed", "skip": "not applicable"}
    shown = [f"{number} {words[status.value]}" for status, number in counted.items() if number]
    shown = [f"{text}s" if text.endswith(" warning") and not text.startswith("1 ") else text for text in shown]
    app.console.result(f"{len(checks)} checks: {', '.join(shown)}")
