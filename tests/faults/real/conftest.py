"""The fixtures of tests/real, an engine that may be killed, and scenes: users with recipes that nobody has built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.real.own_engine import OwnEngine, started
from tests.faults.real.scene import Scene
from tests.real.conftest import busybox, engine, private_registry, registry, scratch_base

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


__all__ = ["busybox", "engine", "private_registry", "registry", "scratch_base"]


@pytest.fixture(scope="session")
def own_engine(scratch_base: str) -> Iterator[OwnEngine]:
    """One for all tests, with nothing in it but their images."""
    with started(scratch_base) as made:
        yield made


@pytest.fixture
def scene(tmp_path: Path, scratch_base: str, own_engine: OwnEngine) -> Iterator[Scene]:
    """On the engine that may be killed; it reaches no network."""
    made = Scene(tmp_path, scratch_base)
    made.env["DOCKER_HOST"] = own_engine.address
    yield made
    made.close()


@pytest.fixture
def machine_scene(tmp_path: Path, scratch_base: str) -> Iterator[Scene]:
    """On the machine's engine, which reaches registries on loopback."""
    made = Scene(tmp_path, scratch_base)
    yield made
    made.close()
