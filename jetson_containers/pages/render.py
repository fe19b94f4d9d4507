"""Fills the templates of pages: everything is escaped, and an undefined name is an error."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from jetson_containers.core import files
from jetson_containers.core.console import human_bytes, human_seconds
from jetson_containers.core.errors import NotReadyError

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATES = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """The templates, with filters for sizes, times and sentences."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.policies["json.dumps_kwargs"] = {"separators": (",", ":")}  # a grid of numbers is half as large so
    made.filters.update(size=size, time=human_seconds, prose=prose)
    return made


def size(count: float | None) -> str:
    """Bytes for people; a dash where they are not known."""
    return "–" if count is None else human_bytes(count)


def prose(text: str) -> Markup:
    """A sentence whose words in backticks are code; the rest is escaped.

    >>> prose("run `a<b`")
    Markup('run <code>a&lt;b</code>')
    """
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def change(count: float) -> str:
    """A difference of bytes with its sign."""
    return f"{'+' if count >= 0 else '−'}{human_bytes(abs(count))}"


def page(template: str, **values: Any) -> str:
    """The text of a page."""
    found: Template = environment().get_template(template)
    return found.render(**values)


def write(path: Path, text: str) -> None:
    """Write a page in one step. Raises NotReadyError where that is not possible."""
    try:
        files.write_atomically(path, text)
    except OSError as error:
        raise NotReadyError(f"{path} cannot be written: {error.strerror}", hint="name another with -o FILE") from error
