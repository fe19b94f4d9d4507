"""From a request to plans: platform → base image → catalog → resolver → plan, in that order and only here.

The base image comes before the catalogue because it decides the distribution and its Python: where no registry
answers, the base is made from the host's own distribution, and the recipes must be rendered for that one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers import keys, resolver
from jetson_containers import plan as plan_module
from jetson_containers.errors import JetsonError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetson_containers.catalog import Catalog
    from jetson_containers.package import Package
    from jetson_containers.plan import Plan, PlanOptions
    from jetson_containers.platforms import Platform


@dataclass(frozen=True)
class Request:
    """What the user asked to build."""

    packages: tuple[str, ...]
    multiple: bool = False
    skip: tuple[str, ...] = ()
    skip_errors: bool = False


@dataclass(frozen=True)
class Failure:
    """One request of several that cannot be planned."""

    request: str
    reason: str


@dataclass(frozen=True)
class Assembly:
    """Plans that can be run, and the requests that cannot be planned."""

    platform: Platform
    plans: tuple[Plan, ...]
    errors: tuple[Failure, ...] = field(default=())


def assemble(
    request: Request,
    platform: Platform,
    catalog_for: Callable[[Platform], Catalog],
    options: PlanOptions,
    *,
    base_digest: str = "",
) -> Assembly:
    """Plan a request. One chain for all packages, or with `multiple` one image per matching package.

    Raises what the resolver and the plan raise; with `multiple` a package that cannot be planned becomes a
    `Failure` with its reason instead.
    """
    catalog = catalog_for(platform)
    if not request.multiple:
        if not request.packages:
            raise UsageError("no package was named", hint="`./build.sh llama_cpp`; `jetson-containers list` shows all")
        chain = _plan(catalog, request.packages, request, options, base_digest)
        plan_module.check_build_args((chain,), options.build_args)
        return Assembly(platform, (chain,))
    plans, errors = [], []
    with keys.remembering():
        for package in _matching(catalog, request):
            try:
                plans.append(_plan(catalog, (package.name,), request, options, base_digest))
            except JetsonError as error:
                errors.append(Failure(package.name, error.message))
    plan_module.check_build_args(plans, options.build_args)
    return Assembly(platform, tuple(plans), tuple(errors))


def _matching(catalog: Catalog, request: Request) -> list[Package]:
    found = catalog.match(request.packages or ("*",))
    if not request.skip:
        return found
    skipped = {package.name for pattern in request.skip for package in _try_match(catalog, pattern)}
    return [package for package in found if package.name not in skipped]


def _try_match(catalog: Catalog, pattern: str) -> list[Package]:
    """What a --skip-packages pattern means here; one that matches nothing here may mean something elsewhere."""
    try:
        return catalog.match([pattern])
    except JetsonError:
        return []


def _plan(catalog: Catalog, names: Sequence[str], request: Request, options: PlanOptions, base_digest: str) -> Plan:
    skip = () if request.multiple else request.skip
    resolution = resolver.solve(catalog, names, skip=skip)
    made = plan_module.make(resolution, catalog.platform, options, base_digest=base_digest)
    return replace(made, request=tuple(names))
