"""What a catalog holds, and the file it is kept in, so that a warm start reads one file.

The index is two lines of JSON, what it was made from and the packages; its name comes from trees and platform. It is
valid while the content of the definitions and of this program's readers is the same; where all sizes and times are what
they were, no content is compared. It is a cache: one that is missing, damaged or unwritable changes nothing but the
time.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import RecipeError
from jetson_containers.core.files import write_atomically
from jetson_containers.recipes.requirement import Dependency
from jetson_containers.recipes.tree import content, file_digest, fingerprint
from jetson_containers.recipes.types import Artifacts, Package, RuleResult

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.tree import RecipeDirectory


@dataclass(frozen=True, kw_only=True)
class Absent:
    """A package that exists but not here: the rules with their verdicts, or "disabled"."""

    package: Package
    reason: str
    rules: tuple[RuleResult, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The packages of some trees on one platform, in the order of their names."""

    available: tuple[Package, ...] = ()
    absent: tuple[Absent, ...] = ()
    broken: tuple[tuple[RecipeError, tuple[str, ...]], ...] = ()  # with the names it would have had
    notices: tuple[str, ...] = ()
    # What the contents depend on besides the definitions, with its stamp: files and variables that a `config.py` read.
    inputs: Mapping[str, str] = field(default_factory=dict)
    verdicts: Mapping[str, RuleResult] = field(default_factory=dict)  # of every rule of a package, by its text


def identity_of(trees: Sequence[Path], platform: Platform) -> str:
    """What an index is about: the trees in their order, and all of the platform that packages depend on."""
    words = [str(Path(tree).expanduser().absolute()) for tree in trees]
    words += [str(getattr(platform, item.name)) for item in fields(platform) if item.compare]
    return repr(words)


def file_for(cache: Path, identity: str) -> Path:
    """The index file. Two identities may share one by chance: it then holds what was asked for last."""
    return cache.expanduser() / f"catalog-{_checksum(identity.encode(errors='surrogateescape'))}.json"


@dataclass(frozen=True)
class Key:
    """What an index was made from: the definitions together with this program, which decides what they mean."""

    candidates: Sequence[RecipeDirectory]
    identity: str = ""

    def take(self) -> None:
        """Take both, before the definitions are read: a change meanwhile must not go unnoticed."""
        self.stamp, self.content  # noqa: B018 - each is taken once

    @cached_property
    def stamp(self) -> str:
        """By sizes and times, as text: loading a hash function takes longer than to compare it."""
        stats = [os.stat(file) for file in _readers()]  # noqa: PTH116 - of a hundred files at every start
        readers = ",".join(f"{stat.st_size}:{stat.st_mtime_ns}" for stat in stats)
        return f"{fingerprint(self.candidates)}|{readers}"

    @cached_property
    def content(self) -> str:
        """By content."""
        import hashlib

        readers = ",".join(file_digest(Path(file)) for file in _readers())
        return hashlib.sha256(f"{content(self.candidates)}|{readers}".encode()).hexdigest()


def _readers() -> list[str]:
    """The files of this program that decide what a definition means, sorted."""
    package = Path(__file__).parents[1]
    return sorted(
        f"{folder}/{name}"
        for part in ("core", "platforms", "recipes", "facts")
        for folder, _, names in os.walk(package / part)
        for name in names
        if name.endswith((".py", ".yaml"))
    )


def _checksum(data: bytes) -> str:
    return f"{zlib.crc32(data):08x}"


def read(file: Path, key: Key) -> Contents | None:
    """Read an index; None when there is none for this key, or when it is damaged."""
    try:
        heading, _, body = file.read_bytes().partition(b"\n")
        about = json.loads(heading)
        moved = about["stamp"] != key.stamp
        if about["identity"] != key.identity or (moved and about["content"] != key.content):
            return None
        if about["checksum"] != _checksum(body) or not _inputs_unchanged(about["inputs"]):
            return None
        contents = _decode(json.loads(body), about["inputs"])
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if moved:
        write(file, key, contents)  # so that the next start compares times only
    return contents


def write(file: Path, key: Key, contents: Contents) -> None:
    """Write an index, whole or not at all."""
    body = json.dumps(_encode(contents), separators=(",", ":"))
    heading = {
        "stamp": key.stamp,
        "content": key.content,
        "identity": key.identity,
        "checksum": _checksum(body.encode()),
        "inputs": dict(contents.inputs),
    }
    with contextlib.suppress(OSError):
        write_atomically(file, f"{json.dumps(heading, separators=(',', ':'))}\n{body}")


def _encode(contents: Contents) -> dict[str, Any]:
    return {
        "available": [_encode_package(package) for package in contents.available],
        "absent": [
            [_encode_package(absent.package), absent.reason, [rule.rule for rule in absent.rules]]
            for absent in contents.absent
        ],
        "broken": [[_encode_error(error), list(names)] for error, names in contents.broken],
        "notices": list(contents.notices),
        "verdicts": [[each.rule, each.ok, each.reason] for each in contents.verdicts.values()],
    }


def _inputs_unchanged(inputs: dict[str, str]) -> bool:
    """Whether everything a `config.py` had read is still what it was."""
    if not inputs:
        return True
    from jetson_containers.recipes.upstream import config_py

    return all(config_py.is_unchanged(name, before) for name, before in inputs.items())


def _decode(data: dict[str, Any], inputs: dict[str, str]) -> Contents:
    verdicts = {rule: RuleResult(rule=rule, ok=ok, reason=reason) for rule, ok, reason in data["verdicts"]}
    paths = _Paths()
    return Contents(
        available=tuple(_decode_package(package, paths) for package in data["available"]),
        absent=tuple(
            Absent(
                package=_decode_package(package, paths),
                reason=reason,
                rules=tuple(verdicts[rule] for rule in rules),
            )
            for package, reason, rules in data["absent"]
        ),
        broken=tuple((_decode_error(error), tuple(names)) for error, names in data["broken"]),
        notices=tuple(data["notices"]),
        inputs=inputs,
        verdicts=verdicts,
    )


class _Paths(dict[str, Path]):
    """Paths by their text; most directories hold several packages, and a path takes longer than to look it up."""

    def __missing__(self, text: str) -> Path:
        self[text] = path = Path(text)
        return path


_DEFAULTS = {
    item.name: item.default_factory() if item.default_factory is not MISSING else item.default
    for item in fields(Package)
}


def _encode_package(package: Package) -> dict[str, Any]:
    """Every field that is not at its default."""
    data = {name: getattr(package, name) for name, default in _DEFAULTS.items() if getattr(package, name) != default}
    data["path"] = str(package.path)
    if package.tree:
        data["tree"] = str(package.tree)
    if package.depends:
        data["depends"] = [_encode_dependency(item) for item in package.depends]
    if package.artifacts:
        data["artifacts"] = [
            package.artifacts.dockerfile,
            [_encode_dependency(item) for item in package.artifacts.depends],
        ]
    return data


_TUPLES = ("aliases", "family_aliases", "requires", "share", "test")


def _decode_package(data: dict[str, Any], paths: _Paths) -> Package:
    """The inverse of `_encode_package`. The checksum says that the types are those that were written."""
    data["path"] = paths[data["path"]]
    if "tree" in data:
        data["tree"] = paths[data["tree"]]
    for name in _TUPLES:
        if name in data:
            data[name] = tuple(data[name])
    if "depends" in data:
        data["depends"] = _dependencies(data["depends"])
    if "artifacts" in data:
        dockerfile, depends = data["artifacts"]
        data["artifacts"] = Artifacts(dockerfile, _dependencies(depends))
    return Package(**data)


def _encode_dependency(dependency: Dependency) -> list[str | None]:
    return [dependency.family, dependency.version, dependency.specifier, dependency.pattern]


def _dependencies(rows: list[list[str]]) -> tuple[Dependency, ...]:
    """What was parsed when the index was made is not parsed again."""
    return tuple(
        Dependency(family=family, version=version, specifier=specifier, pattern=pattern)
        for family, version, specifier, pattern in rows
    )


def _encode_error(error: RecipeError) -> list[Any]:
    where = f"{error.path}:{error.line}" if error.line else str(error.path)
    return [error.message.removeprefix(f"{where}: "), str(error.path), error.line, error.hint]


def _decode_error(data: list[Any]) -> RecipeError:
    message, path, line, hint = data
    return RecipeError(message, path=Path(path), line=line, hint=hint)
