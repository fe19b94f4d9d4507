"""What is measured, and the CSV it is written to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.llm import bench, prepare, session
from jetson_containers.llm.power import PowerReport, PowerWatch
from jetson_containers.llm.request import LlmRequest
from jetson_containers.llm.runtimes.interface import Service
from tests.unit.llm.fakes import Server, delta

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.llm.client import OpenAIClient
    from jetson_containers.llm.context import LlmContext


ROW = bench.BenchRow(
    timestamp="20261127 12:00:00",
    hostname="orin",
    api="mlc",
    model="m",
    precision="q4f16_ft",
    input_tokens=16,
    output_tokens=128,
    prefill_time=0.1,
    prefill_rate=160.0,
    decode_time=2.0,
    decode_rate=63.5,
    memory=1234.5,
)


def test_bench_csv_has_the_columns_of_upstream_in_their_order(tmp_path: Path) -> None:
    """The CSV has upstream's columns in their order."""
    path = tmp_path / "mlc.csv"
    bench.append_csv(path, [ROW])
    bench.append_csv(path, [ROW])
    lines = path.read_text().splitlines()
    assert lines[0] == (
        "timestamp,hostname,api,model,precision,input_tokens,output_tokens,prefill_time,prefill_rate,decode_time,"
        "decode_rate,memory"
    )
    assert len(lines) == 3
    assert lines[1].startswith("20261127 12:00:00,orin,mlc,m,q4f16_ft,16,128,")


def test_bench_csv_with_other_columns_is_left_unchanged(tmp_path: Path) -> None:
    """A file with other columns is left unchanged."""
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="other columns"):
        bench.append_csv(path, [ROW])
    assert path.read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ('["one", "two"]', ("one", "two")),
        ('[{"text": "one"}, {"prompt": "two"}]', ("one", "two")),
        ("one\n\ntwo\n", ("one", "two")),
    ],
)
def test_bench_prompts_are_read_in_every_form(tmp_path: Path, text: str, prompts: tuple[str, ...]) -> None:
    """Prompts are read in every form."""
    path = tmp_path / "prompts"
    path.write_text(text)
    assert bench.read_prompts(path) == prompts


def test_bench_file_without_prompts_is_refused(tmp_path: Path) -> None:
    """A file without prompts is refused."""
    (tmp_path / "p").write_text("[]")
    with pytest.raises(UsageError, match="no prompt"):
        bench.read_prompts(tmp_path / "p")
    with pytest.raises(UsageError, match="cannot read"):
        bench.read_prompts(tmp_path / "q")


def test_bench_does_not_measure_the_warm_up(client: OpenAIClient, tmp_path: Path, context: LlmContext) -> None:
    """The warm-up is not measured."""
    Server.answers = [delta("a"), delta("b"), {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 8}}]
    prepared = prepare.plan(LlmRequest(model="tiny"), context)
    opened = session.Session(
        client=client,
        log=tmp_path,
        loaded_s=0.1,
        image="image:1",
        service=Service(argv=("s",), model="m", measure={"ignore_eos": True}),
    )
    rows = bench._measure(prepared, opened, bench.BenchOptions(count=2), context, PowerWatch())
    assert len(rows) == 2
    assert len(Server.asked) == 3
    assert len({asked["messages"][0]["content"] for asked in Server.asked}) == 3  # no prefix cache helps
    assert all(asked["ignore_eos"] for asked in Server.asked)


def test_bench_refuses_a_csv_of_other_columns_before_it_measures(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that rows cannot go into is refused before anything is measured."""
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: pytest.fail("an hour for nothing"))
    path = tmp_path / "other.csv"
    path.write_text("a,b\n")
    with pytest.raises(UsageError, match="other columns"):
        bench.bench(LlmRequest(model="tiny"), bench.BenchOptions(save=path), context)


def report_of(*rates: float, tokens: int = 128, count: int = 3, **more: object) -> bench.BenchReport:
    rows = [replace(ROW, decode_rate=rate, output_tokens=tokens) for rate in rates]
    spread = {
        "decode_tokens_per_s": bench.Spread.of(list(rates)),
        "prefill_tokens_per_s": bench.Spread.of([row.prefill_rate for row in rows]),
    }
    return bench.BenchReport(
        model="m", runtime="mlc", quantization="q", context=512, image="i", board=None, rows=tuple(rows),
        prefill_tokens_per_s=160.0, decode_tokens_per_s=sum(rates) / len(rates), memory_bytes=1, load_s=1.0,
        spread=spread, cautions=bench._cautions(rows, spread, bench.BenchOptions(count=count)), **more,  # type: ignore[arg-type]
    )  # fmt: skip


def test_bench_shows_its_spread_and_the_power(context: LlmContext) -> None:
    """Smallest, middle and largest stand beside the mean; power where something tells it."""
    drawn = PowerReport(source="tegrastats", mean_w=12.34, max_w=15.0, count=9)
    bench.show(report_of(60.0, 63.5, 64.0, power=drawn), context)
    lines = context.console.out.getvalue().splitlines()  # type: ignore[union-attr]
    assert lines[0].split() == ["measured", "min", "median", "max", "predicted"]
    assert lines[2].split() == ["decode", "tokens/s", "62.5", "60.0", "63.5", "64.0", "-"]
    assert lines[5].split() == ["power", "W", "(tegrastats)", "12.3", "15.0", "-"]
    assert context.console.err.getvalue() == ""  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (report_of(184.0, 4434.0, 335.0), ["decode goes from 184 to 4434 tokens/s"]),
        (report_of(60.0, 60.0, 60.0, tokens=7), ["3 of 3 answers had fewer than 32 tokens"]),
        (report_of(60.0, 61.0), ["only 2 of 3 answers"]),
        (report_of(60.0, 89.0, 70.0), []),
    ],
)
def test_bench_warns_of_figures_that_say_little(
    context: LlmContext, report: bench.BenchReport, says: list[str]
) -> None:
    """Values far apart, short answers and missing ones are warned of."""
    bench.show(report, context)
    told = context.console.err.getvalue()  # type: ignore[union-attr]
    assert told.count("warning: ") == len(says)
    assert all(one in told for one in says)
