"""`images`, `prune`, `flatten`: what this tool put into the local store, and what of it nothing needs any more."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, command, sign_option, verify_option
from jetson_containers.cli.keys import signer, take_password
from jetson_containers.core import errors
from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import (
    ImageInUseError,
    JetsonError,
    NoCompatibleImageError,
)
from jetson_containers.engine import transfer_progress
from jetson_containers.images import labels
from jetson_containers.images.name import STAGE_REPOSITORY, ImageName

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from jetson_containers.engine.interface import LocalImage
    from jetson_containers.images.labels import ImageLabels
    from jetson_containers.signing.signer import Signer


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
    target = str(ImageName.parse(name))
    source = app.local_image(image)
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
@click.option("--build-cache", is_flag=True, help="Also remove BuildKit's build cache, as far as nothing uses it.")
@click.option("--logs", is_flag=True, help="Also remove the logs of earlier builds; the latest stays.")
@click.option(
    "--keep",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="LOCK",
    help="Keep the stages and artifacts that a file of `lock` names (repeatable).",
)
def prune(app: App, *, dry_run: bool, everything: bool, build_cache: bool, logs: bool, keep: tuple[Path, ...]) -> None:
    """Remove stage images; final images and compiled artifacts stay.

    A later build makes the stages again, from the artifacts and the engine's layer cache. What a running build or a
    container uses stays, and so do bases, images of others and models (`llm rm` and `download` know these).

    Example: jetson-containers prune --dry-run
    """
    kept = _locked_keys(keep)
    here = app.engine.images()
    found = _prunable(app, here, kept, everything=everything)
    before = None if dry_run else app.engine.usage()
    space = _at_most(app, here, found) if dry_run else None
    removed = found if dry_run else [name for name in found if _untagged(app, name, keep_parents=not everything)]
    after = app.engine.usage() if before else None
    if before and after:
        space = max(before.layers - after.layers, 0)
    result: dict[str, Any] = {"removed": removed, "dry_run": dry_run, "bytes": space}
    if build_cache:
        usage = app.engine.usage() if dry_run else None
        result["build_cache"] = (usage.idle_cache if usage else None) if dry_run else app.engine.prune_build_cache()
    if logs:
        result["logs"], result["log_bytes"] = _prune_logs(app, dry_run=dry_run)
    _show_pruned(app, result)


def _locked_keys(paths: Sequence[Path]) -> frozenset[str]:
    """The keys of all stages in some locks. Raises ConfigError for a file that is not a lock."""
    from jetson_containers.plan import lock

    return frozenset(stage["key"] for path in paths for stage in lock.read(path)["stages"])


def _prunable(app: App, here: Sequence[LocalImage], kept: AbstractSet[str], *, everything: bool) -> list[str]:
    """The names of stages that go, without `kept` keys; one that a build here is at work on stays, and that is said."""
    from jetson_containers.builder.state import BuildState

    state = BuildState(app.settings.path("cache") / "build")
    used = state.in_use()
    found = []
    for image in here:
        said = labels.read(image.labels)
        for reference in image.references:
            goes = said.role == labels.STAGE or (
                said.role == labels.ARTIFACT and (everything or _is_leftover(reference))
            )
            if not goes or said.key in kept or not reference.startswith(f"{STAGE_REPOSITORY}:"):
                continue
            if said.key in used or state.is_held(said.key):
                app.console.warning(f"{reference} stays: a build is at work on it")
                continue
            found.append(reference)
    return found


def _at_most(app: App, here: Sequence[LocalImage], found: Sequence[str]) -> int:
    """Bytes that removing some names would free; an image with a further name stays."""
    from jetson_containers.images import space

    names = frozenset(found)
    gone = [image.id for image in here if image.references and names.issuperset(image.references)]
    layers = app.engine.layers([image.id for image in here])
    return space.at_most(gone, {image.id: image.size for image in here}, layers)


def _prune_logs(app: App, *, dry_run: bool) -> tuple[list[str], int]:
    """Remove the folders of earlier runs; their names and bytes."""
    import shutil

    from jetson_containers.builder.logs import ended_runs

    removed, freed = [], 0
    for path in ended_runs(app.settings.path("logs")):
        size = _folder_size(path)[1]
        try:
            if not dry_run:
                shutil.rmtree(path)
        except OSError as error:
            app.console.warning(f"{path} stays: {error.strerror}")
            continue
        removed.append(str(path))
        freed += size
    return removed, freed


def _show_pruned(app: App, result: dict[str, Any]) -> None:
    if app.console.as_json:
        app.console.result_json(result)
        return
    dry = result["dry_run"]
    for name in (*result["removed"], *result.get("logs", ())):
        app.console.result(f"{'would remove' if dry else 'removed'} {name}")
    would = "would be " if dry else ""
    size = _amount(result["bytes"])
    app.console.info(f"{len(result['removed'])} stage names {would}removed: {'at most ' if dry else ''}{size}")
    if "build_cache" in result:
        app.console.info(f"build cache: {_amount(result['build_cache'])} {would}removed")
    if "logs" in result:
        app.console.info(f"logs of {len(result['logs'])} builds {would}removed: {_amount(result['log_bytes'])}")


def _amount(count: int | None) -> str:
    return "size not known" if count is None else human_bytes(count)


def _folder_size(folder: Path) -> tuple[int, int]:
    """How many files lie below a folder, and their bytes; links are not followed."""
    import os

    count = size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            with contextlib.suppress(OSError):  # removed meanwhile
                if not path.is_symlink():
                    count, size = count + 1, size + path.lstat().st_size
    return count, size


def _untagged(app: App, reference: str, *, keep_parents: bool) -> bool:
    """Remove a name; one that a container needs stays, one that is gone already is nothing to do."""
    try:
        app.engine.untag(reference, keep_parents=keep_parents)
    except ImageInUseError as error:
        app.console.warning(f"{reference} stays: {error.message.rpartition(': ')[2]}", error.hint)
        return False
    except JetsonError:
        if app.engine.image(reference) is not None:
            raise
        return False  # another `prune` at the same time
    return True


def _is_leftover(reference: str) -> bool:
    """Whether a name was only given while a stage was replaced (`Store.replacing`)."""
    return reference.endswith(".old")


@command(epilog="Example: jetson-containers df")
def df(app: App) -> None:
    """Show what takes space: our images by role, build cache, logs, our cache, and the folders below data/.

    Sizes of images that share layers count the shared part in each of them.
    """
    from jetson_containers.core.files import free_space

    roles: dict[str, list[int]] = {}
    for image, said in _ours(app):
        roles.setdefault(said.role, []).append(image.size)
    rows: list[dict[str, Any]] = [
        {"what": f"{role} images", "count": len(sizes), "bytes": sum(sizes)} for role, sizes in sorted(roles.items())
    ]
    usage = app.engine.usage()
    if usage is not None:
        rows.append({"what": "build cache of the engine", "count": None, "bytes": usage.build_cache})
    data = app.settings.path("data")
    folders = [app.settings.path("logs"), app.settings.path("cache")]
    folders += sorted(path for path in data.iterdir() if path.is_dir()) if data.is_dir() else []
    for folder in dict.fromkeys(folder for folder in folders if folder.is_dir()):
        count, size = _folder_size(folder)
        rows.append({"what": str(folder), "count": count, "bytes": size})
    if app.console.as_json:
        app.console.result_json(rows)
        return
    table = [(str(row["what"]), str(row["count"] or "-"), human_bytes(row["bytes"])) for row in rows]
    app.console.table(("what", "count", "size"), table, to_result=True)
    once = f", {human_bytes(usage.layers)} of layers, each counted once" if usage else ""
    place = app.engine.capabilities.data_root
    app.console.info(f"free: {human_bytes(free_space(data))} at {data}; engine: {place}{once}")


@command(epilog="Example: jetson-containers pull mlc")
@click.argument("name")
@verify_option
def pull(app: App, *, name: str) -> None:
    """Pull an image: a full reference, or a package, for which the newest image that runs here is taken."""
    from jetson_containers.autotag import search

    if "/" in name:
        transfer_progress.pull(app.engine, name, app.console)
        _show_name(app, name)
        return
    chosen = search.options(app.settings, prefer=["registry"], yes=True)
    try:
        found = search.find((name,), app.platform, lambda: app.engine, app.settings, app.console, chosen)
    except NoCompatibleImageError as error:
        if app.catalog.family_of(name.partition(":")[0]) is None:  # then nothing could be built either
            error.hint = (
                f"there is no package `{name}`; {errors.command('jetson-containers', 'search', name)} looks for it"
            )
        raise
    _show_name(app, found)


def _show_name(app: App, image: str) -> None:
    if app.console.as_json:
        app.console.result_json({"image": image})
        return
    app.console.result(image)


@command(epilog="Example: jetson-containers push registry.example:5000/robots/llama_cpp:latest")
@click.argument("image")
@sign_option
def push(app: App, *, image: str) -> None:
    """Push an image to the registry its name says; docker's own login is used.

    `--sign`, or the setting sign_key, takes a private key of `cosign` or `keys new`; its password is asked for, or that
    of COSIGN_PASSWORD. Needs `pip install -r requirements-sign.txt`.
    """
    from jetson_containers.signing.signer import PushedDigest

    take_password(app)
    app.local_image(image)
    if "/" not in image:
        place = f"registry.example/me/{image}"
        tag = errors.command("docker", "tag", image, place)
        raise errors.UsageError(
            f"`{image}` names no registry, and what docker takes in its place (docker.io/library) is not yours",
            hint=f"{tag}, then {errors.command('jetson-containers', 'push', place)}; or `build --push REPO`",
        )
    signs = signer(app)  # before minutes of pushing
    pushed = PushedDigest()
    transfer_progress.push(app.engine, image, app.console, pushed)
    digest = pushed.value
    signature = _sign(app, image, digest, signs) if signs else None
    if app.console.as_json:
        app.console.result_json({"image": image, "digest": digest or None, "signature": signature})
        return
    app.console.result(f"{ImageName.parse(image).repository}@{digest}" if signature else image)


def _sign(app: App, image: str, digest: str, signs: Signer) -> str:
    """Sign what was pushed; the reference of the signature."""
    signature, new = signs.sign(image, digest)
    app.console.ok(f"{'signed' if new else 'already signed'} by {signs.key.name}: {signature}")
    return signature
