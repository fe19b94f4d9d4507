"""The canonical order of packages in images: the same dependencies come first in as many images as can have them so.

Which order makes the common prefix tree of many images smallest is a hard problem (it holds the shortest common
supersequence); this is a greedy heuristic. The images of all packages of a catalog, and what their compile parts stand
on, are put into a tree: at each place the package comes next that most of the chains there can take, with those chains
below it, then the same for the rest. An image goes down this tree by the first branch that it can take. So its order
follows from the catalog and itself alone, and not from what else is built with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import JetsonError
from jetson_containers.resolver import solve

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.solve import Resolution


@dataclass
class Branch:
    """A place in the tree: the packages that may come next there, the best first."""

    below: dict[str, Branch] = field(default_factory=dict)


class CanonicalOrder:
    """The tree of a catalog, and the orders that follow from it."""

    def __init__(self, resolutions: Iterable[Resolution]) -> None:
        chains = {frozenset(needs): needs for one in resolutions for needs in _chains(one)}
        self._counts = Counter(name for chain in chains for name in chain)
        self._root = Branch()
        self._grow(self._root, [_Chain(needs) for needs in chains.values()])

    @classmethod
    def of(cls, catalog: Catalog) -> CanonicalOrder:
        """The order of all packages that the catalog can make an image of."""
        found = []
        for name in catalog.available:
            try:
                found.append(solve.solve(catalog, (name,)))
            except JetsonError:
                continue  # `why` says why; what cannot be built shares nothing
        return cls(found)

    def arrange(self, resolution: Resolution) -> Resolution:
        """The same packages in canonical order, those of compile parts too.

        What is of upstream's format keeps the declared order: such recipes lean on what stands before them in
        `depends` without depending on it.
        """
        closures = {
            name: self._order(packages, resolution.closure_depends.get(name, {}))
            for name, packages in resolution.build_closures.items()
        }
        return replace(
            resolution, packages=self._order(resolution.packages, resolution.depends), build_closures=closures
        )

    def _grow(self, branch: Branch, chains: list[_Chain]) -> None:
        while chains := [chain for chain in chains if chain.left]:
            free = Counter(name for chain in chains for name in chain.free())
            best = max(free, key=lambda name: (free[name], self._counts[name], name))
            taking = [chain for chain in chains if best in chain.free()]
            branch.below[best] = Branch()
            self._grow(branch.below[best], [chain.without(best) for chain in taking])
            chains = [chain for chain in chains if chain not in taking]

    def _order(self, packages: Sequence[Package], depends: Mapping[str, Sequence[str]]) -> tuple[Package, ...]:
        if any(package.adaptable for package in packages):
            return tuple(packages)
        names = self._names(_Chain(_needs(packages, depends)))
        place = {name: number for number, name in enumerate(names)}
        return _with_meta(packages, depends, place)

    def _names(self, chain: _Chain) -> list[str]:
        """Go down the tree; where it ends, what most chains hold comes first."""
        found: list[str] = []
        branch: Branch | None = self._root
        while chain.left:
            free = chain.free()
            name = next((name for name in branch.below if name in free), "") if branch else ""
            branch = branch.below[name] if branch and name else None
            name = name or max(free, key=lambda name: (self._counts[name], name))
            found.append(name)
            chain = chain.without(name)
        return found


@dataclass(frozen=True, eq=False)
class _Chain:
    """The packages that an image still lacks, each with those of them that it stands on."""

    left: Mapping[str, AbstractSet[str]]

    def free(self) -> list[str]:
        """Those that could come next."""
        return [name for name, needs in self.left.items() if not needs & self.left.keys()]

    def without(self, name: str) -> _Chain:
        return _Chain({other: needs for other, needs in self.left.items() if other != name})


def _chains(resolution: Resolution) -> list[dict[str, AbstractSet[str]]]:
    """The image, and what each compile part in it stands on; not those that keep their order."""
    parts = [(resolution.packages, resolution.depends)]
    parts += [
        (packages, resolution.closure_depends.get(name, {})) for name, packages in resolution.build_closures.items()
    ]
    return [_needs(packages, depends) for packages, depends in parts if not any(p.adaptable for p in packages)]


def _needs(packages: Sequence[Package], depends: Mapping[str, Sequence[str]]) -> dict[str, AbstractSet[str]]:
    """What each package with content stands on; a meta package stands for what it names. `packages` are in order."""
    below: dict[str, AbstractSet[str]] = {}
    content = {package.name for package in packages if package.dockerfile is not None}
    for package in packages:
        own = [name for name in depends.get(package.name, ()) if name in below]
        below[package.name] = frozenset({name for name in own if name in content}.union(*(below[name] for name in own)))
    return {name: needs for name, needs in below.items() if name in content}


def _with_meta(
    packages: Sequence[Package], depends: Mapping[str, Sequence[str]], place: Mapping[str, int]
) -> tuple[Package, ...]:
    """Put meta packages right behind the last of what they name."""
    last: dict[str, int] = dict(place)
    for package in packages:
        if package.name not in last:
            last[package.name] = max((last[name] for name in depends.get(package.name, ()) if name in last), default=-1)
    declared = {package.name: number for number, package in enumerate(packages)}
    return tuple(sorted(packages, key=lambda p: (last[p.name], p.dockerfile is None, declared[p.name])))
