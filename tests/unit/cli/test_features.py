"""The table of features: each `yes` and `part` is shown by a command that runs, or by a test that exists."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.paths import ROOT_DIR
from tests.unit.cli.test_guide import LAUNCHERS, Line, cache, check_options, command_server, execute, shell

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["cache", "command_server", "shell"]  # the fixtures
PAGE = ROOT_DIR / "docs" / "features.md"
LATER = {*range(51, 58), 66}  # what a later issue holds
NEEDS = ("engine", "network", "board", "root")


class Row(NamedTuple):
    """A row: its number, feature, what was there at first, what is there now, and what shows it."""

    number: int
    feature: str
    first: str
    now: str
    proof: str


def rows() -> list[Row]:
    cells = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in PAGE.read_text(encoding="utf-8").splitlines()
             if re.match(r"\| [0-9]", line)]  # fmt: skip
    return [Row(int(number), feature, first, now, proof) for number, feature, first, now, proof in cells]


def commands(row: Row) -> list[tuple[str, bool]]:
    """The commands that show a row, and whether this machine has what each needs."""
    found = []
    for text, need in re.findall(r"`([^`]+)`(?: \*(\w+)\*)?", row.proof):
        words = text.split()
        program = next((word for word in words if "=" not in word and word != "sudo"), "")
        if (program in LAUNCHERS and len(words) > 1) or need:
            assert not need or need in NEEDS, f"row {row.number}: {need}"
            found.append((text.replace("\\|", "|"), not need))
    return found


def test_features_are_the_72_rows() -> None:
    """No row is missing, and each has a known value for then and now."""
    assert [row.number for row in rows()] == list(range(1, 73))
    assert {row.now for row in rows()} <= {"yes", "part", "no", "later"}
    assert Counter(row.first for row in rows()) == {"yes": 18, "part": 23, "no": 31}
    assert {row.number for row in rows() if row.now == "later"} == LATER


def test_features_with_yes_or_part_are_shown() -> None:
    """Each has a command, or a test of this repository; one with `no` says why."""
    for row in rows():
        tests = re.findall(r"tests/[\w/.]+\b", row.proof)
        assert all((ROOT_DIR / test.rstrip(".")).exists() for test in tests), f"row {row.number}: {tests}"
        if row.now in {"yes", "part"}:
            runs = [text for text, here in commands(row) if here]
            assert runs or tests or row.now == "part", f"row {row.number}: {row.proof}"
        assert len(row.proof.split()) > 1, f"row {row.number}"


@pytest.mark.long
@pytest.mark.parametrize("row", [row for row in rows() if commands(row)], ids=lambda row: f"{row.number}")
def test_features_commands_run(row: Row, shell: dict[str, str], tmp_path: Path) -> None:
    """Each command runs where this machine has what it needs; of the others the options are checked."""
    for text, here in commands(row):
        if here:
            execute(text, shell, tmp_path)
        else:
            plain = text.removeprefix("sudo ")
            line = Line(page="docs/features.md", needs=frozenset({"engine"}), text=plain)
            if line.program in LAUNCHERS:
                check_options(line)


def test_dev_container_has_the_checkout_where_the_engine_finds_it() -> None:
    """The workspace has the path of the host, and the Dockerfile that is named is there."""
    folder = ROOT_DIR / ".devcontainer"
    made = json.loads((folder / "devcontainer.json").read_text(encoding="utf-8"))
    assert (folder / made["build"]["dockerfile"]).is_file()
    assert "target=${localWorkspaceFolder}" in made["workspaceMount"]
    assert made["workspaceFolder"] == "${localWorkspaceFolder}"
    assert made["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"].startswith(
        made["containerEnv"]["JETSON_CONTAINERS_VENV"]
    )
