"""How GitHub Actions and GitLab CI show a build: a fold for each stage's output, and GitHub's summary of a job.

Formats: "Workflow commands for GitHub Actions" (`::group::`, `GITHUB_STEP_SUMMARY`) and GitLab's "Custom collapsible
sections". GitLab has no summary that a job could write.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from jetson_containers.core.console import human_bytes, human_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.builder.records import RecordedFailure
    from jetson_containers.builder.types import BuildReport, StageReport

HEADER = ("stage", "state", "time", "size", "tests")
_MARKS = {"built": "✅", "cached": "☑️", "failed": "❌", "skipped": "⏭️"}
_MOST_LINES = 40  # of a log in the summary; GitHub takes 1 MiB for a step
_LONGEST_LINE = 500  # characters


class Folds(Protocol):
    """How a service folds part of a log and marks an error."""

    def fold(self, number: int, title: str, lines: Sequence[str]) -> str:
        """Lines below a title, folded; `number` is the fold's own in this job."""
        ...

    def error(self, name: str, cause: str) -> str:
        """Say that a stage failed; "" where the service has no form for that."""
        ...


class GitHub:
    """`::group::` and `::error::`; a line of a log that begins with `::` would be taken for a command."""

    def fold(self, number: int, title: str, lines: Sequence[str]) -> str:  # noqa: ARG002 - GitHub numbers no folds
        """Lines between `::group::` and `::endgroup::`."""
        safe = [f" {line}" if line.lstrip().startswith("::") else line for line in lines]
        return "\n".join([f"::group::{title}", *safe, "::endgroup::"])

    def error(self, name: str, cause: str) -> str:
        """An annotation of the job."""
        return f"::error title={_property(f'{name} failed')}::{_escaped(cause)}"


class GitLab:
    """`section_start` and `section_end`, each with a time in seconds and the section's name."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def fold(self, number: int, title: str, lines: Sequence[str]) -> str:
        """Lines in a section that is closed at first. A line of a log cannot end it: carriage returns are taken out."""
        now, name = int(self._clock()), f"jetson_stage_{number}"
        safe = [line.replace("\r", " ") for line in lines]
        start = f"\x1b[0Ksection_start:{now}:{name}[collapsed=true]\r\x1b[0K{title}"
        return "\n".join([start, *safe, f"\x1b[0Ksection_end:{now}:{name}\r\x1b[0K"])

    def error(self, name: str, cause: str) -> str:
        """The failure in red, outside of the fold."""
        return f"\x1b[31m{name} failed: {cause}\x1b[0m"


def folds_of(env: Mapping[str, str]) -> Folds | None:
    """What folds logs in the service that this process runs in, by the variable that each sets; None elsewhere."""
    if env.get("GITHUB_ACTIONS") == "true":
        return GitHub()
    return GitLab() if env.get("GITLAB_CI") == "true" else None


def summarize(
    report: BuildReport,
    failures: Sequence[RecordedFailure],
    env: Mapping[str, str],
    redact: Callable[[str], str],
    *,
    asked: str,
    sizes: Mapping[str, int | None],
) -> None:
    """Add the build to the summary of GitHub's job; nothing where none is kept. Raises OSError.

    `asked` is what was to be built, `sizes` are bytes by image.
    """
    if path := env.get("GITHUB_STEP_SUMMARY"):
        failures = [replace(one, lines=one.lines[-_MOST_LINES:]) for one in failures]
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(redact(markdown(report, failures, asked=asked, sizes=sizes)))


def markdown(
    report: BuildReport, failures: Sequence[RecordedFailure], *, asked: str, sizes: Mapping[str, int | None]
) -> str:
    """The stages as a table, why what failed did so, and the images."""
    counted = {state: sum(stage.state == state for stage in report.stages) for state in _MARKS}
    said = ", ".join(f"{number} {state}" for state, number in counted.items() if number)
    lines = [f"### {'✅' if report.ok else '❌'} {_code(asked)}", ""]
    lines += [f"{said or 'no stages'} in {human_seconds(report.seconds)}", ""]
    if report.stages:
        lines += [_row(HEADER), _row(["---"] * len(HEADER)), *(_row(_cells(stage)) for stage in report.stages), ""]
    for failure in failures:
        lines += _failure(failure)
    lines += [f"- {_code(name)}{_size(sizes.get(name))}" for name in report.images]
    lines += [f"- pushed {_code(name)}" for name in report.pushed]
    return "\n".join([*lines, ""])


def _cells(stage: StageReport) -> Sequence[str]:
    spent = human_seconds(stage.seconds) if stage.seconds >= 0.05 else "-"
    size = human_bytes(stage.size) if stage.size is not None else "-"
    state = f"{_MARKS.get(stage.state, '')} {stage.state}".strip()
    return (_code(stage.package), state, spent, size, stage.tests or "-")


def _failure(failure: RecordedFailure) -> list[str]:
    """The cause, the remedy, and the lines of the log below a fold."""
    what = (
        f"test {_code(failure.test)} of {_code(failure.package)}" if failure.test else _code(failure.package or "push")
    )
    lines = [f"#### {what} failed", "", _text(failure.cause), ""]
    if failure.remedy:
        lines += [f"What to do: {_text(failure.remedy)}", ""]
    if failure.lines:
        kept = [line[:_LONGEST_LINE] for line in failure.lines]
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", "\n".join(["``", *kept]))))
        lines += ["<details><summary>log</summary>", "", fence, *kept, fence, "", "</details>", ""]
    return lines


def _size(size: int | None) -> str:
    return f" ({human_bytes(size)})" if size else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`"


def _text(text: str) -> str:
    """Text that Markdown shows as it is, but for our own code in backticks."""
    return re.sub(r"[<&]", lambda found: {"<": "&lt;", "&": "&amp;"}[found.group()], " ".join(text.split()))


def _escaped(text: str) -> str:
    """A message of a workflow command: percent sign and line breaks have a form of their own."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _escaped(text).replace(":", "%3A").replace(",", "%2C")
