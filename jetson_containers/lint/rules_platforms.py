"""Rules about packages together, on every platform: names, defaults, dependencies, closures, layers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import JetsonError, LayerBudgetError, RecipeError
from jetson_containers.core.text import is_number
from jetson_containers.lint import apt_names, programs
from jetson_containers.lint.findings import finding
from jetson_containers.plan import plan
from jetson_containers.resolver import solve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jetson_containers.lint.findings import LintFinding
    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.package import Package


@dataclass
class Gathered:
    """Problems that several platforms share, each with the platforms it was met on."""

    found: dict[tuple[str, Path, int, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, rule: str, origin: str, message: str, target: str) -> None:
        """Note a problem; `origin` is `file:line`."""
        file, _, line = origin.rpartition(":")
        key = (rule, Path(file or origin), int(line) if file and is_number(line) else 0, message)
        if target not in self.found[key]:
            self.found[key].append(target)

    def findings(self, total: int) -> Iterator[LintFinding]:
        """One finding per problem."""
        for (rule, file, line, message), targets in self.found.items():
            where = "everywhere" if len(targets) == total > 1 else f"on {', '.join(targets)}"
            yield finding(rule, file, line, f"{message} ({where})")


def origin(package: Package) -> str:
    """`file:line` with the full path: `Package.origin` may hold only the file's name."""
    name, _, line = package.origin.rpartition(":")
    return f"{package.path / name.rpartition('/')[2]}:{line}" if name and is_number(line) else str(package.path)


def check(
    catalog: Catalog, target: str, wanted: frozenset[Path], gathered: Gathered, called: programs.Programs
) -> None:
    """All rules on one platform, for the packages in the directories `wanted`."""
    _broken(catalog, target, wanted, gathered)
    _names(catalog, target, wanted, gathered)
    for package in catalog.available.values():
        if package.path in wanted and not _dangling(catalog, package, target, gathered):
            _closure(catalog, package, target, gathered, called)
        for message in apt_names.absent(package, catalog.platform) if package.path in wanted else ():
            gathered.add("apt-absent", origin(package), f"`{package.name}`: {message}", target)


def _broken(catalog: Catalog, target: str, wanted: frozenset[Path], gathered: Gathered) -> None:
    for error in catalog.broken:
        folder = error.path if error.path.is_dir() else error.path.parent
        if folder in wanted:
            rule = "two-defaults" if "two default versions" in error.message else "recipe-broken"
            gathered.add(rule, f"{error.path}:{error.line or ''}", _without_place(error), target)


def _without_place(error: RecipeError) -> str:
    where = f"{error.path}:{error.line}" if error.line else str(error.path)
    return error.message.removeprefix(f"{where}: ")


def _names(catalog: Catalog, target: str, wanted: frozenset[Path], gathered: Gathered) -> None:
    """Names that mean two packages. Versions of one family share their family's names by intention."""
    owners: dict[str, Package] = {package.name: package for package in catalog.available.values()}
    for package in sorted(catalog.available.values(), key=lambda package: package.name):
        for alias in package.aliases:
            first = owners.setdefault(alias, package)
            if first.family != package.family and wanted & {first.path, package.path}:
                message = f"`{alias}` is a name of `{package.name}` and of `{first.name}`"
                gathered.add("name-duplicate", origin(package), message, target)


def duplicates(packages: Sequence[Package], wanted: frozenset[Path]) -> Iterator[LintFinding]:
    """Full names that two directories define; `packages` as read, before the first one won."""
    first: dict[str, Package] = {}
    for package in packages:
        other = first.setdefault(package.name, package)
        if other.path != package.path and wanted & {other.path, package.path}:
            file, _, line = origin(package).rpartition(":")
            message = f"`{package.name}` is defined by {other.path} already"
            yield finding("name-duplicate", Path(file), int(line or 0), message)


def _dangling(catalog: Catalog, package: Package, target: str, gathered: Gathered) -> bool:
    compile_needs = package.artifacts.depends if package.artifacts else ()
    found = False
    for need in dict.fromkeys((*package.depends, *compile_needs)):
        members = () if need.version else catalog.members(need.family)
        if any(need.accepts(item.version) for item in members) or _exists(catalog, str(need)):
            continue
        gathered.add("depends-dangling", origin(package), f"`{package.name}` needs `{need}`", target)
        found = True
    return found


def _exists(catalog: Catalog, name: str) -> bool:
    try:
        catalog.find(name)
    except JetsonError:
        return False
    return True


def _closure(catalog: Catalog, package: Package, target: str, gathered: Gathered, called: programs.Programs) -> None:
    try:
        resolution = solve.solve(catalog, (package.name,))
        plan.make(resolution, catalog.platform, plan.PlanOptions())
        compiling = resolution.build_closures.get(package.name, ())
        for file, line, message in programs.check(called, package, resolution.packages, compiling):
            gathered.add("command-missing", f"{file}:{line}", f"`{package.family}` {message}", target)
    except LayerBudgetError as error:
        gathered.add("layers", origin(package), f"{error.message}: {'; '.join(error.details)}", target)
    except RecipeError as error:
        gathered.add("recipe-broken", f"{error.path}:{error.line or ''}", _without_place(error), target)
    except JetsonError as error:
        details = "; ".join(" ".join(line.split()) for line in error.details[:3])
        text = f"`{package.name}`: {error.message}" + (f" ({details})" if details else "")
        gathered.add("closure", origin(package), text, target)
