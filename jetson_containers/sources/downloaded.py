"""What is stored of other sources than the hub, and removing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.hub.cache import measured, remove_folder
from jetson_containers.sources.downloads import cache_of
from jetson_containers.sources.names import SOURCES, elsewhere, of_folder

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.hub.cache import CachedRepo
    from jetson_containers.sources.names import SourceReference


def cached(data: Path) -> list[CachedRepo]:
    """All models of other sources below a data directory, by name."""
    found = []
    for source in SOURCES:
        folder = cache_of(data, source)
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            reference = of_folder(source, path.name)
            if reference is not None and path.is_dir():
                found.append(measured(path, reference.repo, "model"))
    return sorted(found, key=lambda repo: repo.id.lower())


def reference_at(path: Path) -> SourceReference | None:
    """The model whose directory this is; None for others."""
    return of_folder(path.parent.name, path.name) if path.parent.name in SOURCES else None


def remove(data: Path, reference: SourceReference) -> int:
    """Remove one model with all that is kept of it; the bytes that came free. Raises as `hub.cache.remove`."""
    cache = cache_of(data, reference.source)
    return remove_folder(cache, reference.folder, reference.repo, [item.id for item in cached(data)])


def whole_name(text: str) -> str:
    """The name under which a model that was named so is listed; the text itself for what is none of ours."""
    found = elsewhere(text)
    return found.repo if found else text
