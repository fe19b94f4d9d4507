"""Rules, findings, and the comment with which a recipe declines a rule and says why."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class LintSeverity(enum.Enum):
    """How bad it is; only errors make `lint` exit with 1."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class LintRule:
    """One thing that is checked. `remedy` is what to do about a finding, unless the finding knows better."""

    id: str
    severity: LintSeverity
    summary: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class LintFinding:
    """One place that breaks a rule. `line` is 1-based, 0 for a whole file; `end` is the last line it is about."""

    file: Path
    line: int
    rule: str
    severity: LintSeverity
    message: str
    remedy: str
    end: int = field(default=0, compare=False)
    via: tuple[Path, int, int] | None = field(default=None, compare=False)  # the RUN that starts it: file, lines

    @property
    def order(self) -> tuple[str, int, str, str]:
        """What findings are sorted by."""
        return str(self.file), self.line, self.rule, self.message


def _rules(severity: LintSeverity, *rows: tuple[str, str, str]) -> Iterator[tuple[str, LintRule]]:
    for name, summary, remedy in rows:
        yield name, LintRule(id=name, severity=severity, summary=summary, remedy=remedy)


_PIN_HINT = "name what is wanted exactly, so that tomorrow's build is today's"

RULES: dict[str, LintRule] = dict(
    [
        *_rules(
            LintSeverity.ERROR,
            ("recipe-broken", "a definition or Dockerfile that cannot be read", "correct that line"),
            ("two-defaults", "two default versions on one platform", "narrow the `default:` rules of one of them"),
            ("name-duplicate", "one name for two packages", "rename one; the first one read wins meanwhile"),
            ("depends-dangling", "depends on what does not exist on a platform", "add it, or narrow `requires`"),
            ("apt-absent", "installs an apt package that the distribution does not have", "the name it has there"),
            ("closure", "its dependencies cannot be satisfied on a platform", "`jetson-containers tree` shows them"),
            ("layers", "more layers than overlay2 can stack", "join RUN and COPY lines"),
            ("buildkit-only", "needs BuildKit, which the engine of a Jetson may lack", "write it without"),
            ("base-unpinned", "stands on an image that moves", "use ${BASE_IMAGE}, a digest, or an exact tag"),
            ("git-unpinned", "takes whatever a branch is at", "fetch a commit: `git fetch --depth 1 URL COMMIT`"),
            ("pip-unpinned", "takes whatever version the index has", "a lock and --require-hashes, or name==version"),
            ("install-unpinned", "takes whatever version a registry has", _PIN_HINT),
            ("download-unchecked", "uses an unverified file", '`echo "$SHA256  FILE" | sha256sum --check`'),
            ("key-unpinned", "trusts any key that the server sends", "compare the key's fingerprint, all 40 digits"),
            ("source-unpinned", "`source` without commit or checksum", "give `commit` (40 digits), `sha256` or `lock`"),
            ("hidden-failure", "goes on after a failure", "let it fail, or handle the one case that is expected"),
            ("tls-off", "does not check who it talks to", "leave TLS on; a private CA goes in with --ca-bundle"),
            ("copy-all", "copies the whole context", "name the files: `.jetson/` is staged beside them"),
            ("env-leak", "leaves a secret or a build-time setting in the image", "use ARG, or an option"),
            ("apt-lists", "leaves apt's lists in the layer", "`rm -rf /var/lib/apt/lists/*` in the same RUN"),
            ("shellcheck", "shellcheck objects", "see https://www.shellcheck.net/wiki/"),
            ("lock-stale", "its lock pins another version than its row", "`jetson-containers lock-pips PKG`"),
            ("share-missing", "`share` names what is not there", "add it to `shared/` of the tree"),
            ("suppression", "a `# lint:` comment without a known rule and a reason", "`# lint: RULE why`"),
        ),
        *_rules(
            LintSeverity.WARNING,
            ("pip-cache", "leaves pip's cache in the layer", "--no-cache-dir, or depend on `python`, which sets it"),
            ("apt-recommends", "installs what is only recommended", "--no-install-recommends"),
            ("command-missing", "calls a program that no package brings", "install it, or depend on what has it"),
            ("platform-switch", "a template that chooses by the platform", "one row for each, with `requires`"),
            ("arg-unused", "an argument that no Dockerfile declares", "declare it with ARG, or drop it"),
            ("source-missing", "does not say where it comes from", "add `source:` to the definition"),
            ("licence-missing", "no license", "`license:` with an SPDX expression"),
            ("docs-missing", "no docs", "`docs:` with a sentence or README.md"),
            ("test-missing", "no test", "`test:` with a script that ends in seconds without a GPU"),
            ("share-unused", "a shared file that nothing takes", "COPY it, name it in `test:`, or remove it"),
            ("context-size", "a large build context", "fetch large files by checksum while building"),
            ("suppression-unused", "a `# lint:` comment that declines nothing", "remove it"),
        ),
    ]
)  # fmt: skip


def finding(rule: str, file: Path, line: int, message: str, *, remedy: str = "", end: int = 0) -> LintFinding:
    """Make a finding of a rule. Raises KeyError for a rule that does not exist."""
    known = RULES[rule]
    return LintFinding(
        file=file,
        line=line,
        rule=rule,
        severity=known.severity,
        message=message,
        remedy=remedy or known.remedy,
        end=end or line,
    )


_COMMENT = re.compile(r"(?:^|\s)#\s*lint:\s*(\S*)[ \t]*(.*?)\s*$")
NOT_DECLINED = frozenset({"suppression", "suppression-unused", "recipe-broken"})


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """`# lint: RULE reason`, on one of the lines a finding is about or in the comments right above them."""

    line: int
    rule: str
    reason: str
    below: int  # the first line below that is not a comment

    def covers(self, found: LintFinding, file: Path) -> bool:
        """Whether it, standing in `file`, declines this finding: at its own lines, or at the RUN that led there."""
        places = [(found.file, found.line, found.end), *([found.via] if found.via else [])]
        return self.rule == found.rule and any(
            file == where and (first <= self.line <= max(last, first) or self.below == first)
            for where, first, last in places
        )


def suppressions(text: str) -> tuple[Suppression, ...]:
    """All `# lint:` comments of a file."""
    if "lint:" not in text:
        return ()
    lines = text.splitlines()
    return tuple(
        Suppression(line=number, rule=match[1], reason=match[2], below=_next_line(lines, number))
        for number, line in enumerate(lines, start=1)
        if (match := _COMMENT.search(line))
    )


def _next_line(lines: list[str], number: int) -> int:
    """The first line after `number` that says something else, where line `number` is only a comment; else itself."""
    if not lines[number - 1].lstrip().startswith("#"):
        return number
    # within a header every line is a comment: there only `# # …` is one
    inner = lines[number - 1].lstrip("# ").startswith("lint:") and lines[number - 1].count("#") > 1
    comment = re.compile(r"\s*#\s*#" if inner else r"\s*#")
    return next((at for at in range(number + 1, len(lines) + 1) if not comment.match(lines[at - 1])), number)


def settle(found: Iterable[LintFinding], texts: dict[Path, str]) -> list[LintFinding]:
    """Drop declined findings; report comments that are malformed or decline nothing. `texts`: all files looked at."""
    result = sorted(set(found), key=lambda item: item.order)
    for file, text in texts.items():
        for comment in suppressions(text):
            result = _apply(comment, file, result)
    return sorted(result, key=lambda item: item.order)


def _apply(comment: Suppression, file: Path, found: list[LintFinding]) -> list[LintFinding]:
    problem = _problem(comment)
    if problem:
        return [*found, finding("suppression", file, comment.line, problem)]
    kept = [item for item in found if not comment.covers(item, file)]
    if len(kept) == len(found):
        message = f"nothing here breaks `{comment.rule}`"
        return [*found, finding("suppression-unused", file, comment.line, message)]
    return kept


def _problem(comment: Suppression) -> str:
    if comment.rule not in RULES:
        return f"there is no rule `{comment.rule}`"
    if comment.rule in NOT_DECLINED:
        return f"`{comment.rule}` cannot be declined"
    return "" if comment.reason else f"declines `{comment.rule}` without a reason"
