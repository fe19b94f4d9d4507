"""A model of how upstream orders packages, written from a description of its behaviour, to compare with ours.

It rewrites a list of names until nothing changes: what is missing goes before whoever needs it, what stands too late is
moved, and each change begins the list again. A name is looked up as a pattern in the whole table. Its answers serve as
the expectation of tests where they are sound, its time as the yardstick of `run.py`.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.types import Package

ROUNDS = 250  # then it gives up


def order(depends: Callable[[str], Sequence[str]], requests: Sequence[str]) -> list[str]:
    """The names in build order, as they are spelled. Raises RecursionError where it never ends.

    A pin replaces the bare name, a moved entry forgets its pin, and of several matches the last counts.
    """
    names = list(requests)
    for _ in range(ROUNDS):
        before = list(names)
        names = _one_pass(depends, names)
        if names == before:
            return names
    raise RecursionError


def _one_pass(depends: Callable[[str], Sequence[str]], names: list[str]) -> list[str]:
    for name in list(names):
        for need in depends(name):
            found = -1
            for index, entry in enumerate(names):
                if need in {entry, entry.partition(":")[0]}:
                    found = index
                elif entry == need.partition(":")[0]:
                    names[index] = need
                    return names
            if found < 0:
                names.insert(names.index(name), need)
            elif found > names.index(name):
                names.pop(found)
                names.insert(names.index(name), need)
                return names
    return names


class Table:
    """All packages that are available, without an index: every look-up reads from the beginning.

    A bare name means the version that it means to us: upstream has no answer where nothing is called so, and what ends
    at once cannot be compared.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._rows = [_row(package, catalog) for package in catalog.available.values()]

    def depends(self, name: str) -> list[str]:
        """What the first package with a matching name or alias depends on. Raises KeyError where there is none."""
        for names, needs in self._rows:
            if fnmatch.filter(names, name):
                return needs
        raise KeyError(name)


def _row(package: Package, catalog: Catalog) -> tuple[list[str], list[str]]:
    bare = [package.family] if catalog.find(package.family) is package else []
    return [package.name, *package.aliases, *bare], [str(need) for need in package.depends]


def mapped(depends: Mapping[str, Sequence[str]], find: Mapping[str, str]) -> Callable[[str], Sequence[str]]:
    """The same for tables that are dictionaries."""
    return lambda name: depends[find[name]]
