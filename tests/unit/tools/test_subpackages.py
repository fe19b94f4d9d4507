"""The table of subpackages in docs/design.md."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.paths import ROOT_DIR
from tools import subpackages

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_subpackages_table_in_the_docs_is_current() -> None:
    """docs/design.md holds the table that the docstrings give."""
    done = subprocess.run(
        [sys.executable, "tools/subpackages.py", "--check"], cwd=ROOT_DIR, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_subpackages_table_is_replaced_and_the_rest_of_the_page_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what stands between the marks changes."""
    page = tmp_path / "design.md"
    page.write_text(f"before\n\n{subpackages.BEGIN}\nthe stale table\n{subpackages.END}\n\nafter\n")
    monkeypatch.setattr(subpackages, "PAGE", page)
    assert subpackages.main(["--check"]) == 1
    assert subpackages.main([]) == 0
    text = page.read_text()
    assert text.startswith("before\n\n")
    assert text.endswith(f"{subpackages.END}\n\nafter\n")
    assert "the stale table" not in text
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == list(subpackages.ORDER)
    assert subpackages.main(["--check"]) == 0


def test_subpackages_public_modules_are_those_of_the_docstring() -> None:
    """Of `images` others import these modules."""
    assert subpackages.public("images") == ("compat", "installed", "labels", "name", "official", "space")
