"""Rules about files that several recipes share: they are there, and something takes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import RecipeError
from jetson_containers.lint.findings import finding
from jetson_containers.lint.rules_definition import at
from jetson_containers.plan import keys
from jetson_containers.recipes import files, shared
from jetson_containers.recipes.tree import scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jetson_containers.lint.files import Folder, Text
    from jetson_containers.lint.findings import LintFinding
    from jetson_containers.recipes.package import Package


def shared_of(packages: Iterable[Package]) -> dict[str, Path]:
    """The files that the packages of one directory share, without those that `missing` reports."""
    found: dict[str, Path] = {}
    for package in packages:
        try:
            found.update(shared.files_of(package))
        except RecipeError:
            continue
    return found


def missing(packages: Iterable[Package]) -> Iterator[LintFinding]:
    """Entries of `share` that name nothing that can be shared."""
    for package in packages:
        try:
            shared.files_of(package)
        except RecipeError as error:
            yield at("share-missing", package, f"`{package.name}`: {error.message}")


def unused(packages: Sequence[Package], texts: Sequence[Text], folder: Folder) -> Iterator[LintFinding]:
    """Entries of `share` that no Dockerfile of the directory copies and no test is or names."""
    tests = {test for package in packages for test in package.test}
    scripts = [folder.file(files.program(test)) for test in tests]
    said = [*tests, *(folder.files.text(path) for path in scripts if files.is_file(path))]
    seen: set[str] = set()
    for package in packages:
        for entry in shared.entries_of(package):
            taken = any(keys.takes(text.text, text.path, entry.name) for text in texts)
            named = any(entry.name in text or entry.name.removeprefix(f"{shared.PLACE}/") in text for text in said)
            if not taken and not named and entry.written not in seen:
                seen.add(entry.written)
                yield at("share-unused", package, f"`{package.family}` shares `{entry.written}` and takes it nowhere")


def unused_in_trees(trees: Sequence[Path], packages: Sequence[Package]) -> Iterator[LintFinding]:
    """Files in the shared directory of a tree that none of its recipes names."""
    used = set(shared_of(packages).values())
    for tree in trees:
        root = Path(tree).expanduser().absolute()
        if not any(path.is_relative_to(root / shared.FOLDER) for path in used):
            continue  # a group of packages may have that name
        defined = {candidate.path for candidate in scan([root])}
        for path in sorted((root / shared.FOLDER).rglob("*")):
            seen = shared.UNSEEN.isdisjoint(path.parts) and path.suffix != ".pyc"
            if seen and path.is_file() and path not in used and defined.isdisjoint(path.parents):
                yield finding("share-unused", path, 0, f"no recipe of {root} shares `{path.name}`")
