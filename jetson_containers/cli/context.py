"""`jetson-containers context`."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core.errors import NotReadyError, UsageError

if TYPE_CHECKING:
    from jetson_containers.recipes.package import Package


@command()
@click.argument("name")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def context(app: App, *, name: str, directory: Path) -> None:
    """Write the build context of a package to DIR, for a plain `docker build`.

    It holds the recipe's files, those it shares with other recipes (`share:`, below `.jetson/shared/`), and its
    Dockerfiles with templates rendered for the platform. The result is a `docker build` command for each Dockerfile.

    Example: jetson-containers context huggingface_hub /tmp/hub
    """
    from jetson_containers.engine.context import lay_out
    from jetson_containers.engine.interface import BuildRequest
    from jetson_containers.plan.planner import recipe_text
    from jetson_containers.recipes.shared import files_of

    package = app.catalog.find(app.catalog.spelled(name))
    if package.dockerfile is None:
        raise UsageError(f"`{package.name}` has no build context: it only names other packages")
    if directory.exists():
        raise UsageError(f"{directory} exists already", hint="name a directory that is not there yet")
    parts = {file: recipe_text(package, package.path / file, app.platform) for file in _dockerfiles(package)}
    texts = {_rendered(file): text for file, text in parts.items()}
    request = BuildRequest(
        context=package.path, dockerfile="", tag="", added={**package.added, **texts}, shared=files_of(package)
    )
    try:
        lay_out(request, directory, link=False)
    except BaseException as error:
        shutil.rmtree(directory, ignore_errors=True)  # half a context would be in the way of the next try
        if not isinstance(error, OSError):
            raise
        said = f"{directory} cannot be written: {error.strerror or error}"
        raise NotReadyError(said, hint="name another directory, or free some space") from error
    commands = [_command(package, directory, file, text) for file, text in parts.items()]
    if app.console.as_json:
        builds = [{"dockerfile": name, "command": words} for name, words in zip(texts, commands, strict=True)]
        app.console.result_json({"package": package.name, "directory": str(directory), "builds": builds})
        return
    for words in commands:
        app.console.result(shlex.join(words))


def _dockerfiles(package: Package) -> list[str]:
    """The one that compiles, where there is one, before the one that installs."""
    return [file for file in (package.artifacts and package.artifacts.dockerfile, package.dockerfile) if file]


def _rendered(file: str) -> str:
    return file.removesuffix(".j2")


def _command(package: Package, directory: Path, file: str, text: str) -> list[str]:
    """The `docker build` for one Dockerfile of the context; words in capitals are the user's to fill in."""
    from jetson_containers.dockerfile.inject import declared_args

    compiles = package.artifacts if package.artifacts and file == package.artifacts.dockerfile else None
    needs = (compiles.depends if compiles else ()) or package.depends
    artifact = f"{package.family}-artifact"
    images = {
        "BASE_IMAGE": "_".join(("IMAGE_WITH", *(need.family.upper() for need in needs))) if needs else "IMAGE",
        "ARTIFACT_IMAGE": artifact,
    }
    declared = declared_args(text, directory / file)
    args = [f"--build-arg={key}={value}" for key, value in {**images, **package.build_args}.items() if key in declared]
    tag = artifact if compiles else package.family
    return ["docker", "build", f"--tag={tag}", f"--file={directory / _rendered(file)}", *args, str(directory)]
