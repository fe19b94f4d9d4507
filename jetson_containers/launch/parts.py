"""The pieces a `docker run` command is put together from; each step of `launch` returns a `LaunchPart`."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jetson_containers.engine.interface import RunCapabilities
    from jetson_containers.platforms.platform import Platform


class NoticeSeverity(enum.Enum):
    """When a notice is shown: always, or only with `--verbose`."""

    WARNING = "warning"
    INFO = "info"
    DETAIL = "detail"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something the user should know about the command; never contains a secret."""

    text: str
    hint: str | None = None
    severity: NoticeSeverity = NoticeSeverity.WARNING


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A host path inside the container.

    `volatile`: the source may be gone at the next boot (a socket, a file of a running session). Those go by `--mount`,
    which refuses to start without its source, where `-v` would leave an empty directory in its place on the host:
    `/tmp/argus_socket` as a directory keeps the camera daemon from ever starting again.
    """

    source: str
    target: str
    readonly: bool = False
    volatile: bool = False

    @property
    def argv(self) -> tuple[str, str]:
        """The option of `docker run`; a path with a colon or comma is spelled so that it survives."""
        if self.volatile or ":" in self.source:
            fields = ["type=bind", f"source={self.source}", f"target={self.target}"]
            return "--mount", ",".join(map(_csv_field, fields + ["readonly"] * self.readonly))
        return "--volume", f"{self.source}:{self.target}" + ":ro" * self.readonly

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}" + " (read-only)" * self.readonly


@dataclass(frozen=True, kw_only=True)
class LaunchPart:
    """What one step adds: options, mounts, variables for docker's environment, notices."""

    argv: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LaunchHost:
    """What the steps may look at. `root` is "/" or a folder of captured files; argv always names the real path."""

    platform: Platform
    capabilities: RunCapabilities
    env: Mapping[str, str] = field(repr=False)
    root: Path = Path("/")

    def below(self, path: str) -> Path:
        """Where a host path is to be looked up."""
        return self.root / path.lstrip("/")

    def exists(self, path: str) -> bool:
        """Whether a device, socket or directory is there."""
        return self.below(path).exists()

    def is_node(self, path: str) -> bool:
        """Whether a file or socket is there, and not a directory that docker once made in its place."""
        return self.exists(path) and not self.below(path).is_dir()

    def glob(self, pattern: str) -> list[str]:
        """Host paths that match, in natural order (video2 before video10)."""
        found = self.root.glob(pattern.lstrip("/"))
        return sorted(("/" + str(path.relative_to(self.root)) for path in found), key=lambda path: (len(path), path))


def present(host: LaunchHost, mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    """Those whose source is a file or socket on this host."""
    return tuple(mount for mount in mounts if host.is_node(mount.source))


def _csv_field(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text
