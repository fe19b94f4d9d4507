"""`test`: run the tests of packages again, or look at an image of whatever origin without needing a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jetson_containers.cli import build
from jetson_containers.cli.app import App, command
from jetson_containers.core.errors import UsageError
from jetson_containers.engine.pull import pull_missing

if TYPE_CHECKING:
    from jetson_containers.engine.interface import LocalImage
    from jetson_containers.images.compat import ImageFacts
    from jetson_containers.platforms.platform import Platform


@command(epilog="Example: jetson-containers test dustynv/mlc:0.20.0-r36.4.0 --target r36.4.3")
@click.argument("names", nargs=-1, required=True, metavar="PACKAGE...|IMAGE...")
def test(app: App, *, names: tuple[str, ...]) -> int:
    """Run the tests of packages again, in the image that holds them; what is not built yet is built.

    For an image from anywhere: check without a GPU that its libraries are found, that its GPU code runs on the
    board (`--target`, else the board the image is for), and that its Python packages can be imported. A name with a
    `/` is pulled where it is not here.
    """
    images = {name: image for name in names if not app.catalog.has(name) and (image := _image(app, name))}
    if not images:
        return build.run_tests(app, tuple(map(app.catalog.spelled, names)))
    if len(images) < len(names):
        packages = ", ".join(f"`{name}`" for name in names if name not in images)
        raise UsageError(
            f"{packages} is not an image of the local store", hint="give either packages or images, not both"
        )
    return max(_check(app, name, image) for name, image in images.items())


def _image(app: App, name: str) -> LocalImage | None:
    """The image of a name, pulled where only an image can be meant; None where the local store has none."""
    image = app.engine.image(name)
    if image is None and "/" in name:
        hint = "check the name and the tag"
        pull_missing(app.engine, name, app.console, offline=bool(app.settings["offline"]), hint=hint)
        image = app.engine.image(name)
    return image


def _check(app: App, name: str, image: LocalImage) -> int:
    """Print what was found; 1 where the image cannot run on the board."""
    from jetson_containers.builder import image_check
    from jetson_containers.images import compat
    from jetson_containers.images.name import ImageName

    facts = compat.facts_of(ImageName.parse(name), image.labels, docker_arch=image.architecture)
    board = _board(app, facts)
    foreign = facts.machine is not None and facts.machine != app.engine.capabilities.architecture
    app.console.info(f"checking {name} for {_described(board)}")
    contents = image_check.inspect(app.engine, name, platform=f"linux/{image.architecture}" if foreign else None)
    verdict = image_check.judge_for(contents, board)
    if app.console.as_json:
        app.console.result_json(
            {
                "image": name,
                "sm": list(board.sm) if board.has_gpu else [],
                "linked_files": contents.files,
                "gpu_code": {path: {"code": gpu.code, "ptx": gpu.ptx} for path, gpu in contents.gpu_code.items()},
                "problems": verdict.problems,
                "notes": verdict.notes,
            }
        )
        return 1 if verdict.problems else 0
    for note in verdict.notes:
        app.console.info(f"note: {note}")
    for problem in verdict.problems:
        app.console.result(problem)
    ending = f"{len(verdict.problems)} problems" if verdict.problems else "nothing is missing"
    app.console.info(f"{name}: {image_check.summary(contents, board.sm)}; {ending}")
    return 1 if verdict.problems else 0


def _board(app: App, facts: ImageFacts) -> Platform:
    """The target, or this machine where it has a GPU, else what the image is for."""
    from jetson_containers.platforms.detect import parse_target

    if app.is_cross or app.platform.has_gpu:
        return app.platform
    toolkit = f",cu{facts.cuda.major}{facts.cuda.minor}" if facts.cuda else ""
    if facts.l4t:
        return parse_target(f"r{facts.l4t}{toolkit}")
    if facts.arch and toolkit:
        return parse_target(f"{facts.arch.value}{toolkit}")
    return app.platform


def _described(board: Platform) -> str:
    return ", ".join(f"sm_{sm}" for sm in board.sm) if board.has_gpu else "a machine without a GPU"
