"""Resolution → stages with content keys. Several targets merge into one trie of shared prefixes.

key = H(rendered Dockerfile, context files, build args, platform, parent key). The same inputs give the same key on
any machine: contexts are hashed by relative path, executable bit and bytes only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.package import Package
    from jetson_containers.platforms import Platform

MAX_LAYERS = 125  # overlay2 stacks no more; BuildKit builds deeper images that then do not run


class StageKind(enum.Enum):
    """What building a stage means."""

    LAYER = "layer"  # the final part of a recipe, on top of its parent
    ARTIFACT = "artifact"  # the compile part; only `/artifacts` of it is kept
    META = "meta"  # nothing to build: the parent under another name


class StageState(enum.Enum):
    """What has to be done for a stage."""

    BUILD = "build"
    CACHED = "cached"  # an image with this key is in the local store
    PULL = "pull"  # an image with this key is in a registry


@dataclass(frozen=True)
class Stage:
    """One image to build. `key` is `sha256:<hex>`; `image` is its name under `jetson-containers/stage`."""

    package: str
    kind: StageKind
    key: str
    parent: str | None  # key of the stage below; None: the base image
    base: str  # image reference this stage builds on: the parent's `image`, or the base image
    image: str
    depends: tuple[str, ...]  # keys that must exist first: parent and artifacts
    layers: int  # layers of the whole image up to this stage, base excluded
    state: StageState = StageState.BUILD
    context: Path | None = field(default=None, compare=False)
    dockerfile: str = field(default="", compare=False)  # rendered text
    build_args: Mapping[str, str] = field(default_factory=dict, compare=False)
    definition: Package | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Plan:
    """What one request needs, in build order. `final` is the image name the user gets."""

    platform: Platform
    request: tuple[str, ...]
    stages: tuple[Stage, ...]
    final: str
    layers: int
    base: str
    packages: tuple[str, ...]  # names in the order they stand in the image

    def to_json(self) -> dict[str, Any]:
        """The plan as interface.md specifies it."""
        raise NotImplementedError


@dataclass(frozen=True)
class PlanOptions:
    """What a user may change of a plan."""

    base: str = ""  # --base
    name: str = ""  # --name
    build_args: Mapping[str, str] = field(default_factory=dict)  # --build-args
    build_flags: tuple[str, ...] = ()  # --build-flags, split as a shell splits words
    no_cache: bool = False
