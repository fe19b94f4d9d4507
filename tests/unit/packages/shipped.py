"""The packages that this project ships, read once for a platform, however many tests look at them."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from jetson_containers.platforms import detect
from jetson_containers.recipes import catalog
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from jetson_containers.recipes.catalog import Catalog


@cache
def load(target: str) -> Catalog:
    """The catalog of the shipped tree on a target."""
    return catalog.load([ROOT_DIR / "packages"], detect.parse_target(target))
