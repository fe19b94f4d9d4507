"""Rules for a recipe's definition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.lint.run import lint
from tests.unit.lint.examples import CPU, GOOD_HEADER, HEADERS, recipe, write

if TYPE_CHECKING:
    from pathlib import Path

OTHERS = {
    "other": {"config.yaml": "versions:\n- {version: '1.0'}\n- {version: '1.5', default: true}\n" + GOOD_HEADER},
    "older": {"config.yaml": GOOD_HEADER + "depends: ['other<1.5']\n"},
    "newer": {"config.yaml": GOOD_HEADER + "depends: ['other>1.0']\n"},
}

pytestmark = pytest.mark.usefixtures("all_programs_are_there")


def of_header(tmp_path: Path, text: str) -> list[str]:
    for name, files in OTHERS.items():
        write(tmp_path, name, {"test.sh": "hello\n", **files})
    files = {"Dockerfile": recipe(header=text), "test.sh": "hello\n", "lock.md": "Docs.", "a.lock": "a==1"}
    write(tmp_path, "pkg", files)
    found = lint([tmp_path], ["pkg"], targets=CPU, shellcheck=False).findings
    return [item.rule for item in found]


@pytest.mark.parametrize(("rule", "bad", "_good"), HEADERS)
def test_rule_finds_a_definition_that_breaks_it(tmp_path: Path, rule: str, bad: str, _good: str) -> None:
    """A definition that breaks a rule is found."""
    assert of_header(tmp_path, bad) == [rule]


@pytest.mark.parametrize(("rule", "_bad", "good"), HEADERS)
def test_rule_leaves_a_correct_definition_alone(tmp_path: Path, rule: str, _bad: str, good: str) -> None:
    """A definition that is right is left alone."""
    assert of_header(tmp_path, good) == []
