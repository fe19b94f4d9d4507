"""What a target says besides the machine: CUDA, distribution, Python, GPU code. `Platform` in, `Platform` out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from jetson_containers.core.errors import ConfigError, TargetError
from jetson_containers.core.facts import load_facts
from jetson_containers.core.text import shown
from jetson_containers.platforms import tables, target
from jetson_containers.platforms.cuda import caution, runnable
from jetson_containers.platforms.platform import Arch

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.platforms.target import Parts, TargetPart

CUDA_SOURCES = ("apt", "wheels")
WHEELS_SINCE = Version("13.0")  # with the toolkit's own directories, for x86_64 and SBSA


def apply(platform: Platform, parts: Parts) -> Platform:
    """Apply what was asked for besides the machine: CUDA, distribution, Python, GPU code."""
    if parts.distro:
        name, _, version = parts.distro.value.partition(" ")
        if platform.l4t and platform.l4t.major <= 32 and version != platform.distro_version:
            notice = (
                f"{parts.distro}: L4T {platform.l4t} mounts libraries made for {platform.distro_version} into images"
            )
            platform = replace(platform, notices=(*platform.notices, notice))
        platform = replace(rebase(platform, name, version, parts.distro.place), distro_chosen=True)
    if parts.cuda:
        platform = _with_cuda(platform, parts.cuda, parts)
    if parts.python:
        platform = _set(platform, "python", Version(parts.python.value), parts.python.place)
    if parts.sm:
        platform = _with_sm(platform, parts.sm)
    return platform


def rebase(platform: Platform, distro: str, version: str, origin: str) -> Platform:
    """The same platform on another distribution, because the base image is one.

    Python follows the distribution unless another one than its own had been asked for. Raises TargetError for a
    distribution that is not in the table.
    """
    row = tables.distro_row(distro, version, origin)
    own = tables.distro(platform.distro, platform.distro_version)
    asked = own is None or str(platform.python) != own["python"]
    origins = {**platform.origins, "distro": origin, "distro_version": origin}
    if not asked:
        origins["python"] = f"of {distro} {version}"
    return replace(
        platform,
        distro=distro,
        distro_version=version,
        python=platform.python if asked else Version(row["python"]),
        origins=origins,
    )


def with_cuda_source(platform: Platform, source: str, origin: str) -> Platform:
    """The same platform with CUDA from `apt` (also if empty) or `wheels`, said in `origin`. Raises ConfigError."""
    source = source or CUDA_SOURCES[0]
    if source not in CUDA_SOURCES:
        raise ConfigError(
            f"setting `cuda_source` ({origin}): `{shown(source)}` is none", hint=f"it is {' or '.join(CUDA_SOURCES)}"
        )
    if source == "wheels" and platform.cuda and (platform.cuda < WHEELS_SINCE or platform.arch is Arch.TEGRA):
        notice = (
            f"`cuda_source: wheels` ({origin}) changes nothing here: wheels have CUDA {WHEELS_SINCE} and newer only"
        )
        platform = replace(platform, notices=(*platform.notices, notice))
    return replace(platform, cuda_source=source)


def _with_cuda(platform: Platform, part: TargetPart, parts: Parts) -> Platform:
    if part.value == target.CPU:
        platform = _set(_set(platform, "cuda", None, part.place), "driver_cuda", None, part.place)
        return _set(platform, "sm", (), "no CUDA")
    cuda = Version(part.value)
    _check_cuda(platform, cuda, part, parts)
    platform = _set(platform, "cuda", cuda, part.place)
    if platform.l4t is None:
        platform = _set(platform, "sm", tables.generic_sm(platform.arch.value, cuda), "table, by CUDA")
        if platform.driver_cuda and cuda > platform.driver_cuda:
            notice = f"{part}: the driver of this machine runs CUDA {platform.driver_cuda} at most"
            return replace(platform, notices=(*platform.notices, notice))
    elif notice := caution(cuda, platform.l4t, platform.driver_cuda):
        return replace(platform, notices=(*platform.notices, f"{part}: {notice}"))
    return platform


def _check_cuda(platform: Platform, cuda: Version, part: TargetPart, parts: Parts) -> None:
    """Refuse a CUDA that does not exist, or that the L4T release cannot run."""
    if cuda not in tables.toolkits():
        raise TargetError(f"{part}: no such CUDA", details=(f"known: {tables.listing(tables.toolkits())}",))
    if platform.l4t is None:
        return
    runs = runnable(platform.l4t, platform.driver_cuda)
    if cuda not in runs:
        why = f"L4T {platform.l4t} runs CUDA {tables.listing(runs)}"
        named = parts.l4t or parts.jetpack or parts.board
        able = [
            f"r{each.l4t}"
            for each in tables.releases()
            if platform.soc in (None, *each.socs) and cuda in runnable(each.l4t, each.driver_cuda)
        ]
        further = f", or name a release that runs CUDA {cuda}: {tables.listing(able[:4])}" if able else ""
        hint = f"take one of these{further}"
        if named:
            raise target.conflict(part, named, why, hint=hint)
        raise TargetError(f"{part}: {why}", hint=hint)


def _with_sm(platform: Platform, part: TargetPart) -> Platform:
    wanted = tuple(sorted({int(text) for text in part.value.split(",")}))
    if platform.cuda is None:
        raise TargetError(f"{part}: this platform has no CUDA", hint="leave it out, or add a CUDA: cu128")
    for sm in wanted:
        needs = tables.needs_cuda(sm)
        if needs is None:
            known = tables.listing(load_facts("cuda")["gpus"])
            raise TargetError(f"{part}: no GPU has compute capability {sm / 10}", details=(f"known: {known}",))
        if platform.l4t and sm not in platform.sm:
            raise TargetError(
                f"{part}: no chip of L4T {platform.l4t} is a {tables.gpu_name(sm)}",
                hint=f"its chips: {tables.listing(f'sm{chip}' for chip in platform.sm)}",
            )
        if needs > platform.cuda:
            raise TargetError(
                f"{part}: code for {tables.gpu_name(sm)} needs CUDA {needs}, not {platform.cuda}",
                hint=f"name a newer one: cu{needs.major}{needs.minor}",
            )
    return _set(platform, "sm", wanted, part.place)


def _set(platform: Platform, name: str, value: object, origin: str) -> Platform:
    changes: dict[str, Any] = {name: value, "origins": {**platform.origins, name: origin}}
    return replace(platform, **changes)
