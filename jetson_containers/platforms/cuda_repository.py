"""NVIDIA's apt repository of CUDA for a platform, and the key it is signed with (`facts/cuda_repositories.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.version import Version

from jetson_containers.core.facts import load_facts
from jetson_containers.platforms.platform import Arch, comparable_ubuntu

if TYPE_CHECKING:
    from jetson_containers.platforms.platform import Platform


@dataclass(frozen=True, kw_only=True)
class CudaRepository:
    """A repository by name (`ubuntu2404/x86_64`); `problem` says why nothing can be installed from it."""

    name: str
    key_file: str = ""  # below the repository
    key: str = ""  # the whole fingerprint
    problem: str = ""


def own(platform: Platform) -> CudaRepository:
    """The repository with CUDA itself.

    Integrated GPUs up to L4T 36 have `arm64`, for Ubuntu 20.04 and 22.04 only, SBSA servers and Thor `sbsa`, PCs
    `x86_64`. NVIDIA has none for Debian on Arm; there it is that of the Ubuntu that is nearest.
    """
    if platform.distro == "debian" and platform.arch is Arch.X86_64:
        return _known(f"debian{platform.distro_version}/x86_64", platform)
    if platform.arch is Arch.TEGRA:
        old = platform.l4t is not None and platform.l4t < Version("36")
        return _known("ubuntu2004/arm64" if old else "ubuntu2204/arm64", platform)
    return of_ubuntu(platform)


def of_ubuntu(platform: Platform) -> CudaRepository:
    """The repository with what NVIDIA packages for Ubuntu only: NCCL and TensorRT."""
    if platform.arch is Arch.TEGRA:
        return own(platform)
    ubuntu = comparable_ubuntu(platform).replace(".", "")
    return _known(f"ubuntu{ubuntu}/{platform.arch.value}", platform)


def _known(name: str, platform: Platform) -> CudaRepository:
    facts = load_facts("cuda_repositories")
    found = CudaRepository(name=name)
    row = facts["repositories"].get(name)
    if row is None:
        return replace(found, problem=f"no signing key of NVIDIA's apt repository {name} is known")
    key = facts["keys"][row["key"]]
    found = replace(found, key_file=row["key"], key=key["fingerprint"])
    if f"{platform.distro}:{platform.distro_version}" in key.get("refused", ()):
        distro = f"{platform.distro.capitalize()} {platform.distro_version}"
        return replace(found, problem=f"{distro} refuses the signing key of NVIDIA's apt repository {name}")
    if platform.cuda and "first" in row and platform.cuda < Version(row["first"]):
        return replace(found, problem=f"NVIDIA's apt repository {name} has no CUDA before {row['first']}")
    return found
