"""Families of packages on all supported platforms, as the catalog of each says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from jetson_containers.platforms import detect
from jetson_containers.platforms.target import SUPPORTED_TARGETS
from jetson_containers.recipes.catalog import load_each, preferred

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jetson_containers.recipes.cache import Absent
    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.package import Package

# Whose rendering stands for a version: dependencies and sources can differ between platforms in details.
SHOWN_FIRST = ("r36.4.3", "r39.2.0", "r38.2.0", "r36.3.0", "r36.2.0", "r35.4.1", "r32.7.1", "x86_64", "sbsa")


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family on all platforms. `available` and `absent` are keyed by platform, in the order of TARGETS."""

    name: str
    available: Mapping[str, tuple[Package, ...]]  # the preferred first
    absent: Mapping[str, tuple[Absent, ...]]

    @cached_property
    def packages(self) -> tuple[Package, ...]:
        """Every version and variant once, as on the platform that is shown first; newest first, then variants."""
        order = (*SHOWN_FIRST, *(target for target in SUPPORTED_TARGETS if target not in SHOWN_FIRST))
        found: dict[str, Package] = {}
        for target in order:
            for package in self.available.get(target, ()):
                found.setdefault(package.name, package)
        for items in self.absent.values():
            for item in items:
                found.setdefault(item.package.name, item.package)
        return tuple(preferred(found.values()))

    @property
    def main(self) -> Package:
        """The package whose directory, license and docs speak for the family."""
        return self.packages[0]

    def platforms_of(self, name: str) -> list[str]:
        """Where a package is available."""
        return [target for target, packages in self.available.items() if any(p.name == name for p in packages)]

    def reason(self, target: str) -> str:
        """Why no version is available on a platform: what keeps the one that comes nearest away."""
        items = self.absent.get(target, ())
        if not items:
            return "not defined"
        return min(items, key=lambda item: (sum(not rule.ok for rule in item.rules), item.package.name)).reason


def families(trees: Sequence[Path], targets: Sequence[str] = SUPPORTED_TARGETS) -> list[Family]:
    """Read the trees for all platforms. Raises the first RecipeError: a catalog with holes would be wrong."""
    catalogs = load(trees, targets)
    for catalog in catalogs.values():
        if catalog.broken:
            raise catalog.broken[0]
    return of(catalogs)


def load(trees: Sequence[Path], targets: Sequence[str] = SUPPORTED_TARGETS) -> dict[str, Catalog]:
    """The catalogs of all platforms, in the order of `targets`."""
    return dict(zip(targets, load_each(trees, map(detect.parse_target, targets)), strict=True))


def of(catalogs: Mapping[str, Catalog]) -> list[Family]:
    """The families of some catalogs by name, each on all their platforms."""
    names = sorted({package.family for catalog in catalogs.values() for package in _all(catalog)})
    return [_family(name, catalogs) for name in names]


def tag(package: Package) -> str:
    """The version of a package in a table of its family: `2.8`; a check mark where it has none."""
    return package.name.partition(":")[2] or "✓"


def _all(catalog: Catalog) -> list[Package]:
    return [*catalog.available.values(), *(item.package for item in catalog.absent.values())]


def _family(name: str, catalogs: Mapping[str, Catalog]) -> Family:
    available = {target: catalog.members(name) for target, catalog in catalogs.items()}
    absent = {
        target: tuple(item for item in catalog.absent.values() if item.package.family == name)
        for target, catalog in catalogs.items()
    }
    return Family(name=name, available={target: items for target, items in available.items() if items}, absent=absent)
