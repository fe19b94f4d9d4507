"""`bundle`: everything an image needs in one file, for machines without a network; `bundle load` brings it in."""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core import checked, errors, files
from jetson_containers.core.errors import ConfigError, NotReadyError, UsageError
from jetson_containers.core.text import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.builder.known_base import BaseImage
    from jetson_containers.core.parts import PartsReader, PartsWriter
    from jetson_containers.plan.request import Assembly

SCHEMA = 1
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
_HASHED = re.compile(r"[0-9a-f]{64}")
_FOLDER = re.compile(r"models--[\w.-]+")
_FINAL = re.compile(r"[a-z0-9][A-Za-z0-9._:/-]{0,254}")
_ID = re.compile(r"(?:[^\s@]{1,255}@)?sha256:[0-9a-f]{64}")


@command(epilog="Example: jetson-containers bundle llama_cpp --model org/name -o llama.bundle")
@click.argument("packages", nargs=-1, required=True, metavar="PACKAGES...|load FILE")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the bundle to this file.")
@click.option("--name", default="", help="As in build.")
@click.option("--base", default="", help="As in build.")
@click.option(
    "--model", "models", multiple=True, metavar="ORG/NAME", help="Take this downloaded model too (repeatable)."
)
@click.option(
    "--mirror",
    type=click.Path(path_type=Path, file_okay=False),
    help="Take this folder of `mirror fill` (wheels, sources) too; with load: where it is laid out.",
)
def bundle(
    app: App,
    *,
    packages: tuple[str, ...],
    output: Path | None,
    name: str,
    base: str,
    models: tuple[str, ...],
    mirror: Path | None,
) -> None:
    """Write an image, what it was built from and models to one file; or bring such a file in: bundle load FILE.

    What is not built yet is built first. The file holds the image with its stages and its base, the lock, and what the
    options name. Interrupted, the same command goes on. `load` checks all of the file before it uses any of it.
    """
    if packages[0] == "load":
        if len(packages) != 2 or output or name or base or models:
            raise UsageError("`bundle load` takes one file", hint="jetson-containers bundle load FILE [--mirror DIR]")
        _load(app, Path(packages[1]), mirror)
        return
    if output is None:
        raise UsageError("`bundle` needs a file to write", hint="-o FILE")
    folders = [_model_folder(app, model) for model in models]
    if mirror is not None and not mirror.is_dir():
        raise UsageError(f"--mirror {mirror}: is not a folder", hint="`jetson-containers mirror fill` makes one")
    _write(app, output, packages, {"name": name, "base": base}, folders, mirror)


def _write(
    app: App, output: Path, packages: tuple[str, ...], options: dict[str, str], models: list[Path], mirror: Path | None
) -> None:
    from jetson_containers.cli import build, locked
    from jetson_containers.core.console import human_bytes
    from jetson_containers.core.parts import PartsWriter, packed

    given = replace(build.default_arguments(packages, app), **options)  # type: ignore[arg-type]
    report, assembly, base = build.build_as(app, given)
    if not report.ok:
        raise NotReadyError("the image could not be built, so nothing was written", hint="see the messages above")
    images = _images(app, assembly, base)
    document = locked.document(app, given, assembly, base)
    with PartsWriter(output) as writer:
        writer.add("lock.json", json.dumps(document, indent=1, sort_keys=True).encode())
        app.console.info(f"writing {len(images)} images to {output}")
        listed = _add_images(app, writer, images)
        for folder in models:
            app.console.info(f"writing {folder.name}")
            _add(writer, f"models/{folder.name}", packed(folder), f"reading {folder}")
        if mirror is not None:
            _add(writer, "mirror", packed(mirror), f"reading {mirror}")
        facts = {"final": assembly.plans[0].final, "digests": _digests(app, base), "images": listed}
        writer.finish({"schema": SCHEMA, **facts})
    kept = f", {writer.kept} parts of an earlier try kept" if writer.kept else ""
    app.console.ok(f"{output}: {human_bytes(output.stat().st_size)}{kept}")


def _add(writer: PartsWriter, name: str, words: list[str], what: str) -> None:
    from jetson_containers.engine import archive

    with archive.reading(words, what) as stream:
        writer.add_stream(name, stream)


def _add_images(app: App, writer: PartsWriter, images: list[str]) -> list[list[list[str]]]:
    """Write each image as what `docker save` makes of it, files of equal name (a hash) once.

    Returns for each image the names in its archive, each with the stream that holds it, or what it links to.
    """
    from jetson_containers.engine import archive

    held: dict[str, str] = {}
    listed = []
    for number, image in enumerate(images):
        rows = []
        with archive.reading(archive.save(app.engine, image), f"saving {image}") as stream:
            with tarfile.open(fileobj=stream, mode="r|") as saved:
                for place, member in enumerate(saved):
                    if member.issym():
                        rows.append([member.name, "", member.linkname])
                    elif member.isreg():
                        known = held.get(member.name)
                        name = known or f"images/{number:03}-{place:03}"
                        content = saved.extractfile(member)
                        if known is None and content is not None:
                            writer.add_stream(name, content)
                        if _HASHED.search(member.name):
                            held[member.name] = name
                        rows.append([member.name, name, ""])
            while stream.read(1 << 20):
                pass  # what pads the archive: the command ends when all was read
        listed.append(rows)
    return listed


def _archive(reader: PartsReader, rows: list[list[str]]) -> Iterator[bytes]:
    """An image as `docker load` reads it."""
    for name, source, link in rows:
        info = tarfile.TarInfo(name)
        info.size = reader.size(source) if source else 0
        info.type, info.linkname = (tarfile.REGTYPE, "") if source else (tarfile.SYMTYPE, link)
        yield info.tobuf(tarfile.GNU_FORMAT)
        stream = reader.stream(source)
        while source and (data := stream.read(1 << 20)):
            yield data
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _images(app: App, assembly: Assembly, base: BaseImage) -> list[str]:
    """The final image, its stages and its base, as far as they are here: without them a build would begin anew."""
    (plan,) = assembly.plans
    names = [plan.final, *(stage.image for stage in plan.stages), base.reference]
    return [name for name in dict.fromkeys(names) if app.engine.image(name) is not None]


def _digests(app: App, base: BaseImage) -> dict[str, str]:
    """The digest of the base by its image's ID: the engine forgets it when an image travels in a file."""
    image = app.engine.image(base.reference)
    return {image.id: base.digest} if image and base.digest else {}


def _model_folder(app: App, model: str) -> Path:
    from jetson_containers.hub.downloads import cache_of

    if not _MODEL.fullmatch(model):
        raise UsageError(f"--model: `{model}` is not the name of a model", hint="ORG/NAME, as in `download`")
    if model == "tiny":
        raise UsageError(
            "--model: `tiny` is made, not downloaded, and is in no bundle",
            hint="`jetson-containers llm chat tiny` makes it there, without network",
        )
    folder = cache_of(app.settings.path("data")) / f"models--{model.replace('/', '--')}"
    if not folder.is_dir():
        raise UsageError(
            f"--model: `{model}` was not downloaded", hint=errors.command("jetson-containers", "download", model)
        )
    return folder


def _load(app: App, file: Path, mirror: Path | None) -> None:
    from jetson_containers.builder import known_base
    from jetson_containers.core.parts import PartsReader, unpack
    from jetson_containers.engine import archive
    from jetson_containers.hub.downloads import cache_of
    from jetson_containers.plan import lock

    app.console.info(f"checking {file}")
    with PartsReader(file) as reader:
        facts = _facts(reader)
        if reader.size("lock.json") > lock.LARGEST:
            raise ConfigError(f"{file}: its lock is too large for one", hint="write the bundle anew")
        names = reader.names()
        for number, rows in enumerate(facts["images"], start=1):
            app.console.info(f"loading image {number} of {len(facts['images'])}")
            archive.load(app.engine, _archive(reader, rows))
        known_base.remember_digests(app.settings, facts["digests"])
        for name in names:
            kind, _, rest = name.partition("/")
            if kind == "models" and _FOLDER.fullmatch(rest):
                unpack(reader.stream(name), cache_of(app.settings.path("data")) / rest)
        place = mirror or app.settings.path("cache") / "mirror"
        if "mirror" in names:
            unpack(reader.stream("mirror"), place)
            app.console.info(f"wheels and sources: {place}, for build --mirrors")
        kept = app.settings.path("cache") / "locks" / f"{re.sub(r'[^a-zA-Z0-9._-]+', '-', facts['final'])}.lock"
        files.write_atomically(kept, reader.stream("lock.json").read())
    if app.console.as_json:
        app.console.result_json({"image": facts["final"], "lock": str(kept), "images": len(facts["images"])})
        return
    app.console.ok(f"{facts['final']} is here; its lock, for build --locked: {kept}")


def _facts(reader: PartsReader) -> dict[str, Any]:
    """What a bundle says of itself, checked. Raises ConfigError."""
    facts = reader.facts
    try:
        if facts.get("schema") != SCHEMA or not _FINAL.fullmatch(checked.text(facts.get("final"))):
            raise ValueError("another schema, or no name of an image")
        if not all(_ID.fullmatch(word) for pair in checked.texts(facts.get("digests")).items() for word in pair):
            raise ValueError("a digest that is none")
        for image in checked.items(facts.get("images")):
            _check_rows(checked.items(image))
    except ValueError as error:
        raise ConfigError(
            f"{reader.path}: is a bundle of another format: {shown(str(error))}", hint="write it with this version"
        ) from error
    return facts


def _check_rows(rows: list[Any]) -> None:
    """Refuse an image whose archive would be larger than what is in the file, or another than `docker save` makes."""
    for row in rows:
        name, source, link = (checked.text(word) for word in checked.items(row))
        if not name or bool(source) == bool(link):
            raise ValueError(f"an image with `{name}`, neither file nor link")
    for column in (0, 1):  # each name and each content once
        given = [row[column] for row in rows if row[column]]
        if len(given) != len(set(given)):
            raise ValueError("an image with the same file twice")
