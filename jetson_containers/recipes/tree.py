"""Which directories of a package tree may hold a package, in an order that does not depend on the file system.

A tree is searched at any depth (`packages/<group>/<name>/`). Below a package lies its build context, where only a
Dockerfile with a header makes another package.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import ConfigError, RecipeError, command
from jetson_containers.core.settings import ROOT
from jetson_containers.recipes.files import CONFIG_FILES, LARGEST, dockerfile_in, is_inside, read_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

PYTHON_FILE = "config.py"


@dataclass(frozen=True, kw_only=True)
class RecipeDirectory:
    """A directory that may hold a package. `stamp` changes when a definition in it does."""

    path: Path
    group: str
    nested: bool  # inside another package's directory
    stamp: str
    files: tuple[str, ...] = ()  # files that may define packages, other than Dockerfiles, by name
    tree: Path = Path("/")  # what the package belongs to; none of its files may lie outside


def scan(trees: Sequence[Path]) -> list[RecipeDirectory]:
    """List the candidates of all trees, tree by tree, each sorted by path. Raises ConfigError for a missing tree."""
    result: dict[Path, RecipeDirectory] = {}
    for tree in trees:
        root = Path(tree).expanduser().absolute()
        if not root.is_dir():
            raise ConfigError(
                f"package tree `{tree}` is not a directory",
                hint="`--packages` replaces the built-in tree, `--package-dirs` adds directories",
            )
        for candidate in _walk(root, root, group="", nested=True, is_root=True):
            result.setdefault(candidate.path, candidate)
    return list(result.values())


def directory_hint(name: str) -> str | None:
    """What may be meant by a word that is not a package but a directory here; None where it is none, or of our tree."""
    if not name.strip(".") or not os.path.isdir(name):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        return None
    if Path(name).resolve().is_relative_to(ROOT / "packages"):
        return None
    option = command(f"--package-dirs={name}")
    return f"`{name}` is a directory here: {option}, without a space after `=`, reads packages from it"


def fingerprint(candidates: Iterable[RecipeDirectory]) -> str:
    """One text about the definitions of all candidates: path, size and times of each file."""
    return "\0".join(f"{candidate.path}\0{candidate.stamp}" for candidate in candidates)


def content(candidates: Iterable[RecipeDirectory]) -> str:
    """One digest over the bytes of all definitions and the names beside them; it outlives copies and checkouts."""
    import hashlib  # at most commands no content is compared

    digest = hashlib.sha256()
    for candidate in candidates:
        digest.update(f"{candidate.path}\0".encode(errors="surrogateescape"))
        try:
            names = sorted(os.listdir(candidate.path))  # noqa: PTH208 - only the names, of many directories
        except OSError:
            continue
        for name in names:
            digest.update(f"{name}\0".encode(errors="surrogateescape"))
            if _is_read(name):
                digest.update(file_digest(candidate.path / name).encode())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """A digest of a file's bytes, or of the names in a directory; `-` for what cannot be read.

    Of a file that is larger than any definition only size and times count.
    """
    import hashlib

    try:
        status = path.stat()
        if path.is_dir():
            data = "\0".join(sorted(os.listdir(path))).encode(errors="surrogateescape")  # noqa: PTH208
        elif status.st_size > LARGEST:
            data = f"{status.st_size} {status.st_mtime_ns}".encode()
        else:
            data = read_bytes(path)
    except (OSError, ValueError, RecipeError):
        return "-"
    return hashlib.sha256(data).hexdigest()


def _is_read(name: str) -> bool:
    """Whether a file may be part of a definition."""
    return name.lower().startswith("dockerfile") or name.endswith((".yaml", ".yml", ".json", ".py"))


def _walk(directory: Path, tree: Path, *, group: str, nested: bool, is_root: bool = False) -> Iterator[RecipeDirectory]:
    try:
        with os.scandir(directory) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
        # The reader fails on it again and says so: an unreadable directory is a broken recipe, not an empty one.
        yield RecipeDirectory(path=directory, group=group, nested=False, stamp="unreadable", tree=tree)
        return
    names = {entry.name for entry in entries}
    defines = dockerfile_in(names) is not None or any(name in names for name in (*CONFIG_FILES, PYTHON_FILE))
    files = tuple(entry.name for entry in entries if _may_define(entry.name))
    if defines or files:
        yield RecipeDirectory(path=directory, group=group, nested=nested, stamp=_stamp(entries), files=files, tree=tree)
    inside = (defines or nested) and not is_root
    above = "" if is_root else directory.name
    for entry in entries:
        if not _is_searched(entry):
            continue
        path = directory / entry.name
        if not entry.is_symlink() or is_inside(path, tree):
            yield from _walk(path, tree, group=above, nested=inside)
        elif not inside:  # the reader says so; within a package it is part of what the package is made of
            yield RecipeDirectory(path=path, group=above, nested=False, stamp=os.path.realpath(path), tree=tree)


def _may_define(name: str) -> bool:
    """Whether a file may be a definition: by its name alone, for upstream reads any YAML and JSON."""
    return name == PYTHON_FILE or (name.endswith((".yaml", ".yml", ".json")) and not name.startswith("."))


def _is_searched(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith((".", "__")) or entry.name == "node_modules" or not entry.is_dir():
        return False
    if not entry.is_symlink():
        return True
    target = os.path.realpath(entry.path)
    here = os.path.realpath(os.path.dirname(entry.path))  # noqa: PTH120 - a str of a DirEntry, in a hot loop
    return os.path.commonpath([target, here]) != target  # a link to a directory above never ends


def _stamp(entries: Iterable[os.DirEntry[str]]) -> str:
    """Names of all files, because recipes name some of them, and size and times of those that are read."""
    parts = []
    for entry in entries:
        name = entry.name
        if _is_read(name):
            try:
                stat = entry.stat()
            except OSError:
                parts.append(f"{name}:?")
                continue
            # The time of the change too: `mv`, `cp -p` and `touch -r` bring their own time of modification.
            parts.append(f"{name}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}")
        else:
            parts.append(name)
    return "\n".join(parts)
