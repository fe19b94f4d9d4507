"""Artifacts of a registry of containers that hold GGUF files: Docker's models, and what `oras push` makes.

A layer is a GGUF file when its media type says so (`application/vnd.docker.ai.gguf.v3`, model.file.v1+gguf, those of
the CNCF model specification with a file name) or when its annotation names a file that ends so. Sources: Docker,
model-runner, pkg/distribution/types; the OCI image specification (annotations); the CNCF model specification.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked
from jetson_containers.core.errors import NothingMatchedError
from jetson_containers.hub.transfer.entries import ListingError, checked_entries, shown
from jetson_containers.hub.transfer.reference import is_safe
from jetson_containers.sources.ollama import BlobSource, entry_of, layers_of, no_gguf, numbered, stem_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.hub.transfer.types import RepositoryFile
    from jetson_containers.sources.names import SourceReference

_GGUF = re.compile(r"application/vnd\.docker\.ai\.(?:gguf\.v[0-9]+|model\.file\.v1\+gguf)")
_PACKED = re.compile(r"[.+](?:tar|gzip|zstd)\b")  # archives, which layers of images are
_TITLES = ("org.cncf.model.filepath", "org.opencontainers.image.title")
_OTHERS: Mapping[str, str] = {
    "application/vnd.docker.ai.license": "LICENSE",
    "application/vnd.docker.ai.chat.template.jinja": "chat_template.jinja",
    "application/vnd.docker.ai.mmproj": "mmproj-{}.gguf",
}


class ArtifactSource(BlobSource):
    """A registry of containers."""

    def entries(self, reference: SourceReference, manifest: Mapping[str, Any]) -> tuple[RepositoryFile, ...]:
        """See `BlobSource`."""
        layers = layers_of(manifest)
        weights = [layer for kind, layer in layers if _is_gguf(kind, _title(layer))]
        if not weights:
            raise no_gguf(reference, [kind for kind, _ in layers])
        quantization = checked.mapping(self.config(reference, manifest).get("config") or {}).get("quantization")
        stem = stem_of(reference, quantization)
        names = _weight_names(weights, stem)
        found = [entry_of(layer, name) for layer, name in zip(weights, names, strict=True)]
        counts: dict[str, int] = {}
        for kind, layer in layers:
            if layer in weights or kind not in _OTHERS:
                continue
            counts[kind] = counts.get(kind, 0) + 1
            name = _OTHERS[kind].format(stem)
            found.append(entry_of(layer, name if counts[kind] == 1 else numbered(name, counts[kind])))
        return checked_entries(found)

    def missing(self, reference: SourceReference) -> Exception:
        """See `BlobSource`."""
        return NothingMatchedError(
            f"registry {self.host} has no `{reference.repo}`", hint="check repository and tag, and `docker login`"
        )


def _is_gguf(kind: str, title: str) -> bool:
    return bool(_GGUF.fullmatch(kind)) or (
        title.lower().endswith(".gguf") and not _PACKED.search(kind) and "mmproj" not in title.lower()
    )


def _title(layer: Mapping[str, Any]) -> str:
    """The file name that a layer states; empty where it states none. Raises ListingError for one that leads away."""
    annotations = checked.texts(layer.get("annotations"))
    title = next((annotations[key] for key in _TITLES if annotations.get(key)), "")
    if title and not is_safe(title):
        raise ListingError(f"the file name {shown(title)} is not a relative path")
    return title.rpartition("/")[2]


def _weight_names(weights: list[Mapping[str, Any]], stem: str) -> list[str]:
    """What the files are called: one by its model, several by their own names, or as parts in the order given."""
    if len(weights) == 1:
        return [f"{stem}.gguf"]
    titles = [_title(layer) for layer in weights]
    if all(title.endswith(".gguf") for title in titles) and len(set(titles)) == len(titles):
        return titles
    return [f"{stem}-{number:05d}-of-{len(weights):05d}.gguf" for number in range(1, len(weights) + 1)]
