"""What a search chose, and which packages it could choose for a key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jetson_containers.core.versions import version_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.demands import Demand, Demands


@dataclass(frozen=True, kw_only=True)
class PackageChoice:
    """resolvelib's candidate: a package chosen for one key."""

    key: str
    name: str
    package: Package = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What the search chose for each key."""

    demands: Demands
    chosen: Mapping[str, Package]
    wanted: Mapping[str, tuple[Demand, ...]]  # all demands on each key
    overridden: tuple[tuple[Demand, Demand], ...] = ()  # pins of upstream's format that gave way, each with to which

    def choice(self, demand: Demand) -> Package:
        """The package that satisfies a demand; of versions that coexist, one that somebody pinned comes first."""
        package = self.chosen[demand.key]
        if demand.exact or not self.demands.coexists(demand.family):
            return package
        pinned = {self.chosen[key].name for key, wants in self.wanted.items() if wants[0].exact}
        members = self.demands.catalog.members(demand.family)
        return next((m for m in members if m.name in pinned and demand.accepts(m)), package)

    def depends(self, package: Package) -> list[Package]:
        """The packages a package depends on, as declared, without those that are skipped."""
        choices = [self.choice(demand) for demand in self.demands.made(package.depends, package.name)]
        return [choice for choice in choices if not self.demands.skips(choice)]

    def notices(self, packages: Iterable[Package]) -> list[str]:
        """Where the choice is not what the name alone would have meant."""
        packages = list(packages)
        notices = self._given_way({package.name for package in packages})
        for package in packages:
            if package.replaces:
                notices.append(self._in_place_of(package))
            wants = self.wanted.get(package.family, ())
            usual = self.demands.catalog.members(package.family)[0]
            if not wants or any(demand.exact for demand in wants):
                continue
            if newest := self._newest_of(package, wants):
                notices.append(newest)
            elif usual.name != package.name:
                notices.append(f"`{package.name}` is taken instead of `{usual.name}`: {_because(wants, usual)}")
            elif not usual.default and usual.version and any(not d.dependency.specifier for d in wants):
                notices.append(f"`{package.family}` has no default version here; `{usual.name}`, the newest, is taken")
        return notices

    def _newest_of(self, package: Package, wants: Iterable[Demand]) -> str:
        """What is said of a request that names a series of which there are several."""
        for demand in wants:
            if not demand.series or demand.by:
                continue
            found = self.demands.catalog.series(demand.spelled)
            if found and found[0] is package:
                others = ", ".join(f"`{other.name}`" for other in found[1:])
                return f"`{demand.spelled}` is `{package.name}`: it is newer than {others}"
        return ""

    def _in_place_of(self, package: Package) -> str:
        """What is said of a package that a user added under a name of ours."""
        others = [member.name for member in self.demands.catalog.members(package.family) if member is not package]
        ask = f"; `{others[0]}` asks for that one" if others and package.version is None else ""
        return f"`{package.name}` is that of {package.origin}, in place of {package.replaces}{ask}"

    def _given_way(self, names: set[str]) -> list[str]:
        if not self.overridden:
            return []
        return [
            _gave_way(demand, stronger, self.chosen[demand.key])
            for demand, stronger in self.overridden
            if demand.by in names
        ]


def _because(wants: Iterable[Demand], usual: Package) -> str:
    against = [f"{demand.demander} wants {demand.spelled}" for demand in wants if not demand.accepts(usual)]
    return ", ".join(dict.fromkeys(against)) or "that one does not go together with the rest"


def _gave_way(demand: Demand, stronger: Demand, package: Package) -> str:
    """What is said of a pin that gave way."""
    return (
        f"{demand.demander} asks for `{demand.spelled}` and gets `{package.name}`: {stronger.demander} asks for "
        f"`{stronger.spelled}`, and one image has one version of `{package.family}`"
    )


def candidates_for(
    demands: Demands, wants: Sequence[Demand], pinned: Sequence[Package] = (), *, family: str = ""
) -> list[Package]:
    """The packages that satisfy all demands on one key, the preferred first; `family` where there may be no demand.

    A variant (`-builder`) is a candidate only where somebody names one, or where the family has nothing else.
    """
    if any(demand.error for demand in wants):
        return []
    family = family or wants[0].family
    members = list(demands.catalog.members(family))
    kept = [package for package in pinned if package.family == family]
    if kept and not demands.coexists(family):
        members = [package for package in members if package in kept]
    elif kept:
        members.sort(key=lambda package: package not in kept)
    else:
        members = _without_variants(demands, members, wants)
    if any(demand.series for demand in wants):
        members.sort(key=lambda package: version_key(package.version), reverse=True)
    if _is_settled(members, wants):
        members = members[:1]
    exact = {demand.exact for demand in wants}
    return [
        package
        for package in members
        if all(demand.accepts(package) for demand in wants)
        and (package.name not in demands.unfit or package.name in exact)
    ]


def _is_settled(members: Sequence[Package], wants: Sequence[Demand]) -> bool:
    """Whether a bare name means one package whatever happens: upstream's recipe chose the default."""
    bare = wants and not any(demand.exact or demand.dependency.specifier for demand in wants)
    return bool(members and bare and members[0].default and members[0].adaptable)


def _without_variants(demands: Demands, members: list[Package], wants: Sequence[Demand]) -> list[Package]:
    named = {demand.exact for demand in wants if demand.exact and demands.catalog.available[demand.exact].variant}
    plain = [package for package in members if package.variant is None or package.name in named]
    return plain or members
