"""`jetson-containers site`: the catalogue as pages."""

from __future__ import annotations

from pathlib import Path

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core.errors import UsageError


@command()
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the pages.")
@click.option("--open", "show", is_flag=True, help="Open the index in the browser.")
def site(app: App, *, folder: Path | None, output: Path | None, show: bool) -> None:
    """Make pages of the catalogue: packages and platforms, versions, graphs, tags, and which models fit where.

    The pages load nothing from elsewhere and work from a file or from any web server. No registry is asked: tags are
    those of the lists that are kept here, or were shipped, with their dates. --package-dirs adds further trees,
    and --target leaves only some platforms.

    Example: jetson-containers site -o public
    """
    place = output or folder
    if place is None:
        raise UsageError("no folder given for the pages", hint="jetson-containers site -o DIR")
    if place.exists() and not place.is_dir():
        raise UsageError(f"`{place}` is not a folder", hint="jetson-containers site -o DIR")
    _write(app, place)
    app.console.result(str(place / "index.html"))
    if show:
        import webbrowser

        if not webbrowser.open((place / "index.html").absolute().as_uri()):
            app.console.warning("no browser could be started here")


def _write(app: App, place: Path) -> None:
    import datetime

    from jetson_containers.core.errors import RegistryError
    from jetson_containers.pages import families, fit_grid, static_site
    from jetson_containers.platforms.target import SUPPORTED_TARGETS
    from jetson_containers.registry.listing import Listings
    from jetson_containers.registry.types import ImageRepository

    def client() -> None:
        raise RegistryError("pages are made without asking registries")

    catalogs = families.load(app.package_trees, app.options.get("targets") or SUPPORTED_TARGETS)
    for broken in {each.message: each for catalog in catalogs.values() for each in catalog.broken}.values():
        app.console.warning(f"recipe left out: {broken.message}", broken.hint)
    listings = Listings(app.settings.path("cache"), client, offline=True)  # type: ignore[arg-type]
    source = static_site.SiteSource(
        catalogs=catalogs,
        namespaces=tuple(map(ImageRepository.parse, app.settings["registries"])),
        list_tags=listings.get,
        today=datetime.datetime.now(datetime.timezone.utc).date(),
    )
    made = static_site.pages(source, fit_grid.grid())
    static_site.write(place, made)
    app.console.info(f"{len(made)} pages in {place}")
