"""Dockerfiles as data: instructions with their lines, and build stages.

Grammar: https://docs.docker.com/reference/dockerfile/ (directives, continuation lines, heredocs, JSON form).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core import json_text
from jetson_containers.core.errors import RecipeError
from jetson_containers.core.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DEFAULT_PATH = Path("Dockerfile")  # what errors name when the caller has only text
KEYWORDS = (
    "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
    "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip

_FLAGGED = frozenset({"ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"})
_HEREDOC_IN = re.compile(r"(?:ONBUILD\s+)?(?:RUN|COPY|ADD)\b", re.IGNORECASE)
_DIRECTIVE = re.compile(r"#\s*([a-z][a-z0-9]*)\s*=\s*(.+)$", re.IGNORECASE)
_WORD = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""", re.DOTALL)
_HEREDOC = re.compile(r"[0-9]*<<(-?)([^<]+)")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?::-([^}]*))?\})", re.ASCII)
FLAG = re.compile(r"""--[a-z][a-z-]*(?:=(?:[^\s"']|"[^"]*"|'[^']*')*)?(?=\s|$)""")


@dataclass(frozen=True)
class Heredoc:
    """A here-document; `body` has its newlines, without the terminator."""

    name: str
    body: str


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """One instruction. `value` is all that follows the keyword, continuation lines joined and comments dropped.

    `line` and `end` are the first and the last line of it (1-based), heredocs included.
    """

    keyword: str  # upper case
    value: str
    line: int
    end: int
    heredocs: tuple[Heredoc, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """The `--name=value` words before the arguments, as written."""
        return self._split()[0]

    @property
    def arguments(self) -> str:
        """What follows the flags."""
        return self._split()[1]

    @property
    def words(self) -> tuple[str, ...]:
        """The arguments as a list: the JSON form decoded, otherwise split at white space (COPY knows no quotes)."""
        try:
            decoded = json_text.parse(self.arguments)
        except (ValueError, RecursionError):
            return tuple(self.arguments.split())
        return tuple(map(str, decoded)) if isinstance(decoded, list) else tuple(self.arguments.split())

    def option(self, name: str) -> str | None:
        """The value of the flag `--name=`, or None."""
        prefix = f"--{name}="
        return next((flag[len(prefix) :] for flag in self.flags if flag.startswith(prefix)), None)

    def _split(self) -> tuple[tuple[str, ...], str]:
        rest, flags = self.value, []
        while self.keyword in _FLAGGED and (found := FLAG.match(rest)):
            flags.append(found.group())
            rest = rest[found.end() :].lstrip()
        return tuple(flags), rest


@dataclass(frozen=True, kw_only=True)
class BuildStage:
    """One `FROM` with what follows it. `name` is lower case, as Docker compares it."""

    index: int
    base: str
    name: str | None
    start: Instruction
    body: tuple[Instruction, ...]

    @property
    def runs(self) -> bool:
        """Whether a container is started for this stage."""
        return any(step.keyword == "RUN" for step in self.body)


@lru_cache(maxsize=2048)
def parse(text: str, path: Path = DEFAULT_PATH) -> tuple[Instruction, ...]:
    """Read a Dockerfile.

    Raises RecipeError (file and line) for an unknown instruction, an unterminated heredoc, an instruction other than
    ARG before the first FROM, and when there is no FROM.
    """
    steps = tuple(_instructions(split_lines(text), path))
    first = next((step for step in steps if step.keyword != "ARG"), None)
    if first is None:
        raise RecipeError(
            "has no FROM instruction", path=path, hint="a recipe begins `ARG BASE_IMAGE`, `FROM ${BASE_IMAGE}`"
        )
    if first.keyword != "FROM":
        raise RecipeError(f"`{first.keyword}` stands before the first FROM", path=path, line=first.line)
    return steps


def stages(steps: Sequence[Instruction]) -> tuple[BuildStage, ...]:
    """Cut a parsed Dockerfile into its build stages."""
    starts = [number for number, step in enumerate(steps) if step.keyword == "FROM"]
    ends = [*starts[1:], len(steps)]
    found = []
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        words = steps[start].words
        named = len(words) == 3 and words[1].upper() == "AS"
        name = words[2].lower() if named else None
        found.append(
            BuildStage(
                index=index,
                base=words[0] if words else "",
                name=name,
                start=steps[start],
                body=tuple(steps[start + 1 : end]),
            )
        )
    return tuple(found)


def named_images(steps: Sequence[Instruction], arguments: Mapping[str, str]) -> tuple[str, ...]:
    """The images that a builder may pull for a Dockerfile: of FROM, `COPY --from=` and `RUN --mount=…,from=`.

    Variables get the values of `arguments`, else their defaults; one without a value stays as it is written.
    """
    values: dict[str, str] = {}
    for step in steps:
        if step.keyword == "FROM":
            break
        name, _, default = step.value.partition("=")
        values[name.strip()] = arguments.get(name.strip(), default.strip().strip("\"'"))
    found: dict[str, None] = {}
    seen = {"scratch"}
    for stage in stages(steps):
        for name in (stage.base, *(name for step in stage.body for name in _from_flags(step))):
            image = _VARIABLE.sub(lambda match: values.get(match[1] or match[2]) or match[3] or match[0], name)
            if image.lower() not in seen and not re.fullmatch("[0-9]+", image):
                found[image] = None
        seen.add(stage.name or "")
    return tuple(found)


def _from_flags(step: Instruction) -> Iterator[str]:
    """What the flags of an instruction take files from."""
    if step.keyword in {"COPY", "ADD"} and (image := step.option("from")):
        yield image
    for flag in step.flags:
        if flag.startswith("--mount="):
            yield from (part[5:] for part in flag.removeprefix("--mount=").split(",") if part.startswith("from="))


def split_lines(text: str) -> list[str]:
    """Split into lines; a byte order mark and Windows line ends go, as Docker drops them."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")


def split_words(text: str) -> list[str]:
    """Split as a shell does, quotes kept."""
    return _WORD.findall(text)


def directives(lines: Sequence[str]) -> dict[str, str]:
    """Read the `# name=value` lines at the very top; the first other line ends them."""
    found: dict[str, str] = {}
    for line in lines:
        match = _DIRECTIVE.match(line)
        if match is None or match[1].lower() not in {"syntax", "escape", "check"}:
            break
        found[match[1].lower()] = match[2].strip()
    return found


def _instructions(lines: Sequence[str], path: Path) -> Iterator[Instruction]:
    escape = re.escape(directives(lines).get("escape", "\\"))
    continued = re.compile(rf"(?:(?<=[^{escape}])|^){escape}[ \t]*$")
    position = 0
    while position < len(lines):
        if _skipped(lines[position]):
            position += 1
            continue
        start = position
        position, logical = _logical_line(lines, start, continued)
        if not logical:  # a `\` alone, and nothing that it goes on with
            continue
        keyword, value = (*logical.split(None, 1), "")[:2]
        keyword = keyword.upper()
        if keyword not in KEYWORDS:
            raise _unknown(keyword, path, start + 1)
        heredocs = []
        for name, chomp in _heredoc_names(logical):
            position, body = _heredoc_body(lines, position, name, chomp=chomp)
            if body is None:
                raise RecipeError(f"the heredoc `{name}` has no end", path=path, line=start + 1)
            heredocs.append(Heredoc(name, body))
        yield Instruction(keyword=keyword, value=value, line=start + 1, end=position, heredocs=tuple(heredocs))


def _skipped(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith("#")


def _logical_line(lines: Sequence[str], start: int, continued: re.Pattern[str]) -> tuple[int, str]:
    """Join a line with its continuations; comments and blank lines between them are dropped, as Docker does."""
    parts: list[str] = []
    position = start
    end = start
    while position < len(lines):
        line = lines[position]
        position += 1
        if parts and _skipped(line):
            continue
        more = continued.search(line)
        parts.append(line[: more.start()] if more else line)
        end = position
        if not more:
            break
    return end, "".join(parts).strip()


def _heredoc_names(logical: str) -> list[tuple[str, bool]]:
    if "<<" not in logical or not _HEREDOC_IN.match(logical) or _WORD.sub("", logical).strip():
        return []  # the last: an open quote, where Docker looks for no heredoc either
    found = (_HEREDOC.fullmatch(word) for word in _WORD.findall(logical))
    return [(re.sub(r"[\"'\\]", "", match[2]), bool(match[1])) for match in found if match]


def _heredoc_body(lines: Sequence[str], position: int, name: str, *, chomp: bool) -> tuple[int, str | None]:
    body: list[str] = []
    for number in range(position, len(lines)):
        line = lines[number].lstrip("\t") if chomp else lines[number]
        if line == name:
            return number + 1, "".join(f"{text}\n" for text in body)
        body.append(line)
    return len(lines), None


def _unknown(keyword: str, path: Path, line: int) -> RecipeError:
    hint = did_you_mean(keyword, KEYWORDS, otherwise="a line that goes on needs a `\\` at the end of the one before")
    return RecipeError(f"unknown instruction `{keyword}`", path=path, line=line, hint=hint)
