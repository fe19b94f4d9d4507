"""The platform an image is built for or run on, and what follows from it alone."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import TargetError
from jetson_containers.platforms import tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.version import Version

    from jetson_containers.platforms.tables import Release

# What the kernel, Docker and the tags of images call a machine, and the kernel's name for it.
MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "aarch64", "arm64": "aarch64"}


class Arch(enum.Enum):
    """The user-space flavour, which decides what binaries run; not merely the CPU's instruction set.

    JetPack 7 boards (L4T 38/39) run the SBSA user space and are `SBSA` here although they are Tegra chips.
    """

    TEGRA = "tegra"
    SBSA = "sbsa"
    X86_64 = "x86_64"

    @property
    def machine(self) -> str:
        """The kernel's name of the instruction set, `uname -m`."""
        return "x86_64" if self is Arch.X86_64 else "aarch64"


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What a build or run is for. `origins` says where each value came from; it takes no part in equality.

    `cuda` is the CUDA of the images we build (None: CPU only); `driver_cuda` is the newest CUDA that the
    host's driver runs natively (None: unknown or no GPU). `sm` are the compute capabilities ×10 that images are
    compiled for: those of all chips of the L4T release, so that boards share images (87 is Orin). `soc`, `board`,
    `memory` (bytes the kernel sees) and `host` describe the machine and are no input of a build. `host` is only for
    reports: model, operating system, driver and CUDA toolkit of the machine we run on; empty for a cross target.
    `distro_chosen` says that the request names the distribution, so that no other may stand in for it.
    `unknown` says why the values are those of another release than the platform's, whose major no table holds.
    """

    arch: Arch
    l4t: Version | None
    jetpack: str | None
    cuda: Version | None
    driver_cuda: Version | None
    python: Version
    distro: str  # "ubuntu" or "debian"
    distro_version: str  # "22.04", "12"
    sm: tuple[int, ...]
    cuda_source: str = "apt"  # or "wheels": whence recipes take CUDA where they have both (setting `cuda_source`)
    soc: str | None = None
    board: str | None = None  # id of facts/boards.yaml, "orin-nx-16gb"
    memory: int | None = None
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)
    notices: tuple[str, ...] = field(default=(), compare=False)
    unknown: str = field(default="", compare=False)
    distro_chosen: bool = field(default=False, compare=False)
    host: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)

    @property
    def machine(self) -> str:
        """The kernel's name of the instruction set, `uname -m`."""
        return self.arch.machine

    @property
    def docker_platform(self) -> str:
        """What `docker --platform` calls it."""
        return "linux/amd64" if self.arch is Arch.X86_64 else "linux/arm64"

    def require_known(self) -> Platform:
        """The platform itself. Raises TargetError where its values are those of another release: a guess."""
        if self.unknown:
            same = [row.l4t for row in tables.releases() if self.l4t and row.l4t.major == self.l4t.major]
            newest = tables.newest(lambda row: not same or row.l4t in same)
            raise TargetError(
                self.unknown,
                details=(f"known: {tables.listing(same or [f'{major}.x' for major in tables.majors()])}",),
                hint=f"a newer jetson-containers may know it; or name a known one: --target r{newest and newest.l4t}",
            )
        return self

    @property
    def has_gpu(self) -> bool:
        """Whether images for this platform use CUDA."""
        return self.cuda is not None

    def build_facts(self) -> dict[str, Any]:
        """What images depend on and nothing else: equal on every machine that builds for the same target."""
        return {
            "arch": self.arch.value,
            "l4t": _text(self.l4t),
            "jetpack": self.jetpack,
            "cuda": _text(self.cuda),
            "python": str(self.python),
            "distro": self.distro,
            "distro_version": self.distro_version,
            "sm": list(self.sm),
        }

    def to_json(self) -> dict[str, Any]:
        """All values in a stable order; versions as text, None where there is none."""
        build = self.build_facts()
        return {
            "arch": build.pop("arch"),
            "machine": self.machine,
            "docker_platform": self.docker_platform,
            **build,
            "driver_cuda": _text(self.driver_cuda),
            "soc": self.soc,
            "board": self.board,
            "memory": self.memory,
        }


def comparable_ubuntu(platform: Platform) -> str:
    """The Ubuntu release whose package versions come nearest: `22.04` for itself and for Debian 12."""
    if platform.distro == "ubuntu":
        return platform.distro_version
    return str(tables.distro_row(platform.distro, platform.distro_version, "platform")["like"])


def oldest_cpu(platform: Platform) -> str:
    """The instructions that every CPU of the platform has, as GCC's `-march` names them; empty on x86_64."""
    if platform.arch is Arch.X86_64:
        return ""
    row = release(platform)
    return tables.march(platform.sm or (row.sm if row else ()))


def codename(platform: Platform) -> str:
    """The distribution's code name: jammy, bookworm."""
    return str(tables.distro_row(platform.distro, platform.distro_version, "platform")["codename"])


def default_base_image(platform: Platform) -> str:
    """The image a build starts from: NVIDIA's, which brings CUDA, on L4T up to 36.3, else the plain distribution.

    From L4T 36 on an image needs nothing of L4T itself, so another CUDA than the release's own gets a base without one.
    """
    row = release(platform)
    plain = f"{platform.distro}:{platform.distro_version}"
    if row is None or row.base is None or not platform.has_gpu:
        return plain
    if row.l4t.major >= 36 and platform.cuda != row.cuda:
        return plain
    same = (platform.distro, platform.distro_version) == ("ubuntu", row.ubuntu)
    return row.base if same else plain


def release(platform: Platform) -> Release | None:
    """The row of the L4T table that stands for the platform: cuDNN, TensorRT and others are there."""
    return tables.release_for(platform.l4t) if platform.l4t else None


def _text(version: Version | None) -> str | None:
    return str(version) if version is not None else None
