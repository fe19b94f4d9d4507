"""All packages for a platform: names, aliases, globs, did-you-mean, and the reason why a package is absent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jetson_containers.errors import RecipeError
    from jetson_containers.package import Package
    from jetson_containers.platforms import Platform
    from jetson_containers.requires import RuleResult


@dataclass(frozen=True)
class Absent:
    """A package that exists but not here: the rules with their verdicts, or "disabled"."""

    package: Package
    reason: str
    rules: tuple[RuleResult, ...] = ()


@dataclass(frozen=True)
class Catalog:
    """The packages of some trees on one platform. `available` and `absent` are keyed by full name, sorted."""

    platform: Platform
    available: Mapping[str, Package]
    absent: Mapping[str, Absent] = field(default_factory=dict)
    broken: tuple[RecipeError, ...] = ()
    notices: tuple[str, ...] = ()

    def find(self, name: str, *, asked_by: str = "") -> Package:
        """The one package of a name, alias, bare family (its default version) or `family:version`.

        Raises UnknownPackageError (did you mean, who asked) or UnavailablePackageError (which rule).
        """
        raise NotImplementedError

    def match(self, patterns: Sequence[str]) -> list[Package]:
        """All packages matching any pattern, sorted; `!pattern` removes, `*`/`all` is everything.

        Raises NothingMatchedError naming the pattern that matched nothing.
        """
        raise NotImplementedError


def load(trees: Sequence[Path], platform: Platform, *, cache: Path | None = None) -> Catalog:
    """Read the trees (an earlier tree wins a duplicate name, with a notice) for one platform.

    `cache` is a directory for the content-keyed index. A broken recipe disables only itself.
    """
    raise NotImplementedError
