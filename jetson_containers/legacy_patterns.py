"""`depends: torch*` in upstream's format: the first package that matches.

Upstream looks the pattern up among names and aliases and takes the first in the order of its table, which within one
directory is the order of definition and between directories that of threads. Here it is the order of the trees.
"""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers import requires
from jetson_containers.dependency import Dependency

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jetson_containers.package import Package
    from jetson_containers.platforms import Platform


def replaced(packages: Mapping[str, Package], platform: Platform) -> tuple[dict[str, Package], list[str]]:
    """The packages with names where `depends` had patterns, and what is said about it.

    A pattern that nothing available matches stays, for the resolver to report with who asks for it.
    """
    result = dict(packages)
    notices: list[str] = []
    having = [item for item in packages.values() if any(need.pattern for need in item.depends)]
    if having:
        here = [item for item in packages.values() if _is_available(item, platform)]
        for package in having:
            result[package.name] = _without_patterns(package, here, notices)
    return result, notices


def _is_available(package: Package, platform: Platform) -> bool:
    return not package.disabled and requires.holds(package.requires, platform)


def _without_patterns(package: Package, here: Sequence[Package], notices: list[str]) -> Package:
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
        if len({item.family for item in matching}) > 1:
            others = f"the first of {len(matching)} that match"
            notices.append(f"{package.origin}: `{need}` in `depends` of `{package.name}` is `{first.name}`, {others}")
    return replace(package, depends=tuple(dict.fromkeys(depends)))


def _names(package: Package, pattern: str) -> list[str]:
    return [name for name in (package.name, *package.aliases) if fnmatch.fnmatchcase(name, pattern)]
