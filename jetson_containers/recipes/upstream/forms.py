"""Which directories are in upstream's format, by their files alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import RecipeError
from jetson_containers.recipes import files, reader, templating, yaml_lines
from jetson_containers.recipes.tree import PYTHON_FILE
from jetson_containers.recipes.upstream import merge
from jetson_containers.recipes.upstream.data import definition, header_data

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.recipes.tree import RecipeDirectory

_BASE = re.compile(r"^[^\S\n]*FROM\s+(?:--\S+\s+)*[\"']?\$\{?BASE_IMAGE\b", re.MULTILINE | re.IGNORECASE)


def definitions(candidate: RecipeDirectory) -> dict[str, Mapping[str, Any]]:
    """The data files of a directory that are definitions, by name."""
    names = [name for name in candidate.files if name != PYTHON_FILE]
    return {name: data for name in names if (data := definition(candidate.path / name, candidate.tree)) is not None}


def has_python(candidate: RecipeDirectory) -> bool:
    """Whether there is a `config.py` that is a definition: inside a package it may be the settings of its sources."""
    if PYTHON_FILE not in candidate.files:
        return False
    if not candidate.nested or _dockerfile_text(candidate):
        return True
    try:
        text = files.read_text(candidate.path / PYTHON_FILE, tree=candidate.tree)
        return bool(re.search(r"\bpackage\b", text))
    except RecipeError:
        return False


def is_upstream(candidate: RecipeDirectory, found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether files of data alone make it upstream's: one of another name, or named definitions without templates."""
    for name, data in found.items():
        if name not in files.CONFIG_FILES or (candidate.nested and len(data) > 1):
            return True
        if merge.is_nested(data) and not _has_templates(data):
            return True
    return False


def names_elsewhere(candidate: RecipeDirectory) -> bool:
    """Whether the header's `config` names what our format has not: Python under another name, another directory."""
    text = _dockerfile_text(candidate)
    header = reader.header_text(text) if text.startswith("#") else None
    if header is None or "config:" not in header or not (".py" in header or "/" in header):
        return False
    try:
        found_data = header_data(candidate.path / _dockerfile(candidate), candidate.tree)
        named = merge.listed(found_data.get("config"))
    except RecipeError:
        return False  # ours say what is wrong with it
    return any(str(name).endswith(".py") or "/" in str(name) for name in named)


def is_theirs(candidate: RecipeDirectory, found: Mapping[str, Mapping[str, Any]], notices: list[str]) -> bool:
    """Whether a directory without a form of upstream's, in a tree of upstream's, is a package of that format.

    Inside another package a Dockerfile without a header is one if it builds on what stands below it. Upstream takes
    every Dockerfile there for a package, those of sources that a recipe brought along too.
    """
    text = _dockerfile_text(candidate)
    if not text and not found:
        return False
    header = reader.header_text(text)
    if header is None and candidate.nested and not found and not _BASE.search(text):
        file = candidate.path / _dockerfile(candidate)
        notices.append(f"{file}: does not build on `BASE_IMAGE`, so it is part of the package around it, and none")
        return False
    return not _uses_our_keys(header or "", candidate)


def is_plain(candidate: RecipeDirectory) -> bool:
    """Whether a directory with a Dockerfile says nothing about its package that upstream's format could not say."""
    text = _dockerfile_text(candidate)
    return bool(text) and not _uses_our_keys(reader.header_text(text) or "", candidate)


def is_none(candidate: RecipeDirectory) -> bool:
    """Whether a directory without a Dockerfile is not a package: its `config.yml` or the like holds no key of one.

    Such a file is something else, as the settings of a server.
    """
    if _dockerfile_text(candidate) or PYTHON_FILE in candidate.files:
        return False
    names = [name for name in candidate.files if name in files.CONFIG_FILES]
    try:
        return bool(names) and all(reader.is_foreign(candidate.path / name, candidate.tree) for name in names)
    except RecipeError:
        return False


def _uses_our_keys(header: str, candidate: RecipeDirectory) -> bool:
    """Whether header or data files are in our format; one that is broken stays ours, which says more about it."""
    try:
        data = yaml_lines.parse(header, candidate.path, native=True).data or {}
        beside = (
            reader.load(files.read_text(candidate.path / name, tree=candidate.tree), candidate.path / name).data
            for name in candidate.files
            if name in files.CONFIG_FILES
        )
        sources = [data, *(found for found in beside if not reader.has_no_key(found))]
    except RecipeError:
        return True
    keys = merge.UPSTREAM_KEYS
    return any(not isinstance(item, dict) or not item.keys() <= keys or _has_templates(item) for item in sources)


def _dockerfile(candidate: RecipeDirectory) -> str:
    return files.dockerfile_in({entry.name for entry in candidate.path.iterdir()}) or ""


def _dockerfile_text(candidate: RecipeDirectory) -> str:
    """The text of the Dockerfile; empty where there is none or it cannot be read, which its reader says."""
    try:
        name = _dockerfile(candidate)
        return files.read_text(candidate.path / name, tree=candidate.tree) if name else ""
    except (OSError, RecipeError):
        return ""


def _has_templates(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_templates, value.values()))
    if isinstance(value, list):
        return any(map(_has_templates, value))
    return isinstance(value, str) and templating.is_template(value)
