"""What the program keeps between runs, each with a use of it: the fault tests damage the file between two uses."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jetson_containers.builder import known_base
from jetson_containers.builder.state import BuildState
from jetson_containers.core import settings
from jetson_containers.llm.pipeline import manifest
from jetson_containers.platforms import detect
from jetson_containers.recipes import catalog
from jetson_containers.registry.listing import Listings
from jetson_containers.registry.types import ImageRepository
from tests.unit.fakeregistry import FakeRegistry
from tests.unit.registry.helpers import client
from tests.unit.treemaker import ORIN, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = datetime.fromisoformat("2026-11-21T00:00:00+00:00").timestamp()


@dataclass(frozen=True, kw_only=True)
class Keeper:
    """`use(folder)` is one run that keeps something below the folder, and answers what it found or made."""

    name: str
    use: Callable[[Path], Any]
    file: str  # a pattern of the file below the folder


@contextlib.contextmanager
def all_keepers(place: Path) -> Iterator[dict[str, Keeper]]:
    """Each kind of kept file, with what it needs beside the folder in which it is kept."""
    tree = place / "tree"
    write(tree, {"g/a/Dockerfile": "version: 1", "g/b/Dockerfile": "depends: a"})
    with FakeRegistry() as registry:
        registry.tags["ns/mlc"] = ["1", "2"]
        found = (
            Keeper(name="catalog", use=lambda folder: _catalog(tree, folder), file="*.json*"),
            Keeper(name="listing", use=lambda folder: _listing(registry, folder), file="registry/*/*.json"),
            Keeper(name="state", use=_state, file="*.json"),
            Keeper(name="base", use=_base, file=known_base.RECORD),
            Keeper(name="manifest", use=_manifest, file="model.gguf.manifest.json"),
        )
        yield {keeper.name: keeper for keeper in found}


def _catalog(tree: Path, folder: Path) -> Any:
    return sorted(catalog.load([tree], ORIN, cache=folder).available)


def _listing(registry: FakeRegistry, folder: Path) -> Any:
    made = Listings(folder, client, now=lambda: NOW)
    return [tag.tag for tag in made.get(ImageRepository(registry.host, "ns/mlc")).tags]


def _state(folder: Path) -> Any:
    state = BuildState(folder)
    state.record("stage", seconds=12.0, size=5)
    with state.lock("stage"):
        pass
    return state.seconds()["stage"], state.sizes()["stage"]


def _base(folder: Path) -> Any:
    values = {name: settings.Value(option.default, "default") for name, option in settings.OPTIONS.items()}
    own = settings.Settings({**values, "cache": settings.Value(folder, "test")})
    board = detect.parse_target("orin-nx-16gb,r36.4.3")
    guess = known_base.predict(board, own)
    known_base.remember(own, board, "", guess)
    return guess.reference


def _manifest(folder: Path) -> Any:
    """Makes an output unless a whole one is there; never takes a partial one for whole."""
    output = folder / "model.gguf"
    if not list(manifest.below(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        output.write_bytes(b"weights")
        entries = {"": manifest.measure(output)}
        manifest.write(output, entries, step="make", merge=False, key="k", seconds=1.0, facts={})
    (whole,) = manifest.below(folder)
    return whole.is_complete(), whole.corrupt()
