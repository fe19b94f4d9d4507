"""`completion` and `man`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jetson_containers.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_completion_prints_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    """The script is the only thing on stdout; an unknown shell is refused."""
    assert main(["completion", "zsh"]) == 0
    assert capsys.readouterr().out.startswith("#compdef jetson-containers")
    assert main(["completion", "tcsh"]) == 2


def test_man_writes_a_page_per_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The directory is made, and the pages are listed."""
    assert main(["man", "--output", str(tmp_path / "man1"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert {path.stem for path in (tmp_path / "man1").iterdir()} == set(said["pages"])
