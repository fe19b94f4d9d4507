"""What all pure tests share."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from jetson_containers.engine import probe
from jetson_containers.recipes import catalog
from jetson_containers.recipes.cache import identity_of
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.cache import Contents
    from jetson_containers.recipes.tree import RecipeDirectory
    from jetson_containers.recipes.types import Recipe

SHIPPED = ROOT_DIR / "packages"
SCRYPT = hashlib.scrypt


@pytest.fixture(scope="session", autouse=True)
def _shipped_packages_are_read_once() -> Iterator[None]:
    """Read the shipped packages once, and once for each platform: hundreds of tests plan them, none changes them."""
    read = catalog._read
    recipes: dict[Path, Recipe | None] = {}
    found: dict[str, Contents] = {}

    def read_once(
        candidates: Iterable[RecipeDirectory],
        platform: Platform,
        roots: Sequence[Path],
        known: dict[Path, Recipe | None] | None = None,
    ) -> Contents:
        if not roots or roots[0] != SHIPPED:
            return read(candidates, platform, roots, known)
        identity = identity_of(roots, platform)
        if len(roots) == 1 and identity in found:
            return found[identity]
        known = recipes | (known or {})
        contents = read(candidates, platform, roots, known)
        recipes.update((path, recipe) for path, recipe in known.items() if path.is_relative_to(SHIPPED))
        if len(roots) == 1:
            found[identity] = contents
        return contents

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "_read", read_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _keys_are_derived_quickly() -> Iterator[None]:
    """Derive keys in microseconds: scrypt takes a tenth of a second and more, on purpose.

    A key still depends on all that it is derived from. Whether ours are those of cosign, tests with `real_scrypt` show.
    """

    def quick(password: bytes, *, salt: bytes, n: int, r: int, p: int, maxmem: int, dklen: int) -> bytes:
        strength = f"{n} {r} {p}".encode()
        return SCRYPT(password, salt=salt + strength, n=2, r=1, p=1, maxmem=maxmem, dklen=dklen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "scrypt", quick)
        yield


@pytest.fixture
def real_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Derive keys as users do."""
    monkeypatch.setattr(hashlib, "scrypt", SCRYPT)


@pytest.fixture(scope="session", autouse=True)
def _engine_of_this_machine_is_not_asked() -> Iterator[None]:
    """Find no client of this machine: what its engine holds decides no test here, and a full one answers slowly.

    Clients that a test puts on PATH are found.
    """
    find_clients = probe.find_clients
    own = set(find_clients(probe.ProbedHost.real()))

    def others(host: probe.ProbedHost) -> list[str]:
        return [path for path in find_clients(host) if path not in own]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "find_clients", others)
        yield
