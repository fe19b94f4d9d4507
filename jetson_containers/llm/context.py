"""The real surroundings of the `llm` actions: the hub, our catalogue's versions, the prediction for this machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import JetsonError
from jetson_containers.llm import fit_check as foresight
from jetson_containers.llm.models import known as knownmodels
from jetson_containers.llm.prepare import World

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import Engine
    from jetson_containers.hub import ModelInfo
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.runtimes.interface import Job
    from jetson_containers.platforms.detect import Platform
    from jetson_containers.recipes.catalog import Catalog


def make(
    platform: Platform,
    engine: Callable[[], Engine],
    settings: Settings,
    console: Console,
    catalog: Callable[[], Catalog],
) -> World:
    """Put the parts together; nothing is asked of any of them before it is needed."""
    hub = RealHub(settings, console)

    def versions_of(packages: Sequence[str]) -> Mapping[str, str]:
        found = {}
        for name in packages:
            try:
                package = catalog().find(name)
            except JetsonError:  # absent here: the runtime's own verdict says why, better than a version would
                continue
            found[package.family] = str(package.version or "")
        return found

    def predict(job: Job, runtime: str, filled: int) -> dict[str, Any] | None:
        return foresight.predict(job, runtime, settings.path("data"), platform, console, filled=filled)

    def fitting(job: Job, runtime: str, request: LlmRequest) -> None:
        foresight.check(job, runtime, request, settings.path("data"), platform, console)

    return World(platform, engine, settings, console, hub, versions_of, fitting, predict, knownmodels.config)


@dataclass(frozen=True)
class RealHub:
    """`hub`, with this project's cache and settings."""

    settings: Settings
    console: Console

    def describe(self, reference: str) -> ModelInfo:
        """See `source.ModelHub`."""
        from jetson_containers import hub

        return hub.describe(reference, self.settings, self.console)

    def download(self, reference: str, *, ignore: tuple[str, ...]) -> Path:
        """See `source.ModelHub`."""
        from jetson_containers import hub

        (result,) = hub.download([reference], self.settings, self.console, exclude=ignore)
        return Path(result.path)


def downloads(settings: Settings) -> list[tuple[str, Path, int]]:
    """What of the hub is cached: repository, directory, bytes."""
    from jetson_containers import hub

    return [(one.id, one.path, one.bytes) for one in hub.cached(settings.path("data"))]
