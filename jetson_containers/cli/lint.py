"""`jetson-containers lint`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, command

if TYPE_CHECKING:
    from jetson_containers.lint.findings import LintFinding


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


@command()
@click.argument("patterns", nargs=-1, metavar="[PKG]...")
@click.option("--rules", "show_rules", is_flag=True, help="List the rules instead.")
@click.option("--no-shellcheck", is_flag=True, help="Do not run shellcheck, which takes most of the time.")
def lint(app: App, *, patterns: tuple[str, ...], show_rules: bool, no_shellcheck: bool) -> int:
    """Check recipes: pinned, checked, without hidden failures, and possible on every platform.

    Exits 1 when there is an error. `--target` checks dependencies for that platform only. A comment on the line or
    above it declines a rule: `# lint: RULE why it is right here`.

    Example: jetson-containers lint llama_cpp --json
    """
    from jetson_containers.lint import run
    from jetson_containers.platforms.target import SUPPORTED_TARGETS

    if show_rules:
        return _rules(app)
    target = app.options.get("target")
    targets = (target,) if target else SUPPORTED_TARGETS
    trees = app.package_trees
    report = run.lint(trees, patterns, targets=targets, shellcheck=not no_shellcheck)
    for notice in report.notices:
        app.console.warning(notice)
    if app.console.as_json:
        app.console.result_json([_row(item) for item in report.findings])
        return int(report.failed)
    for item in report.findings:
        app.console.result(f"{_place(item)}: {item.severity.value} {item.rule}: {item.message}")
        app.console.result(f"    → {item.remedy}")
    errors = sum(item.severity is run.LintSeverity.ERROR for item in report.findings)
    packages = _counted(report.packages, "package")
    warnings = len(report.findings) - errors
    summary = f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')} in {packages}"
    app.console.info(summary) if report.findings else app.console.ok(f"{packages}: no finding")
    return int(report.failed)


def _rules(app: App) -> int:
    from jetson_containers.lint.run import RULES

    if app.console.as_json:
        app.console.result_json(list(RULES.values()))
        return 0
    rows = [(rule.id, rule.severity.value, rule.summary) for rule in RULES.values()]
    app.console.table(("rule", "severity", "finds"), rows, to_result=True)
    return 0


def _row(item: LintFinding) -> dict[str, Any]:
    return {
        "file": str(_shown(item.file)),
        "line": item.line or None,
        "rule": item.rule,
        "severity": item.severity.value,
        "message": item.message,
        "remedy": item.remedy,
    }


def _place(item: LintFinding) -> str:
    return f"{_shown(item.file)}:{item.line}" if item.line else str(_shown(item.file))


def _shown(path: Path) -> Path:
    """The path as the user would type it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
