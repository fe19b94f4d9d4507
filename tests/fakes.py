"""In-memory stand-ins for the outside world; each is used only beside a test of the real thing in `tests/real`."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers.core.errors import (
    BuildError,
    ImageInUseError,
    InterruptedByUserError,
    NotReadyError,
    RegistryError,
)
from jetson_containers.engine.interface import (
    BakeResult,
    BakeWatcher,
    Builder,
    BuildRequest,
    BuildTimeoutError,
    Capabilities,
    EngineUsage,
    HistoryEntry,
    LocalImage,
    OutOfMemoryError,
    RunCapabilities,
    RunResult,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.engine.transfer_events import Transferred

CAPABILITIES = Capabilities(
    client="/usr/bin/docker",
    client_version="20.10.24",
    server_version="20.10.24",
    api_version="1.41",
    builder=Builder.BUILDKIT,
    sudo=False,
    runtimes=("runc",),
    cdi_devices=(),
    storage_driver="overlay2",
    data_root="/var/lib/docker",
    architecture="x86_64",
    platforms=("linux/amd64", "linux/arm64"),
)


@dataclass(frozen=True)
class RunCall:
    """One `run` the fake was asked for."""

    image: str
    command: tuple[str, ...]
    options: tuple[str, ...]
    timeout: float | None


@dataclass
class FakeEngine:
    """An Engine that keeps images in a dict and records what it was asked.

    - `requests`, `runs`, `calls` (method name and arguments, in order) record.
    - `fail(pattern)`, `oom(pattern)`, `time_out(pattern)`, `hang(pattern)`: builds whose tag matches the regular
      expression (re.search) end that way; `heal()` forgets all of it. A hanging build sets `hanging` and waits for
      `released` (set by `release()`, then it succeeds) or `stop()` (then it raises InterruptedByUserError).
    - `registry`: reference → LocalImage that `pull` finds and `push` fills; `registry_down` makes both fail.
    - `answer`: called with every RunCall to make the RunResult; default: exit code 0, no output.
    - `bakes`: the tags wanted of each `bake`, which builds them one after the other.
    - `in_use`: references that `untag` refuses, as when a container runs.
    - `missing`: an exception every method raises, as when no engine is installed.
    """

    capabilities_: Capabilities = CAPABILITIES
    store: dict[str, LocalImage] = field(default_factory=dict)
    registry: dict[str, LocalImage] = field(default_factory=dict)
    registry_down: bool = False
    missing: NotReadyError | None = None
    in_use: set[str] = field(default_factory=set)
    build_cache: int = 0  # bytes
    layer_chains: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by image ID; else one layer of its own
    histories: dict[str, tuple[HistoryEntry, ...]] = field(default_factory=dict)  # by reference
    answer: Callable[[RunCall], RunResult] = lambda _call: RunResult(exit_code=0, output="")
    on_build: Callable[[BuildRequest], None] | None = None  # called in the building thread, before the outcome
    requests: list[BuildRequest] = field(default_factory=list)
    bakes: list[tuple[str, ...]] = field(default_factory=list)
    runs: list[RunCall] = field(default_factory=list)
    calls: list[tuple[str, ...]] = field(default_factory=list)
    hanging: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)
    bake_stopped: threading.Event = field(default_factory=threading.Event)  # set by the watcher of a `bake`
    running: int = 0  # builds at this moment
    most_running: int = 0  # the most builds there ever were at one moment

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._outcomes: list[tuple[str, str, tuple[str, ...]]] = []
        self._clock = 0

    # How the fake is told to misbehave.

    def fail(self, pattern: str, *lines: str) -> None:
        """Make builds of matching tags fail after printing `lines`."""
        self._outcomes.append(("fail", pattern, lines or ("E: something broke",)))

    def oom(self, pattern: str) -> None:
        """Make builds of matching tags be killed by the kernel."""
        self._outcomes.append(("oom", pattern, ("Killed", "returned a non-zero code: 137")))

    def time_out(self, pattern: str) -> None:
        """Make builds of matching tags take too long."""
        self._outcomes.append(("timeout", pattern, ()))

    def hang(self, pattern: str) -> None:
        """Make builds of matching tags wait for `release()` or `stop()`."""
        self._outcomes.append(("hang", pattern, ()))

    def release(self) -> None:
        """Let hanging builds succeed."""
        self.released.set()

    def heal(self) -> None:
        """Forget failures and a stop."""
        self._outcomes.clear()
        self.stopped.clear()

    def add_image(
        self, reference: str, labels: Mapping[str, str] | None = None, *, architecture: str = "amd64"
    ) -> LocalImage:
        """Put an image into the local store."""
        image = self._new_image((reference,), labels or {}, architecture, reference)
        with self._lock:
            self._put(image)
        return image

    @property
    def tags_built(self) -> list[str]:
        """The tags of all build requests, in the order they came."""
        return [request.tag for request in self.requests]

    # The Engine protocol.

    @property
    def capabilities(self) -> Capabilities:
        self._check()
        return self.capabilities_

    @property
    def elsewhere(self) -> bool:
        return self.capabilities.elsewhere

    @property
    def run_capabilities(self) -> RunCapabilities:
        return self.capabilities

    def build(self, request: BuildRequest, on_line: Callable[[str], None]) -> None:
        self._check()
        self._check_stopped()
        with self._lock:
            self.requests.append(request)
            self.calls.append(("build", request.tag))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            on_line(f"Step 1/1 : {request.dockerfile.strip().splitlines()[0] if request.dockerfile.strip() else ''}")
            if self.on_build:
                self.on_build(request)
            self._suffer(request.tag, on_line)
        finally:
            with self._lock:
                self.running -= 1
        architecture = (request.platform or "linux/amd64").split("/")[1]
        seed = repr((request.dockerfile, sorted(request.build_args.items()), str(request.context)))
        with self._lock:
            self._put(self._new_image((request.tag,), request.labels, architecture, seed))

    def bake(self, requests: Sequence[BuildRequest], watcher: BakeWatcher, *, wanted: Sequence[str]) -> BakeResult:
        self._check()
        self._check_stopped()
        self.bake_stopped.clear()
        watcher.started(self.bake_stopped.set)
        with self._lock:
            self.bakes.append(tuple(wanted))
        finished: set[str] = set()
        for request in requests:
            if request.tag not in wanted:
                continue
            if self.bake_stopped.is_set():
                break
            watcher.line(request.tag, "#1 [1/1] RUN something")
            try:
                self.build(request, lambda line, tag=request.tag: watcher.line(tag, line))  # type: ignore[misc]
            except BuildError as error:
                return BakeResult(failed={request.tag: error}, finished=frozenset(finished))
            finished.add(request.tag)
            watcher.built(request.tag)
        return BakeResult(failed={}, finished=frozenset(finished))

    def build_argv(self, request: BuildRequest) -> list[str]:
        return ["docker", "build", "--tag", request.tag, str(request.context)]

    def run(
        self, image: str, command: Sequence[str], *, options: Sequence[str] = (), timeout: float | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> RunResult:  # fmt: skip
        self._check()
        self._check_stopped()
        call = RunCall(image, tuple(command), tuple(options), timeout)
        with self._lock:
            self.runs.append(call)
            self.calls.append(("run", image, *command))
        result = self.answer(call)
        if on_line is not None:
            for line in result.output.splitlines():
                on_line(line)
        return result

    def images(self, labels: Mapping[str, str] | None = None) -> list[LocalImage]:
        self._check()
        with self._lock:
            unique = {image.id: image for image in self.store.values()}
        chosen = [i for i in unique.values() if (labels or {}).items() <= i.labels.items()]
        return sorted(chosen, key=lambda i: i.created, reverse=True)

    def images_named(self, references: Sequence[str]) -> list[LocalImage]:
        return [image for image in map(self.image, references) if image is not None]

    def image(self, reference: str) -> LocalImage | None:
        self._check()
        with self._lock:
            return self.store.get(_normal(reference)) or next(
                (image for image in self.store.values() if image.id == reference), None
            )

    def flatten(self, source: str, target: str, labels: Mapping[str, str]) -> None:
        self._check()
        image = self.image(source)
        if image is None:
            raise NotReadyError(f"no image `{source}` in the local store")
        with self._lock:
            made = replace(image, id=f"flat-{image.id}", references=(target,), labels=dict(labels))
            self.store[_normal(target)] = made

    def usage(self) -> EngineUsage | None:
        self._check()
        images = {image.id: image for image in self.store.values()}
        layers = sum(image.size for image in images.values())
        return EngineUsage(layers=layers, build_cache=self.build_cache, idle_cache=self.build_cache)

    def layers(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        self._check()
        return {name: self.layer_chains.get(name, (name,)) for name in ids}

    def history(self, reference: str) -> tuple[HistoryEntry, ...]:
        self._check()
        return self.histories.get(reference, ())

    def prune_build_cache(self) -> int:
        self.calls.append(("prune_build_cache",))
        freed, self.build_cache = self.build_cache, 0
        return freed

    def tag(self, source: str, target: str) -> None:
        image = self._need(source)
        with self._lock:
            self.calls.append(("tag", source, target))
            self._put(replace(image, references=tuple(dict.fromkeys((*image.references, _normal(target))))))

    def untag(self, reference: str, *, keep_parents: bool = False) -> None:
        image = self._need(reference)
        if reference in self.in_use:
            raise ImageInUseError(f"removing `{reference}`: the container `c` uses the image", hint="docker rm -f c")
        with self._lock:
            self.calls.append(("untag", reference, *(["keep_parents"] if keep_parents else [])))
            self._drop(_normal(reference), image)

    def label(self, source: str, target: str, labels: Mapping[str, str]) -> None:
        image = self._need(source)
        merged = {**image.labels, **labels}
        with self._lock:
            self.calls.append(("label", source, target))
            self._put(self._new_image((target,), merged, image.architecture, image.id))

    def pull(
        self, reference: str, on_line: Callable[[str], None], *, platform: str | None = None,
        timeout: float | None = None, on_bytes: Callable[[Transferred], None] | None = None,
    ) -> None:  # fmt: skip
        self._check()
        self._check_stopped()
        self.calls.append(("pull", reference))
        if self.registry_down or _normal(reference) not in self.registry:
            raise RegistryError(f"`{reference}` cannot be pulled", hint="is the registry up?")
        on_line(f"Pulled {reference}")
        with self._lock:
            self._put(replace(self.registry[_normal(reference)], references=(_normal(reference),)))

    def push(
        self, reference: str, on_line: Callable[[str], None], *, on_bytes: Callable[[Transferred], None] | None = None
    ) -> None:
        self._check_stopped()
        image = self._need(reference)
        self.calls.append(("push", reference))
        if self.registry_down:
            raise RegistryError(f"`{reference}` cannot be pushed", hint="is the registry up?")
        on_line(f"Pushed {reference}")
        self.registry[_normal(reference)] = image

    def stop(self) -> None:
        self.stopped.set()
        self.released.set()

    # Inside.

    def _check(self) -> None:
        if self.missing:
            raise self.missing

    def _check_stopped(self) -> None:
        if self.stopped.is_set():
            raise InterruptedByUserError("interrupted")

    def _need(self, reference: str) -> LocalImage:
        image = self.image(reference)
        if image is None:
            raise NotReadyError(f"no image `{reference}` in the local store")
        return image

    def _suffer(self, tag: str, on_line: Callable[[str], None]) -> None:
        found = next((o for o in self._outcomes if re.search(o[1], tag)), None)
        if found is None:
            return
        kind, _, lines = found
        for line in lines:
            on_line(line)
        if kind == "hang":
            self.hanging.set()
            self.released.wait(timeout=120)
            self._check_stopped()
            return
        error = {"fail": BuildError, "oom": OutOfMemoryError, "timeout": BuildTimeoutError}[kind]
        raise error(f"building `{tag}` failed", details=lines)

    def _new_image(
        self, references: tuple[str, ...], labels: Mapping[str, str], architecture: str, seed: str
    ) -> LocalImage:
        digest = hashlib.sha256(repr((seed, sorted(labels.items()))).encode()).hexdigest()
        self._clock += 1
        created = f"2026-01-01T00:00:{self._clock // 60:02d}.{self._clock % 60:02d}Z"
        names = tuple(_normal(name) for name in references)
        return LocalImage(
            id=f"sha256:{digest}",
            references=names,
            labels=dict(labels),
            architecture=architecture,
            created=created,
            size=1000,
        )

    def _put(self, image: LocalImage) -> None:
        """Store an image under its references: what had one of these names before loses it."""
        for name in image.references:
            before = self.store.get(name)
            if before is not None and before.id != image.id:
                self._drop(name, before)
            elif before is not None:
                image = replace(image, references=tuple(dict.fromkeys((*before.references, *image.references))))
        for name in image.references:
            self.store[name] = image

    def _drop(self, name: str, image: LocalImage) -> None:
        rest = replace(image, references=tuple(other for other in image.references if other != name))
        self.store.pop(name, None)
        for other in rest.references:
            self.store[other] = rest


def _normal(reference: str) -> str:
    """Docker's default tag; a digest or an explicit tag stays."""
    return reference if "@" in reference or ":" in reference.rsplit("/", 1)[-1] else f"{reference}:latest"
