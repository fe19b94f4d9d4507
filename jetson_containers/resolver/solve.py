"""Requested names → one consistent set of packages and an order, or an error that says why there is none.

Solved with resolvelib (one version per family unless a package says `coexist`), ordered so that a dependency comes
before its dependants and otherwise as declared; the result does not depend on file-system order.

Of several versions that satisfy every demand, a pinned one comes before the default, and the default before the
newest. So an explicit `X:1.2` anywhere is what a bare `X` means in the whole image.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jetson_containers.core.errors import CycleError, JetsonError, UsageError
from jetson_containers.recipes.requirement import is_pattern
from jetson_containers.resolver.demands import Demands
from jetson_containers.resolver.search import VersionSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.demands import Demand
    from jetson_containers.resolver.solution import Solution


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """What one image consists of.

    `requested` are the full names of the packages asked for, in that order. `packages` in the order they stand in the
    image; `depends` maps a package name to the names (concrete, versioned) it depends on; `build_closures` maps each
    package that has `artifacts`, in the image or in another closure, to the ordered packages its compile part stands
    on (the closure of `artifacts.depends`, or of its own `depends` where there is no such list; the same versions as in
    `packages` where both contain a family), and `closure_depends` says for each of these what `depends` says for the
    image; `pulled_by` maps a package name to the packages that depend on it.
    """

    requested: tuple[str, ...]
    packages: tuple[Package, ...]
    depends: Mapping[str, tuple[str, ...]]
    build_closures: Mapping[str, tuple[Package, ...]] = field(default_factory=dict)
    closure_depends: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    pulled_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notices: tuple[str, ...] = ()


def solve(catalog: Catalog, requests: Sequence[str], *, skip: Sequence[str] = ()) -> Resolution:
    """Resolve. `skip` are patterns of packages left out together with what only they need.

    A request is a name, alias, `name:version`, a PEP 440 range or a glob over the default packages. Raises
    UnknownPackageError, UnavailablePackageError, NothingMatchedError, UnsatisfiableError (naming both demanders and
    the way out) or CycleError (printing the chain).
    """
    if catalog.adaptable and catalog.own.available and not any(is_pattern(request) for request in requests):
        # What our own packages can make alone is made as if upstream's tree did not stand beside them.
        with contextlib.suppress(JetsonError):
            return _solve(catalog.own, requests, skip, None)
    return _solve(catalog, requests, skip, lambda others: _succeeds(catalog, others, skip))


def _solve(
    catalog: Catalog, requests: Sequence[str], skip: Sequence[str], attempt: Callable[[Sequence[str]], bool] | None
) -> Resolution:
    if not requests:
        raise UsageError("no package given", hint="`jetson-containers list` shows them all")
    demands = Demands(catalog, skip)
    wanted = demands.requested(requests)
    search = VersionSearch(demands, tuple(requests), attempt)
    solution = search.run(wanted)
    requested = tuple(dict.fromkeys(_targets(solution, wanted)))
    if not requested:
        raise UsageError(f"everything requested is skipped: {', '.join(requests)}")
    packages = _order(solution, wanted)
    depends = {package.name: _names(solution, package) for package in packages}
    closures, closure_depends = _build_closures(search, packages, solution)
    notices = [*solution.notices(packages), *_unused(demands)]
    return Resolution(
        requested=requested,
        packages=packages,
        depends=depends,
        build_closures=closures,
        closure_depends=closure_depends,
        pulled_by=_reversed(depends),
        notices=tuple(dict.fromkeys(notices)),
    )


def _succeeds(catalog: Catalog, requests: Sequence[str], skip: Sequence[str]) -> bool:
    try:
        _solve(catalog, requests, skip, None)
    except JetsonError:
        return False
    return True


def _targets(solution: Solution, wanted: Iterable[Demand]) -> list[str]:
    chosen = (solution.choice(demand) for demand in wanted)
    return [package.name for package in chosen if not solution.demands.skips(package)]


def _unused(demands: Demands) -> list[str]:
    return [f"nothing to skip matches `{pattern}`" for pattern in demands.skip if pattern not in demands.skipped]


def _names(solution: Solution, package: Package) -> tuple[str, ...]:
    return tuple(dict.fromkeys(other.name for other in solution.depends(package)))


def _reversed(depends: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    pulled: dict[str, list[str]] = {name: [] for name in depends}
    for name, needs in depends.items():
        for need in needs:
            pulled[need].append(name)
    return {name: tuple(by) for name, by in pulled.items()}


def _order(solution: Solution, wanted: Iterable[Demand], root: Package | None = None) -> tuple[Package, ...]:
    """Depth first over requests and `depends` as declared, each package after what it needs.

    `root` is the package whose compile part this is: it must not stand on itself. Raises CycleError.
    """
    done: dict[str, Package] = {}
    path = [root] if root else []
    starts = [package for package in map(solution.choice, wanted) if not solution.demands.skips(package)]
    for start in starts:
        _visit(solution, start, path, done)
    return tuple(done.values())


def _visit(solution: Solution, package: Package, path: list[Package], done: dict[str, Package]) -> None:
    if package.name in done:
        return
    if any(package.name == other.name for other in path):
        raise _cycle([*path, package])
    path.append(package)
    for need in solution.depends(package):
        _visit(solution, need, path, done)
    path.pop()
    done[package.name] = package


def _cycle(path: Sequence[Package], note: str = "") -> CycleError:
    """The chain from the first occurrence of the last package on."""
    start = next(index for index, package in enumerate(path) if package.name == path[-1].name)
    chain = path[start:]
    return CycleError(
        f"packages depend on each other{note}: {' -> '.join(package.name for package in chain)}",
        hint="remove one of these `depends`, or have one compile against less with `artifacts: {depends: …}`",
        details=[f"{package.name}: {package.origin or package.path}" for package in chain[:-1]],
    )


def _build_closures(
    search: VersionSearch, packages: Sequence[Package], main: Solution
) -> tuple[dict[str, tuple[Package, ...]], dict[str, dict[str, tuple[str, ...]]]]:
    """What the compile parts stand on, and what these packages depend on.

    Those of packages that only compiling needs are added as they turn up.
    """
    image = {package.name: package for package in packages}
    closures: dict[str, tuple[Package, ...]] = {}
    depends: dict[str, dict[str, tuple[str, ...]]] = {}
    todo = [package for package in packages if package.artifacts]
    for package in todo:
        if package.name in closures or package.artifacts is None:
            continue
        wanted = search.demands.made(package.artifacts.depends or package.depends, package.name)
        solution = search.run(wanted, compiling=package, image=main, pinned=image)
        closures[package.name] = _order(solution, wanted, package)
        depends[package.name] = {other.name: _names(solution, other) for other in closures[package.name]}
        todo += [other for other in closures[package.name] if other.artifacts]
    _refuse_compile_cycles(closures)
    return closures, depends


def _refuse_compile_cycles(closures: Mapping[str, tuple[Package, ...]]) -> None:
    """Two compile parts that stand on each other's packages can neither be compiled first."""
    done: set[str] = set()

    def visit(package: Package, path: list[Package]) -> None:
        if any(package.name == other.name for other in path):
            raise _cycle([*path, package], " when they are compiled")
        if package.name in done:
            return
        for other in closures.get(package.name, ()):
            if other.name in closures:
                visit(other, [*path, package])
        done.add(package.name)

    members = {package.name: package for closure in closures.values() for package in closure}
    for name in closures:
        if name in members:
            visit(members[name], [])
