"""Container registries: what they have, with dates, sizes, digests and labels, also when they do not answer.

`Listings` is what most callers want; `registry.client.RegistryClient` reads manifests and configs, and is not
imported here because a fresh cache needs no HTTP.
"""

from __future__ import annotations

from jetson_containers.registry.listing import Listings, human_age, snapshot
from jetson_containers.registry.types import (
    DOCKER_HUB,
    ImageInfo,
    ImageRepository,
    Tag,
    TagListing,
    UnreachableError,
    plain_http_allowed,
    split_host,
)

__all__ = [
    "DOCKER_HUB",
    "ImageInfo",
    "ImageRepository",
    "Listings",
    "Tag",
    "TagListing",
    "UnreachableError",
    "human_age",
    "plain_http_allowed",
    "snapshot",
    "split_host",
]
