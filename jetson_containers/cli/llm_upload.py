"""`llm upload`: what was made here becomes a repository of the hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command

if TYPE_CHECKING:
    from jetson_containers.hub.uploads import Upload

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@command("upload")
@click.argument("model")
@click.argument("repository", metavar="ORG/NAME")
@click.option("--runtime", default="", metavar="NAME", help="Only what was made for this runtime.")
@click.option("--quantization", default="", metavar="NAME", help="Only this quantization.")
@click.option("--public", is_flag=True, help="Make a new repository public; default: private.")
@click.option("--message", default="", metavar="TEXT", help="Message of the commit.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be uploaded.")
def upload(
    app: App, /, *, model: str, repository: str, runtime: str, quantization: str, public: bool, message: str,
    yes: bool, dry_run: bool,
) -> int:  # fmt: skip
    """Upload MODEL to the repository ORG/NAME of the Hugging Face hub; it is made where there is none.

    MODEL is a file, a folder, or a name of `llm list`. The token comes from HF_TOKEN or `hf auth login`.

    Example: jetson-containers llm upload Qwen2.5-1.5B-Instruct me/Qwen2.5-1.5B-Instruct-GGUF --quantization Q4_K_M
    """
    from jetson_containers.core.errors import UsageError
    from jetson_containers.hub import uploads

    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"`{repository}` is not the name of a repository", hint="as in `me/my-model-GGUF`")
    wanted = uploads.plan(_place(app, model, runtime, quantization), repository)
    if not dry_run:
        _ask(app, wanted, public=public, yes=yes)
        address = uploads.upload(wanted, app.settings, public=public, message=message or f"Upload {wanted.path.name}")
    if app.console.as_json:
        files = [{"name": name, "bytes": size} for name, size in wanted.files]
        app.console.result_json({"repository": repository, "files": files, "commit": None if dry_run else address})
    elif dry_run:
        _show(app, wanted)
    else:
        app.console.result(address)
    return 0


def _place(app: App, model: str, runtime: str, quantization: str) -> Path:
    """The file or folder that is meant. Raises UsageError where a name stands for several."""
    from jetson_containers.core.errors import UsageError
    from jetson_containers.llm.stored import choose, listing

    if Path(model).exists():
        return Path(model)
    made = [one for one in listing(app.settings.path("data"), []) if one.kind == "artefact"]
    found = choose(made, model, runtime=runtime, quantization=quantization)
    if len(found) > 1:
        paths = ", ".join(one.path for one in found[:5])
        raise UsageError(f"{len(found)} things were made of `{model}`", hint=f"name one by its path: {paths}")
    return Path(found[0].path)


def _ask(app: App, wanted: Upload, *, public: bool, yes: bool) -> None:
    from jetson_containers.core.console import human_bytes
    from jetson_containers.core.errors import InterruptedByUserError, UsageError

    if app.settings["offline"]:
        raise UsageError("`llm upload` needs a network connection", hint="without `--offline`")
    if yes:
        return
    kind = "public" if public else "private"
    what = f"{human_bytes(wanted.bytes)} in {len(wanted.files)} files to {wanted.repository} ({kind} where it is new)"
    if not app.console.interactive:
        raise UsageError(f"would upload {what}", hint="use `-y` to upload without a question")
    _show(app, wanted)
    if not app.console.confirm(f"upload {what}?"):
        raise InterruptedByUserError("nothing was uploaded")


def _show(app: App, wanted: Upload) -> None:
    from jetson_containers.core.console import human_bytes

    app.console.table(("file", "size"), [(name, human_bytes(size)) for name, size in wanted.files], to_result=True)
