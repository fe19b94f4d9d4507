"""Where the bars of a build's timeline stand: a row for each stage that ran, positions as shares of the whole time."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.builder.records import critical_path
from jetson_containers.core.console import human_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.builder.records import Record, RecordedStage

ROW = 44  # pixels: a line of text, and the bar below it
TOP = 24  # pixels of the axis
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)  # seconds
MOST_TICKS = 6
LONGEST = 40  # letters of a row on a phone
THINNEST = 0.4  # percent of a bar that took next to no time


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A time in which a stage was built or tested; `left` and `width` in percent."""

    action: str
    left: float
    width: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A stage that ran; `top` in pixels."""

    name: str
    top: int
    bars: tuple[Bar, ...]
    critical: bool
    failed: bool
    spent: str

    @property
    def long(self) -> bool:
        """Whether a phone has no room for all of its text."""
        return len(self.name) + len(self.spent) > LONGEST


@dataclass(frozen=True, kw_only=True)
class Link:
    """What leads from a stage of the critical path to the next one: `x` in percent, `top` and `bottom` in pixels."""

    x: float
    top: int
    bottom: int


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """A drawing. `ticks` are texts of the axis by their place in percent; `waited` are seconds of the critical path."""

    rows: tuple[Row, ...]
    links: tuple[Link, ...]
    ticks: tuple[tuple[float, str], ...]
    height: int
    waited: float
    worked: float


def of(record: Record) -> Timeline:
    """The timeline of a build; without rows where nothing ran."""
    ran = sorted((stage for stage in record.stages if stage.spans), key=lambda each: (each.spans[0].began, each.number))
    end = max([record.seconds, *(span.began + span.seconds for stage in ran for span in stage.spans), 1e-3])
    chain = critical_path(record.stages)
    rows = tuple(_row(stage, number, end, critical=stage.key in chain) for number, stage in enumerate(ran))
    spent = {stage.key: sum(span.seconds for span in stage.spans) for stage in ran}
    return Timeline(
        rows=rows,
        links=tuple(_links(ran, rows, chain)),
        ticks=ticks(end),
        height=TOP + ROW * len(rows),
        waited=sum(spent[key] for key in chain),
        worked=sum(spent.values()),
    )


def _row(stage: RecordedStage, number: int, end: float, *, critical: bool) -> Row:
    bars = tuple(
        Bar(
            action=span.action,
            left=round(100 * span.began / end, 3),
            width=round(min(max(100 * span.seconds / end, THINNEST), 100 - min(100 * span.began / end, 99)), 3),
            text=f"{span.action} {human_seconds(span.seconds)}",
        )
        for span in stage.spans
    )
    return Row(
        name=label(stage),
        top=TOP + number * ROW,
        bars=bars,
        critical=critical,
        failed=stage.state == "failed",
        spent=", ".join(bar.text for bar in bars),
    )


def label(stage: RecordedStage) -> str:
    """What a stage is called: its package, and its kind where that is not an ordinary layer."""
    return stage.package if stage.kind == "layer" else f"{stage.package} ({stage.kind})"


def _links(ran: Sequence[RecordedStage], rows: Sequence[Row], chain: Sequence[str]) -> list[Link]:
    """Lines from the end of a stage on the critical path to the row of the next."""
    by_key = {stage.key: row for stage, row in zip(ran, rows, strict=True)}
    found = []
    for key, following in itertools.pairwise(chain):
        last, below = by_key[key].bars[-1], by_key[following]
        x = round(min(last.left + last.width, below.bars[0].left), 3)
        top, bottom = sorted((by_key[key].top, below.top))
        found.append(Link(x=x, top=top + ROW - 16, bottom=bottom + ROW - 10))
    return found


def ticks(end: float) -> tuple[tuple[float, str], ...]:
    """Round times of an axis of so many seconds, with their places in percent.

    >>> ticks(10.0)
    ((0.0, '0 s'), (20.0, '2 s'), (40.0, '4 s'), (60.0, '6 s'), (80.0, '8 s'))
    """
    step = next((step for step in STEPS if end / step <= MOST_TICKS), STEPS[-1] * (1 + int(end / STEPS[-1] / 6)))
    times = [number * step for number in range(int(end / step) + 1)]
    return tuple((round(100 * time / end, 3), _axis(time)) for time in times if time / end <= 0.94)


def _axis(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    if hours:
        return f"{hours}:{rest // 60:02} h"
    return f"{seconds // 60} min" if seconds >= 60 and seconds % 60 == 0 else f"{seconds} s"
