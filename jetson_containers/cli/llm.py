"""`llm chat` and `download`: from a model's name to an answer, with the runtime's own image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command
from jetson_containers.cli.llm_fit import fit

if TYPE_CHECKING:
    from jetson_containers.llm import ChatRequest


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def llm() -> None:
    """Quantize a language model and chat with it."""


@command()
@click.argument("model")
@click.option("--runtime", default="llama_cpp", show_default=True, help="Which runtime answers.")
@click.option("--quantization", default="", help="The runtime's name of it; default Q4_K_M for llama_cpp.")
@click.option("--prompt", default="Tell me about Jetson.", show_default=True, help="What to ask.")
@click.option("--context", default=2048, show_default=True, help="Context window in tokens.")
@click.option("--max-tokens", default=64, show_default=True, help="Longest answer in tokens.")
@click.option("--threads", default=0, help="CPU threads; 0: the runtime decides.")
@click.option("--seed", type=int, help="Seed of the sampler.")
@click.option("--image", default="", help="Use this image instead of what autotag finds.")
@click.option("--force", multiple=True, metavar="STEP", help="Do this step again (make, download, convert, quantize).")
@click.option("--dry-run", is_flag=True, help="Print the exact commands, do nothing.")
def chat(app: App, *, model: str, force: tuple[str, ...], dry_run: bool, **given: object) -> int:
    """Ask MODEL one question: a Hugging Face name, a directory, a .gguf file, or `tiny` (made on the spot).

    Example: jetson-containers llm chat tiny --prompt 'What is Jetson?'
    """
    from jetson_containers import llm as action  # noqa: PLC0415 - start-up time

    request: ChatRequest = action.ChatRequest(model=model, force=force, **given)  # type: ignore[arg-type]
    answer = action.chat(request, app.platform, lambda: app.engine, app.settings, app.console, dry_run=dry_run)
    if app.console.as_json and answer is not None:
        app.console.result_json(answer)
    return 0


llm.add_command(chat)
llm.add_command(fit)


@command()
@click.argument("repositories", nargs=-1, required=True)
@click.option("--image", default="", help="Use this image instead of what autotag finds.")
def download(app: App, *, repositories: tuple[str, ...], image: str) -> int:
    """Download REPO[/FILE] from the model hub into data/models/huggingface; prints the path on stdout.

    Example: jetson-containers download Qwen/Qwen2.5-0.5B-Instruct
    """
    from jetson_containers import llm as action  # noqa: PLC0415 - start-up time

    for path in action.download(repositories, image, app.platform, lambda: app.engine, app.settings, app.console):
        app.console.result(path)
    return 0
