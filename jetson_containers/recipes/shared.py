"""Files that several recipes use: they stand once, in `shared/` of their tree, beside its groups.

A recipe names them with `share: [git/fetch.sh]`, files or directories. Every builder then finds them in the build
context below `.jetson/shared/`, for `COPY .jetson/shared/git/fetch.sh /tmp/`; a test of that path runs as well.
`python:jetson_containers/hub/transfer` is a part of this program itself, under that path.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from jetson_containers.core.errors import RecipeError, RequirementSyntaxError
from jetson_containers.core.settings import ROOT
from jetson_containers.core.text import shown
from jetson_containers.recipes import files

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "shared"  # of a tree
PLACE = ".jetson/shared"  # in a build context, where no file of a recipe's own counts
PROGRAM = "python:"  # begins an entry that names a part of this program
UNSEEN = frozenset({".git", ".hg", ".svn", "__pycache__", ".DS_Store", ".jetson"})  # never part of a build
_MOST_FILES = 1000  # of one recipe
_PATH = re.compile(r"(?!\.)[\w.+-]+(?:/(?!\.)[\w.+-]+)*", re.ASCII)
_OF_THE_PROGRAM = "jetson_containers"


class Sharing(Protocol):
    """What is asked of a package here."""

    @property
    def name(self) -> str:
        """Its full name."""

    @property
    def path(self) -> Path:
        """Its directory."""

    @property
    def tree(self) -> Path | None:
        """What it belongs to; its own directory if None."""

    @property
    def share(self) -> tuple[str, ...]:
        """Its entries, as written."""


@dataclass(frozen=True, kw_only=True)
class SharedEntry:
    """One entry of `share`: `path` is a file or directory that stands under `name` in a build context."""

    written: str
    name: str
    path: Path
    tree: Path  # what no file of it may lie outside of


def check(text: str) -> None:
    """Raise RequirementSyntaxError for a text that is not an entry of `share`."""
    path = text.removeprefix(PROGRAM)
    if not _PATH.fullmatch(path):
        raise RequirementSyntaxError(f"`{shown(text)}` must be a path below `{FOLDER}/` of the tree")
    if path != text and path.partition("/")[0] != _OF_THE_PROGRAM:
        raise RequirementSyntaxError(f"`{shown(text)}` must begin with `{PROGRAM}{_OF_THE_PROGRAM}/`")


def entries_of(package: Sharing) -> list[SharedEntry]:
    """What a package shares, whether it is there or not."""
    found = []
    for written in package.share:
        path = written.removeprefix(PROGRAM)
        tree = ROOT / _OF_THE_PROGRAM if path != written else package.tree or package.path
        file = ROOT / path if path != written else tree / FOLDER / path
        found.append(SharedEntry(written=written, name=f"{PLACE}/{path}", path=file, tree=tree))
    return found


def files_of(package: Sharing) -> dict[str, Path]:
    """Every file that a package shares, by its path in a build context.

    Raises RecipeError for one that is not there, is not a regular file, is too large or leads out of its directory.
    """
    found: dict[str, Path] = {}
    for entry in entries_of(package):
        try:
            found.update(_files(entry))
        except OSError as error:
            raise RecipeError(f"cannot be read: {error.strerror}", path=entry.path) from None
        if len(found) > _MOST_FILES:
            raise RecipeError(f"`share` of `{package.name}` names more than {_MOST_FILES} files", path=package.path)
    return dict(sorted(found.items()))


def missing(entry: SharedEntry) -> bool:
    """Whether an entry names nothing."""
    return not (files.is_file(entry.path) or files.is_directory(entry.path))


def script(package: Sharing, entry: str) -> Path:
    """The file that a test starts: one of the recipe, or one that it shares."""
    program = PurePosixPath(files.program(entry) or ".")
    for item in entries_of(package):
        if program.is_relative_to(item.name):
            return item.path / program.relative_to(item.name)
    return package.path / program


def _files(entry: SharedEntry) -> Iterator[tuple[str, Path]]:
    if missing(entry):
        raise RecipeError(f"`share` names `{entry.written}`, which is not there", path=entry.path)
    files.check_inside(entry.path, entry.tree)
    if files.is_file(entry.path):
        files.check_regular(entry.path)
        yield entry.name, entry.path
        return
    for folder, directories, names in os.walk(entry.path):
        directories[:] = sorted(name for name in directories if name not in UNSEEN)
        for name in [*names, *(name for name in directories if Path(folder, name).is_symlink())]:
            path = Path(folder, name)
            if name not in UNSEEN and not name.endswith(".pyc"):
                files.check_inside(path, entry.tree)
                files.check_regular(path)
                yield f"{entry.name}/{path.relative_to(entry.path).as_posix()}", path
