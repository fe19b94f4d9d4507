"""`llm …` and `download`: from a model's name to an answer, with the runtime's own image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, collect, command, global_options, list_option
from jetson_containers.cli.llm_fit import fit

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.llm.chat import ChatOptions
    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.prepare import PreparedModel
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.serve import ServeRequest


COUNT, SOME = click.IntRange(min=0), click.IntRange(min=1)  # 0: the default, where there is one


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: jetson-containers llm chat Qwen/Qwen2.5-1.5B-Instruct --prompt 'What is a Jetson?'",
)
@global_options
@click.pass_obj
def llm(app: App, /, **options: Any) -> None:
    """Will it fit, quantize, compile, chat, serve, measure: a language model on this board."""
    app.update(options)


def _request() -> type[LlmRequest]:
    from jetson_containers.llm.request import LlmRequest

    return LlmRequest


def _chat_options() -> type[ChatOptions]:
    from jetson_containers.llm.chat import ChatOptions

    return ChatOptions


def _serve_request() -> type[ServeRequest]:
    from jetson_containers.llm.serve import ServeRequest

    return ServeRequest


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `quantize`, `compile`, `chat`, `serve` and `bench` have in common; they get it as `request`."""
    function = collect(_request, "request")(function)
    options = (
        click.argument("model"),
        click.option("--runtime", default="", help="Default: the one whose format the model has, else llama_cpp."),
        click.option("--quantization", default="", help="The runtime's name of it; default: the runtime's first."),
        click.option("--context", type=COUNT, default=0, help="Window in tokens; default 4096, or what the model has."),
        click.option("--max-batch", type=SOME, default=1, show_default=True, help="Sequences at the same time."),
        click.option("--prefill-chunk", type=COUNT, default=0, help="Prompt tokens at a time; fewer need less memory."),
        click.option("--device", default="", help="Of compiled artefacts: cuda, vulkan, metal …"),
        click.option("--board", default="", help="Board that will run it, for the fit; default: this one."),
        click.option("--image", default="", help="Use this image instead of what autotag finds."),
        click.option("--threads", type=COUNT, default=0, help="CPU threads; 0: as many as cores."),
        click.option("--calibration", default="", help="Data set or text file for methods that calibrate."),
        click.option("--samples", type=COUNT, default=0, help="Pieces of that text that are measured; 0: 128."),
        click.option("--force", multiple=True, metavar="STEP", help="Do this step again, and what is made from it."),
        click.option("--from", "start", default="", metavar="STEP", help="Do this step and all after it again."),
        click.option("--until", default="", metavar="STEP", help="Stop after this step."),
        click.option("--anyway", is_flag=True, help="Go on although it is not expected to fit."),
        click.option("--dry-run", is_flag=True, help="Print the exact commands, do nothing."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def compile_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what only compilers understand."""
    options = (
        click.option("--conv-template", default="", help="Conversation template; default: by the model."),
        click.option(
            "--sliding-window", type=COUNT, default=0, help="Sliding window in tokens, for models that have one."
        ),
        click.option("--host", default="", help="LLVM triple of the machine that will load the library."),
        click.option("--opt", default="", help="O0 … O3, or a list of switches."),
        list_option("--overrides", separator=";", help="KEY=VALUE;… of the model's configuration."),
        click.option("--system-lib-prefix", default="", help="Prefix of the symbols of a system library."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@command()
@model_options
@compile_options
def quantize(app: App, *, request: LlmRequest, dry_run: bool) -> int:
    """Prepare MODEL up to the quantized weights: download, convert, quantize.

    Example: jetson-containers llm quantize Qwen/Qwen2.5-1.5B-Instruct --quantization Q4_K_M
    """
    return _prepare(app, request, dry_run=dry_run, compiled=False)


@command("compile")
@model_options
@compile_options
def compile_(app: App, *, request: LlmRequest, dry_run: bool) -> int:
    """Prepare MODEL completely, the compiled library included, where the runtime has one.

    Example: jetson-containers llm compile meta-llama/Llama-2-7b-chat-hf --runtime mlc --quantization q4f16_1
    """
    return _prepare(app, request, dry_run=dry_run, compiled=True)


@command()
@model_options
@compile_options
@click.option("--prompt", "-p", default="", help="What to ask; without it standard input is read.")
@click.option("--system", default="", help="System message.")
@click.option("--max-tokens", type=SOME, default=256, show_default=True, help="Longest answer in tokens.")
@click.option("--temperature", type=click.FloatRange(min=0), help="0 always takes the likeliest token.")
@click.option("--seed", type=int, help="Seed of the sampler.")
@collect(_chat_options, "options")
def chat(app: App, *, request: LlmRequest, options: ChatOptions, dry_run: bool) -> int:
    """Talk with MODEL: a Hugging Face name, a directory, a .gguf file, or `tiny` (made on the spot).

    Example: jetson-containers llm chat tiny --prompt 'What is Jetson?'
    """
    from jetson_containers.llm.chat import chat

    answer = chat(request, options, context_of(app), dry_run=dry_run)
    if app.console.as_json and answer is not None:
        app.console.result_json(answer.to_json())
    return 0


@command()
@model_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="TCP port; 0: the first free one from 8080 on.")
@click.option("--host", "address", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--detach", "-d", is_flag=True, help="Leave it running; it starts again after a reboot.")
@click.option("--name", default="", help="Name of the container.")
@click.option("--api-key-env", default="", metavar="NAME", help="Ask for the key that this variable holds.")
@click.option("--generate", type=click.Choice(("compose", "quadlet")), help="Print a service file instead of starting.")
@collect(_serve_request, "wanted")
def serve(app: App, *, request: LlmRequest, wanted: ServeRequest, dry_run: bool) -> int:
    """Serve MODEL with the OpenAI-compatible protocol below /v1.

    Example: jetson-containers llm serve Qwen/Qwen2.5-1.5B-Instruct --detach
    """
    from jetson_containers.llm.serve import serve

    serve(request, wanted, context_of(app), dry_run=dry_run)
    return 0


@command()
@model_options
@click.option("--prompt", "prompt_file", type=click.Path(path_type=Path), help="File of prompts: JSON list or lines.")
@click.option("--input-tokens", type=SOME, default=128, show_default=True, help="About how long our own prompts are.")
@click.option("--max-new-tokens", type=SOME, default=128, show_default=True, help="Longest answer in tokens.")
@click.option(
    "--max-num-prompts", type=SOME, default=3, show_default=True, help="Measured prompts, after one to warm up."
)
@click.option("--csv", "as_csv", is_flag=True, help="Rows in upstream's columns on stdout.")
@click.option("--save", type=click.Path(path_type=Path), help="Append the rows to this CSV file.")
def bench(
    app: App,
    *,
    request: LlmRequest,
    dry_run: bool,
    prompt_file: Path | None,
    input_tokens: int,
    max_new_tokens: int,
    max_num_prompts: int,
    as_csv: bool,
    save: Path | None,
) -> int:
    """Measure MODEL: prefill and decode in tokens/s, memory, beside what `llm fit` predicts.

    Example: jetson-containers llm bench Qwen/Qwen2.5-1.5B-Instruct --csv
    """
    from jetson_containers.llm.bench import BenchOptions, bench, read_prompts, show

    prompts = read_prompts(prompt_file) if prompt_file else ()
    options = BenchOptions(
        prompts=prompts, input_tokens=input_tokens, output_tokens=max_new_tokens, count=max_num_prompts, csv=save
    )
    context = context_of(app)
    report = bench(request, options, context, dry_run=dry_run)
    if report is None:
        return 0
    if app.console.as_json:
        app.console.result_json(report)
    else:
        show(report, context, as_csv=as_csv)
    return 0


@command("list")
@click.option("--verify", is_flag=True, help="Read every file and compare its checksum.")
def list_(app: App, *, verify: bool) -> int:
    """List prepared models and downloads with their sizes.

    Example: jetson-containers llm list --json
    """
    from jetson_containers.core.console import human_bytes
    from jetson_containers.llm.stored import listing

    stored = listing(app.settings.path("data"), _downloads(app), verify=verify)
    status = 1 if verify and any(one.intact is False for one in stored) else 0
    if app.console.as_json:
        app.console.result_json(stored)
        return status
    rows = [
        (
            one.model, one.runtime or one.kind,
            "" if one.kind == "intermediate" else one.quantization,  # it has the precision of the original
            human_bytes(one.size), _state(one.intact), one.path,
        )
        for one in stored
    ]  # fmt: skip
    app.console.table(("model", "runtime", "quantization", "size", "", "path"), rows, to_result=True)
    total = sum(one.size for one in stored)
    app.console.info(f"{len(stored)} in {app.settings.path('data')}, {human_bytes(total)}")
    return status


@command()
@click.argument("model")
@click.option("--runtime", default="", help="Only what this runtime made.")
@click.option("--quantization", default="", help="Only this quantization.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and leave it.")
def rm(app: App, *, model: str, runtime: str, quantization: str, yes: bool, dry_run: bool) -> int:
    """Delete what was downloaded and made of MODEL.

    Example: jetson-containers llm rm Qwen2.5-1.5B-Instruct --quantization F16
    """
    from jetson_containers.core.console import human_bytes
    from jetson_containers.core.errors import UsageError
    from jetson_containers.llm import in_use
    from jetson_containers.llm.stored import choose, listing, remove

    data = app.settings.path("data")
    chosen = choose(listing(data, _downloads(app)), model, runtime=runtime, quantization=quantization)
    size = human_bytes(sum(one.size for one in chosen))
    if dry_run or not yes:
        for one in chosen:
            app.console.info(f"{human_bytes(one.size):>10}  {one.path}")
    in_use.refuse([Path(one.path) for one in chosen], lambda: app.engine, app.console)
    if dry_run:
        return 0
    if not yes:
        if not app.console.interactive:
            raise UsageError(f"{size} would be deleted", hint="`-y` deletes without asking, where no terminal is")
        if not app.console.confirm(f"delete {size}?"):
            return 1
    for one in chosen:
        remove(one, data)
        app.console.result(one.path)
    app.console.ok(f"{size} freed")
    return 0


for each in (fit, quantize, compile_, chat, serve, bench, list_, rm):
    llm.add_command(each)


def context_of(app: App) -> LlmContext:
    """This machine, as the actions need it; nothing is probed before it is asked for."""
    from jetson_containers.llm.context import HubAdapter, LlmContext

    return LlmContext(
        platform=app.platform,
        settings=app.settings,
        console=app.console,
        hub=HubAdapter(settings=app.settings, console=app.console),
        engine=lambda: app.engine,
        catalog=lambda: app.catalog,
    )


def _prepare(app: App, request: LlmRequest, *, dry_run: bool, compiled: bool) -> int:
    from jetson_containers.llm.decide import Goal
    from jetson_containers.llm.prepare import plan, prepare, show

    goal = Goal.COMPILED if compiled else Goal.QUANTIZED
    context = context_of(app)
    if dry_run:
        show(plan(request, context, goal), (), app.console)
        return 0
    prepared = prepare(request, context, goal)
    if app.console.as_json:
        app.console.result_json({"artefact": str(_on_host(app, prepared)), "steps": prepared.results})
    else:
        app.console.result(str(_on_host(app, prepared)))
    return 0


def _on_host(app: App, prepared: PreparedModel) -> Path:
    """The artefact's place on the host, which is what a script goes on with."""
    output = prepared.results[-1].output if prepared.results else prepared.decision.artifact
    return app.settings.path("data") / output.removeprefix("/data/")


def _downloads(app: App) -> list[tuple[str, Path, int]]:
    from jetson_containers.llm import context

    return context.downloads(app.settings)


def _state(intact: bool | None) -> str:
    return {None: "", True: "intact", False: "damaged"}[intact]
