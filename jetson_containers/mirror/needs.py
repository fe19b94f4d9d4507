"""Which repositories, files and Python packages the recipes of a plan fetch, read from what pins them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from packaging.markers import InvalidMarker, Marker
from packaging.utils import canonicalize_name

from jetson_containers.core import json_text
from jetson_containers.core.text import shown
from jetson_containers.plan import lock
from jetson_containers.recipes import files, locks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from jetson_containers.plan.stage import Stage
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.package import Package

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_OTHERS = ("apt", "archive", "checksums", "base", "host")
LARGEST_LOCK = 16 << 20  # bytes of an npm lock


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A commit of a git repository. `ref` is the branch or tag the recipe knows it by, or `""`."""

    url: str
    commit: str
    ref: str = ""


@dataclass(frozen=True, kw_only=True)
class PlainFile:
    """A file by address. `digest` is `sha256:HEX` or `sha512:HEX`; `""` where the recipe checks it in another way."""

    url: str
    digest: str = ""


@dataclass(frozen=True, kw_only=True)
class PythonPackage:
    """One pin of a pip lock: any of its files that the target can install. `hashes` are `sha256:HEX`."""

    name: str
    version: str
    hashes: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Needs:
    """All that was found, and what was not, with the reason."""

    repositories: tuple[Repository, ...]
    files: tuple[PlainFile, ...]
    python: tuple[PythonPackage, ...]
    npm: tuple[PlainFile, ...]
    left_out: tuple[str, ...]


def of(stages: Iterable[Stage], platform: Platform) -> Needs:
    """What the stages of a plan fetch that a commit or a hash pins."""
    packages = {stage.package: stage.definition for stage in stages if stage.definition is not None}
    found: dict[Repository, None] = {}
    plain: dict[PlainFile, None] = {}
    python: dict[PythonPackage, None] = {}
    npm: dict[PlainFile, None] = {}
    left_out: list[str] = []
    for name, package in packages.items():
        found |= dict.fromkeys(repositories(package))
        plain |= dict.fromkeys(_files(package))
        python |= dict.fromkeys(_python(package, platform))
        npm |= dict.fromkeys(_npm(package))
        left_out += [f"{name}: {reason}" for reason in _left_out(package)]
    return Needs(
        repositories=tuple(found), files=tuple(plain), python=tuple(python), npm=tuple(npm),
        left_out=tuple(left_out),
    )  # fmt: skip


def repositories(package: Package) -> Iterator[Repository]:
    """The repository that a package is made of, where its commit is pinned."""
    url, commit = _repository_of(package.source), str(package.source.get("commit", ""))
    if url and _COMMIT.fullmatch(commit):
        yield Repository(url=url, commit=commit, ref=str(package.source.get("ref") or ""))


def _repository_of(source: Mapping[str, Any]) -> str:
    return str(source.get("git") or source.get("repository") or "")


def _files(package: Package) -> Iterator[PlainFile]:
    """The source's own file, and build arguments `X_URL` with `X_SHA256` beside them."""
    url, digest = package.source.get("url"), str(package.source.get("sha256") or "")
    args = package.build_args
    if isinstance(url, str) and _is_file(url):
        yield PlainFile(url=url, digest=f"sha256:{digest}" if _SHA256.fullmatch(digest) else "")
    for name, value in args.items():
        if name.endswith("_URL") and _is_file(value) and value != url:
            sums = args.get(f"{name.removesuffix('_URL')}_SHA256", "")
            yield PlainFile(url=value, digest=f"sha256:{sums}" if _SHA256.fullmatch(sums) else "")


def _is_file(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in {"http", "https", "file"} and "." in parts.path.rpartition("/")[2]


def _python(package: Package, platform: Platform) -> Iterator[PythonPackage]:
    for path in locks.locks_of(package).values():
        text = files.read_text(path)
        hashes = {key.partition("==")[0]: found for key, found in lock.hashes(text).items()}
        by_name = {canonicalize_name(name): found for name, found in hashes.items()}
        for pin in locks.pins(text):
            if _applies(pin.marker, platform):
                known = frozenset(by_name.get(canonicalize_name(pin.name), ()))
                yield PythonPackage(name=pin.name, version=pin.version, hashes=known)


def _applies(marker: str, platform: Platform) -> bool:
    """Whether a pin is for the target; a marker that cannot be read is taken to be."""
    if not marker:
        return True
    environment = {
        "python_version": ".".join(map(str, platform.python.release[:2])),
        "python_full_version": str(platform.python),
        "platform_machine": platform.docker_platform.partition("/")[2]
        .replace("arm64", "aarch64")
        .replace("amd64", "x86_64"),
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    try:
        return Marker(marker).evaluate(environment)
    except InvalidMarker:
        return True


def _npm(package: Package) -> Iterator[PlainFile]:
    """The tarballs of a recipe's `package-lock.json`."""
    path = package.path / "package-lock.json"
    if not files.is_file(path):
        return
    for entry in _npm_entries(path):
        url, integrity = entry.get("resolved"), str(entry.get("integrity", ""))
        kind, _, encoded = integrity.partition("-")
        if isinstance(url, str) and _is_file(url) and kind == "sha512":
            yield PlainFile(url=url, digest=f"sha512:{_hex(encoded)}")


def _npm_entries(path: Path) -> list[Mapping[str, Any]]:
    try:
        table = json_text.parse(files.read_text(path))["packages"]
    except (ValueError, LookupError, TypeError):
        return []
    return [entry for entry in table.values() if isinstance(entry, dict)] if isinstance(table, dict) else []


def _hex(encoded: str) -> str:
    import base64
    import binascii

    try:
        return base64.b64decode(encoded, validate=True).hex()
    except (binascii.Error, ValueError):
        return ""


def _left_out(package: Package) -> Iterator[str]:
    source = package.source
    if _repository_of(source) and not _COMMIT.fullmatch(str(source.get("commit", ""))):
        yield f"{shown(_repository_of(source))} names no commit"
    for kind in _OTHERS:
        if source.get(kind):
            yield f"`{kind}` of its source has no single file with a hash"
    if isinstance(source.get("url"), str) and not _is_file(source["url"]):
        yield f"{shown(source['url'])} is a folder"
