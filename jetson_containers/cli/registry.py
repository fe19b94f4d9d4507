"""`jetson-containers registry`: the list of images that is used where a registry does not answer."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click

from jetson_containers.cli.abbreviations import AbbreviatingGroup
from jetson_containers.cli.app import App, command, global_options
from jetson_containers.core.errors import UsageError


@click.group(
    cls=AbbreviatingGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: jetson-containers registry refresh",
)
@global_options
@click.pass_obj
def registry(app: App, /, **options: Any) -> None:
    """Renew the list of images that is used where a registry does not answer."""
    app.update(options)


@command("refresh")
@click.argument("places", nargs=-1, metavar="[REGISTRY/NAMESPACE]...")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Write the list to this file instead of the shipped one."
)
def registry_refresh(app: App, *, places: tuple[str, ...], output: Path | None) -> int:
    """Ask registries for all their images and write the list that is shipped anew.

    Without arguments, the `registries` of the settings. What cannot be asked keeps its old entry, which is said; the
    exit code is then 1.

    Example: jetson-containers registry refresh docker.io/dustynv
    """
    from jetson_containers.core.files import write_atomically
    from jetson_containers.registry import refresh, snapshot
    from jetson_containers.registry.listing import Listings
    from jetson_containers.registry.types import ImageRepository

    if app.settings["offline"]:
        raise UsageError("`registry refresh` needs a network connection", hint="without `--offline`")
    asked = tuple(ImageRepository.parse(name) for name in places or app.settings["registries"])
    path = output or snapshot.SNAPSHOT
    old = json.loads(snapshot.SNAPSHOT.read_bytes())
    today = datetime.now(timezone.utc).date().isoformat()
    made = refresh.refresh(asked, Listings.of(app.settings), old, today, app.console.detail)
    for name, error in made.failed.items():
        app.console.warning(f"{name} stays as it was: {error.message}", hint=error.hint)
    if not made.asked:
        raise next(iter(made.failed.values()))
    try:
        write_atomically(path, snapshot.text(made.data))
    except OSError as error:
        raise UsageError(f"cannot write `{path}`: {error.strerror}", hint="`--output FILE`") from error
    tags = sum(len(entry["tags"]) for entry in made.data["repositories"])
    if app.console.as_json:
        app.console.result_json(
            {"file": str(path), "asked": made.asked, "failed": sorted(made.failed), "tags": tags}
        )  # fmt: skip
    else:
        app.console.result(f"{path}: {len(made.asked)} repositories asked, {tags} images in all")
    return int(bool(made.failed))


registry.add_command(registry_refresh)
