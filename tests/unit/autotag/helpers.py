"""Platforms, images and sources for the tests of autotag."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from jetson_containers.autotag.search import (
    find,
    options,
)
from jetson_containers.autotag.sources import LocalSource, RegistrySource
from jetson_containers.core import settings
from jetson_containers.core.console import Console, Level
from jetson_containers.engine.interface import LocalImage
from jetson_containers.images import labels
from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.http import Transport
from jetson_containers.registry.listing import Listings
from jetson_containers.registry.types import ImageRepository
from tests import example_platforms
from tests.fakes import FakeEngine
from tests.unit.fakeregistry import Clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

    from jetson_containers.core.settings import Settings
    from jetson_containers.platforms.platform import Platform


ORIN = example_platforms.AGX_ORIN
NANO = example_platforms.NANO
THOR = example_platforms.AGX_THOR
PC = example_platforms.PC


def config(tmp_path: Path, **more: Any) -> Settings:
    flags = {"cache": tmp_path / "cache", "offline": True, **more}
    return settings.load(flags, env={"HOME": str(tmp_path)}, files=(), root=tmp_path)


def label(name: str, packages: Sequence[str], platform: Platform, role: str = labels.FINAL) -> dict[str, str]:
    return labels.make(role=role, name=name, key="sha256:1", packages=packages, platform=platform)


def engine_with(*images: tuple[str, Mapping[str, str], str]) -> FakeEngine:
    """A local store: (reference, labels, architecture), the newest first."""
    engine = FakeEngine()
    for number, (reference, image_labels, architecture) in enumerate(images):
        engine.store[reference] = LocalImage(
            id=f"sha256:{number:064x}",
            references=(reference,),
            labels=image_labels,
            architecture=architecture,
            created=f"2026-11-{20 - number:02}T00:00:00Z",
            size=1000,
        )
    return engine


def local(*images: tuple[str, Mapping[str, str], str]) -> LocalSource:
    engine = engine_with(*images)
    return LocalSource(lambda: engine)


def hub(tmp_path: Path) -> RegistrySource:
    """Docker Hub as it was when the shipped list was made."""
    return RegistrySource(Listings.of(config(tmp_path)), (ImageRepository("docker.io", "dustynv"),))


def quiet_console(*, answers: str | None = None, monkeypatch: pytest.MonkeyPatch | None = None) -> Console:
    """A console that is not a terminal, or one where somebody types `answers`."""
    console = Console(level=Level.VERBOSE, out=io.StringIO(), err=io.StringIO(), env={})
    if answers is not None and monkeypatch:
        monkeypatch.setattr("sys.stdin", io.StringIO(answers))
        monkeypatch.setattr(Console, "interactive", property(lambda _self: True))
    return console


def said(console: Console) -> str:
    assert isinstance(console.err, io.StringIO)
    return console.err.getvalue()


BOTH = ("numpy:2.2", "llama_cpp:b9016")


def listings_of(tmp_path: Path) -> Listings:
    clock = Clock()
    wire = Transport(clock=clock, sleep=clock.sleep, jitter=lambda: 0.0, env={})
    return Listings(tmp_path / "cache", lambda: RegistryClient(wire, lambda _host: None))


def run(
    tmp_path: Path, request: Sequence[str] = ("mlc",), host: Platform = ORIN, *, engine: FakeEngine | None = None,
    console: Console | None = None, build: Any = None, **more: Any,
) -> str:  # fmt: skip
    made = config(tmp_path)
    chosen = options(made, **{"offline": False, **more})  # the lists are the shipped ones all the same
    return find(request, host, engine or FakeEngine(), made, console or quiet_console(), chosen, build=build)
