"""`jetson-containers autotag`: exactly one line on stdout, the image reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, collect, command, list_option, split_list, verify_option
from jetson_containers.core.errors import (
    NoCompatibleImageError,
    NotReadyError,
    RecipeError,
    UnavailablePackageError,
    UnknownPackageError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetson_containers.core.errors import JetsonError
    from jetson_containers.engine.interface import LocalImage


@dataclass(frozen=True, kw_only=True)
class AutotagArguments:
    """What was given on the line of `autotag`; the options of the same names say what each means."""

    packages: tuple[str, ...]
    prefer: str
    disable: str
    user: str
    registry: tuple[str, ...]
    output: str
    pin: bool
    explain: bool
    yes: bool


@command(epilog="Example: ./run.sh $(./autotag llama_cpp) llama-cli --version")
@click.argument("packages", nargs=-1, required=True)
@list_option(
    "-p",
    "--prefer",
    help="Order of the sources, default local,registry,build; `native`: native CUDA first.",
)
@list_option("-d", "--disable", help="Sources not to use: local, registry, build.")
@click.option("-u", "--user", default="", help="Namespace on Docker Hub to look in, instead of the configured ones.")
@click.option("--registry", multiple=True, help="REGISTRY/NAMESPACE to look in (repeatable).")
@click.option("-o", "--output", default="", help="Also write the reference to this file.")
@click.option("--pin", is_flag=True, help="Print the reference with its digest.")
@click.option("--explain", is_flag=True, help="Show every candidate and the rule that accepted or refused it.")
@verify_option
@click.option("-y", "--yes", is_flag=True, help="Build without asking when nothing fits.")
@collect(lambda: AutotagArguments, "given")
def autotag(app: App, *, given: AutotagArguments) -> None:
    """Find an image that holds all the packages and runs here; with -y, build one when there is none."""
    from jetson_containers.autotag import search

    packages = given.packages
    chosen = search.options(
        app.settings,
        prefer=split_list(given.prefer),
        disable=split_list(given.disable),
        user=given.user,
        registries=given.registry,
        pin=given.pin,
        quiet=bool(app.options.get("quiet")),
        yes=given.yes,
        explain=given.explain,
        aliases=_aliases(app),
        where=("--target", str(app.options["target"])) if app.is_cross else (),
    )
    if app.console.as_json:
        places = search.sources(app.settings, lambda: app.engine, chosen)
        choice = search.choose(packages, app.platform, places, chosen)
        answer = {**choice.to_json(), "platform": app.platform.to_json()}
        if choice.image:
            answer["choice"] = _verified(app, choice.image)
        app.console.result_json(answer)
        if choice.image is None:
            raise _explained(app, packages, search.refusal(choice, chosen.where))
        return
    try:
        image = search.find(
            packages, app.platform, lambda: app.engine, app.settings, app.console, chosen, build=_build(app)
        )
    except NoCompatibleImageError as error:
        raise _explained(app, packages, error) from error
    image = _verified(app, image)
    if given.output:
        _write(Path(given.output), image)
    app.console.result(image)


def _verified(app: App, image: str) -> str:
    """The image by its digest, once that is known to be signed, where a key asks for it."""
    return app.verified(image, lambda: _local(app, image))


def _local(app: App, image: str) -> LocalImage | None:
    """The image as this machine has it; None where it has none, or no engine."""
    try:
        return app.engine.image(image)
    except NotReadyError:
        return None


def _aliases(app: App) -> Callable[[str], Sequence[str]]:
    """Names of the same package: `torch` also finds images of `pytorch`, and `nano-llm` those of `nano_llm`."""
    from jetson_containers.registry import snapshot

    def names(name: str) -> Sequence[str]:
        spelled = app.catalog.spelled(name)
        for package in app.catalog.available.values():
            if spelled in (package.family, *package.aliases):
                return (package.family,)
        return snapshot.names_like(name)

    return names


def _explained(app: App, packages: Sequence[str], error: JetsonError) -> JetsonError:
    """Offer no build of what cannot be built: a name no recipe has, or a package this platform excludes."""
    for name in packages:
        try:
            app.catalog.find(app.catalog.spelled(name))
        except (UnknownPackageError, UnavailablePackageError, RecipeError) as cause:
            hint = f"it cannot be built either: {cause.message}" + (f"; {cause.hint}" if cause.hint else "")
            return type(error)(error.message, details=error.details, hint=hint)
    return error


def _build(app: App) -> Callable[[Sequence[str]], str]:
    """How `-y`, or a yes at the terminal, builds what was asked for."""

    def build(request: Sequence[str]) -> str:
        from jetson_containers.cli.build import build_one

        return build_one(app, tuple(request))

    return build


def _write(path: Path, image: str) -> None:
    try:
        path.write_text(image + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: cannot write `{path}`: {error.strerror}") from error
