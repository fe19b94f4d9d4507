"""The end of a run in words: the table, and for a failure what failed, why probably, where it stands, what next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.builder.ci import HEADER
from jetson_containers.builder.records import RecordedFailure
from jetson_containers.core.console import human_bytes, human_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.builder.finals import Final
    from jetson_containers.builder.stage_builder import StageFailure
    from jetson_containers.builder.types import BuildOptions, BuildReport, StageReport
    from jetson_containers.core.console import Console
    from jetson_containers.core.errors import JetsonError


def show(console: Console, report: BuildReport, finals: Mapping[str, Final]) -> None:
    """Print stages with time, size and tests, then the images, then where the logs are."""
    if report.stages:
        console.info("")
        console.table(HEADER, [_row(stage) for stage in report.stages])
        console.info("")
    for final in finals.values():
        size = f" ({human_bytes(final.size)})" if final.size is not None else ""
        console.ok(f"{final.image}{size}{'' if final.fresh else ', unchanged'}")
    for reference in report.pushed:
        console.ok(f"pushed {reference}")
    console.info(f"{human_seconds(report.seconds)} in all; logs: {report.log_dir}")


def _row(stage: StageReport) -> tuple[str, ...]:
    spent = human_seconds(stage.seconds) if stage.seconds >= 0.05 else "-"
    size = human_bytes(stage.size) if stage.size is not None else "-"
    return stage.package, stage.state, spent, size, stage.tests or "-"


def explain(failure: StageFailure, total: int, options: BuildOptions) -> JetsonError:
    """Turn a failure into the error that is raised or shown; its class, and so the exit code, is the engine's."""
    error, stage = failure.error, failure.node.stage
    what = f"test `{failure.test}`" if failure.test else "the build"
    cause = failure.finding.cause if failure.finding else error.message
    place = f"stage `{stage.package}` ({failure.node.number} of {total})"
    error.message = f"{what} of {place} failed{failure.where}: {cause}"
    error.args = (error.message,)
    last_lines = [f"| {line}" for line in failure.lines]
    found = [f"found: {failure.finding.line}"] if failure.finding and failure.finding.line else []
    error.details = (*last_lines, *found, f"log: {failure.log}:{failure.number}")
    error.hint = _hint(failure, error.hint, options)
    return error


def _hint(failure: StageFailure, engine_hint: str | None, options: BuildOptions) -> str:
    parts = []
    if failure.finding:
        parts.append(failure.finding.remedy)
        if failure.finding.id in {"out-of-memory", "compiler-killed"} and not failure.test:
            parts.append(f"this stage ran with MAX_JOBS={failure.jobs}")
    elif engine_hint:
        parts.append(engine_hint)
    parts.append(f"then {again(options, f'resumes at `{failure.node.stage.package}`; what is built stays')}")
    return "; ".join(parts)


def again(options: BuildOptions, resumes: str) -> str:
    """Say what the same command does next: it resumes, unless its options rebuild everything."""
    command = f"`{options.command}`" if options.command else "the same command again"
    if options.no_cache:
        return f"{command} starts at the first stage again, because of --no-cache"
    if options.rebuild:
        return f"{command} starts at the first stage again; commands that have finished come from the engine's cache"
    return f"{command} {resumes}"


def recorded(failure: StageFailure) -> RecordedFailure:
    """What a record says of a stage that failed."""
    return RecordedFailure(
        package=failure.node.stage.package,
        cause=failure.finding.cause if failure.finding else failure.error.message,
        test=failure.test,
        remedy=(failure.finding.remedy if failure.finding else failure.error.hint) or "",
        log=str(failure.log.absolute()),
        number=failure.number,
        lines=failure.lines,
    )


def refused(error: JetsonError) -> RecordedFailure:
    """What a record says of a push that failed."""
    return RecordedFailure(
        package="", cause=error.message, remedy=error.hint or "", lines=tuple(map(str, error.details))
    )
