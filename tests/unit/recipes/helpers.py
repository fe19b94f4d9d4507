"""Recipes that tests write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.recipes.package import Package, read_directory, render
from tests.unit.treemaker import ORIN, write

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform


def packages(root: Path, files: dict[str, str], where: Platform = ORIN, name: str = "ml/foo") -> dict[str, Package]:
    """Render the directory `name` of a tree of files, by full name."""
    recipe = read_directory(write(root, files) / name)
    assert recipe is not None
    return {package.name: package for package in render(recipe, where)}


def only(root: Path, header: str, where: Platform = ORIN, **files: str) -> Package:
    """The one package of a header, with further files beside it."""
    beside = {f"ml/foo/{name.replace('_', '.')}": text for name, text in files.items()}
    (package,) = packages(root, {"ml/foo/Dockerfile": header, **beside}, where).values()
    return package
