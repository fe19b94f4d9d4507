"""What names mean in upstream's format: patterns in `depends`, and aliases that several definitions claim.

Upstream looks a name up among names and aliases and takes the first package in the order of its table, which within
one directory is the order of definition and between directories that of threads. Here it is the order of the trees.
"""

from __future__ import annotations

import fnmatch
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.recipes.requirement import Dependency
from jetson_containers.recipes.upstream.packages import is_available

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.package import Package


def without_patterns(packages: Mapping[str, Package], platform: Platform) -> tuple[dict[str, Package], list[str]]:
    """The packages with names where `depends` had patterns, and what is said about it.

    A pattern that nothing available matches stays, for the resolver to report with who asks for it.
    """
    result = dict(packages)
    notices: list[str] = []
    having = [item for item in packages.values() if any(need.pattern for need in item.depends)]
    if having:
        here = [item for item in packages.values() if is_available(item, platform)]
        for package in having:
            result[package.name] = _replaced(package, here, notices)
    return result, notices


def settled(packages: Mapping[str, Package], platform: Platform) -> tuple[dict[str, Package], list[str]]:
    """The packages where of those of one directory that claim an alias only the first has it, and what is said.

    A plain package comes before a variant of one, in whatever order they are defined.
    """
    here = {name: package for name, package in packages.items() if is_available(package, platform)}
    claims: defaultdict[tuple[Path, str], list[Package]] = defaultdict(list)
    for package in here.values():
        for alias in package.aliases if package.adaptable else ():
            claims[package.path, alias].append(package)
    result = dict(packages)
    notices = []
    for (_, alias), claimants in sorted(claims.items()):
        first, *others = sorted(claimants, key=lambda package: package.variant is not None)
        named = here.get(alias)
        owner, losers = (named, claimants) if named else (first, others)
        for loser in losers:
            result[loser.name] = _without_alias(result[loser.name], alias)
        if losers:
            names = ", ".join(f"`{loser.name}`" for loser in losers)
            why = "whose name that is" if named else "which comes first"
            notices.append(f"`{alias}` is claimed by {names} too; it means `{owner.name}`, {why}")
    return result, notices


def _without_alias(package: Package, alias: str) -> Package:
    return replace(
        package,
        aliases=tuple(name for name in package.aliases if name != alias),
        family_aliases=tuple(name for name in package.family_aliases if name != alias),
        default=package.default and alias != package.family,
    )


def _replaced(package: Package, here: Sequence[Package], notices: list[str]) -> Package:
    depends = []
    for need in package.depends:
        matching = [item for item in here if item is not package and _names(item, need.pattern)] if need.pattern else []
        if not matching:
            depends.append(need)
            continue
        first = matching[0]
        names = _names(first, need.pattern)
        bare = next((name for name in names if ":" not in name), None)
        depends.append(Dependency.parse(bare or first.name))
        usual = {item.name for item in matching if item.default} or {first.name}
        if len({item.family for item in matching}) > 1 or first.name not in usual:
            others = f"the first of {len(matching)} that match"
            notices.append(f"{package.origin}: `{need}` in `depends` of `{package.name}` is `{first.name}`, {others}")
    return replace(package, depends=tuple(dict.fromkeys(depends)))


def _names(package: Package, pattern: str) -> list[str]:
    return [name for name in (package.name, *package.aliases) if fnmatch.fnmatchcase(name, pattern)]
