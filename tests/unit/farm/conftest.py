"""A whole farm in this process: Dask's scheduler and workers on loopback, with engines that only remember."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import distributed
import pytest

from jetson_containers.builder.resources import Resources
from jetson_containers.builder.stage_registry import StageRegistry
from jetson_containers.builder.types import BuildOptions
from jetson_containers.core.console import Console
from jetson_containers.farm import client, serve
from jetson_containers.farm.access import FarmAccess
from jetson_containers.farm.machine import StageMachine
from jetson_containers.registry.types import ImageInfo
from tests.fakes import FakeEngine
from tests.unit.builder.helpers import GIB, PLATFORM, Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jetson_containers.engine.interface import LocalImage
    from jetson_containers.plan.plan import BuildPlan
    from jetson_containers.registry.client import RegistryClient
    from jetson_containers.registry.types import ImageRepository

NAMESPACE = "registry.example:5000/team"


class PushedImages(dict[str, "LocalImage"]):
    """Images by tag, which are found by digest too."""

    def __contains__(self, name: object) -> bool:
        return self._tagged(str(name)) is not None

    def __getitem__(self, name: str) -> LocalImage:
        return super().__getitem__(self._tagged(name) or name)

    def _tagged(self, name: str) -> str | None:
        repository, at, digest = name.partition("@")
        if not at:
            return name if super().__contains__(name) else None
        return next(
            (tag for tag, image in self.items() if image.id == digest and tag.startswith(f"{repository}:")), None
        )


@dataclass
class SharedRegistry:
    """What a registry says of the images that engines have pushed."""

    images: PushedImages = field(default_factory=PushedImages)

    def inspect(self, repository: ImageRepository, reference: str, architecture: str) -> ImageInfo | None:
        image = self.images.get(f"{repository.reference}:{reference}")
        if image is None:
            return None
        return ImageInfo(
            digest=image.id, media_type="", architecture=architecture, size=1, created="",
            labels=image.labels, platforms=(architecture,),
        )  # fmt: skip

    def digest(self, repository: ImageRepository, reference: str) -> str | None:
        image = self.images.get(f"{repository.reference}:{reference}")
        return image.id if image else None

    def stages(self) -> list[str]:
        """The tags of the stages that are there."""
        return sorted(name.rpartition(":")[2] for name in self.images if "/stage:" in name)


@dataclass
class Farm:
    """A scheduler and workers; the client's own site is `site`."""

    directory: Path
    registry: SharedRegistry = field(default_factory=SharedRegistry)
    engines: dict[str, FakeEngine] = field(default_factory=dict)
    workers: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.site = Site(self.directory / "client", engine=FakeEngine(registry=self.registry.images))
        self.site.engine.add_image("base:1")
        self.scheduler = self.call(self._start())
        self.stages = StageRegistry(NAMESPACE, cast("RegistryClient", self.registry))

    def call(self, coroutine: Any) -> Any:
        """Run a coroutine in the loop of the farm."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    async def _start(self) -> Any:
        return await distributed.Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address=serve.NOT_SHOWN)

    def add(self, name: str, *labels: str, memory: int = 8 * GIB, slots: int = 1, **machine: Any) -> FakeEngine:
        """Start a worker with an engine of its own."""
        engine = self.engines[name] = FakeEngine(registry=self.registry.images)
        options = BuildOptions(
            log_dir=self.directory / name / "logs", state_dir=self.directory / name / "state", env={}, disk_per_stage=0
        )
        console = Console(out=self.site.out, err=self.site.err, env={})
        built_by = StageMachine(
            engine, options, Resources(cores=4, memory=memory, slots=slots), PLATFORM, lambda _namespace: self.stages,
            console, name=name, **machine,
        )  # fmt: skip
        told = serve.WorkerOptions(
            address=self.scheduler.address,
            slots=slots,
            labels=labels,
            platforms=("linux/amd64",),
            memory=memory,
            scratch=self.directory / name,
        )
        self.workers[name] = self.call(self._worker(told, built_by))
        return engine

    async def _worker(self, options: serve.WorkerOptions, machine: StageMachine) -> Any:
        return await (await serve.start_worker(options, machine, distributed.Security()))

    def kill(self, name: str) -> None:
        """Let a worker vanish from the scheduler as a process that is killed does."""
        self.loop.call_soon_threadsafe(self.workers.pop(name).batched_stream.comm.abort)

    def options(self, *labels: str) -> client.FarmOptions:
        """How the client reaches it."""
        return client.FarmOptions(address=self.scheduler.address, access=FarmAccess(), labels=labels)

    def build(self, *plans: BuildPlan, labels: tuple[str, ...] = (), **changes: Any) -> client.FarmReport:
        """`build --farm`, up to where the finished images are pulled."""
        values = {"log_dir": self.directory / "client" / "logs", "env": {}, "disk_per_stage": 0}
        options = BuildOptions(**{**values, **changes})
        console = Console(out=self.site.out, err=self.site.err, env={})
        return client.FarmBuild(plans, self.site.engine, options, self.stages, console).run(self.options(*labels))

    def close(self) -> None:
        """End all of it."""
        for engine in self.engines.values():
            engine.release()
        for worker in self.workers.values():
            self.call(worker.close(timeout=2, executor_wait=False))
        self.call(self.scheduler.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)
        self.loop.close()


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    """A farm without workers."""
    started = Farm(tmp_path)
    yield started
    started.close()
