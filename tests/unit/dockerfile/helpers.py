"""What tests of dockerfile share: helpers and examples."""

from __future__ import annotations

from tests.paths import UNIT_DIR

GOLDEN = UNIT_DIR / "golden" / "dockerfile"


def case(name: str) -> str:
    return (GOLDEN / name / "Dockerfile").read_text(encoding="utf-8")
