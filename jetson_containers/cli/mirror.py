"""`jetson-containers mirror`: a folder with what builds fetch, filled and served."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.abbreviations import AbbreviatingGroup
from jetson_containers.cli.app import App, command, global_options
from jetson_containers.core.errors import JetsonError, UsageError
from jetson_containers.core.files import open_no_link

if TYPE_CHECKING:
    from jetson_containers.builder.known_base import BaseImage


@click.group(
    cls=AbbreviatingGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: jetson-containers mirror fill llama_cpp --into mirror && ./build.sh llama_cpp --mirrors mirror",
)
@global_options
@click.pass_obj
def mirror(app: App, /, **options: Any) -> None:
    """Fill a folder with what builds fetch, and serve it."""
    app.update(options)


_INTO = click.option(
    "--into", "folder", required=True, type=click.Path(path_type=Path, file_okay=False), help="The folder to fill."
)


@command("fill")
@click.argument("packages", nargs=-1, required=True)
@_INTO
@click.option("--base", default="", help="As in build.")
@click.option("--images/--no-images", "images", default=True, help="Whether the base image is taken too.")
def mirror_fill(app: App, *, packages: tuple[str, ...], folder: Path, base: str, images: bool) -> int:
    """Fetch what the recipes of an image pin: commits, files, wheels and sources by hash, npm tarballs, the base image.

    What is there and right is not fetched again. What apt installs, and what a recipe checks by other means, is listed
    as left out. The exit code is 1 where something could not be had.

    Example: jetson-containers mirror fill llama_cpp --into /media/usb/mirror
    """
    from jetson_containers.builder import known_base
    from jetson_containers.cli import build
    from jetson_containers.cli.build_arguments import chosen_base
    from jetson_containers.mirror import needs
    from jetson_containers.mirror.fill import Filler

    if app.settings["offline"]:
        raise UsageError("`mirror fill` needs a network connection", hint="without `--offline`")
    given = replace(build.default_arguments(packages, app), base=base)
    predicted = known_base.predict(app.platform, app.settings, chosen_base(app, given))
    (plan,) = build.assemble_on(app, given, predicted).plans
    wanted = needs.of(plan.stages, plan.platform)
    settings = app.settings
    filler = Filler(
        folder, app.console, found=settings["mirrors"], index=settings["index_url"], ca_bundle=settings["ca_bundle"]
    )
    filled = filler.fill(wanted, plan.platform)
    if images:
        _add_base(app, folder, predicted, filled.failed)
    for name in wanted.left_out:
        app.console.detail(f"left out: {name}")
    for name, reason in filled.failed.items():
        app.console.warning(f"{name}: {reason}")
    counts = {"git": filled.git, "files": filled.files, "python": filled.python, "npm": filled.npm}
    if app.console.as_json:
        app.console.result_json(
            {**counts, "fetched": filled.fetched, "failed": filled.failed, "left_out": list(wanted.left_out)}
        )
    else:
        held = ", ".join(f"{len(names)} {kind}" for kind, names in counts.items())
        app.console.result(
            f"{folder}: {held}; {filled.fetched} fetched now, {len(wanted.left_out)} left out (--verbose)"
        )
    return int(bool(filled.failed))


def _add_base(app: App, folder: Path, base: BaseImage, failed: dict[str, str]) -> None:
    """Write the base image to the folder, where it is here or a registry has it."""
    from jetson_containers.engine import archive, transfer_progress

    target = folder / "images" / f"{base.reference.replace('/', '_').replace(':', '_')}.tar"
    if target.is_file():
        return
    try:
        if app.engine.image(base.reference) is None:
            app.console.info(f"pulling the base image {base.reference}")
            platform = app.platform.docker_platform
            transfer_progress.pull(app.engine, base.reference, app.console, platform=platform)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(".partial")
        words = archive.save(app.engine, base.reference)
        with archive.reading(words, "`docker save`") as stream, open_no_link(partial, "wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)
        partial.replace(target)
    except JetsonError as error:
        failed[base.reference] = error.message


@command("serve")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def mirror_serve(app: App, *, folder: Path) -> None:
    """Serve a filled folder on this machine until Ctrl-C, and print the setting `mirrors` that leads builds to it.

    `build --mirrors FOLDER` does the same for one build.

    Example: jetson-containers mirror serve mirror
    """
    from jetson_containers.mirror.serve import serving

    with serving(folder.absolute()) as found:
        app.console.result(json.dumps(found, sort_keys=True))
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        with contextlib.suppress(KeyboardInterrupt):
            ended.wait()


mirror.add_command(mirror_fill)
mirror.add_command(mirror_serve)
