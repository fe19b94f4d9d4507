"""Rules for the commands of a Dockerfile, each with a bad and a good example."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.lint.examples import RUNS, of_dockerfile, recipe

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("all_programs_are_there")


@pytest.mark.parametrize(("rule", "bad", "_good"), RUNS, ids=lambda text: text[:40])
def test_rule_finds_a_run_that_breaks_it(tmp_path: Path, rule: str, bad: str, _good: str) -> None:
    """A RUN that breaks a rule is found."""
    assert rule in of_dockerfile(tmp_path, recipe(f"RUN {bad}\n"))


@pytest.mark.parametrize(("rule", "_bad", "good"), RUNS, ids=lambda text: text[:40])
def test_rule_leaves_a_correct_run_alone(tmp_path: Path, rule: str, _bad: str, good: str) -> None:
    """A RUN that does it right is left alone."""
    assert of_dockerfile(tmp_path, recipe(f"RUN {good}\n")) == []
