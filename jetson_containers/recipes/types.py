"""What reading recipes results in. Nothing here reads: a catalog from its index needs no more than this."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.recipes.requirement import Dependency


BUILT_IN_TREE = "built-in"  # as people read it


@dataclass(frozen=True)
class Artifacts:
    """The compile part of a recipe: its Dockerfile leaves files under `/artifacts`.

    `depends` is all that compiling needs, so that nothing else makes it compile again; without such a list it is the
    package's own `depends`. The final part needs only those.
    """

    dockerfile: str
    depends: tuple[Dependency, ...] = ()


@dataclass(frozen=True, kw_only=True)
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
    caution: str = ""  # what a plan with this package says about it
    license: str = ""
    source: Mapping[str, Any] = field(default_factory=dict)
    memory_per_job: int | None = None  # bytes one compile job needs
    build_time: int | None = None  # seconds that building took where its author measured it
    build_size: int | None = None  # bytes that it adds to an image
    artifacts: Artifacts | None = None
    coexist: bool = False
    gpu_at_build: bool = False
    network: str | None = None
    timeout: int | None = None  # seconds for the build of this stage
    prefix: str = ""
    postfix: str | None = None
    origin: str = ""  # file:line of the definition
    family_aliases: tuple[str, ...] = ()  # other names of the whole family: `torch` is `pytorch`, in any version
    disabled: bool = False
    share: tuple[str, ...] = ()  # files of its build context that other recipes use as well: see `recipes.shared`
    tree: Path | None = None  # what it belongs to; its own directory if None
    added: Mapping[str, str] = field(default_factory=dict)  # files of its build context that stand in no tree: texts
    adaptable: bool = False  # of upstream's format, where a nearer pin overrides one of its own
    variables: Mapping[str, str] = field(default_factory=dict)  # of its build's commands; not in the image or the key
    further_tree: str = ""  # the directory of packages it comes from; empty for the built-in tree
    replaces: str = ""  # file:line of the definition whose name it takes, being in a directory that the user added

    @property
    def tree_name(self) -> str:
        """The package tree that it comes from, for people: a directory, or `built-in`."""
        return self.further_tree or BUILT_IN_TREE


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """One rule's verdict; `reason` is a sentence in either case."""

    rule: str
    ok: bool
    reason: str
