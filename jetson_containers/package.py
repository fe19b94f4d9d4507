"""One package directory → frozen `Package` objects; an error names file and line.

A directory holds a Dockerfile with a `#---` YAML header and, when the family has versions or variants, a
`config.yaml`. Values are Jinja2 templates over the platform, so reading has two steps: `read_directory` (pure text,
independent of the platform) and `render` (for one platform).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.platforms import Platform


@dataclass(frozen=True)
class Dependency:
    """One `depends:` entry: `cmake`, `pytorch:2.8` (exact version or variant) or `pytorch>=2.4` (PEP 440)."""

    family: str
    version: str | None = None  # after the colon
    specifier: str = ""  # PEP 440

    def __str__(self) -> str:
        return f"{self.family}:{self.version}" if self.version else f"{self.family}{self.specifier}"


@dataclass(frozen=True)
class Artifacts:
    """The compile part of a recipe: its Dockerfile leaves files under `/artifacts`.

    `depends` is what compiling needs; the final part needs only the package's own `depends`.
    """

    dockerfile: str
    depends: tuple[Dependency, ...] = ()


@dataclass(frozen=True)
class Package:
    """One buildable (or meta) package for one platform; all templates rendered."""

    name: str  # "llama_cpp:b9016", or just "numpy" when the family has no versions
    family: str
    version: str | None
    variant: str | None  # "builder"; None for the plain one
    path: Path  # the package directory, which is the build context
    dockerfile: str | None  # None: a meta package
    default: bool = False  # the default version of its family here
    aliases: tuple[str, ...] = ()
    depends: tuple[Dependency, ...] = ()
    requires: tuple[str, ...] = ()
    build_args: Mapping[str, str] = field(default_factory=dict)
    build_flags: str = ""
    test: tuple[str, ...] = ()
    group: str = ""
    docs: str = ""
    notes: str = ""
    license: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    memory_per_job: int | None = None  # bytes one compile job needs
    artifacts: Artifacts | None = None
    coexist: bool = False
    gpu_at_build: bool = False
    network: str | None = None
    timeout: int | None = None  # seconds for the build of this stage
    prefix: str = ""
    postfix: str | None = None
    origin: str = ""  # file:line of the definition


@dataclass(frozen=True)
class Recipe:
    """A package directory as written: platform-independent, templates unrendered."""

    path: Path
    header: Mapping[str, Any]
    config: Mapping[str, Any]
    dockerfile: str | None
    lines: Mapping[str, str] = field(default_factory=dict)  # key → "file:line"


def read_directory(path: Path) -> Recipe | None:
    """Read one directory; None when it holds no package. Raises RecipeError with file and line."""
    raise NotImplementedError


def render(recipe: Recipe, platform: Platform) -> tuple[Package, ...]:
    """All versions and variants of a recipe for one platform, `requires` not yet applied."""
    raise NotImplementedError
