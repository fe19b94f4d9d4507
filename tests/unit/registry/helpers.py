"""What tests of registry share: helpers and examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.http import Transport
from tests.unit.fakeregistry import Clock, digest_of

if TYPE_CHECKING:
    from jetson_containers.core.docker_login import Credentials


def transport(clock: Clock | None = None, **more: Any) -> Transport:
    clock = clock or Clock()
    more = {"timeout": 20.0, "env": {}, **more}
    return Transport(clock=clock, sleep=clock.sleep, jitter=lambda: 1.0, **more)


def client(login: Credentials | None = None, **more: Any) -> RegistryClient:
    return RegistryClient(transport(**more), lambda _host: login)


def hub_row(name: str, *arches: str, pushed: str = "2025-05-02T10:00:00Z") -> dict[str, Any]:
    return {
        "name": name, "tag_last_pushed": pushed, "full_size": 99, "digest": digest_of(name.encode()),
        "images": [{"architecture": arch, "size": 50, "digest": "sha256:1"} for arch in arches],
    }  # fmt: skip
