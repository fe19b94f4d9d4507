"""The pip locks of recipes: what they pin, which row they belong to, and how they are made again.

A row names its locks in `source.lock`, and in `source.python` what one of them is resolved from (`numpy==2.2.6`). The
other locks, of build tools and of what a compiled package imports, keep their pins and get the hashes of all files.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from jetson_containers.recipes import files, rules, shared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from jetson_containers.recipes.package import Package

OLDEST_PYTHON = "3.8"  # that `uv pip compile` resolves for
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)[ \t]*(?:;[ \t]*([^\\\n]*?))?[ \t]*\\?$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Pin:
    """One line of a lock without its hashes."""

    name: str  # canonical
    version: str
    marker: str = ""

    def __str__(self) -> str:
        return f"{self.name}=={self.version}" + (f" ; {self.marker}" if self.marker else "")


@dataclass(frozen=True, kw_only=True)
class LockTask:
    """One lock to make: what it is resolved from, for which oldest Python, and what the image has already."""

    lock: Path
    requirements: tuple[str, ...]
    python: str
    left_out: tuple[str, ...] = ()
    keeps_pins: bool = False


def pins(text: str) -> tuple[Pin, ...]:
    r"""Everything that a lock pins.

    >>> [str(pin) for pin in pins("a_B==1.0 ; os_name == 'nt' \\\n    --hash=sha256:00\nc==2\n")]
    ["a-b==1.0 ; os_name == 'nt'", 'c==2']
    """
    found = (Pin(name=canonicalize_name(m[1]), version=m[2], marker=m[3] or "") for m in _PIN.finditer(text))
    return tuple(found)


def locks_of(package: Package) -> dict[str, Path]:
    """The locks of a row that are there, by the name it gives them."""
    named = package.source.get("lock") or []
    names = [named] if isinstance(named, str) else [str(name) for name in named]
    paths = {name: shared.script(package, name) for name in names if name.endswith(".lock")}
    return {name: path for name, path in paths.items() if files.is_file(path)}


def stale(package: Package) -> str:
    """Why the locks of a row are not those of what it installs; empty where they are, or where it does not say."""
    wanted = package.source.get("python")
    texts = {name: files.read_text(path) for name, path in locks_of(package).items()}
    if not isinstance(wanted, str) or "==" not in wanted or not texts:
        return ""
    name, _, version = wanted.partition("==")
    spelled = "[-_.]+".join(canonicalize_name(name.partition("[")[0].strip()).split("-"))
    pinned = re.compile(rf"^{spelled}==([^\s;\\]+)", re.MULTILINE | re.IGNORECASE)
    found = [(lock, match[1]) for lock, text in texts.items() for match in pinned.finditer(text)]
    if any(there == version for _, there in found):
        return ""
    if found:
        lock, there = found[0]
        return f"its lock `{lock}` pins {there}, and its `source` says `{wanted}`"
    return f"none of its locks ({', '.join(texts)}) pins `{wanted}`"


def tasks(packages: Iterable[Package], everything: Iterable[Package]) -> list[LockTask]:
    """What it takes to make the locks of some packages again, each lock once; `everything` are all of the catalogs."""
    families: defaultdict[str, list[Package]] = defaultdict(list)
    for package in everything:
        families[package.family].append(package)
    found: dict[Path, LockTask] = {}
    for package in packages:
        below = _pinned_below(package, families)
        for path in locks_of(package).values():
            task = _task(package, path, below)
            before = found.get(path)
            if before is None or (before.keeps_pins and not task.keeps_pins):
                found[path] = task
    return [found[path] for path in sorted(found)]


def _task(package: Package, path: Path, below: frozenset[str]) -> LockTask:
    there = pins(files.read_text(path))
    wanted = str(package.source.get("python") or "")
    name = canonicalize_name(wanted.partition("==")[0].partition("[")[0].strip()) if "==" in wanted else ""
    names = {pin.name for pin in there}
    compiled = path.name.startswith("sdist-")  # an archive alone: what it imports has a lock of its own
    if name in names and not compiled:
        left_out = tuple(sorted(below - names))
        return LockTask(lock=path, requirements=(wanted,), python=_oldest_python(package), left_out=left_out)
    requirements = tuple(str(pin) for pin in there)
    if compiled and name in names:
        requirements = tuple(wanted if pin.name == name else str(pin) for pin in there)
    return LockTask(lock=path, requirements=requirements, python=_oldest_python(package), keeps_pins=True)


def _pinned_below(package: Package, families: Mapping[str, list[Package]]) -> frozenset[str]:
    """Python packages that are in the image already: what a package stands on, and what the locks of that pin."""
    seen: set[str] = set()
    waiting = [need.family for need in package.depends]
    names: set[str] = set()
    while waiting:
        family = waiting.pop()
        if family in seen or family == package.family:
            continue
        seen.add(family)
        names.add(canonicalize_name(family))
        for member in families.get(family, ()):
            names |= {canonicalize_name(alias) for alias in member.family_aliases}
            waiting += [need.family for need in member.depends]
            for path in locks_of(member).values():
                if not path.name.startswith("build"):
                    names |= {pin.name for pin in pins(files.read_text(path))}
    return frozenset(names)


def _oldest_python(package: Package) -> str:
    """The oldest Python that a row is for, as its rules name it."""
    clauses = [clause for rule in package.requires for clause in rules.parse(rule)]
    lowest = [clause for clause in clauses if clause.subject is rules.Subject.PYTHON and clause.op in {"", "==", ">="}]
    named = [clause.value for clause in lowest]
    return named[0].removesuffix(".*") if named else OLDEST_PYTHON
