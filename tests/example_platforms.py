"""Platforms for tests, written out: a fault in the tables of releases and boards must not change what tests expect."""

from __future__ import annotations

from packaging.version import Version

from jetson_containers.platforms.platform import Arch, Platform

# JetPack 6.2 on an AGX Orin, as it is read from the board.
AGX_ORIN = Platform(
    arch=Arch.TEGRA,
    l4t=Version("36.4.3"),
    jetpack="6.2",
    cuda=Version("12.6"),
    driver_cuda=Version("12.6"),
    python=Version("3.10"),
    distro="ubuntu",
    distro_version="22.04",
    sm=(87,),
    soc="t234",
    board="agx-orin-64gb",
)

# JetPack 6.1, no board named.
ORIN_TARGET = Platform(
    arch=Arch.TEGRA,
    l4t=Version("36.4.0"),
    jetpack="6.1",
    cuda=Version("12.6"),
    driver_cuda=Version("12.6"),
    python=Version("3.10"),
    distro="ubuntu",
    distro_version="22.04",
    sm=(87,),
)

# JetPack 4.6.4.
NANO = Platform(
    arch=Arch.TEGRA,
    l4t=Version("32.7.4"),
    jetpack="4.6.4",
    cuda=Version("10.2"),
    driver_cuda=Version("10.2"),
    python=Version("3.6"),
    distro="ubuntu",
    distro_version="18.04",
    sm=(53,),
    soc="t210",
    board="nano",
)

# JetPack 7.1.
AGX_THOR = Platform(
    arch=Arch.SBSA,
    l4t=Version("38.4.0"),
    jetpack="7.1",
    cuda=Version("13.0"),
    driver_cuda=Version("13.0"),
    python=Version("3.12"),
    distro="ubuntu",
    distro_version="24.04",
    sm=(110,),
    soc="t264",
    board="agx-thor",
)


def without_gpu(arch: Arch, distro: str, version: str, python: str) -> Platform:
    """A PC or server without CUDA."""
    return Platform(
        arch=arch,
        l4t=None,
        jetpack=None,
        cuda=None,
        driver_cuda=None,
        python=Version(python),
        distro=distro,
        distro_version=version,
        sm=(),
    )


PC = without_gpu(Arch.X86_64, "ubuntu", "24.04", "3.12")
PC_WITH_DEBIAN = without_gpu(Arch.X86_64, "debian", "12", "3.11")
