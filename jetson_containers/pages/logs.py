"""What a report shows of the logs of a build: failed stages first, of each the lines that matter, then the text.

The text is bounded: of a long log the beginning and the end are kept. Logs hold no secrets when they are written; what
this process knows as a secret is taken out once more, because pages are shared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core import diagnosis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jetson_containers.builder.records import Record

HEAD, TAIL = 32 << 10, 160 << 10  # bytes of a log that are kept
ROOM = 4 << 20  # bytes of all logs of a page
RELEVANT = 20  # lines
MOST_COMMANDS = 10
_FILE = re.compile(r"(?P<number>[0-9]{1,6})(?:-[0-9]+)?_[^/]{1,200}\.log")
_STEP = re.compile(r"#(?P<number>[0-9]+) \[(?:[^\]]* )?[0-9]+/[0-9]+\] (?P<text>.*)")
_DONE = re.compile(r"#(?P<number>[0-9]+) DONE (?P<seconds>[0-9]+\.[0-9]+)s$")


@dataclass(frozen=True, kw_only=True)
class LogText:
    """One log. `lines` is how many it has; `left_out` how many bytes are not in `text`."""

    name: str
    number: int  # of the stage
    failed: bool
    relevant: tuple[str, ...]
    text: str
    lines: int
    left_out: int


@dataclass(frozen=True, kw_only=True)
class SlowCommand:
    """A command of a build and the seconds it took."""

    stage: str
    command: str
    seconds: float


def collect(record: Record, redact: Callable[[str], str]) -> list[LogText]:
    """The logs that are still there, those of failed stages first; only as many as have room."""
    folder = Path(record.log_dir or "/nowhere")
    try:
        if not folder.is_dir():
            return []
    except (OSError, ValueError):  # a record of elsewhere names what no path of this machine can be
        return []
    failed = {stage.number for stage in record.stages if stage.state == "failed" or stage.tests == "failed"}
    found = []
    for path in sorted((*folder.glob("build/*.log"), *folder.glob("test/*.log"))):
        match = _FILE.fullmatch(path.name)
        if match and path.is_file() and not path.is_symlink():
            found.append((int(match["number"]), path))
    found.sort(key=lambda each: (each[0] not in failed, each[0]))
    return list(_read(found, failed, folder, redact))


def _read(
    found: Sequence[tuple[int, Path]], failed: set[int], folder: Path, redact: Callable[[str], str]
) -> Iterable[LogText]:
    room = ROOM
    for number, path in found:
        try:
            data = path.read_bytes()
        except OSError:
            continue
        kept = data if len(data) <= HEAD + TAIL else data[:HEAD] + b"\n...\n" + data[-TAIL:]
        room -= len(kept)
        if room < 0:
            return
        lines = [diagnosis.plain(line) for line in redact(kept.decode(errors="replace")).splitlines()]
        is_failed = number in failed
        yield LogText(
            name=str(path.relative_to(folder)),
            number=number,
            failed=is_failed,
            relevant=tuple(diagnosis.relevant(lines, RELEVANT)) if is_failed else (),
            text="\n".join(lines),
            lines=data.count(b"\n"),
            left_out=max(0, len(data) - HEAD - TAIL),
        )


def slow_commands(record: Record, texts: Iterable[LogText]) -> list[SlowCommand]:
    """The commands that took longest, as BuildKit's logs say; the legacy builder says no times."""
    names = {stage.number: stage.package for stage in record.stages}
    found = []
    for text in texts:
        commands: dict[str, str] = {}
        for line in text.text.splitlines() if text.name.startswith("build/") else ():
            if step := _STEP.match(line):
                commands.setdefault(step["number"], step["text"])
            elif (done := _DONE.match(line)) and done["number"] in commands:
                seconds = float(done["seconds"])
                stage = names.get(text.number, "")
                found.append(SlowCommand(stage=stage, command=commands[done["number"]][:300], seconds=seconds))
    return sorted((each for each in found if each.seconds >= 0.1), key=lambda each: -each.seconds)[:MOST_COMMANDS]
