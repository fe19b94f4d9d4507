"""The pins that upstream may be ahead of: of recipes, and of what is installed in an image."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from jetson_containers.mirror import needs
from jetson_containers.recipes import files, locks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jetson_containers.images.installed import InstalledContents
    from jetson_containers.recipes.package import Package

PYPI, GIT = "pypi", "git"
_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([A-Za-z0-9.!+_-]+)")


@dataclass(frozen=True, kw_only=True, order=True)
class UpstreamPin:
    """One pin. `kind` is "pypi" or "git"; `name` a package's, or the address of a repository; `version` a tag there."""

    kind: str
    name: str
    version: str


Pinned = dict[UpstreamPin, list[str]]
"""Pins, each with the recipes that hold it."""


def of_recipes(packages: Iterable[Package]) -> Pinned:
    """All pins of some recipes: their locks, what they say of their source, and the tag of their repository."""
    found: Pinned = {}
    for package in packages:
        for pin in dict.fromkeys((*_python(package), *_repository(package))):
            found.setdefault(pin, []).append(package.name)
    return dict(sorted(found.items()))


def of_image(contents: InstalledContents, image: str) -> Pinned:
    """The Python packages that an image's files say are installed; versions of its distribution are not compared."""
    python = (one for one in contents.packages if one.kind == PYPI)
    return {UpstreamPin(kind=PYPI, name=canonicalize_name(one.name), version=one.version): [image] for one in python}


def _python(package: Package) -> Iterator[UpstreamPin]:
    own = _PIN.fullmatch(str(package.source.get("python") or ""))
    if own:
        yield UpstreamPin(kind=PYPI, name=canonicalize_name(own[1]), version=own[2])
    for path in locks.locks_of(package).values():
        for pin in locks.pins(files.read_text(path)):
            yield UpstreamPin(kind=PYPI, name=pin.name, version=pin.version)


def _repository(package: Package) -> Iterator[UpstreamPin]:
    for repository in needs.repositories(package):
        yield UpstreamPin(kind=GIT, name=repository.url, version=repository.ref)
