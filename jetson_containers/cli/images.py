"""`images` and `prune`: what this tool put into the local store, and what of it nothing needs any more."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, command
from jetson_containers.console import human_bytes

if TYPE_CHECKING:
    from jetson_containers.engine.base import LocalImage

ROLE = "io.jetson-containers.role"


@command()
@click.option("--all", "show_all", is_flag=True, help="Also stages, artifacts and bases.")
def images(app: App, *, show_all: bool) -> None:
    """List the images this tool made.

    Example: jetson-containers images --all
    """
    found = [image for image in app.engine.images() if _role(image)]
    rows = [_row(image) for image in found if show_all or _role(image) == "final"]
    if app.console.as_json:
        app.console.result_json(rows)
        return
    app.console.table(
        ("image", "role", "size", "created", "packages"),
        [
            (row["image"], row["role"], human_bytes(row["size"]), row["created"][:16], " ".join(row["packages"]))
            for row in rows
        ],
        to_result=True,
    )


def _role(image: LocalImage) -> str:
    value = image.labels.get(ROLE, "")
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _row(image: LocalImage) -> dict[str, Any]:
    try:
        packages = json.loads(image.labels.get("io.jetson-containers.packages", "[]"))
    except ValueError:
        packages = []
    return {
        "image": ", ".join(image.references) or image.id[:19],
        "role": _role(image),
        "size": image.size,
        "created": image.created,
        "packages": packages,
        "key": image.labels.get("io.jetson-containers.key", ""),
    }


@command()
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def prune(app: App, *, dry_run: bool) -> None:
    """Remove stage and artifact images; final images and their layers stay.

    A later build of the same packages makes the stages again from the engine's cache.

    Example: jetson-containers prune --dry-run
    """
    stages = [image for image in app.engine.images() if _role(image) in {"stage", "artifact"}]
    kept = {reference for image in app.engine.images() if _role(image) == "final" for reference in image.references}
    removed = []
    for image in stages:
        for reference in image.references:
            if reference in kept:
                continue
            removed.append(reference)
            if not dry_run:
                app.engine.untag(reference)
    if app.console.as_json:
        app.console.result_json({"removed": removed, "dry_run": dry_run})
        return
    for reference in removed:
        app.console.result(f"{'would remove' if dry_run else 'removed'} {reference}")
    app.console.info(f"{len(removed)} stage names {'would be ' if dry_run else ''}removed")
