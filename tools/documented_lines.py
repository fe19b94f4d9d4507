"""Judges every command line that upstream documents by our own parsers, without starting anything.

    .venv/bin/python tools/documented_lines.py ~/jetson-containers-upstream
    .venv/bin/python tools/documented_lines.py CHECKOUT --target r36.4.3 --json result.json
    .venv/bin/python tools/documented_lines.py CHECKOUT --write

CHECKOUT is a checkout of upstream's repository; nothing is written to it. The lines are those in the code blocks of its
Markdown files that call `jetson-containers`, `build.sh`, `run.sh`, `autotag` or `install.sh`. Builds are planned, `run`
is planned as a dry run, `autotag` asks the list of published images that is shipped, and what would fetch or push
something is only parsed. `--write` puts the result into docs/upstream.md.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import re
import shlex
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

PAGE = ROOT / "docs" / "upstream.md"
BEGIN = "<!-- written by tools/documented_lines.py -->"
END = "<!-- end -->"
TARGET = "r36.4.3"
PROGRAMS = ("jetson-containers", "build.sh", "run.sh", "autotag", "install.sh")
ACCEPTED, BESIDE, DIFFERS, REFUSED = "accepted", "with its tree", "differs", "refused"
CLASSES = (ACCEPTED, BESIDE, DIFFERS, REFUSED)
_SHELLS = {"", "bash", "sh", "shell", "console", "bash script"}
_READS = {"list", "show", "info", "data", "root", "search", "tree", "why"}
_PATTERN = re.compile(
    r"\.\.\.|…|\[(?:OPTIONS|PACKAGE|CONTAINER|COMMAND|ARG)|(?:^|\s)<?(?:PACKAGE|IMAGE|CONTAINER|NAME)[>\s]"
)
_SUBSTITUTION = re.compile(
    r"\$\(\s*((?:\./|[\w./-]*/)?(?:jetson-containers\s+)?autotag\s[^()]*)\)|`((?:\./)?autotag\s[^`]*)`"
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class DocumentedLine:
    """One call: the command of ours that it means, its arguments, and the variables set before it."""

    text: str
    command: str
    arguments: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """What became of a line here."""

    line: DocumentedLine
    kind: str
    reason: str = ""


# The lines ----------------------------------------------------------------------------------------------------------


def documented(checkout: Path) -> list[DocumentedLine]:
    """All calls in the checkout's Markdown files, each as often as it stands there."""
    found: list[DocumentedLine] = []
    for page in sorted(checkout.rglob("*.md")):
        for block in _blocks(page.read_text(encoding="utf-8", errors="replace").splitlines()):
            for command_line in _command_lines(block):
                found += _calls(command_line)
    return found


def _blocks(lines: Sequence[str]) -> Iterator[list[str]]:
    """The code blocks of a page that are shell, or say nothing of what they are."""
    block: list[str] | None = None
    for line in lines:
        mark = re.match(r"\s*(?:>\s*)?```+\s*(.*)$", line)
        if mark and block is None:
            block = []
            wanted = mark[1].strip().lower() in _SHELLS
        elif mark and block is not None:
            if wanted:
                yield block
            block = None
        elif block is not None:
            block.append(line)


def _command_lines(block: Iterable[str]) -> Iterator[str]:
    """The command lines of a block: continued ones joined, and those whose quotes go over several lines."""
    whole = ""
    for line in block:
        whole += line.strip() if not whole else " " + line.strip()
        if whole.endswith("\\"):
            whole = whole[:-1].rstrip()
            continue
        if not _is_closed(whole):
            continue
        yield whole
        whole = ""
    if whole and _is_closed(whole):
        yield whole


def _is_closed(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return text.count("$(") <= text.count(")")


def _calls(command_line: str) -> Iterator[DocumentedLine]:
    """The calls of ours in a command line: those substituted into others, then its own parts."""
    text = re.sub(r"^\s*[$#>]\s+", "", command_line)
    if _PATTERN.search(text) and "autotag" not in text:
        return
    for match in _SUBSTITUTION.finditer(text):
        yield from _call((match[1] or match[2]).strip())
    for part in re.split(r"\s(?:&&|\|\||[|;])\s", _SUBSTITUTION.sub("found/image:tag", text)):
        yield from _call(part.strip())


def _call(text: str) -> Iterator[DocumentedLine]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return
    variables: list[tuple[str, str]] = []
    while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] in {"sudo", "bash", "sh", "time", "source", "env"}):
        word = words.pop(0)
        if "=" in word:
            name, _, value = word.partition("=")
            variables.append((name, value))
    if not words or words[0].rpartition("/")[2] not in PROGRAMS:
        return
    program, arguments = words[0].rpartition("/")[2], words[1:]
    if program == "jetson-containers" and words[0].endswith("/jetson-containers") and not arguments:
        return
    command = program.removesuffix(".sh")
    if program == "jetson-containers":
        command, arguments = (arguments[0], arguments[1:]) if arguments else ("", [])
    yield DocumentedLine(text=text, command=command, arguments=tuple(arguments), variables=tuple(variables))


# The judgment -------------------------------------------------------------------------------------------------------


class Judge:
    """Judges lines for one target; equal lines are judged once."""

    def __init__(self, checkout: Path, target: str, folder: Path) -> None:
        self._upstream = checkout / "packages"
        self._target = target
        self._environment = {
            "PATH": str(folder),  # no engine, and no program at all
            "HOME": str(folder),
            "JETSON_CONTAINERS_CACHE": str(folder / "cache"),
            "JETSON_CONTAINERS_OFFLINE": "1",
            "COLUMNS": "200",
        }
        _share_catalogs()

    def judge(self, line: DocumentedLine) -> Judgment:
        """Say what becomes of one line."""
        kind, reason = self._judged(line.command, line.arguments, line.variables)
        return Judgment(line=line, kind=kind, reason=reason)

    @functools.cache  # noqa: B019 - one judge lives as long as the program
    def _judged(
        self, command: str, arguments: tuple[str, ...], variables: tuple[tuple[str, str], ...]
    ) -> tuple[str, str]:
        if command == "install":
            return self._installed(arguments)
        if command == "run":
            return self._run(arguments)
        given = dict(variables)
        if command == "build":
            return self._first_accepted(["build", "--dry-run", "--target", self._target, *arguments], given)
        if command == "autotag":
            return self._said(["autotag", "--disable", "local,build", "--target", self._target, *arguments], given)
        if command in _READS:
            return self._first_accepted([command, "--target", self._target, *arguments], given)
        return _parsed([command, *arguments] if command else list(arguments))

    def _first_accepted(self, argv: list[str], variables: Mapping[str, str]) -> tuple[str, str]:
        """On our tree alone, else with upstream's beside it."""
        alone = self._said(argv, variables)
        if alone[0] != REFUSED:
            return alone
        beside = self._said([argv[0], "--package-dirs", str(self._upstream), *argv[1:]], variables)
        return beside if beside[0] == REFUSED else (BESIDE, "a package that is upstream's alone")

    def _said(self, argv: list[str], variables: Mapping[str, str]) -> tuple[str, str]:
        from jetson_containers.cli import main

        out, err = io.StringIO(), io.StringIO()
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update({**self._environment, **variables})
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main.main(argv)
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            os.environ.clear()
            os.environ.update(before)
        said = err.getvalue().splitlines()
        if code:
            reason = next((line[7:] for line in said if line.startswith("error: ")), f"exit code {code}")
            return REFUSED, reason.replace(f"{self._upstream.parent}/", "")
        warnings = [line.removeprefix("warning: ") for line in said if line.startswith("warning: ")]
        other = next((line for line in warnings if "only upstream" in line or "no effect" in line), "")
        return (DIFFERS, other) if other else (ACCEPTED, "")

    def _run(self, arguments: tuple[str, ...]) -> tuple[str, str]:
        from jetson_containers.core import settings
        from jetson_containers.core.errors import JetsonError
        from jetson_containers.engine.interface import RunCapabilities
        from jetson_containers.launch import command, options
        from jetson_containers.platforms.detect import parse_target

        try:
            loaded = settings.load({}, env=self._environment, files=(), root=ROOT)
            request = options.parse(arguments)
            engine = RunCapabilities(client="docker", sudo=False, runtimes=("nvidia",), cdi_devices=())
            planned = command.plan_run(
                request, parse_target(self._target), engine, loaded, root=Path("/nonexistent"), env=self._environment
            )
        except JetsonError as error:
            return REFUSED, error.message
        unknown = next((notice.text for notice in planned.notices if notice.text.startswith("unknown option")), "")
        return (DIFFERS, unknown) if unknown else (ACCEPTED, "")

    def _installed(self, arguments: tuple[str, ...]) -> tuple[str, str]:
        known = (ROOT / "install.sh").read_text(encoding="utf-8")
        unknown = [word for word in arguments if word.startswith("-") and word.partition("=")[0] not in known]
        return (REFUSED, f"install.sh has no option `{unknown[0]}`") if unknown else (ACCEPTED, "")


def _parsed(argv: list[str]) -> tuple[str, str]:
    """A command that would change something is parsed, and not run."""
    import click

    from jetson_containers.cli.app import App
    from jetson_containers.cli.main import cli

    try:
        if not argv or argv[0].startswith("-"):
            cli.make_context("jetson-containers", list(argv))
            return ACCEPTED, ""
        context = click.Context(cli, obj=App())
        name, found, words = cli.resolve_command(context, list(argv))
        if found is not None:
            found.make_context(name, words, parent=context)
    except click.exceptions.Exit:
        return ACCEPTED, ""
    except click.ClickException as error:
        return REFUSED, error.format_message()
    return ACCEPTED, ""


def _share_catalogs() -> None:
    """Load each tree once for all lines, instead of once for each."""
    from jetson_containers.cli.app import App

    load = App.catalog_for
    kept: dict[Any, Any] = {}

    def catalog_for(app: App, platform: Any) -> Any:
        key = (tuple(map(str, app.settings.package_trees)), platform)
        if key not in kept:
            kept[key] = load(app, platform)
        return kept[key]

    setattr(App, "catalog_for", catalog_for)  # noqa: B010 - a method is put into the place of another


# The report ---------------------------------------------------------------------------------------------------------


def report(judgments: Sequence[Judgment], target: str) -> str:
    """The counts by command and the reasons, as Markdown."""
    commands = sorted({one.line.command or "(none)" for one in judgments})
    counts = Counter((one.line.command or "(none)", one.kind) for one in judgments)
    rows = ["| command | lines | " + " | ".join(CLASSES) + " |", "| --- |" + " ---: |" * (len(CLASSES) + 1)]
    for command in commands:
        numbers = [counts[command, kind] for kind in CLASSES]
        rows.append(f"| {command} | {sum(numbers)} | " + " | ".join(map(str, numbers)) + " |")
    sums = [sum(counts[command, kind] for command in commands) for kind in CLASSES]
    rows.append(f"| all | {sum(sums)} | " + " | ".join(map(str, sums)) + " |")
    reasons: dict[tuple[str, str], list[Judgment]] = {}
    for one in judgments:
        if one.kind in {DIFFERS, REFUSED}:
            reasons.setdefault((one.kind, _general(one.reason)), []).append(one)
    rows += ["", f"What differs or is refused on {target}, each reason with a line that has it:", ""]
    rows += ["| lines | class | reason | for instance |", "| ---: | --- | --- | --- |"]
    for (kind, _), ones in sorted(reasons.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1])):
        first = min(ones, key=lambda one: (len(one.line.text), one.line.text))
        rows.append(f"| {len(ones)} | {kind} | {_cell(first.reason)} | `{_cell(first.line.text)[:110]}` |")
    return "\n".join(rows)


def _general(reason: str) -> str:
    """A reason without the names in it."""
    text = re.sub(r"`[^`]*`|\$[A-Z_]+", "`…`", reason)
    return re.sub(r"no image of [^()]* (can run|is known)", r"no image of … \1", text)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the lines and print or write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checkout", type=Path, help="a checkout of upstream's repository")
    parser.add_argument("--target", default=TARGET, help=f"platform to judge for, default {TARGET}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every line with its class and reason")
    parser.add_argument("--write", action="store_true", help=f"put the result into {PAGE.relative_to(ROOT)}")
    given = parser.parse_args(arguments)
    if not (given.checkout / "packages").is_dir():
        parser.error(f"{given.checkout} has no `packages`: name a checkout of upstream's repository")
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(given.checkout.resolve(), given.target, Path(folder))
        judgments = [judge.judge(line) for line in documented(given.checkout)]
    text = report(judgments, given.target)
    if given.json:
        rows = [
            {"line": one.line.text, "command": one.line.command, "class": one.kind, "reason": one.reason}
            for one in judgments
        ]
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if given.write:
        page = PAGE.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
