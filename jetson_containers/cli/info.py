"""`jetson-containers info`."""

from __future__ import annotations

import click

from jetson_containers.cli.app import App, command
from jetson_containers.cli.config import hidden
from jetson_containers.core.console import human_bytes


@command()
@click.option("--config", "show_config", is_flag=True, help="Show the settings and where each came from.")
def info(app: App, *, show_config: bool) -> None:
    """Show the effective platform, or the settings, and where every value came from.

    Example: jetson-containers info --target orin-nx-16gb,r36.4.3,cu128
    """
    if show_config:
        _config(app)
        return
    from jetson_containers.recipes import isolation

    platform, exposed = app.built_for, isolation.why_not()
    if app.console.as_json:
        answer = {**platform.to_json(), "origins": dict(platform.origins), "sandbox": not exposed}
        app.console.result_json(answer)
        return
    rows = []
    for name, value in platform.to_json().items():
        shown = human_bytes(value) if name == "memory" and value else _shown(value)
        rows.append((name, shown, platform.origins.get(name, "")))
    rows.append(("sandbox of config.py", "no" if exposed else "yes", exposed or isolation.PROGRAM))
    app.console.table(("value", "is", "from"), rows, to_result=True)


def _config(app: App) -> None:
    values = app.settings.values
    if app.console.as_json:
        app.console.result_json({n: {"value": hidden(v.value), "origin": v.origin} for n, v in sorted(values.items())})
        return
    rows = [(name, _shown(value.value), value.origin) for name, value in sorted(values.items())]
    app.console.table(("setting", "is", "from"), rows, to_result=True)


def _shown(value: object) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, (list, tuple)):
        return " ".join(str(item) for item in value)
    return str(value)
