"""`jetson-containers run`: docker's own options, image and command pass through untouched."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.core import errors
from jetson_containers.core.errors import RegistryError, UsageError

if TYPE_CHECKING:
    from jetson_containers.cli.app import App
    from jetson_containers.launch.options import RunRequest


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def run(app: App, *, arguments: tuple[str, ...]) -> int:
    """Run a container with what the board has: GPU, cameras, /data."""
    from jetson_containers.core.console import wrapped
    from jetson_containers.images.name import ImageName
    from jetson_containers.launch import command, podman
    from jetson_containers.launch.options import is_command, parse, seems_image
    from jetson_containers.llm.run_hints import with_hints

    request = parse(arguments)
    app.update(request.globals)
    if request.verify:
        app.choose("verify_key", request.verify)
    if request.asks_for_help:
        width = shutil.get_terminal_size((120, 24)).columns  # as the help of other commands: COLUMNS counts
        for line in command.HELP.splitlines():
            whole = line.startswith(("  ./", "  docker "))  # it is pasted
            for part in [line] if whole else wrapped(line, width):
                app.console.result(part)
        return 0
    image = request.image  # a line without an image is said before the engine is asked
    with_podman = request.podman or bool(app.settings["podman"])
    if not with_podman and is_command(image) and app.engine.image(image) is None:
        raise UsageError(
            f"`{image}` is a command, and no image of that name is here",
            hint="the image comes before the command; if `$(./autotag …)` found none, it is missing; "
            f"the image of that name is `{image}:latest`",
        )
    if with_podman:
        capabilities = app.podman.run_capabilities
        if not request.dry_run:
            podman.require_image(capabilities.client, image)
    else:
        ImageName.parse(image)  # Podman's images may have other names: archives, folders
        capabilities = app.engine.run_capabilities
    if seems_image(request.line.command[:1]):
        app.console.warning(
            f"`{request.line.command[0]}` is taken for the program to start in `{image}`: a container has one image",
            "`autotag` with several packages finds one image of all: `./autotag PACKAGE PACKAGE`",
        )
    request = _verified(app, request, with_podman=with_podman)
    if request.least:
        request = _with_user(request, request.data or app.settings.path("data"))
    planned = command.plan_run(
        request,
        app.platform,
        capabilities,
        app.settings,
        root=Path("/"),
        env=os.environ,
        stdin_tty=sys.stdin is not None and sys.stdin.isatty(),
        stdout_tty=sys.stdout is not None and sys.stdout.isatty(),
    )
    if not with_podman:
        _have(app, request)
    return command.run(with_hints(planned, request.line, app.platform), app.console)


def _have(app: App, request: RunRequest) -> None:
    """Pull an image that is not here, with its progress; what the line says of pulling is docker's own affair."""
    from jetson_containers.engine import pull
    from jetson_containers.engine.docker import NOT_STARTED
    from jetson_containers.launch.options import is_bare

    image, line = request.image, request.line
    is_doubtful = is_bare(image)
    if (request.dry_run and not is_doubtful) or line.has("pull") or app.engine.image(image) is not None:
        return
    hint = "the image comes before the command; if `$(./autotag …)` found none, it is missing"
    if is_doubtful:
        if app.catalog.family_of(app.catalog.spelled(image)) is not None:
            hint = f"{errors.command('./autotag', image)} finds an image of the package"
        app.console.warning(f"no image `{image}` is here, so the engine asks its registry for one", hint)
    if request.dry_run:
        return
    if not is_doubtful and not app.settings["offline"]:
        app.console.info(f"pulling image `{image}`")
    try:
        pull.pull_missing(
            app.engine, image, app.console, offline=app.settings["offline"], hint=hint, platform=line.last("platform")
        )
    except RegistryError as error:
        error.exit_code = NOT_STARTED  # as docker would have ended, for scripts that tell it from their program's code
        raise


def _verified(app: App, request: RunRequest, *, with_podman: bool) -> RunRequest:
    """The request with the image by its digest, once that is known to be signed, where a key asks for it."""
    image = app.verified(request.image, lambda: None if with_podman else app.engine.image(request.image))
    return replace(request, line=replace(request.line, image=image))


def _with_user(request: RunRequest, data: Path) -> RunRequest:
    """The request, run by who may write the data."""
    from jetson_containers.launch.least import user_of

    return replace(request, user=user_of(data))
