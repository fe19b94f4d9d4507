"""Stages shared by key: those another machine has built are pulled, those built here can be pushed.

A stage stands in the registry as `REGISTRY/NAMESPACE/stage:TAG`, with the tag and labels of its local name. Whether it
is there is asked once, before anything is decided; it is pulled by its digest, so that what was decided is what comes.

With a signing key, what is pushed is signed, and only what this key has signed counts as there: else a build would
vouch for what anybody has put there under a stage's name.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.builder import known_base
from jetson_containers.core.errors import JetsonError, NotReadyError, RegistryError
from jetson_containers.engine import transfer_progress
from jetson_containers.images import labels
from jetson_containers.registry.types import ImageRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jetson_containers.builder.graph import Node
    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import Engine, LocalImage
    from jetson_containers.engine.transfer_events import Transferred
    from jetson_containers.plan.stage import Stage
    from jetson_containers.registry.client import RegistryClient
    from jetson_containers.signing.signer import Signer

THREADS = 8  # questions at a time


@dataclass(frozen=True, kw_only=True)
class RemoteStage:
    """A stage that a registry has. `reference` names it by digest."""

    reference: str
    labels: Mapping[str, str]


class StageRegistry:
    """The stages below one namespace of a registry."""

    def __init__(self, namespace: str, client: RegistryClient, signer: Signer | None = None) -> None:
        self.namespace = namespace
        self.repository = ImageRepository.parse(namespace).child("stage")
        self._client = client
        self._signer = signer

    @classmethod
    def of(cls, settings: Settings, signer: Signer | None = None) -> StageRegistry | None:
        """The registry of the settings; None without one, and offline. Raises UsageError for a malformed name."""
        from jetson_containers.registry.client import RegistryClient

        if not settings["stage_registry"] or settings["offline"]:
            return None
        return cls(settings["stage_registry"], RegistryClient.of(settings), signer)

    def find(self, nodes: Iterable[Node], warn: Callable[[str], None]) -> dict[str, RemoteStage]:
        """The stages of `nodes` that are there, by key. A registry that does not answer has none; `warn` says so."""
        from concurrent.futures import ThreadPoolExecutor

        try:
            with ThreadPoolExecutor(THREADS) as pool:
                found = dict(pool.map(self._find, nodes))
        except RegistryError as error:
            warn(f"stages are not looked up in {self.repository}: {error.message}")
            return {}
        return {key: remote for key, remote in found.items() if remote is not None}

    def _find(self, node: Node) -> tuple[str, RemoteStage | None]:
        stage = node.stage
        architecture = node.plan.platform.docker_platform.split("/")[1]
        info = self._client.inspect(self.repository, _tag(stage), architecture)
        # The tag holds a part of the key; the label has all of it.
        if info is None or info.architecture != architecture or info.labels.get(labels.KEY) != stage.key:
            return stage.key, None
        if not self._counts(self.repository, info.digest):
            return stage.key, None
        return stage.key, RemoteStage(reference=f"{self.repository.reference}@{info.digest}", labels=info.labels)

    def _counts(self, repository: ImageRepository, digest: str | None) -> bool:
        """Whether a digest is there, and signed where this registry is signed for."""
        return digest is not None and (self._signer is None or self._signer.has_signed(repository, digest))

    def push(
        self,
        stage: Stage,
        engine: Engine,
        on_line: Callable[[str], None],
        on_bytes: Callable[[Transferred], None] | None = None,
    ) -> str:
        """Push a local stage unless it is there; the reference that was pushed, or `""`. Raises RegistryError."""
        return self._push(stage.image, self.repository, _tag(stage), engine, on_line, on_bytes)

    def publish(self, image: LocalImage, reference: str, engine: Engine, on_line: Callable[[str], None]) -> str:
        """Have a base image where other machines find it: its reference by digest, in the registry it came from.

        An image of no registry is pushed beside the stages. Raises RegistryError.
        """
        own = ImageRepository.parse(self.namespace).child(known_base.COPIES)
        repository = _repository(reference)
        known = {name.partition("@")[0]: name for name in sorted(image.digests)}
        if repository in known:
            return known[repository]
        tag = image.id.rpartition(":")[2][:32]
        self._push(reference, own, tag, engine, on_line)
        digest = self._client.digest(own, tag)
        if digest is None:
            raise RegistryError(f"{own} does not have `{reference}` although it was pushed")
        forget(engine, f"{own.reference}@{digest}")
        return f"{own.reference}@{digest}"

    def _push(
        self,
        image: str,
        repository: ImageRepository,
        tag: str,
        engine: Engine,
        on_line: Callable[[str], None],
        on_bytes: Callable[[Transferred], None] | None = None,
    ) -> str:
        """Push a local image under a tag unless that is there; the reference that was pushed, or `""`.

        The name goes again, also one that a run left which was killed while it pushed. Another run that pushes the same
        may take it away: what is there in the end has been pushed.
        """
        target = f"{repository.reference}:{tag}"
        there = self._counts(repository, self._client.digest(repository, tag))
        try:
            if not there:
                engine.tag(image, target)
                push(engine, target, self._signer, on_line, on_bytes)
        except (RegistryError, NotReadyError):
            with contextlib.suppress(RegistryError):
                there = self._counts(repository, self._client.digest(repository, tag))
            if not there:
                raise
        finally:
            forget(engine, target)
        return "" if there else target


def push(
    engine: Engine,
    target: str,
    signer: Signer | None,
    on_line: Callable[[str], None],
    on_bytes: Callable[[Transferred], None] | None = None,
) -> None:
    """Push an image, and sign the digest that the engine names where there is a key. Raises RegistryError."""
    if signer is None:
        engine.push(target, on_line, on_bytes=on_bytes)
        return
    from jetson_containers.signing.signer import PushedDigest

    pushed = PushedDigest(on_line)
    engine.push(target, pushed, on_bytes=on_bytes)
    signature, _ = signer.sign(target, pushed.value)
    on_line(f"signed by {signer.key.name}: {signature}")


def forget(engine: Engine, reference: str) -> None:
    """Take a name or digest off an image of the local store, where it has that."""
    with contextlib.suppress(JetsonError):
        if engine.image(reference) is not None:
            engine.untag(reference)


def _repository(reference: str) -> str:
    """The name of an image without tag and digest, as the engine lists it."""
    name = reference.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    return name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name


def pull(node: Node, remote: RemoteStage, engine: Engine, platform: str | None, console: Console) -> str | None:
    """Pull a stage and give it its local name; the reason when that fails."""
    try:
        transfer_progress.pull(engine, remote.reference, console, platform=platform)
        engine.tag(remote.reference, node.stage.image)
    except JetsonError as error:
        return error.message
    return None


def _tag(stage: Stage) -> str:
    return stage.image.rpartition(":")[2]
