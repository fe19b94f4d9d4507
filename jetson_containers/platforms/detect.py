"""The platform an image is built for or run on: detection, cross targets, and what follows from either.

Pure but for reading the files of one root directory, which is a parameter: a folder of captured files is a test
case for any board and release (`host`). What was asked for comes as `target.Parts`; the facts are in `tables`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from jetson_containers.core.errors import TargetError
from jetson_containers.platforms import tables
from jetson_containers.platforms.l4t import known, of_parts, same_jetpack
from jetson_containers.platforms.platform import Arch, Platform
from jetson_containers.platforms.target import ELSEWHERE, conflict, from_env, from_target, merge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.platforms.host import HostFacts
    from jetson_containers.platforms.tables import Release
    from jetson_containers.platforms.target import Parts

GENERIC_UBUNTU = "24.04"  # of images for machines without L4T, whatever the host runs


def detect(root: Path = Path("/"), env: Mapping[str, str] | None = None, target: str = "") -> Platform:
    """Read the host below `root`, then apply upstream's variables from `env`, then `target`.

    A target that names a machine (release, board, architecture) stands alone: the host is not read. Variables that
    merely repeat what the host is leave its board and memory known.

    Raises TargetError for an unknown major release or target part, ConfigError for a variable with a value
    that cannot be right, and TargetError naming the file for a garbage `nv_tegra_release`.
    """
    wanted = from_target(target)
    parts = merge(from_env(env or {}), wanted)
    if wanted.names_machine and not wanted.only_tegra:
        return _cross(parts)
    if parts.names_machine and not wanted.names_machine:
        host, problem = _try_read(root)
        if host is None or not _repeats(parts, host):
            return _cross(parts, problem)
    else:
        host = _read(root)
    if wanted.only_tegra and not _repeats(parts, host):
        return _cross(parts)
    return _of_host(host, parts)


def parse_target(target: str) -> Platform:
    """Make the platform of a cross target alone (`r36.4.3,cu128`), without looking at the host.

    A target that names no machine is one for x86_64.
    """
    return _cross(from_target(target))


# From the host ------------------------------------------------------------------------------------------------------


def _read(root: Path) -> HostFacts:
    from jetson_containers.platforms import host  # a target that names a machine needs none of it

    return host.read(root)


def _try_read(root: Path) -> tuple[HostFacts | None, tuple[str, ...]]:
    """Read a host whose answer is welcome but not needed, since variables name a machine."""
    try:
        return _read(root), ()
    except TargetError as error:
        return None, (f"this machine could not be read; using the environment: {error.message}",)


def _repeats(parts: Parts, host: HostFacts) -> bool:
    """Whether what names a machine is true of the host anyway."""
    row = tables.release_for(host.l4t) if host.l4t else None
    flavour = row.arch if row else ("sbsa" if host.machine == "aarch64" else "x86_64")
    if parts.arch and parts.arch.value not in {flavour, host.machine}:
        return False
    if parts.board and parts.board.value != host.board:
        return False
    if parts.jetpack and (row is None or not same_jetpack(row.jetpack, parts.jetpack.value)):
        return False
    return parts.l4t is None or (host.l4t is not None and Version(parts.l4t.value) == host.l4t)


def _of_host(host: HostFacts, parts: Parts) -> Platform:
    notices = list(host.notices)
    if host.l4t is not None:
        row, unknown = known(host.l4t, host.l4t_origin, notices)
        base = _of_release(host.l4t, row, host.l4t_origin, unknown)
        if host.machine != "aarch64":
            raise TargetError(
                f"{host.l4t_origin} says L4T {host.l4t}, but this machine is {host.machine}",
                hint=ELSEWHERE,
            )
        if host.soc and host.soc not in row.socs:
            notices.append(f"L4T {row.l4t} is not known to run on {tables.socs()[host.soc]['name']}")
        base = _host_distro(base, host, row, notices)
    elif host.soc and not tables.soc_arch(host.soc):
        raise TargetError(
            f"this is a Jetson ({host.model or host.soc}), but its L4T release is unknown: "
            "/etc/nv_tegra_release is missing and nvidia-l4t-core is not installed",
            hint=ELSEWHERE,
        )
    else:
        base = _of_driver(host, notices)
    described = replace(base, soc=host.soc, board=host.board, memory=host.memory, host=_report(host))
    origins = {
        **base.origins,
        "soc": _soc_origin(host),
        "board": host.board_origin or ("not in the table" if host.soc else "not a Jetson"),
        "memory": "/proc/meminfo" if host.memory else "unknown",
    }
    return _applied(replace(described, origins=origins, notices=tuple(notices)), parts)


def _soc_origin(host: HostFacts) -> str:
    if host.soc is None:
        return "not a Jetson"
    return host.board_origin if tables.soc_arch(host.soc) else "/proc/device-tree/compatible"


def _host_distro(base: Platform, host: HostFacts, row: Release, notices: list[str]) -> Platform:
    """Up to L4T 32 libraries come from the host, so its Ubuntu counts; later, images have their own."""
    if host.distro != "ubuntu" or host.distro_version == row.ubuntu or not host.distro_version:
        return base
    if row.l4t.major > 32:
        notices.append(
            f"this machine runs Ubuntu {host.distro_version}; images use {row.ubuntu}, which L4T {row.l4t} came with"
        )
        return base
    notices.append(f"this machine runs Ubuntu {host.distro_version} instead of {row.ubuntu}: images must match it")
    from jetson_containers.platforms import overrides

    return overrides.rebase(base, "ubuntu", host.distro_version, "/etc/os-release")


def _of_driver(host: HostFacts, notices: list[str]) -> Platform:
    """A machine without L4T: CUDA as its NVIDIA driver runs it, none without a driver."""
    arch = Arch.X86_64 if host.machine == "x86_64" else Arch.SBSA
    if host.driver is None:
        return _generic(arch, "machine", None, "no NVIDIA driver: CPU only")
    runs = tables.driver_cuda(host.driver)
    origin = f"NVIDIA driver {host.driver}"
    newest = min(runs, tables.default_cuda()) if runs else Version("0")
    fitting = [cuda for cuda in tables.toolkits() if cuda <= newest and tables.generic_sm(arch.value, cuda)]
    if not fitting:
        notices.append(f"{origin} is too old for the CUDA of these images: CPU only")
        return replace(_generic(arch, "machine", None, f"{origin} is too old"), driver_cuda=runs)
    platform = _generic(arch, "machine", fitting[-1], f"newest that {origin} runs")
    return replace(platform, driver_cuda=runs, origins={**platform.origins, "driver_cuda": origin})


def _report(host: HostFacts) -> dict[str, str]:
    values = {
        "machine": host.machine,
        "model": host.model,
        "os": host.os_name,
        "distro": host.distro,
        "distro_version": host.distro_version,
        "driver": host.driver or "",
        "cuda_toolkit": host.toolkit or "",
    }
    return {key: value for key, value in values.items() if value}


# From a target ------------------------------------------------------------------------------------------------------


def _cross(parts: Parts, problem: tuple[str, ...] = ()) -> Platform:
    notices = list(problem)
    asked = of_parts(parts, notices)
    if asked:
        _check_arch(parts, asked.row)
        base = _of_release(asked.l4t, asked.row, asked.origin, asked.unknown)
    else:
        base = _generic(*_asked_arch(parts), tables.default_cuda(), "default")
    if parts.board:
        base = _with_board(base, parts)
    return _applied(replace(base, notices=tuple(notices)), parts)


def _check_arch(parts: Parts, row: Release) -> None:
    asked = parts.arch
    named = parts.l4t or parts.jetpack or parts.board
    if asked is None or named is None or asked.value in {row.arch, "aarch64"}:
        return
    why = f"L4T {row.l4t} runs the {row.arch} user space"
    raise conflict(asked, named, why, hint=f"leave out `{asked.text}`")


def _asked_arch(parts: Parts) -> tuple[Arch, str]:
    asked = parts.arch
    own = tables.soc_arch(tables.boards()[parts.board.value].soc) if parts.board else None
    if parts.board and own:
        if asked and asked.value not in {own, "aarch64"}:
            raise conflict(asked, parts.board, f"it runs the {own} user space", hint=f"leave out `{asked.text}`")
        return Arch(own), parts.board.place
    if asked is None:
        return Arch.X86_64, "default of a target that names no machine"
    if asked.value == "tegra":
        raise TargetError(
            f"{asked} names no L4T release",
            details=(f"known: {tables.listing(row.l4t for row in tables.releases())}",),
            hint="add one, or a board: --target r36.4.3, --target orin-nx-16gb",
        )
    return (Arch.SBSA if asked.value == "aarch64" else Arch(asked.value)), asked.place


def _with_board(base: Platform, parts: Parts) -> Platform:
    part = parts.board
    if part is None:
        return base
    board = tables.boards()[part.value]
    runs = tables.listing(board.l4t) or (tables.soc_arch(board.soc) and "without L4T")
    if base.l4t and runs and not board.boots(base.l4t):
        other = parts.l4t or parts.jetpack or part
        why = f"{board.name} does not run L4T {base.l4t}; it runs {runs}"
        raise conflict(part, other, why, hint="leave one of them out")
    memory, what = (board.visible << 20, "visible") if board.visible else (board.memory << 30, "nominal")
    origins = {"soc": part.place, "board": part.place, "memory": f"{what} memory of {board.id}"}
    return replace(base, soc=board.soc, board=board.id, memory=memory, origins={**base.origins, **origins})


# Either way ---------------------------------------------------------------------------------------------------------


def _applied(platform: Platform, parts: Parts) -> Platform:
    if not (parts.cuda or parts.distro or parts.python or parts.sm):
        return platform
    from jetson_containers.platforms import overrides

    return overrides.apply(platform, parts)


def _of_release(l4t: Version, row: Release, origin: str, unknown: str = "") -> Platform:
    table = f"table, L4T {row.l4t}"
    names = ("jetpack", "arch", "cuda", "driver_cuda", "distro", "distro_version", "sm")
    python = tables.distro_row("ubuntu", row.ubuntu, table)["python"]
    return Platform(
        arch=Arch(row.arch),
        l4t=l4t,
        jetpack=None if unknown else row.jetpack,
        unknown=unknown,
        cuda=row.cuda,
        driver_cuda=row.driver_cuda,
        python=Version(python),
        distro="ubuntu",
        distro_version=row.ubuntu,
        sm=row.sm,
        soc=row.socs[0] if len(row.socs) == 1 else None,
        origins={
            **_nowhere(),
            **dict.fromkeys(names, table),
            "l4t": origin,
            "python": f"of ubuntu {row.ubuntu}",
            "soc": table if len(row.socs) == 1 else "several in this release",
            "board": "no board named",
        },
    )


def _generic(arch: Arch, arch_origin: str, cuda: Version | None, cuda_origin: str) -> Platform:
    """A platform without L4T."""
    return Platform(
        arch=arch,
        l4t=None,
        jetpack=None,
        cuda=cuda,
        driver_cuda=None,
        python=Version(tables.distro_row("ubuntu", GENERIC_UBUNTU, "default")["python"]),
        distro="ubuntu",
        distro_version=GENERIC_UBUNTU,
        sm=tables.generic_sm(arch.value, cuda) if cuda else (),
        origins={
            **_nowhere(),
            "arch": arch_origin,
            "cuda": cuda_origin,
            "distro": "default",
            "distro_version": "default",
            "python": f"of ubuntu {GENERIC_UBUNTU}",
            "sm": "table, by CUDA" if cuda else "no CUDA",
        },
    )


def _nowhere() -> dict[str, str]:
    """Origins of what nothing says anything about."""
    unknown = {"driver_cuda": "unknown", "memory": "unknown"}
    return {**dict.fromkeys(("l4t", "jetpack", "soc", "board"), "not a Jetson"), **unknown}
