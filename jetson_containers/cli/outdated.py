"""`jetson-containers outdated`: which pins upstream is ahead of, and which have known vulnerabilities."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from jetson_containers.updates.pins import Pinned
    from jetson_containers.updates.report import PinStatus


@command(epilog="Example: jetson-containers outdated numpy --target r36.4.3")
@click.argument("packages", nargs=-1, metavar="[PKG]...")
@click.option("--image", default="", help="Ask about the Python packages that are installed in this image instead.")
@click.option("--check", is_flag=True, help="Exit with 1 if something has a known vulnerability.")
@click.option(
    "--seconds",
    type=click.IntRange(min=1),
    default=300,
    show_default=True,
    help="Time after which the rest is unknown.",
)
def outdated(app: App, *, packages: tuple[str, ...], image: str, check: bool, seconds: int) -> int:
    """List pins that upstream is ahead of, and those with known vulnerabilities.

    Pins are the versions in the locks and sources of recipes: of the default versions of all packages, or of those
    that are named. Python packages are looked up in the package index of the settings (`index_url`, `mirrors`, else
    PyPI), git tags in their repositories; packages of apt are not. What cannot be asked is unknown, never current.
    """
    from jetson_containers.dockerfile.inject import check_index
    from jetson_containers.updates.report import Upstream

    if app.settings["offline"]:
        raise UsageError("`outdated` asks upstream, which needs a network connection", hint="without `--offline`")
    check_index(str(app.settings["index_url"]))
    pinned = _of_image(app, image) if image else _of_recipes(app, packages)
    found = Upstream.of(app.settings, seconds).statuses(pinned)
    if app.console.as_json:
        app.console.result_json([status.to_json() for status in found])
    else:
        _show(app, found)
    unknown = sum(status.vulnerabilities is None for status in found if status.pin.kind == "pypi")
    if check and unknown:
        app.console.warning(f"whether {unknown} of these have known vulnerabilities is not known, which is not `none`")
    return int(check and any(status.vulnerabilities for status in found))


def _of_recipes(app: App, patterns: tuple[str, ...]) -> Pinned:
    from jetson_containers.updates import pins

    catalog = app.catalog
    if patterns:
        return pins.of_recipes(catalog.match([catalog.spelled(pattern) for pattern in patterns]))
    return pins.of_recipes(package for package in catalog.available.values() if package.default)


def _of_image(app: App, image: str) -> Pinned:
    from jetson_containers.engine import image_files
    from jetson_containers.images import installed
    from jetson_containers.updates import pins

    app.local_image(image)
    return pins.of_image(installed.contents_of(image_files.read(app.engine, image, installed.wanted)), image)


def _show(app: App, found: list[PinStatus]) -> None:
    """The rows that ask for something, and how many do not or could not be asked about."""
    rows = [
        (
            status.pin.name,
            status.pin.version or "-",
            status.newest or "unknown",
            "unknown" if status.vulnerabilities is None else " ".join(status.vulnerabilities) or "none known",
            " ".join(status.held_by),
        )
        for status in found
        if status.state == "behind" or status.vulnerabilities
    ]
    app.console.table(("pin", "here", "upstream", "vulnerabilities", "of"), rows, to_result=True)
    states = Counter(status.state for status in found)
    vulnerable = sum(bool(status.vulnerabilities) for status in found)
    python = [status for status in found if status.pin.kind == "pypi"]
    asked = sum(status.vulnerabilities is not None for status in python)
    app.console.info(
        f"{len(found)} pins: {states['behind']} behind, {states['current']} current, {states['unknown']} unknown"
    )
    app.console.info(
        f"known vulnerabilities: {vulnerable} of {asked} Python packages; "
        f"{len(python) - asked} could not be asked about"
    )
    for reason, count in Counter(reason for status in found for reason in status.unknown).most_common(5):
        app.console.info(f"unknown, {count} times: {reason}")
