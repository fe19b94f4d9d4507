"""Why a package is absent or present: its rules with their verdicts, and who depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetson_containers.errors import UnavailablePackageError
from jetson_containers.requires import check_all

if TYPE_CHECKING:
    from jetson_containers.catalog import Catalog
    from jetson_containers.package import Package


def why(catalog: Catalog, name: str) -> dict[str, Any]:
    """`{"package", "available", "rules": [{"rule", "ok", "reason"}], "required_by": […], "versions": […], "path"}`.

    `required_by` are the available packages that name it, or its family, directly. `versions` are all of the family,
    each with `absent`: the reason or null. Raises UnknownPackageError, or the RecipeError of a broken recipe.
    """
    package = _package(catalog, name)
    reasons = {item.package.name: item.reason for item in catalog.absent.values()}
    family = [p.name for p in _everything(catalog) if p.family == package.family]
    rules = [
        {"rule": result.rule, "ok": result.ok, "reason": result.reason}
        for result in check_all(package.requires, catalog.platform)
    ]
    if package.disabled:
        rules.append({"rule": "disabled", "ok": False, "reason": "the recipe says `disabled: true`"})
    return {
        "package": package.name,
        "available": package.name in catalog.available,
        "rules": rules,
        "required_by": required_by(catalog, package),
        "versions": [{"package": other, "absent": reasons.get(other)} for other in sorted(family)],
        "path": str(package.path),
    }


def required_by(catalog: Catalog, package: Package) -> list[str]:
    """Full names of the available packages that depend on it or, at compile time, need it; sorted."""
    names = []
    for other in catalog.available.values():
        compiling = other.artifacts.depends if other.artifacts else ()
        for dependency in (*other.depends, *compiling):
            spelled = str(dependency)
            if dependency.version or dependency.specifier:
                same_family = catalog.family_of(dependency.family) == package.family
                hit = spelled in (package.name, *package.aliases) or (
                    bool(dependency.specifier) and same_family and dependency.accepts(package.version)
                )
            else:
                hit = catalog.family_of(spelled) == package.family or spelled in package.aliases
            if hit and other.name not in names:
                names.append(other.name)
    return sorted(names)


def _package(catalog: Catalog, name: str) -> Package:
    """The package of a name, wherever it is available; of an absent family the version that comes nearest."""
    try:
        return catalog.find(name)
    except UnavailablePackageError:
        family = catalog.family_of(name.partition(":")[0])
        matching = [
            item
            for item in catalog.absent.values()
            if name in (item.package.name, *item.package.aliases) or (":" not in name and item.package.family == family)
        ]
        return min(matching, key=lambda item: (sum(not rule.ok for rule in item.rules), item.package.name)).package


def _everything(catalog: Catalog) -> list[Package]:
    return [*catalog.available.values(), *(item.package for item in catalog.absent.values())]
