"""One image of a plan: what it is, on what it stands, and what has to be done for it."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.images.name import STAGE_REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.recipes.package import Package

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


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One image to build. `key` is `sha256:<hex>`; `image` is its name under `jetson-containers/stage`.

    `needed` is false for a stage below one that exists already; its state is then CACHED although no image of it
    may be left. `source` is the reference of the existing image of a CACHED or PULL stage.
    """

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
    depth: int = 0  # layers the build itself stacks; more than `layers` where only artifacts are kept
    needed: bool = True
    source: str = ""

    @property
    def tree(self) -> str:
        """The package tree that its definition comes from."""
        return self.definition.tree_name if self.definition else "built-in"

    def to_json(self) -> dict[str, Any]:
        """One stage for `build --dry-run --json`."""
        return {
            "package": self.package,
            "kind": self.kind.value,
            "key": self.key,
            "parent": self.parent,
            "image": self.image,
            "depends": list(self.depends),
            "state": self.state.value,
            "layers": self.layers,
            "needed": self.needed,
            "tree": self.tree,
        }


def stage_image(package: str, key: str) -> str:
    """Name the image of a stage: never a candidate for `autotag`, unique per content."""
    slug = re.sub(r"[^a-z0-9._]+", "-", package.lower()).strip("-._") or "package"
    return f"{STAGE_REPOSITORY}:{slug[:100]}-{key.removeprefix('sha256:')[:16]}"
