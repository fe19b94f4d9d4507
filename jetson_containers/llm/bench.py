"""Benchmark a prepared model: prefill and decode separately, after a warm-up, and memory, beside the prediction.

CSV columns are upstream's (`packages/llm/mlc/benchmark.py`), so that its spreadsheets keep working; `memory` is MB of
the device (upstream's was the process's resident set, which leaves out the GPU).
"""

from __future__ import annotations

import csv
import datetime
import io
import platform as machine
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import StepError, UsageError
from jetson_containers.llm import fit_check, power, prepare, shown_commands
from jetson_containers.llm.fit.measured import NAME, Measurement, Measurements
from jetson_containers.llm.session import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jetson_containers.llm.client import Turn
    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.decide import Decision
    from jetson_containers.llm.power import PowerReport
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.session import Session

COLUMNS = (
    "timestamp", "hostname", "api", "model", "precision", "input_tokens", "output_tokens", "prefill_time",
    "prefill_rate", "decode_time", "decode_rate", "memory",
)  # fmt: skip
_WIDE = 1.5  # times the smallest
_SHORT = 32  # tokens of an answer from which a rate says something
_TEXT = (
    "A robot needs to know where it is before it can decide where to go. Its wheels count their turns, its camera sees "
    "edges and corners, and a small computer puts both together many times in a second. "
)
QUESTIONS = (
    "Describe in three sentences what this text is about.",
    "Which sensors are named, and what is each of them good for?",
    "Write a short continuation of the text.",
    "What could go wrong, and how would you notice it?",
)


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """How much to measure, and where the rows go: `as_csv` to stdout, `save` to a file.

    `input_tokens` is about how long the built-in prompts are; `prompts` are the user's own.
    """

    prompts: tuple[str, ...] = ()
    input_tokens: int = 128
    output_tokens: int = 128
    count: int = 3  # measured prompts, after one that warms up
    as_csv: bool = False
    save: Path | None = None


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """One measured answer. Times in seconds, rates in tokens/s, memory in MB."""

    timestamp: str
    hostname: str
    api: str
    model: str
    precision: str
    input_tokens: int
    output_tokens: int
    prefill_time: float
    prefill_rate: float
    decode_time: float
    decode_rate: float
    memory: float


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """All rows, their means, and what was predicted (None: unknown model or machine)."""

    model: str
    runtime: str
    quantization: str
    context: int
    image: str
    board: str | None
    rows: tuple[BenchRow, ...]
    prefill_tokens_per_s: float
    decode_tokens_per_s: float
    memory_bytes: int
    load_s: float
    predicted: dict[str, Any] | None = None
    spread: dict[str, Spread] = field(default_factory=dict)  # of `decode_tokens_per_s` and `prefill_tokens_per_s`
    cautions: tuple[str, ...] = ()  # why the figures may say little
    power: PowerReport | None = None  # while the prompts were answered; None where nothing here tells


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The smallest, middle and largest of the measured values."""

    min: float
    median: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        low, middle, high = min(values), statistics.median(values), max(values)
        return cls(min=round(low, 2), median=round(middle, 2), max=round(high, 2))

    @property
    def is_wide(self) -> bool:
        """Whether a mean would look more exact than it is."""
        return self.max > _WIDE * self.min


def bench(
    request: LlmRequest, options: BenchOptions, context: LlmContext, *, dry_run: bool = False
) -> BenchReport | None:
    """Prepare, warm up once, measure.

    Raises as `prepare`; StepError when nothing could be measured, UsageError for a file that rows cannot go into,
    before anything is done.
    """
    if options.save and not dry_run:
        append_csv(options.save, ())
    if dry_run:
        shown_commands.show_session(prepare.plan(request, context), context, checked=False)
        return None
    prepared = prepare.prepare(request, context)
    decision = prepared.decision
    with open_session(prepared, context, threads=request.threads, checked=False) as session, power.watching() as watch:
        rows = _measure(decision, session, options, context, watch)
        memory = session.memory.peak
    if options.save:
        append_csv(options.save, rows)
        context.console.info(f"written to {options.save}")
    decode, prefill = [row.decode_rate for row in rows], [row.prefill_rate for row in rows]
    spread = {"decode_tokens_per_s": Spread.of(decode), "prefill_tokens_per_s": Spread.of(prefill)}
    report = BenchReport(
        model=decision.model.name,
        runtime=decision.runtime.name,
        quantization=decision.quantization,
        context=decision.job.context,
        image=session.image,
        board=context.platform.board,
        rows=tuple(rows),
        prefill_tokens_per_s=_mean(prefill),
        decode_tokens_per_s=_mean(decode),
        memory_bytes=memory,
        load_s=session.loaded_s,
        predicted=_predicted(decision, context, max(row.input_tokens + row.output_tokens for row in rows)),
        spread=spread,
        cautions=_cautions(rows, spread, options),
        power=watch.report(),
    )
    _keep(report, context)
    return report


def _cautions(rows: Sequence[BenchRow], spread: Mapping[str, Spread], options: BenchOptions) -> tuple[str, ...]:
    """Why the figures may say little: few prompts, values far apart, short answers."""
    wide = [
        f"{name.partition('_')[0]} goes from {one.min:g} to {one.max:g} tokens/s: other work on this machine, or "
        "answers that are too short; more prompts (--max-num-prompts) or longer ones (--max-new-tokens) say more"
        for name, one in spread.items()
        if one.is_wide
    ]
    short = [row.output_tokens for row in rows if row.output_tokens < min(_SHORT, options.output_tokens)]
    few = [f"{len(short)} of {len(rows)} answers had fewer than {_SHORT} tokens"] if short else []
    less = [f"only {len(rows)} of {options.count} answers could be measured"] if len(rows) < options.count else []
    return (*wide, *few, *less)


def _keep(report: BenchReport, context: LlmContext) -> None:
    """Record the means for `llm fit`, under the name that it has for this machine."""
    board = (report.predicted or {}).get("board") or report.board
    if not board or report.decode_tokens_per_s <= 0:
        return
    place = context.settings.path("logs").expanduser() / ".state" / NAME
    row = Measurement(
        board=board,
        model=report.model,
        runtime=report.runtime,
        quantization=report.quantization or (report.predicted or {}).get("quantization", "") or "as it is",
        decode_tokens_per_s=report.decode_tokens_per_s,
        prefill_tokens_per_s=report.prefill_tokens_per_s,
        memory_bytes=report.memory_bytes,
        context=report.context,
        when=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
    )
    try:
        Measurements(place).add([row])
    except (OSError, UsageError) as error:  # the benchmark itself has its result
        context.console.warning(f"the measurement is not kept: {error}")


def _predicted(decision: Decision, context: LlmContext, filled: int) -> dict[str, Any] | None:
    """What `llm fit --json` would say for this machine with so many tokens in the context; None: unknown."""
    machine = fit_check.machine_for("", context.platform, context.console)
    try:
        found = fit_check.forecast(decision.job, decision.runtime.name, machine, decision.model.shape, filled=filled)
    except UsageError:
        return None
    return found.fit.to_json() if found else None


def show(report: BenchReport, context: LlmContext, *, as_csv: bool = False) -> None:
    """The means, measured beside predicted; with `as_csv` the rows on stdout in upstream's columns."""
    console = context.console
    if as_csv:
        console.result(to_csv(report.rows).rstrip("\n"))
        return
    predicted = report.predicted or {}
    speed, memory = predicted.get("decode_tokens_per_s"), predicted.get("total_bytes")
    baseline = predicted.get("baseline_bytes") or 0
    rows = [
        ("prefill tokens/s", f"{report.prefill_tokens_per_s:.1f}", *_shown(report, "prefill_tokens_per_s"), "-"),
        ("decode tokens/s", f"{report.decode_tokens_per_s:.1f}", *_shown(report, "decode_tokens_per_s"),
         f"{speed:.1f}" if speed else "-"),
        ("memory", human_bytes(report.memory_bytes), "", "", "",
         human_bytes(memory - baseline) if memory else "-"),
        ("load s", f"{report.load_s:.1f}", "", "", "", "-"),
    ]  # fmt: skip
    if report.power:
        drawn = report.power
        rows.append((f"power W ({drawn.source})", f"{drawn.mean_w:.1f}", "", "", f"{drawn.max_w:.1f}", "-"))
    console.table(("", "measured", "min", "median", "max", "predicted"), rows, to_result=True)
    for caution in report.cautions:
        console.warning(caution)


def _shown(report: BenchReport, name: str) -> tuple[str, str, str]:
    one = report.spread[name]
    return f"{one.min:.1f}", f"{one.median:.1f}", f"{one.max:.1f}"


def append_csv(path: Path, rows: Sequence[BenchRow]) -> None:
    """Add rows to a file, with the header when it is new.

    Raises UsageError when it cannot be written or has other columns; it is left as it is then.
    """
    text = to_csv(rows)
    header, _, body = text.partition("\n")
    try:
        first = _first_line(path)
        if first and first.replace(" ", "") != header:
            raise UsageError(f"{path} has other columns", hint=f"expected: {header}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(body if first else text)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", hint="choose another file with --save FILE"
        ) from error


def _first_line(path: Path) -> str:
    if not path.exists():
        return ""
    with path.open(encoding="utf-8") as file:
        return file.readline().strip()


def to_csv(rows: Sequence[BenchRow]) -> str:
    """Rows in upstream's columns, with the header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(asdict(row))
    return out.getvalue()


def read_prompts(path: Path) -> tuple[str, ...]:
    """Prompts of a file: JSON as in upstream's `data/prompts` (texts, or objects with `text` or `prompt`), or lines.

    Raises UsageError for an unreadable or empty file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    try:
        raw = json_text.parse(text)
    except ValueError:
        raw = [line for line in text.splitlines() if line.strip()]
    found = [_prompt(entry) for entry in (raw if isinstance(raw, list) else [raw])]
    prompts = tuple(prompt for prompt in found if prompt)
    if not prompts:
        raise UsageError(f"{path} has no prompts", hint="use a JSON list of texts, or one prompt per line")
    return prompts


def _prompt(entry: object) -> str:
    if isinstance(entry, dict):
        return next((str(entry[key]) for key in ("text", "prompt", "content") if entry.get(key)), "")
    return entry.strip() if isinstance(entry, str) else ""


def _measure(
    decision: Decision, session: Session, options: BenchOptions, context: LlmContext, watch: power.PowerWatch
) -> list[BenchRow]:
    rows: list[BenchRow] = []
    for index, prompt in enumerate(_prompts(decision, options)):
        turn = session.client.ask(
            [{"role": "user", "content": prompt}],
            max_tokens=options.output_tokens,
            temperature=0.0,
            extra=session.service.measure,
        )
        session.memory.measure()
        if turn.interrupted:
            raise KeyboardInterrupt
        word = "warm-up" if index == 0 else f"{index}/{options.count}"
        if index == 0:
            watch.begin()
        context.console.info(f"{word}: {turn.prompt_tokens} + {turn.completion_tokens} tokens")
        if index:
            rows += _row(turn, decision, session)
    if not rows:
        raise StepError(
            "nothing could be measured: every answer had fewer than two tokens",
            hint="try other prompts with --prompt FILE",
        )
    return rows


def _row(turn: Turn, decision: Decision, session: Session) -> list[BenchRow]:
    if turn.decode_rate is None or turn.prefill_rate is None:
        return []
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d %H:%M:%S")
    precision = decision.quantization
    return [
        BenchRow(
            timestamp=now,
            hostname=machine.node(),
            api=decision.runtime.name,
            model=decision.model.name,
            precision=precision,
            input_tokens=turn.prompt_tokens,
            output_tokens=turn.completion_tokens,
            prefill_time=round(turn.prefill_s, 4),
            prefill_rate=round(turn.prefill_rate, 2),
            decode_time=round(turn.decode_s, 4),
            decode_rate=round(turn.decode_rate, 2),
            memory=round(session.memory.peak / 1e6, 1),
        )
    ]


def _prompts(decision: Decision, options: BenchOptions) -> list[str]:
    """One to warm up and `count` to measure. Each begins differently: a server must not find it in its prefix cache."""
    if options.prompts:
        given = options.prompts
        return [
            given[index] if index < len(given) else f"{index}. {given[index % len(given)]}"
            for index in range(options.count + 1)
        ]
    room = max(decision.job.context - options.output_tokens - 64, 16)
    words = (_TEXT * (options.input_tokens // 30 + 1)).split()[: int(min(options.input_tokens, room) * 0.7)]
    body = " ".join(words)
    return [f"{index}. {body}\n{QUESTIONS[index % len(QUESTIONS)]}" for index in range(options.count + 1)]


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 2) if values else 0.0
