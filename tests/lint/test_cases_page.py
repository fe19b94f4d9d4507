"""docs/cases.md: every case is there once, in order, and the tests that it names exist."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.lint.sources import parsed
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from pathlib import Path

PAGE = ROOT_DIR / "docs" / "cases.md"
HEAD = ["case", "brought", "now", "tests"]
NAME = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")

# The cases of each section. What a report found right from the beginning has its row too.
SECTIONS: dict[str, list[str]] = {
    "Upstream's own tree": ["F1"],
}


class Row(NamedTuple):
    """One case of the page."""

    section: str
    case: str
    now: str
    tests: str


def rows(text: str) -> list[Row]:
    """The rows of all tables with the head of a table of cases."""
    found, section, inside = [], "", False
    for line in text.splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells == HEAD:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(line) <= set("|-: "):
            assert len(cells) == len(HEAD), f"{line}: a row has {len(HEAD)} cells"
            found.append(Row(section, cells[0], cells[2], cells[3]))
    return found


def functions_of(path: Path) -> set[str]:
    """The names of a file's test functions, those of its classes too; none where there is no such file."""
    tree = parsed(path) if path.is_file() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def missing(tests: str) -> list[str]:
    """What a cell of tests names that is not there; a cell that names none holds a reason, of more than three words."""
    names = NAME.findall(tests)
    if not names:
        return [] if len(tests.split()) > 3 else [tests or "neither a test nor a reason"]
    unread = NAME.sub("", tests).strip()
    gone = [f"{file}::{name}" for file, name in names if name not in functions_of(ROOT_DIR / file)]
    return [*gone, *([unread] if unread else [])]


@pytest.mark.parametrize("section", SECTIONS)
def test_cases_page_has_each_case_once(section: str) -> None:
    """A section of the page has all cases of its report, each once, in their order."""
    found = [row.case for row in rows(PAGE.read_text(encoding="utf-8")) if row.section == section]
    assert found == SECTIONS[section]


def test_cases_page_has_no_other_section() -> None:
    """Each table of the page is of a report that this test knows, and no row is empty."""
    found = rows(PAGE.read_text(encoding="utf-8"))
    assert {row.section for row in found} == set(SECTIONS)
    assert [row for row in found if not row.now] == []


def test_cases_page_names_tests_that_exist() -> None:
    """Each test of the page is a function of its file; a case without one says why."""
    found = {row.case: missing(row.tests) for row in rows(PAGE.read_text(encoding="utf-8"))}
    assert {case: names for case, names in found.items() if names} == {}


def test_cases_page_check_finds_what_is_wrong() -> None:
    """A test that was renamed, a file that is gone, loose text beside a test, and a dash are found; a reason is not."""
    here = "tests/lint/test_cases_page.py"
    good = f"`{here}::test_cases_page_has_no_other_section`"
    assert missing(good) == []
    assert missing(f"{good} `{here}::test_renamed`") == [f"{here}::test_renamed"]
    assert missing("`tests/lint/test_gone.py::test_x`") == ["tests/lint/test_gone.py::test_x"]
    assert missing(f"{good} and others") == ["and others"]
    assert missing("–") == ["–"]
    assert missing("the report found it right, and nothing decides it here") == []
    table = "## A\n| case | brought | now | tests |\n| --- | --- | --- | --- |\n| 1 | `a \\| b` | c | d |\n"
    assert rows(table) == [Row("A", "1", "c", "d")]
