"""`root`, `data`, `update`: upstream's own commands, for scripts that use them."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli import checkout, main
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from pathlib import Path


def git(directory: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *words], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with one commit."""
    made = tmp_path / "source"
    made.mkdir()
    git(made, "init")
    git(made, "commit", "--allow-empty", "-m", "first")
    return made


@pytest.fixture
def clone(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone of it that takes the place of this checkout."""
    git(tmp_path, "clone", str(source), "clone")
    monkeypatch.setattr(checkout, "ROOT", tmp_path / "clone")
    return tmp_path / "clone"


def test_root_prints_the_checkout_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """`root` prints the checkout alone."""
    assert main.main(["root"]) == 0
    assert capsys.readouterr().out == f"{ROOT_DIR}\n"


def test_data_prints_an_absolute_directory_for_a_mount(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`data` prints an absolute directory for a mount."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JETSON_CONTAINERS_DATA", "mine")
    assert main.main(["data"]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/mine\n"
    assert main.main(["data", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": f"{tmp_path}/mine"}


def test_update_takes_new_commits(source: Path, clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`update` takes new commits."""
    before = git(clone, "rev-parse", "HEAD")
    git(source, "commit", "--allow-empty", "-m", "second")
    assert main.main(["update", "--json"]) == 0
    after = git(source, "rev-parse", "HEAD")
    assert json.loads(capsys.readouterr().out) == {"before": before, "after": after}
    assert git(clone, "rev-parse", "HEAD") == after
    assert main.main(["update"]) == 0
    assert "up to date" in capsys.readouterr().err


def test_update_says_where_no_branch_is_followed(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`update` says what is missing where a checkout follows no branch of another repository."""
    git(clone, "checkout", "-q", "-b", "mine")
    assert main.main(["update"]) == 4
    assert "branch mine, which follows no branch" in capsys.readouterr().err
    git(clone, "checkout", "-q", "--detach")
    assert main.main(["update"]) == 4
    said = capsys.readouterr().err
    assert "not on a branch" in said
    assert f"git -C {clone} checkout BRANCH" in said


def test_update_overwrites_no_commit_of_the_user(source: Path, clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`update` overwrites no commit of the user."""
    git(source, "commit", "--allow-empty", "-m", "theirs")
    git(clone, "commit", "--allow-empty", "-m", "mine")
    mine = git(clone, "rev-parse", "HEAD")
    assert main.main(["update"]) == 4
    assert git(clone, "rev-parse", "HEAD") == mine
    assert f"`git -C {clone} status`" in capsys.readouterr().err


def test_update_needs_a_checkout_and_a_network(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`update` needs a checkout and a network."""
    assert main.main(["update", "--offline"]) == 4
    assert "offline" in capsys.readouterr().err
    monkeypatch.setattr(checkout, "ROOT", tmp_path)
    assert main.main(["update"]) == 4
    assert "not a git checkout" in capsys.readouterr().err
