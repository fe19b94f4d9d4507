"""What the actions need of a container engine; `docker.DockerEngine` is the real one, tests have a fake."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from jetson_containers.core.errors import BuildError, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.core.errors import JetsonError
    from jetson_containers.engine.transfer_events import Transferred


class BuildTimeoutError(BuildError):
    """A stage that took longer than its `timeout`; the build was stopped."""


# The first engine with that fault (docker/buildx issue 2479; measured with 26.1.5), the first that surely has none.
_SLOW_SECRETS = ((26, 0), (27, 3))


class OutOfMemoryError(BuildError):
    """A stage whose process the kernel killed (exit code 137, "Killed"); fewer jobs may help."""


class Builder(enum.Enum):
    """The ways a Docker client can build, best first."""

    BUILDX = "buildx"  # `docker buildx build`, docker driver
    BUILDKIT = "buildkit"  # DOCKER_BUILDKIT=1 inside a client before 23
    LEGACY = "legacy"  # DOCKER_BUILDKIT=0


@dataclass(frozen=True, kw_only=True)
class RunCapabilities:
    """What one must know of an engine to start a container: `docker info` alone tells it."""

    client: str  # path of the docker binary that was chosen
    sudo: bool  # whether `sudo` must stand before docker
    runtimes: tuple[str, ...]  # of `docker info`
    cdi_devices: tuple[str, ...]  # "nvidia.com/gpu=all" …, empty without CDI
    podman: bool = False  # whether the client is Podman, without root where that runs without
    rootless: bool = False
    elsewhere: bool = False  # whether it is on another machine: paths of this one mean nothing to it

    def require_here(self, what: str) -> None:
        """Raises NotReadyError where the engine is on another machine, which lacks `what` of this one."""
        if self.elsewhere:
            raise NotReadyError(
                f"the engine is on another machine (DOCKER_HOST or docker context), which does not see {what}",
                hint="run the command on that machine, or use the engine of this one:"
                " `DOCKER_HOST=unix:///var/run/docker.sock`",
            )


@dataclass(frozen=True, kw_only=True)
class Capabilities(RunCapabilities):
    """What this engine, through this client, can do; found by probing."""

    client_version: str
    server_version: str
    api_version: str
    builder: Builder
    storage_driver: str
    data_root: str
    architecture: str  # of the engine: "x86_64", "aarch64"
    platforms: tuple[str, ...] = ()  # docker platforms that run here: native and emulated
    buildx: tuple[int, ...] = ()  # version of the buildx plugin, where that is the builder
    bake: bool = False  # whether several stages are built by one `docker buildx bake`

    @property
    def mounts(self) -> bool:
        """Whether `RUN --mount` works."""
        return self.builder is not Builder.LEGACY

    @property
    def slow_secrets(self) -> bool:
        """Whether each RUN with a secret reads all files of its image first: BuildKit 0.13 to its change 5251."""
        found = re.match(r"([0-9]{1,4})\.([0-9]{1,4})", self.server_version)
        return self.mounts and bool(found and _SLOW_SECRETS[0] <= (int(found[1]), int(found[2])) < _SLOW_SECRETS[1])


@dataclass(frozen=True, kw_only=True)
class LocalImage:
    """An image of the local store."""

    id: str
    references: tuple[str, ...]
    labels: Mapping[str, str]
    architecture: str  # "arm64", "amd64"
    created: str  # ISO
    size: int  # bytes, unpacked
    digests: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    """One instruction that an image was made by; `size` is the bytes that it added."""

    command: str
    size: int


@dataclass(frozen=True, kw_only=True)
class EngineUsage:
    """Bytes of an engine's store. `layers`: of all images, each layer once; `idle_cache`: what no build uses."""

    layers: int
    build_cache: int
    idle_cache: int


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One `docker build`. Secrets are (id, file) and never appear in argv as values."""

    context: Path
    dockerfile: str  # text
    tag: str
    build_args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None  # "linux/arm64"; None: the engine's own
    no_cache: bool = False
    network: str | None = "host"
    flags: tuple[str, ...] = ()
    secrets: tuple[tuple[str, Path], ...] = ()
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    ca_bundle: Path | None = None  # trusted during RUN, not left in the image
    wheelhouse: Path | None = None  # directory of wheels pip may use during RUN, not left in the image
    timeout: float | None = None  # seconds
    index_url: str = ""  # package index pip uses during RUN, not left in the image
    variables: Mapping[str, str] = field(default_factory=dict)  # every RUN sees them, and the image does not keep them
    mirrors: Mapping[str, Any] = field(default_factory=dict)  # the setting: where RUNs fetch from, not in the image
    jobs: int = 0  # compile jobs passed to the recipe, outside of the engine's cache key; 0: none are passed
    added: Mapping[str, str] = field(default_factory=dict)  # texts of files that stand in the context only meanwhile
    shared: Mapping[str, Path] = field(default_factory=dict)  # files of elsewhere that stand in the context meanwhile
    needs: tuple[str, ...] = ()  # images of other stages that it builds on or copies from


@dataclass(frozen=True, kw_only=True)
class BakeResult:
    """What became of several builds. What is in neither was stopped before its image was there."""

    failed: Mapping[str, JetsonError]  # by tag: those that failed by themselves
    finished: frozenset[str]  # tags whose commands are all complete; the image may be missing after a stop


class BakeWatcher(Protocol):
    """Told what happens while several stages are built by one command; images are named by their tags."""

    def line(self, tag: str, text: str) -> None:
        """A stage's build printed a line."""
        ...

    def built(self, tag: str) -> None:
        """A stage's image is in the local store."""
        ...

    def started(self, stop: Callable[[], None]) -> None:
        """The command runs; `stop` ends it."""
        ...


@dataclass(frozen=True, kw_only=True)
class TransferRequest:
    """A pull, or a push. `platform` is that of a pull: "linux/arm64"; None: the engine's own."""

    reference: str
    push: bool = False
    platform: str | None = None

    @property
    def words(self) -> tuple[str, ...]:
        """What the docker client is told."""
        platform = ("--platform", self.platform) if self.platform else ()
        return ("push", self.reference) if self.push else ("pull", *platform, self.reference)


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """How a container ended. `output` is stdout and stderr together."""

    exit_code: int
    output: str
    oom_killed: bool = False
    timed_out: bool = False  # it ran longer than allowed and was stopped; the exit code is then 124


class ContainerEngine(Protocol):
    """What starting containers takes: Docker's engine and Podman have it. Methods raise as those of `Engine`."""

    @property
    def run_capabilities(self) -> RunCapabilities:
        """The part of the capabilities that starting a container needs; one question, where probing takes several."""
        ...

    def images(self, labels: Mapping[str, str] | None = None) -> list[LocalImage]:
        """Images of the local store, newest first, optionally only those with these labels."""
        ...

    def images_named(self, references: Sequence[str]) -> list[LocalImage]:
        """Those of some images that the local store has, in the order of their names, asked for at once."""
        ...

    def image(self, reference: str) -> LocalImage | None:
        """One image, or None when the local store has none of that name."""
        ...

    def pull(
        self,
        reference: str,
        on_line: Callable[[str], None],
        *,
        platform: str | None = None,
        timeout: float | None = None,
        on_bytes: Callable[[Transferred], None] | None = None,
    ) -> None:
        """Pull an image. Raises RegistryError; also when no answer at all comes within `timeout` seconds.

        `on_bytes` gets the bytes, where the engine tells them; without it they are among the lines.
        """
        ...


class Engine(ContainerEngine, Protocol):
    """A container engine. Every method raises NotReadyError subclasses when the engine cannot be reached."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do; probed once, on first use."""
        ...

    @property
    def elsewhere(self) -> bool:
        """Whether it is on another machine; a question only where the environment leaves it open."""
        ...

    def build(self, request: BuildRequest, on_line: Callable[[str], None]) -> None:
        """Build and load into the local store. Raises BuildError; `on_line` gets each output line."""
        ...

    def bake(self, requests: Sequence[BuildRequest], watcher: BakeWatcher, *, wanted: Sequence[str]) -> BakeResult:
        """Build the stages `wanted` (tags), each after those it `needs`, by one command; where one fails, all stop.

        The other requests are what `wanted` stands on, built before and still in the layer cache: going through them
        again leads to the same cached commands. Only with the capability `bake`.

        Raises a JetsonError when no single stage is at fault.
        """
        ...

    def build_argv(self, request: BuildRequest) -> list[str]:
        """Return the argv `build` uses, for `--dry-run` and logs."""
        ...

    def run(
        self,
        image: str,
        command: Sequence[str],
        *,
        options: Sequence[str] = (),
        timeout: float | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> RunResult:
        """Run a container to its end and remove it."""
        ...

    def usage(self) -> EngineUsage | None:
        """What the engine's store takes; None when that is not known."""
        ...

    def layers(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The layers of images by their IDs, bottom first; an image that is gone is left out."""
        ...

    def history(self, reference: str) -> tuple[HistoryEntry, ...]:
        """The instructions an image was made by, newest first; nothing where it is not there."""
        ...

    def prune_build_cache(self) -> int:
        """Remove what BuildKit keeps and nothing uses; bytes. Raises NotReadyError where that cannot be asked."""
        ...

    def tag(self, source: str, target: str) -> None:
        """Give an image another name."""
        ...

    def untag(self, reference: str, *, keep_parents: bool = False) -> None:
        """Remove a name; an image without a name is deleted, unnamed images below it too unless `keep_parents`.

        Those are the legacy builder's layer cache.
        """
        ...

    def label(self, source: str, target: str, labels: Mapping[str, str]) -> None:
        """Make `target` the same image with further labels: no new layer, no rebuild."""
        ...

    def flatten(self, source: str, target: str, labels: Mapping[str, str]) -> None:
        """Make `target` of the files and the configuration of `source`, in one layer and with these labels."""
        ...

    def push(
        self,
        reference: str,
        on_line: Callable[[str], None],
        *,
        on_bytes: Callable[[Transferred], None] | None = None,
    ) -> None:
        """Push an image. `on_line` and `on_bytes` are told as by `pull`."""
        ...

    def stop(self) -> None:
        """Stop every build and container this engine has running in other threads.

        Their calls raise InterruptedByUserError, and so does every later `build`, `run`, `pull` and `push`.
        """
        ...
