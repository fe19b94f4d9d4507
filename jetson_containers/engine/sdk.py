"""What only the engine's own interface tells well, asked through the Docker SDK.

Importing the SDK takes longer than the docker client's whole answer, so commands that stand in people's command lines
never come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from jetson_containers.engine.interface import EngineUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from docker.client import DockerClient

T = TypeVar("T")

TIMEOUT = 60  # seconds an answer may take: a store of thousands of images on an SD card is slow


def usage(endpoint: str, env: Mapping[str, str]) -> EngineUsage | None:
    """What the engine's store takes; None when the SDK cannot ask."""

    def ask(client: DockerClient) -> EngineUsage:
        found = client.df()
        records = [(int(record["Size"]), record) for record in found.get("BuildCache") or ()]
        idle = (size for size, record in records if not (record.get("InUse") or record.get("Shared")))
        return EngineUsage(
            layers=int(found["LayersSize"]), build_cache=sum(size for size, _ in records), idle_cache=sum(idle)
        )

    return _asked(endpoint, env, ask)


def prune_build_cache(endpoint: str, env: Mapping[str, str]) -> int | None:
    """Remove what BuildKit keeps and nothing uses; bytes, or None when the SDK cannot ask."""
    return _asked(endpoint, env, lambda client: int(client.api.prune_builds()["SpaceReclaimed"]))


def _asked(endpoint: str, env: Mapping[str, str], ask: Callable[[DockerClient], T]) -> T | None:
    """The answer of an engine; None when there is none.

    The SDK cannot open a socket that needs sudo. The API version is negotiated: engine 20.10 speaks 1.41, 29 nothing
    below 1.44.
    """
    from docker.client import DockerClient
    from docker.errors import DockerException

    ssh = endpoint.startswith("ssh://")
    try:
        client = DockerClient.from_env(
            version="auto", timeout=TIMEOUT, environment={**env, "DOCKER_HOST": endpoint}, use_ssh_client=ssh
        )
        try:
            return ask(client)
        finally:
            client.close()
    except (DockerException, OSError, LookupError, TypeError, ValueError):
        return None
