"""How many workers GPTQModel gets."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.driver_images import Images


@pytest.mark.parametrize(
    ("cores", "said", "expected"),
    [(1, None, "2"), (2, None, "2"), (3, None, None), (None, None, "2"), (2, "4", "4")],
    ids=["one core", "two", "three are enough", "unknown", "the user's word counts"],
)
def test_gptqmodel_has_at_least_two_workers(
    image: Images, monkeypatch: pytest.MonkeyPatch, cores: int | None, said: str | None, expected: str | None
) -> None:
    """GPTQModel has at least two workers."""
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setenv("GPTQMODEL_CPU_WORKERS", said or "")
    if said is None:
        monkeypatch.delenv("GPTQMODEL_CPU_WORKERS")
    image.driver("gptq_workers").enough()
    assert os.environ.get("GPTQMODEL_CPU_WORKERS") == expected
