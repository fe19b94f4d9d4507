"""The commit of a checkout, read without git."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.git import revision

if TYPE_CHECKING:
    from pathlib import Path


def test_revision_is_read_from_the_checkout(tmp_path: Path) -> None:
    """Revision is read from the checkout."""
    assert revision(tmp_path) == ""
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert revision(tmp_path) == ""
    (git / "packed-refs").write_text("# pack-refs\n" + "b" * 40 + " refs/heads/main\n")
    assert revision(tmp_path) == "b" * 40
    (git / "refs" / "heads" / "main").write_text("a" * 40 + "\n")
    assert revision(tmp_path) == "a" * 40
    (git / "HEAD").write_text("c" * 40 + "\n")
    assert revision(tmp_path) == "c" * 40


def test_revision_of_a_linked_worktree_has_its_own_head_and_the_repositorys_branches(tmp_path: Path) -> None:
    """Revision of a linked worktree has its own head and the repositorys branches."""
    linked, git = tmp_path / "linked", tmp_path / "main" / ".git"
    own = git / "worktrees" / "linked"
    for folder in (linked, own, git / "refs" / "heads"):
        folder.mkdir(parents=True)
    (linked / ".git").write_text(f"gitdir: {own}\n")
    (own / "HEAD").write_text("ref: refs/heads/mine\n")
    (own / "commondir").write_text("../..\n")
    (git / "refs" / "heads" / "mine").write_text("d" * 40 + "\n")
    assert revision(linked) == "d" * 40


def test_revision_of_a_submodule_names_its_state_by_a_relative_path(tmp_path: Path) -> None:
    """Revision of a submodule names its state by a relative path."""
    (tmp_path / "state").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / ".git").write_text("gitdir: ../state\n")
    (tmp_path / "state" / "HEAD").write_text("e" * 40 + "\n")
    assert revision(tmp_path / "sub") == "e" * 40
