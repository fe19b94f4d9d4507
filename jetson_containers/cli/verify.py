"""`verify`: run on the board what a build elsewhere has deferred, and write a report to share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.cli import build
from jetson_containers.cli.app import App, command
from jetson_containers.core.errors import JetsonError, NotReadyError, UsageError
from jetson_containers.engine.pull import pull_missing

if TYPE_CHECKING:
    from jetson_containers.engine.interface import LocalImage
    from jetson_containers.recipes.package import Package


@command(epilog="Example: jetson-containers verify mlc:0.20.0-r36.4-cu126-22.04 --report mlc.json")
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@click.option("--all", "everything", is_flag=True, help="Run all tests, and not only those that were deferred.")
@click.option("--report", type=click.Path(path_type=Path), help="Write the results to this file, as JSON to share.")
def verify(app: App, *, images: tuple[str, ...], everything: bool, report: Path | None) -> int:
    """Run the tests that need this board in images that were built elsewhere, and record the results on them.

    A build without a GPU defers tests that need one. A name with a `/` is pulled where it is not here.
    """
    from jetson_containers.builder.logs import RunLogs
    from jetson_containers.builder.verify import Verifier
    from jetson_containers.core import files
    from jetson_containers.core.secrets import Redactor

    app.engine.run_capabilities.require_here("the tests")
    options = build.machine_options(app)
    found = {name: _image(app, name) for name in images}
    for name, image in found.items():
        _check_board(app, name, image)
    logs = RunLogs(options.log_dir, Redactor(app.settings.env))
    verifier = Verifier(
        engine=app.engine,
        options=options,
        logs=logs,
        console=app.console,
        platform=app.built_for,
        find=lambda name: _find(app, name),
    )
    results = [verifier.verify(name, image, everything=everything) for name, image in found.items()]
    data = {"schema": 1, "images": [result.to_json() for result in results]}
    if report:
        try:
            files.write_json(report, data)
        except OSError as error:
            raise UsageError(f"cannot write `{report}`: {error.strerror}", hint="`--report FILE`") from error
    if app.console.as_json:
        app.console.result_json(data)
    for result in results:
        if not app.console.as_json:
            app.console.result(
                f"{result.image}: {result.status} ({len(result.ran)} of {len(result.packages)} packages tested now)"
            )
        for package, record in result.packages.items():
            app.console.info(f"    {package}: {record.get('status')}")
    app.console.info(f"logs: {logs.directory}{f'; report: {report}' if report else ''}")
    return int(any(result.status not in {"passed", "none"} for result in results))


def _image(app: App, name: str) -> LocalImage:
    image = app.engine.image(name)
    if image is None and "/" in name:
        hint = "check the name and the tag"
        pull_missing(app.engine, name, app.console, offline=bool(app.settings["offline"]), hint=hint)
    return image or app.local_image(name)


def _check_board(app: App, name: str, image: LocalImage) -> None:
    """Refuse an image that does not run on this machine: its tests would say nothing about it."""
    from jetson_containers.images import compat, labels
    from jetson_containers.images.name import ImageName

    facts = compat.facts_of(ImageName.parse(name), image.labels, docker_arch=image.architecture)
    if facts.role == labels.STAGE:
        facts = replace(facts, role=labels.FINAL)
    verdict = compat.compatible(facts, app.platform)
    if not verdict.ok:
        raise NotReadyError(
            f"`{name}` does not run on this machine: {verdict.reason}",
            hint="run `verify` on a board that it is made for",
        )


def _find(app: App, package: str) -> Package | None:
    try:
        return app.catalog.find(package)
    except JetsonError:
        return None
