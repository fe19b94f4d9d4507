"""Why a build or test failed, from its log: the likely cause, its remedy, and the lines worth reading.

Pure: lines in, finding out. The table is `facts/error_signatures.yaml`; adding a message is one entry there.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FACTS = Path(__file__).parents[1] / "facts" / "error_signatures.yaml"
SEARCHED = 1000  # lines with a meaning from the end of a log; earlier ones did not end it
SEARCHED_CHARACTERS = 400_000  # of these lines; hundreds of patterns look at each
GAP = "…"  # stands where something was left out
LONGEST_LINE = 4000  # characters; a longer one is data that somebody printed, and says what it is at its ends

_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-Z\\-_])")
_INTERNAL = re.compile(r"#[0-9]+ \[internal\]")
_BUILDKIT_PREFIX = re.compile(r"^#[0-9]+ (?:\[[^\]]*\] |[0-9]+\.[0-9]+ )?")

# What fills a log without saying why it ended: progress, package managers at work, the builder's own bookkeeping.
_NOISE = re.compile(
    r"""^\s*$
    | ^\s*[\[|]?[━╸╺─=>#.\-]{2,}[━╸╺─=>#.\-\s|\]]*(?:[0-9]|$)  # bars
    | ^\s*\[\s*[0-9]+(?:/[0-9]+|%)\]                        # [41/1200] of ninja, [ 41%] of make
    | \b[0-9]{1,3}(?:\.[0-9]+)?%.*(?:ETA|[kMG]i?B/s|\bof\b)        # percentages of a download
    | ^\s*(?:Get|Hit|Ign|Fetched|Reading|Building\ dependency|Need\ to\ get|After\ this\ operation)\b[:\s]
    | ^\s*(?:Selecting\ previously|Preparing\ to\ unpack|Unpacking|Setting\ up|Processing\ triggers)\b
    | ^\s*\(Reading\ database
    | ^\s*(?:Collecting|Downloading|Using\ cached|Requirement\ already|Installing\ collected|Obtaining)\b
    | ^\s*(?:Receiving|Resolving|Compressing|Counting|Enumerating)\ (?:objects|deltas)
    | ^\s*remote:\ (?:Counting|Compressing|Enumerating|Total)
    | ^\s*---?>\ (?:Running\ in\ |Using\ cache|\[Warning\]|[0-9a-f]{12}\s*$)
    | ^\s*Removing\ intermediate\ container
    | ^\s*Sending\ build\ context
    | ^\s*-{3,}\s*$
    | ^\s*(?:sha256:[0-9a-f]{64}(?:\s|$)|transferring\ |DONE\ [0-9]|CACHED\s*$|extracting\ )
    | ^\s*DEPRECATED:\ The\ legacy\ builder
    | ^\s*(?:\[notice\]|WARNING:\ Running\ pip\ as\ the\ 'root'|debconf:)
    """,
    re.VERBOSE,
)


# Lines in which builders repeat the recipe: what a command would have printed is not a sign that it did.
_ECHO = re.compile(
    r"""^(?:Step\ [0-9]+/[0-9]+\ :|\#[0-9]+\ \[[^\]]*[0-9]+/[0-9]+\]|\ >\ \[|\s*[0-9]+\ \|\ )
    | (?:executor\ failed\ running\ \[.*\]|The\ command\ '.*'|process\ ".*"\ did\ not)(?=[:\ ])
    """,
    re.VERBOSE,
)
# What lines look like that name an error. Words alone prove nothing; they only choose which lines are shown.
_TELLING = re.compile(
    r"(?i)\b(?:error|fatal|failed|failure|exception|traceback|cannot|can't|could not|undefined reference|not found"
    r"|no such|denied|refused|unsupported|not supported|invalid|abort(?:ed|ing)?|panic(?:ked)?|unable to|killed)\b"
)
_MEMORY = frozenset({"out-of-memory", "compiler-killed"})


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One entry of the table: what a line looks like, what it means, what helps."""

    id: str
    pattern: re.Pattern[str]
    cause: str
    remedy: str
    model: str = ""  # the remedy where a model was prepared or served
    model_cause: str = ""
    exit_codes: tuple[int, ...] = ()
    also: re.Pattern[str] | None = None  # another line must look like this
    within: int | None = None  # search only so many telling lines from the end


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The likely cause. `line` is the line it was read from, `number` that line's number in the log (1-based).

    `number` is 0 when it was read from the exit code alone.
    """

    id: str
    cause: str
    remedy: str
    line: str = ""
    number: int = 0


@cache
def signatures(path: Path = FACTS) -> tuple[Signature, ...]:
    """Read the table, most certain cause first."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the table is long, and ours
    rows = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)  # noqa: S506 - either makes values alone
    return tuple(
        Signature(
            id=row["id"],
            pattern=re.compile(row["pattern"]),
            cause=row["cause"],
            remedy=row["remedy"],
            model=row.get("model", ""),
            model_cause=row.get("model_cause", ""),
            exit_codes=tuple(row.get("exit_codes", ())),
            also=re.compile(row["also"]) if "also" in row else None,
            within=row.get("within"),
        )
        for row in rows
    )


def plain(line: str) -> str:
    """Strip colors and cursor moves; of a line drawn over itself keep what stood there last, of a long one the ends."""
    text = _ANSI.sub("", line).rstrip().rsplit("\r", 1)[-1]
    if len(text) <= LONGEST_LINE:
        return text
    return text[: LONGEST_LINE // 2] + GAP + text[1 - LONGEST_LINE // 2 :]


def diagnose(
    lines: Sequence[str],
    *,
    exit_code: int | None = None,
    oom_killed: bool = False,
    model: bool = False,
    path: Path = FACTS,
) -> Diagnosis | None:
    """Find the likely cause of a failure, or None when nothing known is in the log.

    `exit_code` and `oom_killed` are what is known of a container that was run; a build's exit code stands in
    its log. `model`: it prepared or served a model, so that advice on building would be of no use.
    """
    telling = list(_from_the_end(lines))
    table = signatures(path)
    if model:
        table = tuple(replace(row, cause=row.model_cause or row.cause, remedy=row.model or row.remedy) for row in table)
    if oom_killed:
        table = tuple(row for row in table if row.id in _MEMORY)
        exit_code = 137
    for row in table:
        if found := _search(row, telling):
            return found
    for row in table:
        if exit_code in row.exit_codes:
            return _finding(row, None)
    return None


def _from_the_end(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """The numbers and texts of the last lines with a meaning, the last first."""
    found = characters = 0
    for number in range(len(lines), 0, -1):
        line = plain(lines[number - 1])
        if is_noise(line):
            continue
        yield number, line
        found, characters = found + 1, characters + len(line)
        if found == SEARCHED or characters >= SEARCHED_CHARACTERS:
            return


def relevant(lines: Iterable[str], count: int = 30) -> list[str]:
    """Keep `count` lines at most that say why it failed, in their order; `…` stands where others were left out.

    No progress bars, no package manager, no repetition. Lines that sound like an error are kept with their neighbors:
    the first of them, which the others often follow from, and the last ones; without any, the last lines.
    """
    kept: list[str] = []
    for line in lines:
        text = plain(line)
        if is_noise(text) or (kept and (text == kept[-1] or (len(text) > 20 and text in kept[-1]))):
            continue
        kept.append(text)
    kept = kept[-SEARCHED:]
    if len(kept) <= count:
        return kept
    telling = [number for number, line in enumerate(kept) if _TELLING.search(_without_echo(line))]
    return _with_gaps(kept, _chosen(telling, len(kept), count)) if telling else kept[-count:]


def _chosen(telling: Sequence[int], total: int, count: int) -> list[int]:
    """The numbers of lines to show: half of them from the first error on, then the end, then the last errors."""
    first = max(0, telling[0] - 1)
    order = [*range(first, first + count // 2), total - 1, total - 2]
    order += [number for error in reversed(telling) for number in (error, error + 1, error - 1)]
    order += reversed(range(total))
    return sorted(list(dict.fromkeys(number for number in order if 0 <= number < total))[:count])


def _with_gaps(lines: Sequence[str], numbers: Sequence[int]) -> list[str]:
    shown: list[str] = []
    before = -1
    for number in numbers:
        if number > before + 1:
            shown.append(GAP)
        shown.append(lines[number])
        before = number
    return shown


def is_noise(line: str) -> bool:
    """Whether a line is progress or bookkeeping that explains nothing."""
    return bool(_INTERNAL.match(line) or _NOISE.search(_BUILDKIT_PREFIX.sub("", line)))


def _search(row: Signature, lines: Sequence[tuple[int, str]]) -> Diagnosis | None:
    if row.also and not any(row.also.search(_without_echo(line)) for _, line in lines):
        return None
    for number, line in lines[: row.within]:  # from the end: the last occurrence is the one that ended it
        if match := row.pattern.search(_without_echo(line)):
            return _finding(row, match, line, number)
    return None


def _without_echo(line: str) -> str:
    """Cut the repeated command out of a line, and drop a line that is nothing else."""
    found = _ECHO.search(line)
    if found is None:
        return line
    return line[found.end() :] if found.group().startswith(("executor", "The command", "process")) else ""


def _finding(row: Signature, match: re.Match[str] | None, line: str = "", number: int = 0) -> Diagnosis:
    groups = [text for text in (match.groups() if match else ()) if text]

    def fill(text: str, words: Sequence[str]) -> str:
        text = text.replace("{line}", line.strip())
        text = re.sub(r"\{([0-9])\}", lambda m: words[int(m[1]) - 1] if int(m[1]) <= len(words) else "", text)
        return re.sub(r" (?:``|\(\))|(?<=\w) (?= |$)", "", text)  # what the line did not name leaves no gap

    remedy = fill(row.remedy, [shlex.quote(text) for text in groups])  # it holds commands
    return Diagnosis(id=row.id, cause=fill(row.cause, groups), remedy=remedy, line=line.strip(), number=number)
