"""A machine without GPU, engine, hub and catalog, and what the tests of `llm` put in their place."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NothingMatchedError
from jetson_containers.llm.context import LlmContext
from jetson_containers.platforms import detect

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CPU = detect.parse_target("cpu")


class NoHub:
    """Nobody may ask it."""

    def describe(self, reference: str) -> Any:
        raise AssertionError(reference)

    def download(self, reference: str, *, ignore: tuple[str, ...]) -> Path:
        raise AssertionError(reference)


def no_engine() -> Any:
    raise AssertionError("the engine was asked")


@dataclass(frozen=True)
class CatalogPackage:
    family: str
    version: str


@dataclass(frozen=True)
class FakeCatalog:
    """The versions of the packages that there are."""

    versions: Mapping[str, str] = field(default_factory=dict)

    def find(self, name: str) -> CatalogPackage:
        if name not in self.versions:
            raise NothingMatchedError(name)
        return CatalogPackage(name, self.versions[name])


@pytest.fixture
def context(tmp_path: Path) -> LlmContext:
    places = {name: str(tmp_path / name) for name in ("data", "logs", "cache")}
    return LlmContext(
        platform=CPU,
        settings=settings.load(places, files=()),
        console=Console(out=io.StringIO(), err=io.StringIO()),
        hub=NoHub(),
        engine=no_engine,
        catalog=FakeCatalog,  # type: ignore[arg-type]
    )
