"""What the `llm` commands need of this machine: its platform and settings, the engine, the hub and our catalog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import JetsonError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import ContainerEngine
    from jetson_containers.hub.describe import ModelInfo
    from jetson_containers.llm.models.types import ModelHub, ModelShape
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.catalog import Catalog


@dataclass(frozen=True, kw_only=True)
class LlmContext:
    """The surroundings of one command. `engine` and `catalog` are opened when they are first called."""

    platform: Platform
    settings: Settings
    console: Console
    hub: ModelHub
    engine: Callable[[], ContainerEngine]
    catalog: Callable[[], Catalog]

    @property
    def data(self) -> Path:
        """What containers see as /data."""
        return self.settings.path("data")

    def find_image(self, packages: Sequence[str]) -> str:
        """The image autotag finds. Raises NoCompatibleImageError with the way to build one."""
        from jetson_containers.autotag import search

        return search.find(packages, self.platform, self.engine, self.settings, self.console)

    def versions_of(self, packages: Sequence[str]) -> Mapping[str, str]:
        """The versions an image built from our catalog would have, by family."""
        found = {}
        for name in packages:
            try:
                package = self.catalog().find(name)
            except JetsonError:  # absent here: the runtime's own verdict says why, better than a version would
                continue
            found[package.family] = str(package.version or "")
        return found


@dataclass(frozen=True, kw_only=True)
class HubAdapter:
    """`jetson_containers.hub` with this project's cache and settings, as a `ModelHub`."""

    settings: Settings
    console: Console

    def describe(self, reference: str) -> ModelInfo:
        """See `ModelHub`."""
        from jetson_containers.hub.describe import describe
        from jetson_containers.sources.describe import describe_model
        from jetson_containers.sources.names import parse

        elsewhere = parse(reference)
        if elsewhere is not None:
            return describe_model(elsewhere, self.settings, self.console)
        return describe(reference, self.settings, self.console)

    def download(self, reference: str, *, ignore: tuple[str, ...]) -> Path:
        """See `ModelHub`."""
        from jetson_containers.hub.downloads import download
        from jetson_containers.sources.downloads import download_model
        from jetson_containers.sources.names import parse

        elsewhere = parse(reference)
        if elsewhere is not None:
            return Path(download_model(elsewhere, self.settings, self.console, exclude=ignore).path)
        (result,) = download([reference], self.settings, self.console, exclude=ignore)
        return Path(result.path)

    def shape(self, reference: str, quantization: str) -> ModelShape:
        """See `ModelHub`."""
        from jetson_containers.llm.models import shape

        return shape.remote(reference, quantization, self.settings, self.console)


def downloads(settings: Settings) -> list[tuple[str, Path, int]]:
    """What of the hub and of other sources is cached: repository, directory, bytes."""
    from jetson_containers.hub.cache import cached
    from jetson_containers.sources import downloaded

    data = settings.path("data")
    return [(one.id, one.path, one.bytes) for one in (*cached(data), *downloaded.cached(data))]
