"""The platform an image is built for or run on: detection, cross targets, and the tables behind them.

Pure but for reading the files of one root directory, which is a parameter: a folder of captured files is a test
case for any board and release. Tables: `facts/l4t.yaml`, `facts/boards.yaml`, `facts/cuda.yaml`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Mapping


class Arch(enum.Enum):
    """The user-space flavour, which decides what binaries run; not merely the CPU's instruction set.

    JetPack 7 boards (L4T 38/39) run the SBSA user space and are `SBSA` here although they are Tegra chips.
    """

    TEGRA = "tegra"
    SBSA = "sbsa"
    X86_64 = "x86_64"


@dataclass(frozen=True)
class Platform:
    """What a build or run is for. `origins` says where each value came from; it takes no part in equality.

    `cuda` is the CUDA of the images we build (None: CPU only); `driver_cuda` is the newest CUDA that the
    host's driver runs natively (None: unknown or no GPU). `sm` are compute capabilities times ten (87 is
    Orin). `memory` is in bytes.
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
    soc: str | None = None
    board: str | None = None  # id of facts/boards.yaml, "orin-nx-16gb"
    memory: int | None = None
    origins: Mapping[str, str] = field(default_factory=dict, compare=False, hash=False)
    notices: tuple[str, ...] = field(default=(), compare=False)

    @property
    def machine(self) -> str:
        """The kernel's name of the instruction set, `uname -m`."""
        return "x86_64" if self.arch is Arch.X86_64 else "aarch64"

    @property
    def docker_platform(self) -> str:
        """What `docker --platform` calls it."""
        return "linux/amd64" if self.arch is Arch.X86_64 else "linux/arm64"

    @property
    def has_gpu(self) -> bool:
        """Whether images for this platform use CUDA."""
        return self.cuda is not None


def detect(root: Path = Path("/"), env: Mapping[str, str] | None = None, target: str = "") -> Platform:
    """Read the host below `root`, then apply upstream's variables from `env`, then `target`.

    Raises TargetError for an unknown major release or target part, ConfigError for a variable with a value
    that cannot be right, and TargetError naming the file for a garbage `nv_tegra_release`.
    """
    raise NotImplementedError


def parse_target(target: str) -> Platform:
    """Make the platform of a cross target alone (`r36.4.3,cu128`), without looking at the host."""
    raise NotImplementedError
