"""What workers offer and stages need."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.farm import labels
from tests.unit.builder.helpers import GIB


def test_labels_are_taken_once_each() -> None:
    """Labels keep their order and stand once."""
    assert labels.check(["r36.4", "gpu", "r36.4"], "--labels") == ("r36.4", "gpu")


@pytest.mark.parametrize("label", ["", "linux/arm64", "memory", "a b", "-x", "x" * 64, "\x1b[0m"])
def test_labels_that_cannot_be_are_refused(label: str) -> None:
    """Platforms and memory are no labels, nor is what cannot stand in a list."""
    with pytest.raises(UsageError, match=r"--labels: .* is not a label"):
        labels.check([label], "--labels")


@pytest.mark.parametrize(
    ("asked", "platform", "memory", "taken"),
    [
        ((), "linux/arm64", None, True),
        (("gpu",), "linux/arm64", 2 * GIB, True),
        (("gpu", "r35.4"), "linux/arm64", None, False),
        ((), "linux/amd64", None, False),
        ((), "linux/arm64", 9 * GIB, False),
    ],
)
def test_labels_platform_and_memory_decide_who_takes_a_stage(
    asked: tuple[str, ...], platform: str, memory: int | None, taken: bool
) -> None:
    """A worker takes a stage when it has all labels, the platform, and memory for one compile job."""
    board = labels.offered(["r36.4", "gpu"], ["linux/arm64"], 8 * GIB)
    need = labels.needed(asked, platform, memory)
    assert labels.lacking(need, [board]) is not taken
    assert labels.lacking(need, [])
