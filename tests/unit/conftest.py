"""What all pure tests share."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

import pytest

from jetson_containers.recipes import catalog
from jetson_containers.recipes.cache import identity_of
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.cache import Contents
    from jetson_containers.recipes.tree import RecipeDirectory
    from jetson_containers.recipes.types import Recipe

SHIPPED = ROOT_DIR / "packages"


@pytest.fixture(scope="session", autouse=True)
def _shipped_packages_are_read_once() -> Iterator[None]:
    """Read the shipped packages once, and once for each platform: hundreds of tests plan them, none changes them."""
    read = catalog._read
    recipes: dict[Path, Recipe | None] = {}
    found: dict[str, Contents] = {}

    def read_once(
        candidates: Iterable[RecipeDirectory],
        platform: Platform,
        roots: Sequence[Path],
        known: dict[Path, Recipe | None] | None = None,
    ) -> Contents:
        if not roots or roots[0] != SHIPPED:
            return read(candidates, platform, roots, known)
        identity = identity_of(roots, platform)
        if len(roots) == 1 and identity in found:
            return found[identity]
        known = recipes | (known or {})
        contents = read(candidates, platform, roots, known)
        recipes.update((path, recipe) for path, recipe in known.items() if path.is_relative_to(SHIPPED))
        if len(roots) == 1:
            found[identity] = contents
        return contents

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "_read", read_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _keys_are_derived_once() -> Iterator[None]:
    """Derive the key of one password and salt once: scrypt takes a tenth of a second, on purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "scrypt", functools.cache(hashlib.scrypt))
        yield
