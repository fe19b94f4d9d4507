"""Requested names → one consistent set of packages and an order, or a conflict that explains itself.

Solved with resolvelib (one version per family unless a package says `coexist`), ordered so that a dependency comes
before its dependants and otherwise as declared; the result does not depend on file-system order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jetson_containers.catalog import Catalog
    from jetson_containers.package import Package


@dataclass(frozen=True)
class Resolution:
    """What one image consists of.

    `packages` in the order they stand in the image; `depends` maps a package name to the names (concrete, versioned)
    it depends on; `build_closures` maps each package that has `artifacts` to the ordered packages its compile part
    stands on (its own dependency closure plus `artifacts.depends`, the same versions as in `packages` where both
    contain a family); `pulled_by` maps a package name to who asked for it.
    """

    requested: tuple[str, ...]
    packages: tuple[Package, ...]
    depends: Mapping[str, tuple[str, ...]]
    build_closures: Mapping[str, tuple[Package, ...]] = field(default_factory=dict)
    pulled_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def solve(catalog: Catalog, requests: Sequence[str], *, skip: Sequence[str] = ()) -> Resolution:
    """Resolve. `skip` are patterns of packages left out together with what only they need.

    Raises UnknownPackageError, UnavailablePackageError, UnsatisfiableError (naming both demanders and the way
    out) or CycleError (printing the chain).
    """
    raise NotImplementedError
