"""`sbom` and `provenance`: what is in an image, and how it was made, in forms that other tools read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core import files
from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from jetson_containers.engine.interface import LocalImage

_OUTPUT = click.option("--output", type=click.Path(path_type=Path), help="File to write instead of stdout.")


@command(epilog="Example: jetson-containers sbom llama_cpp:0.3.36-r36.4.3-cu126-22.04 --output sbom.json")
@click.argument("image")
@_OUTPUT
def sbom(app: App, *, image: str, output: Path | None) -> None:
    """Write the bill of materials of an image as CycloneDX JSON.

    It lists the packages of Debian, Python and Node.js that the image's own files say are installed, and the recipes it
    was built of. Nothing of the image is started. Needs `pip install -r requirements-sbom.txt`.
    """
    from jetson_containers.engine import image_files
    from jetson_containers.export.sbom import bill_of_materials
    from jetson_containers.images import installed

    found = _local(app, image)
    contents = installed.contents_of(image_files.read(app.engine, image, installed.wanted))
    _write(app, bill_of_materials(image, found, contents), output)
    app.console.info(f"{len(contents.packages)} installed packages")


@command(epilog="Example: jetson-containers provenance llama_cpp:0.3.36-r36.4.3-cu126-22.04")
@click.argument("image")
@_OUTPUT
def provenance(app: App, *, image: str, output: Path | None) -> None:
    """Write how an image of ours was made: an in-toto statement with SLSA's provenance v1, as JSON, unsigned."""
    from jetson_containers.export.provenance import statement
    from jetson_containers.images import labels

    found = _local(app, image)
    if not labels.read(found.labels).plan:
        raise UsageError(
            f"`{image}` was not built by this tool", hint="`jetson-containers images` lists those that were"
        )
    _write(app, json.dumps(statement(image, found), indent=2), output)


def _local(app: App, name: str) -> LocalImage:
    return app.local_image(name)


def _write(app: App, text: str, output: Path | None) -> None:
    if output is None:
        app.console.result(text)
        return
    with files.readable_os_errors():
        files.write_atomically(output, text + "\n")
    app.console.ok(f"written: {output}")
