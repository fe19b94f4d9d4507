"""The one decision whether an image runs on a platform, and which of several is best.

Order of the questions (the first "no" is the reason): architecture → L4T family → CUDA within what the driver
runs → GPU code built in, where known → Ubuntu, only where libraries come from the host (r32). Unknown means
refuse. The rules are data in `facts/compat.yaml`, with their evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from packaging.version import Version

    from jetson_containers.imagename import ImageName
    from jetson_containers.platforms import Arch, Platform


@dataclass(frozen=True)
class ImageFacts:
    """What is known of an image, from its labels first and its name second (and the L4T table third)."""

    reference: str
    arch: Arch | None
    l4t: Version | None
    cuda: Version | None
    cpu: bool
    sm: tuple[int, ...] | None
    distro: str | None
    packages: tuple[str, ...] = ()
    role: str | None = None  # "final", "stage", "artifact"; None: an image that is not ours
    version: str | None = None
    variant: str | None = None
    pushed: str = ""  # ISO date of the push, or of creation for a local image
    size: int | None = None  # bytes; compressed for a registry image
    source: str = "local"  # "local" or the registry's name


@dataclass(frozen=True)
class Verdict:
    """Whether an image runs here. `rule` is the id of the deciding rule, `reason` a sentence for people."""

    ok: bool
    rule: str
    reason: str


def facts_of(
    name: ImageName, labels: Mapping[str, str] | None = None, *, docker_arch: str | None = None
) -> ImageFacts:
    """Collect what labels, name and table say. `docker_arch` is `arm64`/`amd64` from the image's config."""
    raise NotImplementedError


def compatible(image: ImageFacts, host: Platform) -> Verdict:
    """Decide. Never raises; never says yes to what it does not know."""
    raise NotImplementedError


def rank_key(image: ImageFacts, host: Platform) -> tuple[object, ...]:
    """Sort key of a compatible image, best first under ascending order."""
    raise NotImplementedError
