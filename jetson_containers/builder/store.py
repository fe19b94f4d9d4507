"""Which images of the local store are ours: found by key label, believed only under the name they were made for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from jetson_containers.core.errors import JetsonError
from jetson_containers.images import labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jetson_containers.builder.graph import Node
    from jetson_containers.engine.interface import Engine, LocalImage


class Store:
    """The engine's images seen as results of stages."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.absent: frozenset[str] = frozenset()  # keys of which a look at the whole store found no image
        self._kept: set[str] = set()  # names beside which `find` saw the old image of a process that was killed
        self._free: set[str] = set()  # names that no image had when `find` last looked, and nothing was named since

    def find(self, node: Node) -> LocalImage | None:
        """Find a stage's image: under its own name if it has it, else a final whose stages were pruned."""
        name = node.stage.image
        named = self.engine.images_named([name, _aside(name)])
        if image_named(name, named) is None:
            self._free.add(name)
        if image_named(_aside(name), named) is not None:
            self._kept.add(name)
        return self._among(named, [node]).get(node.stage.key)

    def find_all(self, nodes: Sequence[Node]) -> dict[str, LocalImage]:
        """Find the images of stages by key. All names are asked for at once; a search goes through the whole store.

        What was absent can only be there under its own name by now: somebody else has built it.
        """
        return self._among(self.engine.images_named([node.stage.image for node in nodes]), nodes)

    def _among(self, named: Sequence[LocalImage], nodes: Sequence[Node]) -> dict[str, LocalImage]:
        found = {}
        for node in nodes:
            image = image_of_stage(node, named)
            if image is None and node.stage.key not in self.absent:
                image = image_of_stage(node, self.engine.images(labels={labels.KEY: node.stage.key}))
            if image is not None:
                found[node.stage.key] = image
        return found

    def adopt(self, image: LocalImage, node: Node, stage_labels: Mapping[str, str]) -> None:
        """Give an image its stage name, when it only has another; a final's labels are not handed on."""
        if _has_reference(image, node.stage.image):
            return
        source = image.references[0] if image.references else image.id
        self.engine.label(source, node.stage.image, stage_labels)

    def relabel(self, reference: str, new: Mapping[str, str]) -> None:
        """Write further labels on an image, under the same name."""
        with self.replacing(reference):
            self.engine.label(reference, reference, new)

    def drop_replaced(self, reference: str) -> None:
        """Remove what `replacing` kept in a process that was killed; the caller holds the lock of the stage."""
        if reference in self._kept:
            self._kept.discard(reference)
            with contextlib.suppress(JetsonError):  # in use by a container: `prune` takes it later
                self.engine.untag(_aside(reference))

    @contextlib.contextmanager
    def replacing(self, reference: str) -> Iterator[None]:
        """While the name moves to a new image, keep the old one named; then remove it instead of leaving `<none>`.

        A name that `find` has just seen free is not asked for again.
        """
        before = None if reference in self._free else self.engine.image(reference)
        self._free.discard(reference)
        aside = _aside(reference)
        if before is not None:
            self.engine.tag(reference, aside)
        try:
            yield
        finally:
            if before is not None:
                with contextlib.suppress(JetsonError):  # in use by a container: `prune` takes it later
                    self.engine.untag(aside)


def _aside(reference: str) -> str:
    """The name that an image has while its own moves to another."""
    return f"{reference}.old"


def image_of_stage(node: Node, images: Iterable[LocalImage]) -> LocalImage | None:
    """Find a stage's image among some, newest first: under its own name, else a final whose stages were pruned."""
    found = [
        image
        for image in images
        if image.labels.get(labels.KEY) == node.stage.key and labels.is_ours(image.references, image.labels)
    ]
    named = [image for image in found if _has_reference(image, node.stage.image)]
    return next(iter(named or found), None)


def image_named(reference: str, images: Iterable[LocalImage]) -> LocalImage | None:
    """Find the image of a name among some, however the name is spelled: the engine leaves Docker Hub's out."""
    return next((image for image in images if _has_reference(image, reference)), None)


def _has_reference(image: LocalImage, reference: str) -> bool:
    return _as_listed(reference) in image.references


def _as_listed(reference: str) -> str:
    """A name as the engine lists it: without what stands for Docker Hub, with a tag."""
    for place in ("index.docker.io/", "docker.io/", "library/"):
        reference = reference.removeprefix(place)
    return reference if ":" in reference.rpartition("/")[2] else f"{reference}:latest"
