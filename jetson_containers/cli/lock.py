"""`lock`: write down what an image is made of; `build --locked` makes the same again, or says what differs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from jetson_containers.cli.app import App, command, list_option


@command(epilog="Example: jetson-containers lock llama_cpp -o llama.lock && ./build.sh --locked llama.lock")
@click.argument("packages", nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the lock to this file.")
@click.option("--name", default="", help="As in build.")
@click.option("--base", default="", help="As in build.")
@list_option("--build-args", help="As in build.")
@list_option("--build-flags", separator=" ", help="As in build.")
@list_option("--skip-packages", help="As in build.")
def lock(
    app: App,
    *,
    packages: tuple[str, ...],
    output: Path | None,
    name: str,
    base: str,
    build_args: str,
    build_flags: str,
    skip_packages: str,
) -> None:
    """Write down what an image is made of: base, recipes, sources, hashes, and the version of this program.

    The base image is pulled or made where it is not here yet, as by a build, because its digest is part of every key.
    """
    from jetson_containers.builder import base_image
    from jetson_containers.cli import build, locked
    from jetson_containers.cli.build_arguments import chosen_base
    from jetson_containers.core import files

    given = replace(
        build.default_arguments(packages, app),
        name=name, base=base, build_args=build_args, build_flags=build_flags, skip_packages=skip_packages,
    )  # fmt: skip
    found = base_image.ensure(
        app.platform, app.engine, app.console, app.settings, base=chosen_base(app, given),
        allow_install=bool(app.settings["allow_install"]),
    )  # fmt: skip
    assembly = build.assemble_on(app, given, found)
    text = json.dumps(locked.document(app, given, assembly, found), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if output is None:
        app.console.result(text.rstrip("\n"))
        return
    files.write_atomically(output, text)
    if found.made:
        app.console.warning(
            f"the base {found.reference} was made here, and no registry has it",
            "take it to the other machine: jetson-containers bundle",
        )
    app.console.ok(f"{output}: {len(assembly.plans[0].stages)} stages of {assembly.plans[0].final}")
