"""`images`, `prune`, `flatten`: what this tool put into the local store, and what of it nothing needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import ImageInUseError, NothingMatchedError, NotReadyError
from jetson_containers.images import labels
from jetson_containers.images.name import STAGE_REPOSITORY

if TYPE_CHECKING:
    from jetson_containers.engine.interface import LocalImage
    from jetson_containers.images.labels import ImageLabels


@command()
@click.option("--all", "show_all", is_flag=True, help="Also list stages, artifacts and bases.")
def images(app: App, *, show_all: bool) -> None:
    """List the images this tool made.

    Example: jetson-containers images --all
    """
    rows = [_row(image, said) for image, said in _ours(app) if show_all or said.role == labels.FINAL]
    if app.console.as_json:
        app.console.result_json(rows)
        return
    app.console.table(
        ("image", "role", "size", "created", "packages"),
        [
            (row["image"], row["role"], human_bytes(row["size"]), row["created"][:16], " ".join(row["packages"]))
            for row in rows
        ],
        to_result=True,
    )


@command()
@click.argument("image")
@click.argument("name")
def flatten(app: App, *, image: str, name: str) -> None:
    """Make NAME of the files and settings of IMAGE, in one layer: a base for what would stand on too many layers.

    Of its labels NAME has those that are still true: not the packages, key and tests of IMAGE, its history and health
    check.

    Example: jetson-containers flatten lower lower-flat
    """
    from jetson_containers.images.name import ImageName

    target = str(ImageName.parse(name))
    source = app.engine.image(image)
    if source is None:
        hint = "`jetson-containers images --all` lists those that are here"
        raise NotReadyError(f"no image `{image}` in the local store", hint=hint)
    app.console.info(f"writing out {image}, and making {target} of it")
    app.engine.flatten(image, target, labels.still_true(source.labels))
    made = app.engine.image(target)
    if app.console.as_json:
        app.console.result_json({"image": target})
        return
    app.console.ok(f"{target} ({human_bytes(made.size)})" if made else target)


def _ours(app: App) -> list[tuple[LocalImage, ImageLabels]]:
    """The images we made. A user's image built on one of them inherits its labels, and is not ours."""
    found = [(image, labels.read(image.labels)) for image in app.engine.images()]
    return [
        (image, said)
        for image, said in found
        if said.role == labels.BASE or (said.role and labels.is_ours(image.references, image.labels))
    ]


def _row(image: LocalImage, said: ImageLabels) -> dict[str, Any]:
    return {
        "image": ", ".join(image.references) or image.id[:19],
        "role": said.role,
        "size": image.size,
        "created": image.created,
        "packages": list(said.packages),
        "key": said.key,
    }


@command()
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option(
    "--all", "everything", is_flag=True, help="Also remove compiled artifacts; they must then be compiled again."
)
def prune(app: App, *, dry_run: bool, everything: bool) -> None:
    """Remove stage images; final images and compiled artifacts stay.

    A later build makes the stages again, from the artifacts and the engine's layer cache.

    Example: jetson-containers prune --dry-run
    """
    found = [
        reference
        for image in app.engine.images()
        for said in [labels.read(image.labels)]
        for reference in image.references
        if reference.startswith(f"{STAGE_REPOSITORY}:")
        and (said.role == labels.STAGE or (said.role == labels.ARTIFACT and (everything or _is_leftover(reference))))
    ]
    removed = found if dry_run else [name for name in found if _untagged(app, name, keep_parents=not everything)]
    if app.console.as_json:
        app.console.result_json({"removed": removed, "dry_run": dry_run})
        return
    for reference in removed:
        app.console.result(f"{'would remove' if dry_run else 'removed'} {reference}")
    app.console.info(f"{len(removed)} stage names {'would be ' if dry_run else ''}removed")


def _untagged(app: App, reference: str, *, keep_parents: bool) -> bool:
    """Remove a name; one that a container needs stays, and the rest of the work goes on."""
    try:
        app.engine.untag(reference, keep_parents=keep_parents)
    except ImageInUseError as error:
        app.console.warning(f"{reference} stays: {error.message.rpartition(': ')[2]}", error.hint)
        return False
    return True


def _is_leftover(reference: str) -> bool:
    """Whether a name was only given while a stage was replaced (`Store.replacing`)."""
    return reference.endswith(".old")


@command(epilog="Example: jetson-containers df")
def df(app: App) -> None:
    """Show what takes space: our images by role, and the folders below data/.

    Sizes of images that share layers count the shared part in each of them.
    """
    from jetson_containers.core.files import free_space

    roles: dict[str, list[int]] = {}
    for image, said in _ours(app):
        roles.setdefault(said.role, []).append(image.size)
    rows: list[dict[str, Any]] = [
        {"what": f"{role} images", "count": len(sizes), "bytes": sum(sizes)} for role, sizes in sorted(roles.items())
    ]
    data = app.settings.path("data")
    for folder in sorted(path for path in data.iterdir() if path.is_dir()) if data.is_dir() else []:
        sizes = [path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        rows.append({"what": str(folder), "count": len(sizes), "bytes": sum(sizes)})
    if app.console.as_json:
        app.console.result_json(rows)
        return
    table = [(str(row["what"]), str(row["count"]), human_bytes(row["bytes"])) for row in rows]
    app.console.table(("what", "count", "size"), table, to_result=True)
    place, layers = app.engine.capabilities.data_root, app.engine.layers_size()
    once = f", {human_bytes(layers)} of layers, each counted once" if layers is not None else ""
    app.console.info(f"free: {human_bytes(free_space(data))} at {data}; engine: {place}{once}")


@command(epilog="Example: jetson-containers pull mlc")
@click.argument("name")
def pull(app: App, *, name: str) -> None:
    """Pull an image: a full reference, or a package, for which the newest image that runs here is taken."""
    from jetson_containers.autotag import search

    if "/" in name:
        app.engine.pull(name, app.console.info)
        app.console.result(name)
        return
    chosen = search.options(app.settings, prefer=["registry"], yes=True)
    app.console.result(search.find((name,), app.platform, lambda: app.engine, app.settings, app.console, chosen))


@command(epilog="Example: jetson-containers push registry.example:5000/robots/llama_cpp:latest")
@click.argument("image")
def push(app: App, *, image: str) -> None:
    """Push an image to the registry its name says; docker's own login is used."""
    if app.engine.image(image) is None:
        raise NothingMatchedError(f"no image `{image}` here", hint="`jetson-containers images` lists those that are")
    app.engine.push(image, app.console.info)
    app.console.result(image)
