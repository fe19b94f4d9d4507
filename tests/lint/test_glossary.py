"""The glossary: each term once, linked from the pages that introduce the project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def terms() -> list[str]:
    text = (ROOT / "docs/glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| .+ \|$", text, re.MULTILINE)
    return [row for row in rows if row != "term"]


def test_glossary_has_each_term_once() -> None:
    """A word has one meaning."""
    assert len(terms()) >= 40
    assert len(terms()) == len(set(terms()))


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/design.md"])
def test_glossary_is_linked(page: str) -> None:
    """The pages that introduce the project link the glossary."""
    assert re.search(r"\]\((docs/)?glossary\.md\)", (ROOT / page).read_text(encoding="utf-8"))
