"""Which CUDA runs on which L4T release: natively, through cuda-compat, or not at all (`facts/compat.yaml`)."""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import Version

from jetson_containers.core.facts import load_facts
from jetson_containers.platforms import tables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Runs(enum.Enum):
    """How an image's CUDA runs on a driver. The order is that of preference."""

    NATIVE = "native"
    COMPAT = "cuda-compat"
    NOT = "not"


@dataclass(frozen=True, kw_only=True)
class L4TClass:
    """A group of L4T releases whose images run on each other's hosts; the fields are explained in compat.yaml."""

    id: str
    first: Version
    below: Version
    takes: str
    by_minor: bool = False
    compat: tuple[Version, ...] = ()
    by_minor_version: bool = False
    never: tuple[Version, ...] = ()
    floor: Version | None = None
    oldest: Version | None = None
    cuda_from_host: bool = False
    distro_from_host: bool = False
    generic: bool = False

    @property
    def compat_way(self) -> str:
        """How `compat` runs, in words."""
        return "by the compatibility of minor versions" if self.by_minor_version else "with cuda-compat"

    def key(self, l4t: Version) -> str:
        """Equal for two releases exactly when images may be shared between them."""
        return f"{l4t.major}.{l4t.minor}" if self.by_minor else self.id


@functools.cache
def classes() -> tuple[L4TClass, ...]:
    """The groups, as they stand in the table."""
    return tuple(_class(row) for row in load_facts("compat")["classes"])


def class_of(l4t: Version) -> L4TClass | None:
    """The group of a release, known or not; None for a major no row is about."""
    return next((row for row in classes() if row.first <= l4t < row.below), None)


def runs(cuda: Version, l4t: Version | None, driver_cuda: Version) -> Runs:
    """How a driver that runs `driver_cuda` natively runs an image's `cuda`. Without L4T there is no cuda-compat.

    Data-center GPUs have cuda-compat too, but which GPU is built in no file says.
    """
    group = class_of(l4t) if l4t else None
    if group and group.cuda_from_host:
        return Runs.NATIVE if cuda == driver_cuda else Runs.NOT
    if group and (cuda in group.never or (group.floor and cuda < group.floor)):
        return Runs.NOT
    if cuda <= driver_cuda:
        return Runs.NATIVE
    return Runs.COMPAT if group and cuda in group.compat else Runs.NOT


def caution(cuda: Version, l4t: Version, driver_cuda: Version | None) -> str:
    """What images with a CUDA newer than the driver's have to heed; empty where nothing is."""
    group = class_of(l4t)
    if driver_cuda is None or group is None or not group.by_minor_version:
        return ""
    if runs(cuda, l4t, driver_cuda) is not Runs.COMPAT:
        return ""
    return (
        f"CUDA {cuda} is newer than the {driver_cuda} of L4T {l4t}'s driver, which runs code that is compiled for its "
        "GPU, but compiles no PTX of a newer CUDA"
    )


def runnable(l4t: Version, driver_cuda: Version | None) -> tuple[Version, ...]:
    """Every toolkit a target of an L4T release may name, oldest first."""
    group = class_of(l4t)
    if driver_cuda is None or group is None:
        return ()
    oldest = group.oldest or driver_cuda
    return tuple(cuda for cuda in tables.toolkits() if cuda >= oldest and runs(cuda, l4t, driver_cuda) is not Runs.NOT)


def _class(row: Mapping[str, Any]) -> L4TClass:
    return L4TClass(
        id=row["id"],
        first=Version(row["from"]),
        below=Version(row["below"]),
        takes=row["takes"],
        by_minor=row.get("split") == "minor",
        compat=tuple(Version(text) for text in row.get("compat", ())),
        by_minor_version=row.get("compat_by") == "minor",
        never=tuple(Version(text) for text in row.get("never", ())),
        floor=Version(row["floor"]) if "floor" in row else None,
        oldest=Version(row["oldest"]) if "oldest" in row else None,
        cuda_from_host=row.get("cuda") == "exact",
        distro_from_host=row.get("distro") == "exact",
        generic="generic" in row,
    )
