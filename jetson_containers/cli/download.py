"""`download`: models and data sets from the Hugging Face hub and elsewhere, without a container."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, collect, command
from jetson_containers.core import errors
from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.hub.transfer.types import DownloadResult


@dataclass(frozen=True, kw_only=True)
class DownloadArguments:
    """What was given on the line of `download`; the options of the same names say what each means."""

    repositories: tuple[str, ...]
    image: str
    kind: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    skip_safetensors: bool
    dry_run: bool
    verify: bool
    cache_dir: str | None
    location_file: str | None
    token: str


@command()
@click.argument("repositories", nargs=-1, required=True, metavar="REPO[@REVISION][/FILE]...")
@click.option("--type", "kind", type=click.Choice(["model", "dataset"]), default="model", help="Kind of repository.")
@click.option("--include", "--allow-patterns", multiple=True, metavar="A,B", help="Only these files.")
@click.option("--exclude", "--ignore-patterns", multiple=True, metavar="A,B", help="Leave out these files.")
@click.option("--skip-safetensors", is_flag=True, help="Leave *.safetensors out.")
@click.option("--dry-run", is_flag=True, help="Print what would be downloaded, write nothing.")
@click.option("--verify", is_flag=True, help="Compute the checksums of cached files again.")
@click.option("--cache-dir", metavar="DIR", help="Instead of data/models/huggingface.")
@click.option("--location-file", metavar="FILE", help="Also write the paths to FILE when all files are downloaded.")
@click.option("--token", default="", help="Access token; others can read it in the process list: prefer HF_TOKEN.")
@click.option("--image", default="", help="Use the downloader of this image.")
@collect(lambda: DownloadArguments, "given")
def download(app: App, *, given: DownloadArguments) -> int:
    """Download models or data sets into data/models/huggingface; prints the paths on stdout, one a line.

    Needs no engine and no image. What was interrupted goes on where it stopped; every file's checksum is compared. The
    token comes from HF_TOKEN, HUGGINGFACE_TOKEN, a token file, or `hf auth login`.

    ollama://NAME:TAG is a model of Ollama's registry, and so is NAME:TAG; oci://HOST/REPOSITORY:TAG is an artifact with
    GGUF files, ms://ORG/NAME a repository of ModelScope. Each goes to a folder of its source beside huggingface.

    Example: jetson-containers download Qwen/Qwen2.5-0.5B-Instruct --exclude '*.bin,onnx/'
    """
    _refuse_bare_files(given.repositories)
    if "tiny" in given.repositories:
        raise UsageError("`tiny` is made, not downloaded", hint="`jetson-containers llm chat tiny` makes it")
    if given.image:
        return _in_image(app, given)
    from jetson_containers.hub.transfer.command import dry_run_lines
    from jetson_containers.hub.transfer.reference import split_patterns
    from jetson_containers.hub.transfer.store import write_whole

    if given.token:
        app.console.warning("other users of this machine can read --token in the process list; prefer HF_TOKEN")
    exclude = split_patterns(given.exclude) + (["*.safetensors"] if given.skip_safetensors else [])
    options: dict[str, Any] = {"cache": Path(given.cache_dir).expanduser()} if given.cache_dir else {}
    options.update(kind=given.kind, dry_run=given.dry_run, verify=given.verify, token=given.token)
    options.update(include=tuple(split_patterns(given.include)), exclude=tuple(exclude))
    results: list[DownloadResult] = []
    for result in _results(app, given.repositories, options):
        results.append(result)
        if not (app.console.as_json or given.dry_run):
            app.console.result(result.path)
    if app.console.as_json:
        app.console.result_json([result.as_json() for result in results])
    elif given.dry_run:
        app.console.result("\n".join(dry_run_lines([result.plan for result in results if result.plan])))
    if given.location_file and not given.dry_run:
        write_whole(Path(given.location_file), "".join(f"{result.path}\n" for result in results))
    return 0


def _results(app: App, names: tuple[str, ...], options: dict[str, Any]) -> Iterator[DownloadResult]:
    """What comes of each name, in the order asked; several of the hub in a row are planned together."""
    from jetson_containers.hub.downloads import download
    from jetson_containers.sources.downloads import download_model
    from jetson_containers.sources.names import SourceReference, aliased, elsewhere, local_path, of_hub

    names = tuple(local_path(aliased(name, app.settings["model_aliases"])) for name in names)
    found = [name if os.path.exists(name) else elsewhere(name) or of_hub(name) for name in names]  # noqa: PTH110
    others = [name for name in found if isinstance(name, SourceReference)]
    if others and options["kind"] != "model":
        raise UsageError(f"`{others[0]}` is a model", hint="leave out --type")
    for kind, group in groupby(found, type):
        if kind is str:
            yield from download([name for name in group if isinstance(name, str)], app.settings, app.console, **options)
            continue
        for name in group:
            if isinstance(name, SourceReference):
                yield download_model(name, app.settings, app.console, **options)


_FILES = (".gguf", ".safetensors", ".bin", ".json", ".pt", ".pth", ".onnx", ".txt", ".md", ".model", ".npz")


def _refuse_bare_files(names: tuple[str, ...]) -> None:
    """A file beside its repository is how another program wants it; here it would be a repository of that name."""
    for repository, name in pairwise(names):
        if "/" in repository and "/" not in name and name.lower().endswith(_FILES):
            raise UsageError(
                f"`{name}` is a file, and every word here is a repository",
                hint=errors.command("jetson-containers", "download", f"{repository.rstrip('/')}/{name}"),
            )


def _in_image(app: App, given: DownloadArguments) -> int:
    """Run the image's own downloader on the same data directory."""
    from jetson_containers.llm import download_in_image

    lacking = {
        "--dry-run": given.dry_run,
        "--cache-dir": given.cache_dir,
        "--location-file": given.location_file,
        "--token": given.token,
    }
    for option, value in lacking.items():
        if value:
            raise UsageError(f"{option} and --image cannot be combined", hint="leave out --image to run it on the host")
    from jetson_containers.sources.names import elsewhere

    others = [name for name in given.repositories if elsewhere(name)]
    if others:
        raise UsageError(
            f"the downloader of an image does not know the source of `{others[0]}`",
            hint="leave out --image to run it on the host",
        )
    if app.console.as_json:
        raise UsageError("--json and --image cannot be combined", hint="leave out --image to run it on the host")
    words = ["--type", given.kind]
    words += [word for value in given.include for word in ("--include", value)]
    words += [word for value in given.exclude for word in ("--exclude", value)]
    words += ["--skip-safetensors"] if given.skip_safetensors else []
    words += ["--verify"] if given.verify else []
    words += ["--offline"] if app.settings["offline"] else []
    for path in download_in_image.download(
        given.repositories, given.image, app.platform, lambda: app.engine, app.settings, app.console, options=words
    ):
        app.console.result(path)
    return 0
