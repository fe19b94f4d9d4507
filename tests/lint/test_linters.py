"""The linters are tests, so that `./test.sh` is everything CI checks."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["codespell_lib", "jetson_containers", "tests", "packages", "docs", "README.md", "CONTRIBUTING.md", "scripts"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
@pytest.mark.timeout(900)  # mypy without a cache, on a machine that does other things too
def test_linter_finds_nothing(command: list[str]) -> None:
    """Each linter finds nothing."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_shell_scripts_pass_shellcheck() -> None:
    """Shell scripts pass shellcheck."""
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    # `tests/unit/packages/test_recipes.py` checks those of the recipes, each by itself.
    scripts = tracked("*.sh", "autotag", "jetson-containers", ".ci/run", ":!packages")
    done = subprocess.run(["shellcheck", "-x", *scripts], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_files_have_no_carriage_returns() -> None:
    """No file has carriage returns."""
    texts = [name for name in tracked() if not name.endswith((".png", ".gguf"))]
    guilty = [name for name in texts if b"\r\n" in (ROOT / name).read_bytes()[:200_000]]
    assert guilty == []


def test_launchers_are_short() -> None:
    """Launchers are short."""
    for name in ("build.sh", "run.sh", "autotag", "jetson-containers"):
        assert len((ROOT / name).read_text().splitlines()) <= 25
