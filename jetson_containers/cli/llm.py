"""`llm …`: quantize, compile, chat with, serve and benchmark models, list and remove them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.abbreviations import AbbreviatingGroup
from jetson_containers.cli.app import (
    App,
    FiniteRange,
    collect,
    command,
    global_options,
    list_option,
    podman_option,
    verify_option,
)
from jetson_containers.cli.llm_context import context_of
from jetson_containers.cli.llm_fit import fit, measured, suggest
from jetson_containers.cli.llm_servers import logs, metrics, ps, stop
from jetson_containers.cli.llm_show import show
from jetson_containers.cli.llm_upload import upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.llm.bench import BenchOptions
    from jetson_containers.llm.conversation import ChatOptions
    from jetson_containers.llm.prepare import PreparedModel
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.serve import ServeRequest


COUNT, SOME = click.IntRange(min=0), click.IntRange(min=1)  # 0: the default, where there is one


@click.group(
    cls=AbbreviatingGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: jetson-containers llm chat Qwen/Qwen2.5-1.5B-Instruct --prompt 'What is a Jetson?'",
)
@global_options
@click.pass_obj
def llm(app: App, /, **options: Any) -> None:
    """Check fit, quantize, compile, chat with, serve and benchmark a language model."""
    app.update(options)


def _request() -> type[LlmRequest]:
    from jetson_containers.llm.request import LlmRequest

    return LlmRequest


def _chat_options() -> type[ChatOptions]:
    from jetson_containers.llm.conversation import ChatOptions

    return ChatOptions


def _serve_request() -> type[ServeRequest]:
    from jetson_containers.llm.serve import ServeRequest

    return ServeRequest


def _bench_options() -> type[BenchOptions]:
    from jetson_containers.llm.bench import BenchOptions

    return BenchOptions


def _prompts_of(_context: click.Context, _parameter: click.Parameter, file: Path | None) -> tuple[str, ...]:
    from jetson_containers.llm.bench import read_prompts

    return read_prompts(file) if file else ()


def _text(name: str, metavar: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option with a text; empty by default."""
    return click.option(name, default="", metavar=metavar, help=text)


def _number(name: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An option with a count; 0, the default, leaves the choice to the runtime or the model."""
    return click.option(name, type=COUNT, default=0, metavar="N", help=text)


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what `quantize`, `compile`, `chat`, `serve` and `bench` have in common; they get it as `request`."""
    function = collect(_request, "request")(function)
    options = (
        click.argument("model"),
        _text("--runtime", "NAME", "Runtime; default: the one whose format the model has, else llama_cpp."),
        _text("--quantization", "NAME", "Quantization in the runtime's own naming; default: its first one."),
        _number("--context", "Context window in tokens; default 4096, or the model's where that is shorter."),
        click.option(
            "--max-batch", type=SOME, default=1, show_default=True, metavar="N",
            help="Sequences processed at the same time.",
        ),
        _number("--prefill-chunk", "Prompt tokens per prefill step; fewer need less memory."),
        _text("--device", "NAME", "Target device of the compiled library: cuda, vulkan, metal …"),
        _text("--board", "NAME", "Board to check the fit for; default: this one."),
        _text("--image", "IMAGE", "Use this image instead of the one autotag finds."),
        _number("--threads", "CPU threads; 0: as many as cores."),
        _text("--calibration", "NAME|FILE", "Data set or text file to calibrate on."),
        _number("--samples", "Calibration samples; 0: 128."),
        click.option("--force", multiple=True, metavar="STEP", help="Repeat this step and what depends on it."),
        click.option("--from", "start", default="", metavar="STEP", help="Repeat this step and all steps after it."),
        click.option("--until", default="", metavar="STEP", help="Stop after this step."),
        podman_option,
        verify_option,
        click.option("--anyway", is_flag=True, help="Continue although it is not expected to fit."),
        click.option("--dry-run", is_flag=True, help="Print the commands as they can be pasted; run nothing."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def compile_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what only compilers understand, those for libraries of other machines and programs included."""
    options = (
        _text("--host", "TRIPLE", "LLVM triple of the machine that will load the library."),
        _text("--system-lib-prefix", "PREFIX", "Symbol prefix of a system library."),
    )
    for option in reversed(options):
        function = option(function)
    return served_options(function)


def served_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what decides how a model is compiled for this machine, so that `serve` and `bench` find what `chat` made."""
    options = (
        _text("--conv-template", "NAME", "Conversation template; default: chosen by the model."),
        _number("--sliding-window", "Sliding window in tokens, for models that have one."),
        _text("--opt", "LEVEL", "O0 … O3, or a list of switches."),
        list_option(
            "--overrides", separator=";", metavar="KEY=VALUE", help="KEY=VALUE;… of the model's configuration."
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def passed_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add what stands behind `--`, for the runtime's own server."""
    argument = click.argument("runtime_options", nargs=-1, type=click.UNPROCESSED, metavar="[-- RUNTIME OPTIONS]")
    return argument(function)


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
@click.argument("words", nargs=-1, metavar="[PROMPT]")
@click.option("--prompt", "-p", default="", help="Question; text on standard input is added to it.")
@click.option("--system", default="", help="System message.")
@click.option(
    "--max-tokens",
    type=SOME,
    metavar="N",
    default=256,
    show_default=True,
    help="Maximum length of the answer in tokens.",
)
@click.option(
    "--temperature",
    type=FiniteRange(min=0),
    metavar="X",
    help="Sampling temperature; 0 always takes the most likely token.",
)
@click.option("--seed", type=int, metavar="N", help="Seed of the sampler.")
@collect(_chat_options, "options")
def chat(app: App, *, request: LlmRequest, options: ChatOptions, words: tuple[str, ...], dry_run: bool) -> int:
    """Chat with MODEL: a Hugging Face name, a directory, a .gguf file, or `tiny` (a small test model).

    Example: jetson-containers llm chat tiny 'What is Jetson?'
    """
    from jetson_containers.core.errors import UsageError
    from jetson_containers.llm.chat import chat

    if words and options.prompt:
        raise UsageError("two prompts were given", hint="either behind the model, or with --prompt")
    options = replace(options, prompt=" ".join(words) or options.prompt)
    answer = chat(request, options, context_of(app), dry_run=dry_run)
    if app.console.as_json and answer is not None:
        app.console.result_json(answer.to_json())
    return 0


@command()
@model_options
@passed_options
@served_options
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=0,
    help="TCP port; 0: the first free one from 8080 on.",
)
@click.option(
    "--host", "address", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Address to listen on."
)
@click.option("--detach", "-d", is_flag=True, help="Run in the background; it starts again after a reboot.")
@click.option("--name", default="", metavar="NAME", help="Name of the container.")
@click.option("--api-key-env", default="", metavar="NAME", help="Require the key that this variable holds.")
@click.option("--generate", type=click.Choice(("compose", "quadlet", "systemd", "kube")),
              help="Print a service file instead of starting.")  # fmt: skip
@click.option("--webui", is_flag=True, help="Also serve a page to chat in, on the first free port from 8090 on.")
@click.option("--another", is_flag=True, help="Start another copy of a model that is served already.")
@collect(_serve_request, "wanted")
def serve(app: App, *, request: LlmRequest, wanted: ServeRequest, dry_run: bool) -> int:
    """Serve MODEL through an OpenAI-compatible API under /v1.

    Example: jetson-containers llm serve Qwen/Qwen2.5-1.5B-Instruct --detach
    """
    from jetson_containers.llm.serve import serve

    serve(request, wanted, context_of(app), dry_run=dry_run)
    return 0


@command()
@model_options
@passed_options
@served_options
@click.option(
    "--prompt",
    "prompts",
    type=click.Path(path_type=Path),
    callback=_prompts_of,
    metavar="FILE",
    help="File with prompts: a JSON list, or one per line.",
)
@click.option(
    "--input-tokens",
    type=SOME,
    metavar="N",
    default=128,
    show_default=True,
    help="Approximate length of the built-in prompts.",
)
@click.option(
    "--max-new-tokens",
    "output_tokens",
    type=SOME,
    metavar="N",
    default=128,
    show_default=True,
    help="Maximum length of the answer in tokens.",
)
@click.option(
    "--max-num-prompts",
    "count",
    type=SOME,
    metavar="N",
    default=3,
    show_default=True,
    help="Prompts to measure, after one to warm up.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV in upstream's columns.")
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE", help="Append the rows to this CSV file.")
@collect(_bench_options, "options")
def bench(app: App, *, request: LlmRequest, options: BenchOptions, dry_run: bool) -> int:
    """Benchmark MODEL: prefill and decode in tokens/s and memory, beside what `llm fit` predicts.

    Example: jetson-containers llm bench Qwen/Qwen2.5-1.5B-Instruct --csv
    """
    from jetson_containers.llm.bench import bench, show

    context = context_of(app)
    report = bench(request, options, context, dry_run=dry_run)
    if report is None:
        return 0
    if app.console.as_json:
        app.console.result_json(report)
    else:
        show(report, context, as_csv=options.as_csv)
    return 0


@command("list")
@click.option("--verify", is_flag=True, help="Verify the checksum of every file.")
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
@click.argument("model", nargs=-1, required=True)
@click.option("--runtime", default="", metavar="NAME", help="Only artifacts of this runtime.")
@click.option("--quantization", default="", metavar="NAME", help="Only this quantization.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
def rm(app: App, *, model: tuple[str, ...], runtime: str, quantization: str, yes: bool, dry_run: bool) -> int:
    """Delete the downloads and artifacts of each MODEL.

    Example: jetson-containers llm rm Qwen2.5-1.5B-Instruct --quantization F16
    """
    from jetson_containers.core.console import human_bytes
    from jetson_containers.core.errors import UsageError
    from jetson_containers.llm import in_use
    from jetson_containers.llm.stored import choose, listing, remove
    from jetson_containers.sources.names import aliased

    data = app.settings.path("data")
    stored = listing(data, _downloads(app))
    names = [aliased(name, app.settings["model_aliases"]) for name in model]
    found = [choose(stored, name, runtime=runtime, quantization=quantization) for name in names]
    chosen = list({one.path: one for each in found for one in each}.values())
    size = human_bytes(sum(one.size for one in chosen))
    if dry_run or not yes:
        for one in chosen:
            app.console.info(f"{human_bytes(one.size):>10}  {one.path}")
    for engine in (lambda: app.engine, lambda: app.podman):
        in_use.refuse([Path(one.path) for one in chosen], engine, app.console)
    if dry_run:
        return 0
    if not yes:
        if not app.console.interactive:
            raise UsageError(f"{size} would be deleted", hint="use `-y` to delete without a question")
        if not app.console.confirm(f"delete {size}?"):
            return 1
    for one in chosen:
        remove(one, data)
        app.console.result(one.path)
    app.console.ok(f"freed {size}")
    return 0


for each in (
    fit,
    measured,
    suggest,
    show,
    quantize,
    compile_,
    chat,
    serve,
    bench,
    ps,
    stop,
    logs,
    metrics,
    list_,
    upload,
    rm,
):
    llm.add_command(each)


def _prepare(app: App, request: LlmRequest, *, dry_run: bool, compiled: bool) -> int:
    from jetson_containers.llm.decide import Goal
    from jetson_containers.llm.prepare import plan, prepare
    from jetson_containers.llm.shown_commands import show_prepared

    goal = Goal.COMPILED if compiled else Goal.QUANTIZED
    context = context_of(app)
    if dry_run:
        show_prepared(plan(request, context, goal), context)
        return 0
    prepared = prepare(request, context, goal)
    if app.console.as_json:
        app.console.result_json({"artefact": str(_on_host(app, prepared)), "steps": prepared.results})
    else:
        app.console.result(str(_on_host(app, prepared)))
    return 0


def _on_host(app: App, prepared: PreparedModel) -> Path:
    """The path of the artifact on the host, for scripts to use."""
    output = prepared.results[-1].output if prepared.results else prepared.decision.artifact
    return app.settings.path("data") / output.removeprefix("/data/")


def _downloads(app: App) -> list[tuple[str, Path, int]]:
    from jetson_containers.llm import context

    return context.downloads(app.settings)


def _state(intact: bool | None) -> str:
    return {None: "", True: "intact", False: "damaged"}[intact]
