"""Image references and the tag grammar: parse and format, round trip.

`[REGISTRY[:PORT]/][NAMESPACE/]NAME:TAG`, `TAG := [VERSION-][VARIANT-]PLATFORM[-PLAN]`. We write
`mlc:0.20.0-r36.4-cu126-22.04`; every form that was ever published for Jetson is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.version import Version

    from jetson_containers.platforms import Arch, Platform


@dataclass(frozen=True)
class TagPlatform:
    """What a tag says of its platform; None is "the tag does not say", never "any"."""

    arch: Arch | None = None
    l4t: Version | None = None
    cuda: Version | None = None
    cpu: bool = False
    python: Version | None = None
    distro: str | None = None  # "22.04", "debian12"


@dataclass(frozen=True)
class ImageName:
    """A parsed image reference. `str()` of it is the reference again, byte for byte."""

    registry: str | None
    namespace: str | None
    name: str
    tag: str | None
    digest: str | None = None
    version: str | None = None
    variant: str | None = None
    platform: TagPlatform = TagPlatform()
    plan: str | None = None  # trailing plan hash or date of the tag

    @classmethod
    def parse(cls, reference: str) -> ImageName:
        """Parse any image reference. Raises UsageError for one that Docker would not accept either."""
        raise NotImplementedError

    @property
    def repository(self) -> str:
        """Everything before the tag."""
        raise NotImplementedError

    def __str__(self) -> str:
        raise NotImplementedError


def platform_tag(platform: Platform) -> str:
    """Format the PLATFORM part we write: `r36.4-cu126-22.04`, `x86_64-cpu-24.04`, `sbsa-cu132-24.04`."""
    raise NotImplementedError


def image_for(package: str, platform: Platform, *, repository: str = "") -> str:
    """Name the final image of a package (`llama_cpp:b9016` → `llama_cpp:b9016-r36.4-cu126-22.04`)."""
    raise NotImplementedError
