"""Tags of git repositories: which are of the same form, and which is newer."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from jetson_containers.updates.index import UnknownError
from jetson_containers.updates.tags import is_newer, newest_like, remote_tags

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("tag", "tags", "newest"),
    [
        ("v1.9", ["v1.2", "v1.10", "v2.0-rc1", "nightly", "1.99"], "v1.10"),
        ("b9016", ["b999", "b10000"], "b10000"),
        ("1.0", ["1.0.0"], "1.0.0"),
        ("main", ["v1"], None),
        ("", ["v1"], None),
        ("v1.2-rc1", ["v1.3"], None),
    ],
)
def test_newest_like_compares_tags_of_one_form(tag: str, tags: list[str], newest: str | None) -> None:
    """Numbers are compared as numbers, and only between tags that are spelled alike."""
    assert newest_like(tag, tags) == newest


def test_is_newer_takes_spellings_of_a_version_as_one() -> None:
    """`1.0` and `1.0.0` are the same version."""
    assert not is_newer("1.0.0", "1.0")
    assert is_newer("v1.10", "v1.9")
    assert not is_newer("main", "v1")


def test_remote_tags_reads_a_repository(tmp_path: Path) -> None:
    """The tags of a repository are listed, without what annotated ones point to."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    for words in (["tag", "v1.0"], ["tag", "-a", "-m", "two", "v2.0"]):
        subprocess.run([*git, *words], check=True)
    assert remote_tags(tmp_path.as_uri(), 30, {}, protocols="file") == ("v1.0", "v2.0")


def test_remote_tags_runs_no_program_that_an_address_names(tmp_path: Path) -> None:
    """A recipe of somebody else cannot run a command by the address of its repository."""
    proof = tmp_path / "ran"
    for address in (f"ext::touch {proof}", f"--upload-pack=touch {proof}", tmp_path.as_uri()):
        with pytest.raises(UnknownError, match="cannot be reached"):
            remote_tags(address, 30, {})
    assert not proof.exists()
