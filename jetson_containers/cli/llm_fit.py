"""`llm fit`: whether a model fits, before anything is downloaded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, FiniteRange, collect, command
from jetson_containers.core import errors
from jetson_containers.core.console import columns, width_of, wrapped
from jetson_containers.core.errors import JetsonError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetson_containers.core.settings import Settings
    from jetson_containers.llm.fit.machine import Machine
    from jetson_containers.llm.fit.measured import Measurements
    from jetson_containers.llm.fit.predict import Fit
    from jetson_containers.llm.fit.query import FitAnswer, FitQuestion
    from jetson_containers.llm.fit.suggest import SuggestQuestion
    from jetson_containers.llm.models.types import ModelShape


def _question() -> type[FitQuestion]:
    from jetson_containers.llm.fit.query import FitQuestion

    return FitQuestion


@command()
@click.argument("model")
@click.option("--runtime", default="", metavar="NAME", help="Only this runtime; default: all of them, the best first.")
@click.option(
    "--quantization",
    default="",
    metavar="NAME",
    help="Quantization in the runtime's own naming; default: the runtime's.",
)
@click.option(
    "--context",
    type=click.IntRange(min=1),
    metavar="N",
    help="Context window in tokens; default 4096, or the model's where that is shorter.",
)
@click.option(
    "--max-batch", type=click.IntRange(min=1), metavar="N", default=1, show_default=True, help="Sequences at once."
)
@click.option(
    "--board",
    default="",
    metavar="NAME",
    help="A board, e.g. orin-nano-8gb, with the L4T of --target, or a graphics card; default: this machine.",
)
@click.option("--mode", default="", metavar="NAME", help="Power mode of the board, e.g. 15W; default: the fastest one.")
@click.option("--swap", type=FiniteRange(min=0), metavar="GIB", help="GiB of swap on a disk; default: this machine's.")
@click.option("--vram", type=FiniteRange(min=0), metavar="GIB", help="GiB of the graphics card, where there is one.")
@click.option(
    "--baseline",
    default="desktop",
    metavar="NAME|GIB",
    show_default=True,
    help="Memory the system itself uses: headless, desktop, desktop-remote, now (on this machine), or GiB.",
)
@click.option(
    "--kv-type", default="f16", metavar="NAME", show_default=True, help="Type of the KV cache: f16, q8_0, q4_0, int8 …"
)
@click.option(
    "--prefill-chunk", type=click.IntRange(min=1), metavar="N", default=None, help="Prompt tokens per prefill step."
)
@click.option("--all", "every_quantization", is_flag=True, help="Predict every quantization, not only the defaults.")
@collect(_question, "question")
def fit(app: App, *, model: str, question: FitQuestion) -> int:
    """Predict whether MODEL fits, its memory and speed, and what would fit instead.

    MODEL is a Hugging Face name (only its config.json is read), a directory, a .gguf file, or a well-known name.

    Example: jetson-containers llm fit Llama-2-7b-chat-hf --board orin-nx-16gb
    """
    from jetson_containers.llm.fit import query
    from jetson_containers.llm.models import lookup, shape
    from jetson_containers.sources.names import short_form

    model, quantization = lookup.split_quantization(lookup.as_typed(model, app.settings), question.quantization)
    question = replace(question, quantization=quantization)
    known = lookup.find_shape(model, lambda name: shape.remote(name, quantization, app.settings, app.console))
    short = short_form(model)
    if short is not None and known.name == short.repo:
        app.console.info(f"note: {lookup.meaning(model, short)}")
    machine = query.machine_for(question, lambda: app.platform, Path("/"), cross=app.is_cross)
    machine = _probed(app, known, machine, question)
    answer = query.answer(known, machine, question, _measured(app, known.name, machine))
    version = _version(app, answer.best.runtime) if app.is_cross else ""
    if app.console.as_json:
        app.console.result_json({**answer.to_json(), **({"version": version} if version else {})})
        return _exit_code(answer, question)
    if version:
        app.console.info(f"note: {answer.best.runtime} is {version} on L4T {answer.machine.release}")
    width = width_of(app.console.out)
    asked = (model, *_given_again())
    for line in lines(answer, asked, one=bool(question.runtime) and not question.every_quantization, width=width):
        for part in wrapped(line, width):
            app.console.result(part)
    return _exit_code(answer, question)


def _given_again() -> list[str]:
    """The options of this command line that a second question about the same machine and model repeats."""
    context = click.get_current_context()
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        if not isinstance(parameter, click.Option) or parameter.is_flag or name == "runtime":
            continue
        if source is click.core.ParameterSource.COMMANDLINE:
            values = context.params[name]
            for value in values if isinstance(values, tuple) else (values,):
                words += [parameter.opts[-1], f"{value:g}" if isinstance(value, float) else str(value)]
    return words


def _exit_code(answer: FitAnswer, question: FitQuestion) -> int:
    """2 where it does not fit, as `chat` and `serve` have it; with --all, 3 where nothing does."""
    if answer.best.verdict.value in {"does not fit", "impossible"}:
        return 3 if question.every_quantization else 2
    return 0


def _probed(app: App, shape: ModelShape, machine: Machine, question: FitQuestion) -> Machine:
    """The machine with what its images say of the models they load; as it is for another one, and for an artifact."""
    from jetson_containers.cli.llm_context import context_of
    from jetson_containers.llm import image_answers
    from jetson_containers.llm.fit import query

    if question.board or app.is_cross or shape.runtimes or not app.platform.host:
        return machine
    asked = query.runtimes_of(shape, question)
    settled = [name for name in asked if query.is_in_table(shape, name, machine)]
    return replace(machine, probed=image_answers.of_images_here(context_of(app), asked, settled))


def _measured(app: App, model: str, machine: Machine) -> Callable[[Fit], Fit]:
    """What puts measured speeds in place of estimates."""
    from jetson_containers.llm.fit.measured import as_measured

    kept = measurements(app.settings)

    def look(fit: Fit) -> Fit:
        found = kept.of(fit, model, machine.mode)
        return as_measured(fit, found) if found else fit

    return look


def measurements(settings: Settings) -> Measurements:
    """The measurements of this user, below the state folder."""
    from jetson_containers.llm.fit.measured import NAME, Measurements

    return Measurements(settings.path("logs").expanduser() / ".state" / NAME)


def _version(app: App, runtime: str) -> str:
    """The version that an image for the target has; empty where there is none, or no release was named."""
    from jetson_containers.llm.request import runtime_named

    if app.platform.l4t is None:
        return ""
    try:
        package = app.catalog.find(runtime_named(runtime).packages(app.platform)[0])
    except JetsonError:
        return ""
    return str(package.version or "")


def lines(answer: FitAnswer, asked: Sequence[str], *, one: bool, width: int = 0) -> list[str]:
    """The answer as text: one verdict line, then the breakdown or all runtimes, then what to type.

    `asked` is the model, with the options that say for which machine.
    `width` is that of the terminal; 0: any.
    """
    best = answer.best
    shown = [_verdict_line(answer)]
    if best.reason:
        shown.append(f"  {best.reason}")
    shown += _breakdown(best) if one or len(answer.fits) == 1 else _table(answer, width)
    shown += [f"  note: {note}" for note in best.notes]
    if answer.advice:
        shown.append("what fits:" if not best.fits else "with more room:")
        width = max(len(item.text) for item in answer.advice)
        for item in answer.advice:
            also = f", {item.also}" if item.also else ""
            shown.append(f"  {item.text.ljust(width)}  {_size(item.fit.needed_bytes)}{_speed(item.fit, ', ')}{also}")
    elif not best.fits:
        shown.append("nothing smaller was found that fits on any board")
    if not one and len(answer.fits) > 1:
        shown.append(f"details: {errors.command('jetson-containers', 'llm', 'fit', *asked, '--runtime', best.runtime)}")
    return shown


def _verdict_line(answer: FitAnswer) -> str:
    best = answer.best
    name = answer.model.rpartition("/")[2]
    batch = f" × {best.max_batch}" if best.max_batch > 1 else ""
    release = f" with L4T {answer.machine.release}" if answer.machine.release else ""
    where = f"{best.context} tokens{batch} on {best.board}{release}"
    return (
        f"{best.verdict.value}: {name} with {best.runtime} {best.quantization}, {where}: {best.memory_text}"
        f"{_speed(best, ', ')}"
    )


def _breakdown(fit: Fit) -> list[str]:
    rows = [
        ("weights", fit.weights_bytes, fit.quantization),
        ("KV cache", fit.kv_bytes, _kv_note(fit)),
        ("buffers", fit.activation_bytes, ""),
        ("runtime", fit.runtime_bytes, "CUDA, libraries, interpreter"),
        ("system", fit.baseline_bytes, "before anything is started"),
    ]
    shown = [f"  {name.ljust(9)} {_size(size).rjust(10)}  {note}".rstrip() for name, size, note in rows]
    if fit.decode_tokens_per_s and fit.decode_tokens_per_s_full and fit.verdict.value != "impossible":
        slow = _rate(fit.decode_tokens_per_s_full)
        text = f"{_rate(fit.decode_tokens_per_s)} to {slow} tokens/s, with a short and with a full context"
        shown.append(f"  {'speed'.ljust(9)} {text}")
        shown += _further_speeds(fit)
    for name, size in fit.steps:
        fine = "" if size <= fit.available_bytes else ": do that on a larger machine, or add swap"
        shown.append(f"  to {name} it here takes up to {_size(size)}{fine}")
    return shown


def _further_speeds(fit: Fit) -> list[str]:
    """How long a prompt takes, and what several sequences get together."""
    shown = []
    if fit.first_token_s and fit.prefill_tokens_per_s:
        prompt = round(fit.first_token_s * fit.prefill_tokens_per_s)
        shown.append(f"  {'prompt'.ljust(9)} {prompt} tokens take {_seconds(fit.first_token_s)} until the first token")
    if fit.fits and fit.sequences > 1:
        together = f", together {_rate(fit.batch_tokens_per_s)} tokens/s" if fit.batch_tokens_per_s else ""
        several = f" with {fit.max_batch} at once" if fit.max_batch > 1 else ""
        most = f"room for {fit.sequences} sequences of {fit.context} tokens"
        shown.append(f"  {'batch'.ljust(9)} {most}{together + several if fit.max_batch > 1 else ''}")
    return shown


def _seconds(time: float) -> str:
    return f"{time:.1f} s" if time >= 1 else f"{time * 1000:.0f} ms"


def _kv_note(fit: Fit) -> str:
    filled = fit.total_bytes - fit.needed_bytes
    text = f"{fit.context} tokens" + (f" × {fit.max_batch}" if fit.max_batch > 1 else "")
    return f"{text} need {_size(fit.kv_bytes - filled)}, the runtime reserves more" if filled > 1 << 20 else text


def _table(answer: FitAnswer, width: int) -> list[str]:
    header = ("runtime", "quantization", "verdict", "memory", "tokens/s", "remark")
    rows = [header]
    for fit in answer.fits:
        speed = _rate(fit.decode_tokens_per_s) if fit.decode_tokens_per_s else _most(fit, "? (at most {})") or "?"
        remark = fit.reason
        if fit.fits and fit.peak_bytes > max(fit.available_bytes, fit.total_bytes):
            remark = f"preparing it needs {_size(fit.peak_bytes)}"
        if fit.verdict.value == "impossible":
            speed = "-"
        rows.append((fit.runtime, fit.quantization, fit.verdict.value, _size(fit.needed_bytes), speed, remark))
    return columns(rows, width)


def _size(size: float) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 100 << 20 else f"{size / (1 << 20):.0f} MiB"


def _most(fit: Fit, text: str) -> str:
    """What the memory allows, where the speed itself is unknown."""
    return text.format(_rate(fit.decode_tokens_per_s_most)) if fit.decode_tokens_per_s_most else ""


def _rate(speed: float) -> str:
    return f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"


def _speed(fit: Fit, before: str) -> str:
    if fit.verdict.value == "impossible":
        return ""
    if not fit.decode_tokens_per_s:
        return _most(fit, before + "at most {} tokens/s")
    return f"{before}about {_rate(fit.decode_tokens_per_s)} tokens/s"


def _suggest_question() -> type[SuggestQuestion]:
    from jetson_containers.llm.fit.suggest import SuggestQuestion

    return SuggestQuestion


@command()
@click.argument("model", default="")
@click.option(
    "--board",
    default="",
    metavar="NAME",
    help="A board or a graphics card; default: this machine, or that of --target.",
)
@click.option("--mode", default="", metavar="NAME", help="Power mode of the board, e.g. 15W; default: the fastest one.")
@click.option("--vram", type=FiniteRange(min=0), metavar="GIB", help="GiB of the graphics card.")
@click.option("--runtime", "runtimes", multiple=True, metavar="NAME", help="Only this runtime; may be repeated.")
@click.option(
    "--context",
    type=click.IntRange(min=1),
    metavar="N",
    help="Context window in tokens; default 4096, or the model's where that is shorter.",
)
@click.option(
    "--least", type=FiniteRange(min=0), metavar="N", default=7.0, show_default=True, help="Tokens/s of one answer."
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", default=10, show_default=True, help="Rows to show.")
@collect(_suggest_question, "question")
def suggest(app: App, *, model: str, board: str, mode: str, vram: float | None, question: SuggestQuestion) -> int:
    """Say which models to run here, or which board MODEL needs.

    Models that fit and answer fast enough, by an estimate of quality (size, and how new). With MODEL: per quantization
    the smallest board that runs it.

    Example: jetson-containers llm suggest --board orin-nano-8gb
    """
    from jetson_containers.llm.fit import query

    if model:
        return _needs(app, model, question)
    where = query.FitQuestion(board=board, mode=mode, vram=vram)
    return _suggestions(app, query.machine_for(where, lambda: app.platform, Path("/"), cross=app.is_cross), question)


def _suggestions(app: App, machine: Machine, question: SuggestQuestion) -> int:
    """3 where nothing runs well."""
    from jetson_containers.llm.fit.suggest import suggestions

    found = suggestions(machine, question)
    if app.console.as_json:
        rows_json = [{"model": one.model, "score": round(one.score, 2), **one.fit.to_json()} for one in found]
        app.console.result_json(rows_json)
        return 0 if found else 3
    rows = [("model", "runtime", "quantization", "memory", "tokens/s", "first token", "at once")]
    rows += [
        (
            one.model, one.fit.runtime, one.fit.quantization, _size(one.fit.needed_bytes),
            _rate(one.fit.decode_tokens_per_s or 0),
            _seconds(one.fit.first_token_s) if one.fit.first_token_s else "?", str(one.fit.sequences),
        )
        for one in found
    ]  # fmt: skip
    if not found:
        app.console.result(f"none of the known models runs well on {machine.id}: try --least 2, or a smaller --context")
        return 3
    for line in columns(rows, width_of(app.console.out)):
        app.console.result(line)
    tokens = max(one.fit.context for one in found)
    app.console.info(
        f"on {machine.id} with {tokens} tokens, by size and age; how good a model is for a task, only its answers say"
    )
    return 0


def _needs(app: App, model: str, question: SuggestQuestion) -> int:
    """3 where no board runs it well."""
    from jetson_containers.llm.fit.suggest import needs
    from jetson_containers.llm.models import lookup, shape

    known = lookup.find_shape(model, lambda name: shape.remote(name, "", app.settings, app.console))
    found = needs(known.config, question)[: question.limit]
    if app.console.as_json:
        app.console.result_json([{"model": known.name, **one.fit.to_json()} for one in found])
        return 0 if found else 3
    if not found:
        app.console.result(f"no board runs {known.name} well: try --least 2, or a smaller --context")
        return 3
    rows = [("board", "runtime", "quantization", "memory", "tokens/s")]
    rows += [
        (
            one.fit.board, one.runtime, one.quantization, _size(one.fit.needed_bytes),
            _rate(one.fit.decode_tokens_per_s or 0),
        )
        for one in found
    ]  # fmt: skip
    for line in columns(rows, width_of(app.console.out)):
        app.console.result(line)
    return 0


@command()
@click.option("--export", "export", type=click.Path(path_type=Path), metavar="FILE", help="Write them to a file.")
@click.option("--import", "given", type=click.Path(path_type=Path), metavar="FILE", help="Add those of a file.")
def measured(app: App, *, export: Path | None, given: Path | None) -> int:
    """List what `llm bench` measured, which `llm fit` shows in place of its estimate; hand it on, or add others'.

    Example: jetson-containers llm measured --export orin.json
    """
    from jetson_containers.core.files import readable_os_errors
    from jetson_containers.llm.fit.measured import read, write

    kept = measurements(app.settings)
    if given is not None:
        app.console.ok(f"{kept.add(read(given))} added from {given}")
    rows = kept.rows()
    if export is not None:
        with readable_os_errors():
            write(export, rows)
        app.console.ok(f"{len(rows)} written to {export}")
    if app.console.as_json:
        app.console.result_json(rows)
        return 0
    header = ("board", "model", "runtime", "quantization", "tokens/s", "prompt tokens/s", "when", "source")
    table = [
        (
            row.board, row.model, row.runtime, row.quantization, f"{row.decode_tokens_per_s:.1f}",
            f"{row.prefill_tokens_per_s:.0f}", row.when, row.source or "here",
        )
        for row in rows
    ]  # fmt: skip
    app.console.table(header, table, to_result=True)
    return 0
