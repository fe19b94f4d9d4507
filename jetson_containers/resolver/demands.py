"""Who wants what: requests and `depends` entries turned into demands on one family, and the pattern of `--skip`.

A demand pins a package (`pytorch:2.8`, or an alias of one), limits the version (`pytorch>=2.4`) or is bare. A tag that
names a series of several versions (`numpy:1`) limits it as `numpy==1.*` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import (
    JetsonError,
    NothingMatchedError,
    RequirementSyntaxError,
    UnavailablePackageError,
    UnknownPackageError,
)
from jetson_containers.recipes import catalog, tree
from jetson_containers.recipes.requirement import Dependency, is_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.package import Package


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What one demander wants of a family. `by` is a package name, empty for the request itself.

    `key` is what resolvelib decides once: the family, or for a family that may coexist every different demand.
    `error` is set where nothing can satisfy the demand, whatever else is chosen.
    """

    key: str
    family: str
    spelled: str
    by: str = ""
    exact: str = ""  # the full name of the package it pins
    dependency: Dependency = field(default=Dependency(family=""), compare=False)
    error: JetsonError | None = field(default=None, compare=False)
    variable: str = ""  # the environment variable that says so, in a request
    series: bool = field(default=False, compare=False)  # it names the beginning of several versions

    @property
    def demander(self) -> str:
        """Who wants it, for people."""
        if self.by:
            return f"`{self.by}`"
        return f"${self.variable}" if self.variable else "the request"

    @property
    def freedom(self) -> int:
        """How much choice it leaves, the smaller the less: what leaves least is decided first."""
        if self.error is not None:
            return 0
        return 1 if self.exact else 2 if self.dependency.specifier else 3

    def accepts(self, package: Package) -> bool:
        """Whether a package of this family satisfies the demand; `pytorch:2.8-builder` is a `pytorch:2.8` too."""
        if not self.exact:
            return self.dependency.accepts(package.version)
        plain = f"{package.family}:{package.version}" if package.version and package.variant else package.name
        return self.exact in {package.name, plain}


class Demands:
    """Makes demands against one catalog; leaves out what matches a skip pattern."""

    def __init__(self, catalog: Catalog, skip: Sequence[str] = ()) -> None:
        self.catalog = catalog
        self.skip = tuple(skip)
        self._meant = {
            pattern: {package.name for package in catalog.series(pattern) or catalog.in_range(pattern)}
            for pattern in self.skip
        }
        self.skipped: set[str] = set()  # the patterns that left something out
        self._made: dict[tuple[Dependency, str], Demand] = {}  # walks ask for the same again and again
        self.unfit: set[str] = set()  # packages that nothing but a demand for exactly them may bring in

    def requested(self, requests: Iterable[str]) -> list[Demand]:
        """The demands of a request, globs expanded. Raises RequirementSyntaxError, NothingMatchedError."""
        wanted = [name for request in requests for name in self._expanded(request)]
        return self.made([_parsed(name) for name in wanted], "")

    def made(self, dependencies: Iterable[Dependency], by: str) -> list[Demand]:
        """The demands of some dependencies, in their order."""
        demands = [self._demand(dependency, by) for dependency in dependencies]
        return [demand for demand in demands if not self._is_skipped(demand)]

    def skips(self, package: Package) -> bool:
        """Whether a skip pattern means this very package."""
        return self._matches((package.name, *package.aliases))

    def coexists(self, family: str) -> bool:
        """Whether several versions of a family may stand in one image."""
        return any(package.coexist for package in self.catalog.members(family))

    def _expanded(self, request: str) -> list[str]:
        if not is_pattern(request):
            return [request]
        means = {}
        for package in self.catalog.available.values():
            if ":" in request:
                means[package.name] = package.name
            elif self.catalog.members(package.family)[0] is package:
                bare = (package.family, *(alias for alias in package.aliases if ":" not in alias))
                means |= dict.fromkeys(bare, package.family)
        names = list(dict.fromkeys(means[name] for name in catalog.matching(means, request)))
        if not names:
            raise NothingMatchedError(f"no package here matches `{request}`", hint="`jetson-containers list` shows all")
        return names

    def _demand(self, dependency: Dependency, by: str) -> Demand:
        if (dependency, by) not in self._made:
            self._made[dependency, by] = self._new_demand(dependency, by)
        return self._made[dependency, by]

    def _new_demand(self, dependency: Dependency, by: str) -> Demand:
        spelled = str(dependency)
        try:
            family, exact = self._target(dependency, by)
        except JetsonError as error:
            return Demand(
                key=f"!{spelled}",
                family=dependency.family,
                spelled=spelled,
                by=by,
                exact="",
                dependency=dependency,
                error=error,
            )
        series = bool(dependency.version and not exact)
        if series:
            dependency = replace(dependency, version=None, specifier=f"=={dependency.version}.*")
        key = (exact or f"{family}{dependency.specifier}") if self.coexists(family) else family
        return Demand(key=key, family=family, spelled=spelled, by=by, exact=exact, dependency=dependency, series=series)

    def _target(self, dependency: Dependency, by: str) -> tuple[str, str]:
        """The family a dependency means and the package it pins, empty when it pins none. Raises as `find`."""
        name = f"{dependency.family}:{dependency.version}" if dependency.version else dependency.family
        found = self.catalog.find(name, asked_by=by)
        if dependency.version and not self.catalog.has(name) and len(self.catalog.series(name)) > 1:
            return found.family, ""
        family = self.catalog.family_of(dependency.family)
        if dependency.version or family != found.family:
            return found.family, found.name
        if not any(dependency.accepts(package.version) for package in self.catalog.members(family)):
            raise self._no_version(dependency, family, by)
        return family, ""

    def _no_version(self, dependency: Dependency, family: str, by: str) -> JetsonError:
        asked = f", which `{by}` asks for," if by else ""
        here = ", ".join(package.name for package in self.catalog.members(family))
        absent = self.catalog.absent_members(family)
        fitting = [item for item in absent if dependency.accepts(item.package.version)]
        message = f"no version of `{family}` on this platform satisfies `{dependency}`{asked.rstrip(',')}"
        if fitting:
            details = [f"{item.package.name}: {item.reason}" for item in fitting]
            return UnavailablePackageError(message, hint=f"available here: {here}", details=details)
        return UnknownPackageError(message, hint=f"available here: {here}")

    def _is_skipped(self, demand: Demand) -> bool:
        if not self.skip:
            return False
        others = [alias for alias, family in self.catalog.family_aliases.items() if family == demand.family]
        return self._matches((demand.spelled, demand.family, *others, *([demand.exact] if demand.exact else [])))

    def _matches(self, names: Iterable[str]) -> bool:
        found = set(names)
        hits = {pattern for pattern, meant in self._meant.items() if found & meant or catalog.matching(found, pattern)}
        self.skipped |= hits
        return bool(hits)


def _parsed(text: str) -> Dependency:
    try:
        return Dependency.parse(text)
    except RequirementSyntaxError as error:
        error.hint = tree.directory_hint(text) or error.hint
        raise
