"""The files of a new package."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli.main import main
from jetson_containers.core.errors import UsageError
from jetson_containers.lint import run
from jetson_containers.platforms.target import SUPPORTED_TARGETS
from jetson_containers.recipes import scaffold
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", sorted(scaffold.KINDS))
def test_new_package_has_no_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """What is made lints without a word on every platform, and its stages can be planned."""
    assert main(["new", "my-tool", "--kind", kind, "--directory", str(tmp_path)]) == 0
    report = run.lint((ROOT_DIR / "packages", tmp_path), ["my-tool"], targets=SUPPORTED_TARGETS, shellcheck=True)
    assert [(item.rule, item.message) for item in report.findings] == []
    capsys.readouterr()
    assert main(["build", "--dry-run", "--target", "r36.4.3", "--package-dirs", str(tmp_path), "my-tool"]) == 0
    assert "my-tool" in capsys.readouterr().out


def test_files_pin_what_is_named() -> None:
    """Another wheel begins with an unfilled lock; another apt package takes the place of the example."""
    made = scaffold.files("dims", "pip", "einops==0.8.1")
    assert made["dims.lock"] == "einops==0.8.1\n"
    assert 'assert version("einops") == "0.8.1"' in made["test.py"]
    assert "--no-install-recommends ffmpeg " in scaffold.files("film", "apt", "ffmpeg")["Dockerfile"]


@pytest.mark.parametrize(
    ("name", "kind", "of"),
    [("My Tool", "pip", ""), ("../x", "apt", ""), ("x", "pip", "einops>=1"), ("x", "apt", "a b"), ("x", "node", "y")],
)
def test_files_refuse_what_cannot_be_a_package(name: str, kind: str, of: str) -> None:
    """Names and requirements are checked before anything is written."""
    with pytest.raises(UsageError):
        scaffold.files(name, kind, of)


def test_new_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a directory that is there nor a package of the catalog."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes").write_text("")
    assert main(["new", "mine", "--directory", str(tmp_path)]) == 2
    assert main(["new", "llama_cpp", "--directory", str(tmp_path)]) == 2
    assert not (tmp_path / "llama_cpp").exists()
