"""The page of a build, from its record and what is left of its logs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.builder import records
from jetson_containers.core.secrets import Redactor
from jetson_containers.pages import changes, logs, render, timeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from jetson_containers.builder.records import Record, RecordedStage


@dataclass(frozen=True, kw_only=True)
class Cached:
    """What did not have to be done: stages that were there, and commands from the engine's layer cache."""

    stages: int
    of_stages: int
    commands: int
    of_commands: int


@dataclass(frozen=True, kw_only=True)
class PackageSize:
    """Bytes that a stage adds to the image below it; `share` in percent of the largest."""

    name: str
    added: int
    share: float
    stage: RecordedStage


def text(record: Record, before: Record | None, env: Mapping[str, str]) -> str:
    """The page of a record beside the build before, where there is one."""
    found = logs.collect(record, Redactor(env))
    critical = set(records.critical_path(record.stages))
    return render.page(
        "report.html.j2",
        record=record,
        title=f"Build of {asked(record)}",
        asked=asked(record),
        outcome=OUTCOMES.get(record.result, record.result),
        timeline=timeline.of(record),
        critical=critical,
        label=timeline.label,
        cached=_cached(record),
        sizes=_sizes(record),
        tests=[(stage, test) for stage in record.stages for test in stage.results],
        before=before,
        changes=changes.between(before, record) if before else [],
        logs=found,
        slow=logs.slow_commands(record, found),
        spent={stage.key: dict(_spent(stage)) for stage in record.stages},
    )


OUTCOMES = {"ok": "succeeded", "failed": "failed", "stopped": "stopped before its end"}


def asked(record: Record) -> str:
    """What was asked for, in one line."""
    requests = list(dict.fromkeys(" ".join(request.packages) for request in record.requests))
    return ", ".join(requests[:5]) + (f" and {len(requests) - 5} more" if len(requests) > 5 else "")


def open_record(folder: Path, name: str) -> tuple[Record, Record | None]:
    """A record by its name and the build before it. Raises NothingMatchedError and ConfigError."""
    found = records.read(records.find(folder, name))
    return found, records.before(folder, found)


def _cached(record: Record) -> Cached:
    return Cached(
        stages=sum(stage.state == "cached" for stage in record.stages),
        of_stages=len(record.stages),
        commands=sum(stage.reused for stage in record.stages),
        of_commands=sum(stage.commands for stage in record.stages),
    )


def _sizes(record: Record) -> list[PackageSize]:
    """What each stage adds, largest first; artifacts stand in no image as such."""
    known = [(stage.added, stage) for stage in record.stages if stage.added and stage.kind != "artifact"]
    largest = max((added for added, _ in known), default=1)
    made = [
        PackageSize(name=stage.package, added=added, share=round(100 * added / largest, 2), stage=stage)
        for added, stage in known
    ]
    return sorted(made, key=lambda each: -each.added)


def _spent(stage: RecordedStage) -> Iterator[tuple[str, float]]:
    for action in ("build", "test"):
        yield action, sum(span.seconds for span in stage.spans if span.action == action)
