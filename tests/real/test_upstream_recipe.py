"""Recipes written for upstream's base stages are built on ours, by the public command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import mirrors
from tests.unit.cli.test_checkout import git

if TYPE_CHECKING:
    from jetson_containers.engine.interface import Engine

ROOT = Path(__file__).resolve().parents[2]
TREE = Path(__file__).parent / "third_party"
HOST = "https://toolbelt.invalid/"  # what the recipes clone from; no such host exists

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(1500)]


def test_upstream_recipe_finds_what_it_calls(engine: Engine, tmp_path: Path) -> None:
    """uv, git, wget, curl, gcc, tarpack and the variables are there, and the clone is answered by a mirror."""
    parts = tmp_path / "repositories" / "team" / "parts"
    parts.mkdir(parents=True)
    (parts / "README").write_text("parts\n")
    git(parts, "init")
    git(parts, "add", ".")
    git(parts, "commit", "-m", "first")
    (tmp_path / "repositories" / "team" / "parts.git").symlink_to(parts / ".git")
    argv = [sys.executable, "tools/upstream_builds.py", str(TREE), "toolbelt", "--verbose"]
    argv += ["--repositories", str(tmp_path / "repositories"), "--clones-from", HOST]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-6000:]
    assert "1 of 1 built" in done.stdout
    image = _image(engine)
    config = json.loads(subprocess.check_output(["docker", "inspect", "--format", "{{json .Config.Env}}", image]))
    names = {entry.partition("=")[0] for entry in config}
    assert {"PIP_WHEEL_DIR", "WGET_FLAGS"} <= names
    assert not names & {"PIP_INDEX_URL", "UV_DEFAULT_INDEX", "TWINE_PASSWORD", *mirrors.git_variables({HOST: HOST})}


def _image(engine: Engine) -> str:
    """The newest image of the recipe."""
    references = [name for image in engine.images() for name in image.references if name.startswith("toolbelt:")]
    return references[0]
