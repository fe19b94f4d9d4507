"""`jetson-containers doctor`."""

from __future__ import annotations

from jetson_containers.cli.app import App, command


@command(epilog="Example: jetson-containers doctor --json")
def doctor(app: App) -> int:
    """Check this machine and say what to do about what is wrong; changes nothing. Exits 1 when a check failed."""
    from jetson_containers.doctor import DoctorContext, Status, run_checks

    checks = run_checks(DoctorContext(platform=lambda: app.platform, engine=lambda: app.engine, settings=app.settings))
    failed = any(check.status is Status.FAIL for check in checks)
    if app.console.as_json:
        app.console.result_json(checks)
        return int(failed)
    for check in checks:
        app.console.result(f"{check.status.value:<4}  {check.check}: {check.finding}")
        if check.remedy:
            app.console.result(f"      → {check.remedy}")
    return int(failed)
