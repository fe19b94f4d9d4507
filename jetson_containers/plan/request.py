"""From a request to plans: platform → base image → catalog → resolver → plan, in that order and only here.

The base image comes before the catalog because it decides the distribution and its Python: where no registry
answers, the base is made from the host's own distribution, and the recipes must be rendered for that one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import JetsonError, UnsatisfiableError, UsageError
from jetson_containers.plan import keys, plan
from jetson_containers.plan.order import CanonicalOrder
from jetson_containers.resolver import solve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.plan.plan import BuildPlan, PlanOptions
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.package import Package
    from jetson_containers.resolver.solve import Resolution


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked to build."""

    packages: tuple[str, ...]
    multiple: bool = False
    skip: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)  # as PYTORCH_VERSION=2.5: pins of families in the image


@dataclass(frozen=True)
class PlanFailure:
    """One request of several that cannot be planned."""

    request: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Plans that can be run, and the requests that cannot be planned."""

    platform: Platform
    plans: tuple[BuildPlan, ...]
    errors: tuple[PlanFailure, ...] = field(default=())


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
    `PlanFailure` with its reason instead.
    """
    catalog = catalog_for(platform.require_known())
    packages, skip = (tuple(map(catalog.spelled, names)) for names in (request.packages, request.skip))
    request = replace(request, packages=packages, skip=skip)
    order = CanonicalOrder.of(catalog) if options.order == plan.CANONICAL else None
    if not request.multiple:
        if not request.packages:
            raise UsageError("no package given", hint="`./build.sh llama_cpp`; `jetson-containers list` shows all")
        with keys.remembering():
            chain = _plan(catalog, request.packages, request, options, base_digest, order)
        notices = (*plan.check_build_args((chain,), options.build_args), *plan.missing_tests((chain,)))
        return Assembly(platform=platform, plans=(_noted(chain, notices),))
    plans, errors = [], []
    with keys.remembering():
        for package in _matching(catalog, request):
            try:
                plans.append(_plan(catalog, (package.name,), request, options, base_digest, order))
            except JetsonError as error:
                errors.append(PlanFailure(package.name, error.message))
    _check_names(plans)
    notices = (*plan.check_build_args(plans, options.build_args), *plan.missing_tests(plans))
    return Assembly(
        platform=platform, plans=(*(_noted(item, notices) for item in plans[:1]), *plans[1:]), errors=tuple(errors)
    )


def _check_names(plans: Sequence[BuildPlan]) -> None:
    """Raise UsageError where images of several packages would have one name: the last would take it from the others."""
    owners: dict[str, BuildPlan] = {}
    for made in plans:
        first = owners.setdefault(made.final, made)
        if first is not made:
            both = " and ".join(f"`{' '.join(each.request)}`" for each in (first, made))
            raise UsageError(
                f"`{made.final}` would be the image of {both}",
                hint="`--name NAMESPACE/` gives each its own name below it",
            )


def _noted(made: BuildPlan, notices: Sequence[str]) -> BuildPlan:
    return replace(made, notices=(*made.notices, *notices))


def _matching(catalog: Catalog, request: Request) -> list[Package]:
    pins = _pins(catalog, request.variables)
    found = catalog.match([_with_pin(catalog, name, pins) for name in request.packages] or ("*",))
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


def _plan(
    catalog: Catalog,
    names: Sequence[str],
    request: Request,
    options: PlanOptions,
    base_digest: str,
    order: CanonicalOrder | None,
) -> BuildPlan:
    skip = () if request.multiple else request.skip
    resolution = _resolve(catalog, names, skip, request.variables)
    resolution = order.arrange(resolution) if order else resolution
    made = plan.make(resolution, catalog.platform, options, base_digest=base_digest)
    return replace(made, request=tuple(names))


@dataclass(frozen=True)
class _Pin:
    """The version of one family that an environment variable asks for, as upstream's variables do."""

    variable: str
    package: str  # `pytorch:2.5`


def _pins(catalog: Catalog, variables: Mapping[str, str]) -> dict[str, _Pin]:
    """By family, for the families that the catalog has, absent ones included."""
    known = {package.family for package in catalog.available.values()}
    known |= {item.package.family for item in catalog.absent.values()}
    named = {f"{family.upper().replace('-', '_').replace('.', '_')}_VERSION": family for family in sorted(known)}
    return {
        named[name]: _Pin(name, f"{named[name]}:{value.strip()}")
        for name, value in variables.items()
        if name in named and value.strip()
    }


def _family(catalog: Catalog, request: str) -> str | None:
    return catalog.family_of(re.split(r"[:<>=!~\s]", request, maxsplit=1)[0])


def _with_pin(catalog: Catalog, name: str, pins: Mapping[str, _Pin]) -> str:
    """The pinned package instead of a bare name; a request that names a version itself stays as it is."""
    pin = pins.get(_family(catalog, name) or "")
    return name if pin is None or re.search(r"[:<>=!~]", name) else pin.package


def _resolve(catalog: Catalog, names: Sequence[str], skip: Sequence[str], variables: Mapping[str, str]) -> Resolution:
    """Resolve with the pins of those families that the image holds. Raises what `solve` raises, naming the variable.

    A family that only a dependency brings is pinned as soon as a solution holds it, so one pin may bring another.
    """
    pins = _pins(catalog, variables)
    asked = [_with_pin(catalog, name, pins) for name in names]
    ours = {_family(catalog, name) for name in names}
    used = {family for family in ours if family in pins and pins[family].package in asked}
    added: set[str] = set()
    while True:
        _check(catalog, [pins[family] for family in sorted(used | added)])
        try:
            resolution = solve.solve(catalog, [*asked, *(pins[family].package for family in sorted(added))], skip=skip)
        except UnsatisfiableError as error:
            asking = [f"${pins[family].variable} asks for {pins[family].package}" for family in sorted(used | added)]
            error.details = (*error.details, *asking)
            raise
        held = {package.family for package in resolution.packages} & set(pins)
        new = held - ours - added
        if not new:
            break
        added |= new
    versions = {package.family: package.name for package in resolution.packages}
    notices = [f"${pins[family].variable} pins {versions[family]}" for family in sorted((used | added) & held)]
    notices += [
        f"${pins[family].variable} is not used: the request names a version" for family in sorted(held - used - added)
    ]
    requested = tuple(name for name in resolution.requested if name not in {versions.get(family) for family in added})
    return replace(resolution, requested=requested, notices=(*notices, *resolution.notices))


def _check(catalog: Catalog, pins: Sequence[_Pin]) -> None:
    for pin in pins:
        try:
            catalog.find(pin.package)
        except JetsonError as error:
            unset = f"unset {pin.variable}"
            hint = f"{error.hint}; or {unset}" if error.hint else unset
            raise UsageError(f"${pin.variable}: {error.message}", hint=hint, details=error.details) from error
