"""`jetson-containers new`: the directory of a package of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core import errors
from jetson_containers.core.errors import UsageError


@command(epilog="Example: jetson-containers new my-tool --kind apt --of ffmpeg --directory ~/my-packages")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["pip", "source", "apt", "node"]),
    default="pip",
    show_default=True,
    help="How it is installed.",
)
@click.option("--of", metavar="WHAT", default="", help="PROJECT==VERSION of pip, or a package of apt.")
@click.option(
    "--directory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Package tree to put it into; default: the current directory.",
)
@click.option("--license", "package_license", metavar="SPDX", default="MIT", show_default=True, help="Its license.")
def new(app: App, *, name: str, kind: str, of: str, directory: Path, package_license: str) -> None:
    """Make a package NAME that lints, builds and tests at once, to be filled in. docs/recipes.md explains its files."""
    from jetson_containers.core.files import readable_os_errors, write_atomically
    from jetson_containers.recipes import scaffold

    made = scaffold.files(name, kind, of, package_license)
    if app.catalog.family_of(name) is not None:
        raise UsageError(f"there is a package `{name}` already", hint=errors.command("jetson-containers", "show", name))
    place = directory / name
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"{place} exists already", hint="choose another name, or --directory")
    with readable_os_errors():
        for file, text in made.items():
            write_atomically(place / file, text, mode=0o777 if file in scaffold.EXECUTABLE else 0o666)
    if app.console.as_json:
        app.console.result_json({"directory": str(place), "files": sorted(made)})
        return
    app.console.ok(f"{place}: {', '.join(sorted(made))}")
    tree = directory.absolute()
    if kind == "pip" and "--hash" not in made[f"{name}.lock"]:
        app.console.info(errors.command("jetson-containers", "--package-dirs", tree, "lock-pips", name) + " pins it")
    if not of and kind in scaffold.EXAMPLES:
        app.console.info(f"it installs `{scaffold.EXAMPLES[kind]}` as an example; `--of` names what you want")
    check = errors.command("jetson-containers", "lint", "--package-dirs", tree, name)
    app.console.info(
        f"{check} checks it, {errors.command('./build.sh', '--package-dirs', tree, name)} builds and tests it"
    )
