"""Have an image in the local store, or say that it is missing before anything is built on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.errors import NotReadyError, RegistryError
from jetson_containers.engine.messages import NETWORK

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.engine.interface import ContainerEngine

LISTED = "`jetson-containers images` lists those that are here"


def pull_missing(
    engine: ContainerEngine,
    image: str,
    on_line: Callable[[str], None],
    *,
    offline: bool,
    hint: str,
    platform: str | None = None,
) -> None:
    """Pull an image. Raises NotReadyError (offline) or RegistryError, which call it missing and add `hint`."""
    if offline:
        raise NotReadyError(f"no image `{image}` is here, and offline none is pulled", hint=f"{hint}; {LISTED}")
    try:
        engine.pull(image, on_line, platform=platform)
    except RegistryError as error:
        why = error.message.removeprefix(f"pulling `{image}`: ")
        helps = "check the network" if error.hint == NETWORK else hint  # the name is not to blame where nobody answers
        said = f"no image `{image}` is here, and none can be pulled: {why}"
        raise RegistryError(said, hint=f"{helps}; {LISTED}") from error
