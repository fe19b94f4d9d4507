"""Rules for the instructions of a Dockerfile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.lint.run import lint
from tests.unit.lint.examples import INSTRUCTIONS, of_dockerfile, recipe, write

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("all_programs_are_there")


@pytest.mark.parametrize(("rule", "bad", "_good"), INSTRUCTIONS, ids=lambda text: text[:40])
def test_rule_finds_an_instruction_that_breaks_it(tmp_path: Path, rule: str, bad: str, _good: str) -> None:
    """An instruction that breaks a rule is found."""
    assert rule in of_dockerfile(tmp_path, recipe(bad))


@pytest.mark.parametrize(("rule", "_bad", "good"), INSTRUCTIONS, ids=lambda text: text[:40])
def test_rule_leaves_a_correct_instruction_alone(tmp_path: Path, rule: str, _bad: str, good: str) -> None:
    """An instruction that does it right is left alone."""
    assert of_dockerfile(tmp_path, recipe(good)) == []


def test_dockerfile_that_cannot_be_read_is_one_finding(tmp_path: Path) -> None:
    """A Dockerfile that cannot be read is one finding."""
    write(tmp_path, "pkg", {"Dockerfile": recipe("UNKNOWN x\n"), "test.sh": "hello\n"})
    [broken] = lint([tmp_path], targets=("cpu", "r36.4.3"), shellcheck=False).findings
    assert (broken.rule, "UNKNOWN" in broken.message) == ("recipe-broken", True)
