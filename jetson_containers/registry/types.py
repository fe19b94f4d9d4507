"""What a registry tells us, and the one way a registry fails that a cached listing can stand in for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core.errors import RegistryError, UsageError
from jetson_containers.core.text import is_number, shown
from jetson_containers.images.name import is_repository_path

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

DOCKER_HUB = "docker.io"
_HOST = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class UnreachableError(RegistryError):
    """No usable answer: no connection, too slow, too many requests, a server error, an unreadable answer.

    Unlike a refusal (401, 403) it may pass, so an older listing is better than none.
    """


class ClockError(RegistryError):
    """A certificate is not valid yet, or no more, by this machine's clock: one of both is wrong."""


@dataclass(frozen=True)
class ImageRepository:
    """A repository of one registry: host `docker.io`, path `dustynv/mlc`."""

    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> ImageRepository:
        """Read `[HOST[:PORT]/]PATH`; without a host it is Docker Hub, as for `docker pull`.

        Raises UsageError for a name that Docker would not accept either, and for one with a tag or digest.
        """
        host, path = split_host(text.strip().removeprefix("https://").rstrip("/"))
        if not is_repository_path(path) or not _HOST.fullmatch(host):
            hint = "write REGISTRY/NAMESPACE in lower case, as docker.io/dustynv"
            raise UsageError(f"invalid repository `{shown(text)}`", hint=hint)
        return cls(host, path)

    def child(self, name: str) -> ImageRepository:
        """Name a repository below this one, when this is a namespace."""
        return ImageRepository(self.host, f"{self.path}/{name}")

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def reference(self) -> str:
        """The name as `docker pull` takes it, without `docker.io/`."""
        return self.path if self.host == DOCKER_HUB else str(self)


@dataclass(frozen=True, kw_only=True)
class Tag:
    """One tag for one architecture; a tag that serves several has a row for each.

    `bytes` is the compressed size. Empty and None are "not known"; `labels` is None until the image's config
    was read. `digest` is that of the manifest or index the tag points to: what a pin needs.
    """

    tag: str
    pushed: str = ""  # ISO date
    bytes: int | None = None
    arch: str | None = None  # as Docker names it: "arm64", "amd64"
    digest: str | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class TagListing:
    """The tags of a repository. `origin` is "live", "cache" or "snapshot"; `fetched` an ISO date or time (UTC).

    `notice` is set when the user must know that this is not today's list.
    """

    repository: ImageRepository
    tags: tuple[Tag, ...]
    fetched: str
    origin: str
    etag: str = ""
    notice: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageInfo:
    """What manifest and config say of one image. `size` in bytes, compressed; `digest` is the tag's own.

    `platforms` has every architecture the tag serves, `architecture` is the one the rest was read for.
    """

    digest: str
    media_type: str
    architecture: str | None
    size: int
    created: str
    labels: Mapping[str, str]
    platforms: tuple[str, ...]


def split_host(text: str) -> tuple[str, str]:
    """Split a name into registry host and the rest, by Docker's rule: a host has a dot, a port or is localhost."""
    first, slash, rest = text.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return (DOCKER_HUB if first in {"index.docker.io", "registry-1.docker.io"} else first), rest
    return DOCKER_HUB, text


def plain_http_allowed(host: str, insecure: Collection[str] = ()) -> bool:
    """Whether a registry host (`HOST[:PORT]`) may be spoken to without TLS: loopback, or listed by the user."""
    name = host.rpartition(":")[0] if is_number(host.rpartition(":")[2]) else host
    if host in insecure or name in insecure or name == "localhost":
        return True
    import ipaddress

    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
