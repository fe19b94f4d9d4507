"""What git knows about a checkout, read from its files: git itself need not be installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def revision(root: Path) -> str:
    """Git commit of the tree at `root` (40 hex digits), or `""` when it is not a checkout."""
    try:
        git = _git_directory(root / ".git")
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        common = git / "commondir"  # a linked worktree has its own HEAD and the branches of the repository
        shared = git / common.read_text(encoding="utf-8").strip() if common.is_file() else git
        if (shared / name).is_file():
            return (shared / name).read_text(encoding="ascii").strip()
        packed = (shared / "packed-refs").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ""
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")


def _git_directory(dot: Path) -> Path:
    """Where git keeps the state of a checkout: `.git`, or what it names in a linked worktree and a submodule."""
    if not dot.is_file():
        return dot
    return dot.parent / dot.read_text(encoding="utf-8").removeprefix("gitdir: ").strip()
