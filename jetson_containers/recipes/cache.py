"""What a catalog holds, and the file it is kept in, so that a warm start reads one file.

The index is JSON, named after trees and platform, and valid while the content of the definitions and of this program's
readers is the same; where all sizes and times are what they were, no content is compared. It is a cache: one that is
missing, corrupt or unwritable changes nothing but the time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
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


def file_for(cache: Path, trees: Sequence[Path], platform: Platform) -> Path:
    """The index file of some trees on one platform."""
    identity = [str(Path(tree).expanduser().absolute()) for tree in trees]
    identity += [str(getattr(platform, item.name)) for item in fields(platform) if item.compare]
    return cache.expanduser() / f"catalog-{hashlib.sha256(repr(identity).encode()).hexdigest()[:24]}.json"


@dataclass(frozen=True)
class Key:
    """What an index was made from: the definitions together with this program, which decides what they mean."""

    candidates: Sequence[RecipeDirectory]

    def take(self) -> None:
        """Take both, before the definitions are read: a change meanwhile must not go unnoticed."""
        self.stamp, self.content  # noqa: B018 - each is taken once

    @cached_property
    def stamp(self) -> str:
        """By sizes and times."""
        stats = [file.stat() for file in _readers()]
        readers = ",".join(f"{stat.st_size}:{stat.st_mtime_ns}" for stat in stats)
        return hashlib.sha256(f"{fingerprint(self.candidates)}|{readers}".encode()).hexdigest()

    @cached_property
    def content(self) -> str:
        """By content."""
        readers = ",".join(file_digest(file) for file in _readers())
        return hashlib.sha256(f"{content(self.candidates)}|{readers}".encode()).hexdigest()


def _readers() -> list[Path]:
    package = Path(__file__).parents[1]
    programs = (file for folder in ("core", "platforms", "recipes") for file in (package / folder).rglob("*.py"))
    return sorted((*programs, *(package / "facts").glob("*.yaml")))


def read(file: Path, key: Key) -> Contents | None:
    """Read an index; None when there is none for this key."""
    try:
        data = json.loads(file.read_bytes())
        moved = data["stamp"] != key.stamp
        if (moved and data["content"] != key.content) or not _inputs_unchanged(data["inputs"]):
            return None
        contents = _decode(data)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if moved:
        write(file, key, contents)  # so that the next start compares times only
    return contents


def write(file: Path, key: Key, contents: Contents) -> None:
    """Write an index, whole or not at all."""
    text = json.dumps({"stamp": key.stamp, "content": key.content, **_encode(contents)}, separators=(",", ":"))
    with contextlib.suppress(OSError):
        write_atomically(file, text)


def _encode(contents: Contents) -> dict[str, Any]:
    return {
        "available": [_encode_package(package) for package in contents.available],
        "absent": [
            [_encode_package(absent.package), absent.reason, [[r.rule, r.ok, r.reason] for r in absent.rules]]
            for absent in contents.absent
        ],
        "broken": [[_encode_error(error), list(names)] for error, names in contents.broken],
        "notices": list(contents.notices),
        "inputs": dict(contents.inputs),
    }


def _inputs_unchanged(inputs: dict[str, str]) -> bool:
    """Whether everything a `config.py` had read is still what it was."""
    if not inputs:
        return True
    from jetson_containers.recipes.upstream import config_py

    return all(config_py.is_unchanged(name, before) for name, before in inputs.items())


def _decode(data: dict[str, Any]) -> Contents:
    return Contents(
        available=tuple(_decode_package(package) for package in data["available"]),
        absent=tuple(
            Absent(
                package=_decode_package(package),
                reason=reason,
                rules=tuple(RuleResult(rule=rule, ok=ok, reason=why) for rule, ok, why in rules),
            )
            for package, reason, rules in data["absent"]
        ),
        broken=tuple((_decode_error(error), tuple(names)) for error, names in data["broken"]),
        notices=tuple(data["notices"]),
        inputs=data["inputs"],
    )


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


_REQUIRED_TEXTS = ("name", "family", "build_flags", "docs", "group", "license", "notes", "origin", "prefix", "caution")
_TEXTS = ("version", "variant", "dockerfile", "network", "postfix")
_TUPLES = ("aliases", "family_aliases", "requires", "share", "test")


def _decode_package(data: dict[str, Any]) -> Package:
    data["path"] = Path(data["path"])
    if "tree" in data:
        data["tree"] = Path(data["tree"])
    if not all(isinstance(data.get(name, ""), str) for name in _REQUIRED_TEXTS):
        raise TypeError(data)
    if not all(isinstance(data.get(name) or "", str) for name in _TEXTS):
        raise TypeError(data)
    if not all(isinstance(item, str) for name in _TUPLES for item in data.get(name, ())):
        raise TypeError(data)
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
    found = []
    for family, version, specifier, pattern in rows:
        if not all(isinstance(text, str) for text in (family, version or "", specifier, pattern)):
            raise TypeError(rows)
        found.append(Dependency(family=family, version=version, specifier=specifier, pattern=pattern))
    return tuple(found)


def _encode_error(error: RecipeError) -> list[Any]:
    where = f"{error.path}:{error.line}" if error.line else str(error.path)
    return [error.message.removeprefix(f"{where}: "), str(error.path), error.line, error.hint]


def _decode_error(data: list[Any]) -> RecipeError:
    message, path, line, hint = data
    return RecipeError(message, path=Path(path), line=line, hint=hint)
