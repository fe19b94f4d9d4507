"""A container's label names the process that ends it, and tells one that was killed from one that lives."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from jetson_containers.engine.owner import OWNER, label, orphans, owner, owner_process, started_at

PID, START, PLACE = owner().split(".")
GONE = 2**22 + 1  # more than the kernel gives out


@pytest.mark.parametrize(
    ("whose", "process"),
    [
        (owner(), os.getpid()),
        (f"{GONE}.{START}.{PLACE}", 0),
        (f"{PID}.{int(START) + 1}.{PLACE}", 0),
        (f"{GONE}.{START}.0123456789ab", None),
        (f"x.{START}.{PLACE}", None),
        ("", None),
        ("..", None),
    ],
    ids=["lives", "gone", "another's", "elsewhere", "word", "empty", "dots"],
)
def test_owner_process_is_known_only_where_its_number_means_something(whose: str, process: int | None) -> None:
    """A process that lives, one that is gone, a number that was given to another, and labels from elsewhere."""
    assert owner_process(whose) == process


def test_owner_starts_at_a_tick_that_a_gone_process_has_not() -> None:
    """The start of a process is a number; one that is gone has none."""
    assert started_at(os.getpid()).isdigit()
    assert started_at(GONE) == ""


def test_owner_orphans_are_those_of_a_process_that_was_killed() -> None:
    """A label made by a process is that of an orphan as soon as the process is gone; ours is not."""
    program = "from jetson_containers.engine.owner import label; print(label()[1].partition('=')[2])"
    other = subprocess.check_output([sys.executable, "-c", program], text=True).strip()
    rows = [f"aaa {label()[1].partition('=')[2]}", f"bbb {other}", "ccc nonsense"]
    asked: list[tuple[str, ...]] = []

    def ask(*words: str) -> str:
        asked.append(words)
        return "\n".join(rows)

    assert orphans(ask) == ["bbb"]
    assert "--all" in asked[0]
    assert f"label={OWNER}" in asked[0]
