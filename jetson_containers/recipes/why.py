"""Why a package is absent or present: its rules with their verdicts, and who depends on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UnavailablePackageError

if TYPE_CHECKING:
    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.package import Dependency, Package


def explain_package(catalog: Catalog, name: str) -> dict[str, Any]:
    """`{"package", "available", "rules": [{"rule", "ok", "reason"}], "required_by": […], "versions": […], "path"}`.

    `required_by` are the available packages whose `depends` mean it directly. `versions` are all of the family,
    each with `absent`: the reason or null. Raises UnknownPackageError, or the RecipeError of a broken recipe.
    """
    package = _package(catalog, name)
    reasons = {item.package.name: item.reason for item in catalog.absent.values()}
    family = [p.name for p in _everything(catalog) if p.family == package.family]
    rules = [{"rule": result.rule, "ok": result.ok, "reason": result.reason} for result in catalog.judged(package)]
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
    return [
        other.name
        for other in sorted(catalog.available.values(), key=lambda other: other.name)
        if any(_means(catalog, dependency, package) for dependency in _all_depends(other))
    ]


def _all_depends(package: Package) -> tuple[Dependency, ...]:
    return (*package.depends, *(package.artifacts.depends if package.artifacts else ()))


def _means(catalog: Catalog, dependency: Dependency, package: Package) -> bool:
    """Whether an entry of `depends` is about this package: any version in its range, but bare only the preferred."""
    spelled = str(dependency)
    if spelled in (package.name, *package.aliases):
        return True
    if dependency.version and not catalog.has(spelled):
        return package in (catalog.series(spelled) or [item.package for item in catalog.absent_of(spelled)])
    if dependency.version or catalog.family_of(dependency.family) != package.family:
        return False
    if dependency.specifier:
        return dependency.accepts(package.version)
    return catalog.members(package.family)[:1] in ((), (package,))


def _package(catalog: Catalog, name: str) -> Package:
    """The package of a name, wherever it is available; of an absent family the version that comes nearest."""
    try:
        return catalog.find(name)
    except UnavailablePackageError:
        nearest = min(
            catalog.absent_of(name), key=lambda item: (sum(not rule.ok for rule in item.rules), item.package.name)
        )
        return nearest.package


def _everything(catalog: Catalog) -> list[Package]:
    return [*catalog.available.values(), *(item.package for item in catalog.absent.values())]
