"""What a package says of itself: the sentences of its definition, or the README that the definition names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jetson_containers.core.errors import RecipeError
from jetson_containers.recipes import files

if TYPE_CHECKING:
    from jetson_containers.recipes.package import Package

FENCE = re.compile(r"^```[^\n]*\n.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[([^]]+)\]\([^)\s]*\)")


def readme(package: Package) -> str:
    """The text of its README, empty when its docs are sentences of the definition. Raises RecipeError."""
    if not package.docs.endswith(".md"):
        return ""
    path = package.path / package.docs
    return files.read_text(path)


def whole(package: Package) -> str:
    """All of it, for a search; only what the definition says where the README cannot be read."""
    try:
        return readme(package) or package.docs
    except RecipeError:
        return package.docs


def about(package: Package) -> str:
    """What it is, on one line and without examples."""
    text = whole(package)
    prose = _LINK.sub(r"\1", first_paragraph(text)) if package.docs.endswith(".md") else FENCE.sub("", text)
    return " ".join(prose.split())


def first_paragraph(text: str) -> str:
    """The first paragraph of prose of a README: no title, table, list or example."""
    blocks = re.split(r"\n\s*\n", FENCE.sub("", text))
    prose = (block.strip() for block in blocks if block.strip() and not re.match(r"\s*(?:#|\||<|[-*] )", block))
    title_and_text = (re.sub(r"\A#[^\n]*\n+", "", block).strip() for block in blocks)
    return next(prose, "") or next((text for text in title_and_text if text and not text.startswith(("#", "|"))), "")
