"""From the name of an image to the digest that may run: only one with a valid signature in its registry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jetson_containers.core.errors import SignatureError, UsageError, command
from jetson_containers.images.name import ImageName
from jetson_containers.registry.types import DOCKER_HUB, ImageRepository
from jetson_containers.signing import signatures
from jetson_containers.signing.keys import PublicKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import LocalImage

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def required(reference: str, settings: Settings, local: LocalImage | None) -> str:
    """The image that may be used: by digest, with a valid signature, where the setting `verify_key` names a key.

    The one rule for whatever is started, answered or pulled; without a key the reference stays as it is. Raises as
    `verified`.
    """
    key = settings["verify_key"]
    return verified(reference, key, settings, local) if key else reference


def check_base(reference: str, settings: Settings, image: LocalImage | None) -> None:
    """The same for what is here and built upon; an image that no registry gave was made here. Raises as `verified`."""
    if image is not None and image.digests:
        required(reference, settings, image)


def verified(reference: str, path: Path, settings: Settings, local: LocalImage | None) -> str:
    """The image by digest, once its registry has shown a valid signature by the key.

    The digest is that of the reference, else that under which the registry gave the local image of this name, else that
    of the tag in the registry. Raises SignatureError for an image without a signature by this key, and for one that no
    registry has; UsageError for a file that is not a key, and offline; RegistryError.
    """
    from jetson_containers.registry.client import RegistryClient

    key = PublicKey.read(path)
    name = _named(reference)
    repository = ImageRepository.parse(name.repository)
    if settings["offline"]:
        raise UsageError(
            f"the signature of {reference} cannot be looked up offline",
            hint="without `--offline`; or without `--verify` and the setting `verify_key`",
        )
    client = RegistryClient.of(settings)
    digest = name.digest or (_local_digest(reference, repository, local) if local else None)
    if digest is None:
        digest = client.digest(repository, name.tag or "latest")
    if digest is None or not _DIGEST.fullmatch(digest):
        raise SignatureError(f"{reference} is not in its registry, so nothing is signed", hint=_remedy(reference))
    signatures.verify(client, repository, digest, key)
    return f"{name.repository}@{digest}"


def _named(reference: str) -> ImageName:
    if "/" not in reference:
        raise SignatureError(
            f"`{reference}` names no registry, and only what a registry has can be signed", hint=_remedy(reference)
        )
    return ImageName.parse(reference)


def _local_digest(reference: str, repository: ImageRepository, local: LocalImage) -> str:
    """The digest under which the registry has a local image."""
    names = {str(repository), repository.reference, f"{DOCKER_HUB}/{repository.path}"}
    found = _digests(local.digests, names if repository.host == DOCKER_HUB else names - {repository.path})
    if not found:
        raise SignatureError(
            f"the image {reference} of this machine did not come from its registry, so nothing is signed",
            hint=_remedy(reference),
        )
    return found[0]


def _digests(entries: Sequence[str], names: set[str]) -> list[str]:
    pairs = (entry.rpartition("@") for entry in entries)
    return [digest for name, _, digest in pairs if name in names]


def _remedy(reference: str) -> str:
    place = reference if "/" in reference else f"registry.example/me/{reference}"
    return f"sign it with {command('jetson-containers', 'push', '--sign', 'KEY', place)}, and verify it under that name"
