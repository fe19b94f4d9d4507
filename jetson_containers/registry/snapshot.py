"""The list of images that is shipped, `facts/registries.json`: what there was when it was made.

`namespaces` are the ones whose every repository with images is in the list; a repository below them that is not listed
had no image. Names stand as `docker pull` takes them; a repository may be newer than the list (`fetched`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.registry.types import ImageRepository, Tag, TagListing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SNAPSHOT = Path(__file__).resolve().parent.parent / "facts" / "registries.json"


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The shipped list, as read."""

    namespaces: tuple[ImageRepository, ...]
    listings: dict[ImageRepository, TagListing]
    fetched: str


@cache
def shipped() -> Snapshot:
    """Read the list that is shipped."""
    return read(SNAPSHOT)


def read(path: Path) -> Snapshot:
    """Read a list in this format."""
    data = json.loads(path.read_bytes())
    found = {}
    for entry in data["repositories"]:
        repository = ImageRepository.parse(entry["repository"])
        tags = tuple(Tag(**row) for row in entry["tags"])
        found[repository] = TagListing(
            repository=repository, tags=tags, fetched=entry.get("fetched", data["fetched"]), origin="snapshot"
        )
    namespaces = tuple(ImageRepository.parse(name) for name in data["namespaces"])
    return Snapshot(namespaces=namespaces, listings=found, fetched=data["fetched"])


def text(data: Mapping[str, Any]) -> str:
    """Write a list in this format, a line per repository, so that a change can be read."""
    head = _dump({key: value for key, value in data.items() if key != "repositories"})
    return f'{head[:-1]},"repositories":[\n' + ",\n".join(map(_dump, data["repositories"])) + "\n]}\n"


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def names_like(name: str) -> tuple[str, ...]:
    """The names of repositories with the same letters and digits: `nano_llm` for `NanoLLM`."""
    return tuple(sorted(known for known in names() if _folded(known) == _folded(name)))


def names() -> frozenset[str]:
    """The last parts of the repositories' names."""
    return frozenset(repository.path.rpartition("/")[2] for repository in shipped().listings)


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def has(repository: ImageRepository) -> bool:
    """Whether the list has images of a repository."""
    return repository in shipped().listings


def covers(repository: ImageRepository) -> bool:
    """Whether the list can stand in for a repository: it has its images, or says that there were none."""
    return has(repository) or any(f"{repository}".startswith(f"{place}/") for place in shipped().namespaces)


def listing(repository: ImageRepository) -> TagListing:
    """The list of a repository that `covers` is true for; without tags where there was no image."""
    known = shipped().listings.get(repository)
    return known or TagListing(repository=repository, tags=(), fetched=shipped().fetched, origin="snapshot")
