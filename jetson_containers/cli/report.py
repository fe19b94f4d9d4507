"""`jetson-containers report`: the page of a build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command

if TYPE_CHECKING:
    from jetson_containers.builder.records import Record


@command()
@click.argument("build", default="latest", metavar="[BUILD]")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where the page is written.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser.")
@click.option("--list", "listing", is_flag=True, help="List the builds that left a record.")
def report(app: App, *, build: str, output: Path | None, show: bool, listing: bool) -> None:
    """Make a page of a build: timeline with the critical path, caches, sizes, tests, logs, and what changed.

    BUILD is the name of a record (--list), or a file with one; without it the last build is meant. The page is one HTML
    file without links to others, so it can be sent. With --json the record itself is printed.

    Example: jetson-containers report -o build.html
    """
    from jetson_containers.builder import records
    from jetson_containers.pages import build_report, render

    folder = records.folder(app.settings.path("cache") / "build")
    if listing:
        _list(app, folder)
        return
    if Path(build).suffix == ".json":
        found = records.read(Path(build))
        before = records.before(folder, found)
    else:
        found, before = build_report.open_record(folder, build)
    if app.console.as_json:
        app.console.result_json(found.to_json())
        return
    path = output or Path(f"report-{found.id}.html")
    render.write(path, build_report.text(found, before, app.settings.env))
    app.console.result(str(path))
    if show:
        import webbrowser

        if not webbrowser.open(path.absolute().as_uri()):
            app.console.warning("no browser could be started here")


def _list(app: App, folder: Path) -> None:
    from jetson_containers.builder import records
    from jetson_containers.core.console import human_seconds
    from jetson_containers.core.errors import ConfigError
    from jetson_containers.pages.build_report import asked

    found: list[Record] = []
    for path in records.listed(folder):
        try:
            found.append(records.read(path))
        except ConfigError as error:
            app.console.warning(error.message)
    if app.console.as_json:
        keys = ("id", "began", "seconds", "result")
        app.console.result_json([{**{k: getattr(each, k) for k in keys}, "request": asked(each)} for each in found])
        return
    rows = [(each.id, each.result, human_seconds(each.seconds), asked(each)) for each in found]
    app.console.table(("build", "result", "time", "request"), rows, to_result=True)
