"""What only the engine's own interface tells well, asked through the Docker SDK.

Importing the SDK takes longer than the docker client's whole answer, so commands that stand in people's command lines
never come here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 60  # seconds an answer may take: a store of thousands of images on an SD card is slow


def layers_size(endpoint: str, env: Mapping[str, str]) -> int | None:
    """Bytes of all layers of the engine, each counted once; None when the SDK cannot ask.

    It cannot open a socket that needs sudo. The API version is negotiated: engine 20.10 speaks 1.41, 29 nothing
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
            return int(client.df()["LayersSize"])
        finally:
            client.close()
    except (DockerException, OSError, LookupError, TypeError, ValueError):
        return None
