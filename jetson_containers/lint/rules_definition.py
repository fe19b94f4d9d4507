"""Rules about definitions: where sources come from, license, docs, tests, arguments, size of the context."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jetson_containers.core.console import human_bytes
from jetson_containers.core.text import is_number
from jetson_containers.dockerfile import inject
from jetson_containers.lint.findings import finding
from jetson_containers.recipes import locks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.lint.files import Folder
    from jetson_containers.lint.findings import LintFinding
    from jetson_containers.recipes.package import Package

LARGE_CONTEXT = 5_000_000  # bytes: a context is read for its key, and sent to the engine, before every build

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_PROVEN = ("sha256", "sha512", "checksums", "lock")  # what pins an archive, a wheel or a Python package


def check(package: Package, folder: Folder) -> Iterator[LintFinding]:
    """All rules for one package; `folder` is its directory."""
    yield from _source(package, folder)
    yield from _description(package, folder)
    yield from _arguments(package, folder)


def check_folder(folder: Folder, package: Package) -> Iterator[LintFinding]:
    """Rules about a directory as a whole."""
    size = sum(path.stat().st_size for path in folder.listing)
    if size > LARGE_CONTEXT:
        largest = max(folder.listing, key=lambda path: path.stat().st_size)
        message = f"the build context has {human_bytes(size)}; the largest file is {largest.relative_to(folder.path)}"
        yield at("context-size", package, message)


def at(rule: str, package: Package, message: str, remedy: str = "") -> LintFinding:
    """A finding about a package, at the line of its definition."""
    name, _, line = package.origin.rpartition(":")
    known = bool(name) and is_number(line)
    file = package.path / name.rpartition("/")[2] if known else package.path
    return finding(rule, file, int(line) if known else 0, message, remedy=remedy)


def _source(package: Package, folder: Folder) -> Iterator[LintFinding]:
    if package.dockerfile is None:
        return
    if not package.source:
        yield at("source-missing", package, f"`{package.name}` has no `source`")
        return
    for problem in _problems(package.source, folder):
        yield at("source-unpinned", package, f"`{package.name}`: {problem}")
    if problem := locks.stale(package):
        yield at("lock-stale", package, f"`{package.name}`: {problem}")


def _problems(source: Any, folder: Folder) -> Iterator[str]:
    proven = any(source.get(key) for key in _PROVEN)
    moving = not _COMMIT.fullmatch(str(source.get("commit", ""))) and not source.get("sha256")
    if moving and (source.get("git") or source.get("repository")):
        yield "git without a full `commit`: tags and short names can come to mean something else"
    for key in ("url", "archive", "wheel", "wheels"):
        if source.get(key) and not proven:
            yield f"`{key}` without `sha256`, `checksums` or `lock`"
    if source.get("python") and not proven:
        yield "a Python package without a `lock` that holds its hashes"
    if "sha256" in source:
        sums = source["sha256"] if isinstance(source["sha256"], list) else str(source["sha256"]).split()
        if not all(_SHA256.fullmatch(str(item)) for item in sums):
            yield "`sha256` is not 64 hexadecimal digits"
    key = str(source.get("key", ""))
    if key and not _FINGERPRINT.fullmatch(key.replace(" ", "").upper()):
        yield "`key` is not a fingerprint of 40 digits"
    locks = source.get("lock") or []
    for lock in [locks] if isinstance(locks, str) else locks:
        if not folder.file(lock).is_file():
            yield f"its lock `{lock}` is not there"


def _description(package: Package, folder: Folder) -> Iterator[LintFinding]:
    if not package.license:
        yield at("licence-missing", package, f"`{package.name}` has no `license`")
    elif problem := _license_problem(package.license):
        yield at("licence-missing", package, f"`{package.name}`: {problem}")
    if not package.docs.strip():
        yield at("docs-missing", package, f"`{package.name}` has no `docs`")
    elif package.docs.endswith(".md") and not (folder.path / package.docs).is_file():
        yield at("docs-missing", package, f"`{package.name}`: `{package.docs}` is not there")
    if not package.test:
        yield at("test-missing", package, f"`{package.name}` has no `test`")
    for test in package.test:
        if not folder.file(test.split()[0]).is_file():
            yield at("test-missing", package, f"`{package.name}`: `{test.split()[0]}` is not there")


def _license_problem(text: str) -> str:
    from packaging.licenses import (
        InvalidLicenseExpression,
        canonicalize_license_expression,
    )

    try:
        canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return f"`{text}` is not an SPDX expression"
    return ""


def _arguments(package: Package, folder: Folder) -> Iterator[LintFinding]:
    names = [package.dockerfile, package.artifacts.dockerfile if package.artifacts else None]
    declared: set[str] = set()
    for name in names:
        if name and name.endswith(".j2"):
            return  # what it declares is known once it is rendered
        if name:
            declared |= inject.declared_args(folder.files.text(folder.path / name), folder.path / name)
    for name in sorted(set(package.build_args) - declared) if any(names) else ():
        yield at("arg-unused", package, f"`{package.name}`: `{name}` is declared by none of its Dockerfiles")
