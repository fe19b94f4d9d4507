"""Rules about templates in definitions: they write a value, and rows say for which platform it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import RecipeError
from jetson_containers.lint.findings import finding
from jetson_containers.recipes import templating
from jetson_containers.recipes.package import read_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.lint.findings import LintFinding
    from jetson_containers.recipes.package import Package


def check(package: Package) -> Iterator[LintFinding]:
    """Find the values of a directory's definition that decide by themselves for which platform they are."""
    try:
        recipe = read_directory(package.path, tree=package.tree)
    except RecipeError:
        return  # read in another way, or reported as broken
    for values in (recipe.header, recipe.config) if recipe else ():
        for key, text in _texts(values, ""):
            if recipe and templating.is_template(text) and templating.decides(text):
                place = recipe.error(key, "")
                message = f"`{key}` switches on the platform within its value"
                yield finding("platform-switch", Path(place.path), place.line or 0, message)


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text of a definition with the key of its line."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{key}[{index}]")
    elif isinstance(value, str):
        yield key, value
