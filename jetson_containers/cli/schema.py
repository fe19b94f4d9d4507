"""`schema`: JSON Schemas of what commands print with `--json`."""

from __future__ import annotations

from typing import Any

import click

from jetson_containers.cli.app import App, command

_ERROR = "error"


@command()
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
def schema(app: App, *, words: tuple[str, ...]) -> None:
    """Print the JSON Schema (2020-12) of what COMMAND prints with --json; without COMMAND, list those that have one.

    `error` is what every command prints where it fails. Keys may be added in later versions, none is renamed.

    Example: jetson-containers schema llm fit
    """
    from jetson_containers.core.errors import NothingMatchedError

    if not words:
        _list(app)
        return
    name = " ".join(words)
    found = documents().get(name)
    if found is None:
        raise NothingMatchedError(f"`{name}` has no schema: {_why(name)}", hint="`jetson-containers schema` lists them")
    app.console.result_json(found)


def documents() -> dict[str, dict[str, Any]]:
    """All schemas by the words of their command; `error` is that of a failure."""
    from jetson_containers.cli.json_results import ERROR, RESULTS
    from jetson_containers.cli.schema_types import document

    made = {name: document(f"jetson-containers {name} --json", form) for name, form in sorted(RESULTS.items())}
    return {**made, _ERROR: document("jetson-containers … --json where it fails", ERROR)}


def _list(app: App) -> None:
    from jetson_containers.cli.json_results import RESULTS

    names = [*sorted(RESULTS), _ERROR]
    if app.console.as_json:
        app.console.result_json(names)
        return
    for name in names:
        app.console.result(name)


def _why(name: str) -> str:
    from jetson_containers.cli.json_results import OTHER_RESULTS

    return f"it prints {OTHER_RESULTS[name]}" if name in OTHER_RESULTS else "there is no such command"
