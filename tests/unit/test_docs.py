"""Generated and hand-written docs agree with the program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_cli_reference_is_current() -> None:
    done = subprocess.run([sys.executable, "tools/cli_reference.py", "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "run .venv/bin/python tools/cli_reference.py"


def test_links_and_files_named_in_the_docs_exist() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_readme_names_the_two_commands_first() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = re.findall(r"^\./\S+\.sh$", readme, flags=re.MULTILINE)
    assert commands[:2] == ["./quickstart.sh", "./test.sh"]


def test_requirements_are_the_ones_of_pyproject() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dependencies = { file = ["requirements.txt"] }' in pyproject
    assert 'dev = { file = ["requirements-dev.txt"] }' in pyproject


def test_data_has_the_folders_users_know_and_their_contents_are_never_tracked() -> None:
    listed = subprocess.run(["git", "ls-files", "data"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {"models", "datasets", "prompts", "images", "logs", "benchmarks"}
    assert {f"data/{name}/.gitkeep" for name in folders} <= set(listed.split())
    ignored = subprocess.run(
        ["git", "check-ignore", "data/models/x/model.safetensors", "data/logs/a.txt"], cwd=ROOT, check=False
    )
    assert ignored.returncode == 0
