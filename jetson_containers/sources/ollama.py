"""Ollama's registry: which files a model's manifest names.

It is an OCI registry whose manifests hold one layer for each file, uncompressed and named by its media type. Source:
Ollama, server/images.go. What llama.cpp reads is the layer of the model, a GGUF file; the template
is one of Go and serves Ollama only.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked
from jetson_containers.core.errors import NothingMatchedError, RegistryError
from jetson_containers.hub.transfer.entries import ListingError, checked_entries, checked_entry, shown
from jetson_containers.hub.transfer.errors import FAILED, NOTHING_FOUND, DownloadError
from jetson_containers.hub.transfer.types import RepositoryListing
from jetson_containers.registry.types import ImageRepository
from jetson_containers.sources.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jetson_containers.hub.transfer.types import RepositoryFile
    from jetson_containers.registry.client import RegistryClient
    from jetson_containers.registry.http import Stream
    from jetson_containers.sources.names import SourceReference

MOST_LAYERS = 200
PREFIX = "application/vnd.ollama.image."
# What a layer is called on the disk; those of the same kind are numbered.
_NAMES: Mapping[str, str] = {
    "template": "template", "system": "system", "params": "params.json", "messages": "messages.json",
    "license": "LICENSE", "prompt": "prompt",
}  # fmt: skip
_WEIGHTS: Mapping[str, str] = {"model": "{}.gguf", "projector": "mmproj-{}.gguf", "adapter": "adapter-{}.gguf"}
_QUANTIZATION = re.compile(r"[A-Za-z0-9_]{2,16}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


class BlobSource(ModelSource):
    """Models in a registry that gives each file as a blob."""

    title = "registry"

    def __init__(self, client: RegistryClient, host: str, **given: Any) -> None:
        super().__init__(host, **given)
        self.client = client

    def files_of(self, reference: SourceReference) -> RepositoryListing:
        """See `ModelSource`. Raises NothingMatchedError where there is no such model or tag."""
        repository, tag = _repository(reference), reference.revision or ""
        found = self.client.artifact(repository, tag)
        if found is None:
            raise self.missing(reference)
        manifest, digest = found
        if not digest.startswith(reference.digest):
            raise DownloadError(
                FAILED, f"`{reference.repo}` is {digest} now, not {reference.digest}",
                "the tag was moved; leave out the digest to take what it is now",
            )  # fmt: skip
        try:
            entries = self.entries(reference, manifest)
        except ValueError as error:  # also ListingError
            raise DownloadError(
                FAILED, f"{self.title} {self.host} lists `{reference.repo}` with values no registry gives: {error}",
                "this server is broken or hostile; nothing was written",
            ) from error  # fmt: skip
        return RepositoryListing(reference, digest.removeprefix("sha256:")[:40], entries)

    def entries(self, reference: SourceReference, manifest: Mapping[str, Any]) -> tuple[RepositoryFile, ...]:
        """The files that a manifest names. Raises ValueError for what is not one, DownloadError where none is read."""
        raise NotImplementedError

    def missing(self, reference: SourceReference) -> Exception:
        """The error where the registry has no such model."""
        raise NotImplementedError

    @contextlib.contextmanager
    def open(self, listing: RepositoryListing, entry: RepositoryFile, headers: dict[str, str]) -> Iterator[Stream]:
        """See `ModelSource`."""
        with self.client.blob(_repository(listing.reference), f"sha256:{entry.sha256}", headers) as answer:
            yield answer

    def config(self, reference: SourceReference, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        """The object that the manifest names as its configuration; an empty one where that is none that is read."""
        described = checked.mapping(manifest.get("config") or {})
        if not _DIGEST.fullmatch(str(described.get("digest"))) or checked.number(described.get("size") or 0) > 1 << 20:
            return {}
        try:
            return self.client.small_blob(_repository(reference), checked.text(described["digest"]))
        except RegistryError:
            return {}  # only the name of the file is made of it


class OllamaSource(BlobSource):
    """Ollama's registry, or one that speaks its protocol."""

    title = "Ollama's registry"

    def entries(self, reference: SourceReference, manifest: Mapping[str, Any]) -> tuple[RepositoryFile, ...]:
        """See `BlobSource`."""
        layers = layers_of(manifest)
        kinds = [kind.partition(";")[0].strip().removeprefix(PREFIX) for kind, _ in layers]
        if "model" not in kinds:
            raise no_gguf(reference, kinds)
        stem = stem_of(reference, self.config(reference, manifest).get("file_type"))
        counts: dict[str, int] = {}
        found = []
        for kind, (_, layer) in zip(kinds, layers, strict=True):
            if kind not in _WEIGHTS and kind not in _NAMES:
                continue  # of a newer Ollama, and nothing that llama.cpp reads
            counts[kind] = counts.get(kind, 0) + 1
            if kind == "model" and counts[kind] > 1:
                raise no_gguf(reference, kinds)
            name = _WEIGHTS[kind].format(stem) if kind in _WEIGHTS else _NAMES[kind]
            found.append(entry_of(layer, name if counts[kind] == 1 else numbered(name, counts[kind])))
        return checked_entries(found)

    def missing(self, reference: SourceReference) -> Exception:
        """See `BlobSource`."""
        low = reference.repo.lower()
        lower = f"; did you mean `{low}`?" if low != reference.repo else ""
        return NothingMatchedError(
            f"{self.title} {self.host} has no model `{reference.repo}`",
            hint=f"check name and tag{lower}; names of Ollama are listed at https://ollama.com/library",
        )


def layers_of(manifest: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Media type and descriptor of each layer. Raises ValueError."""
    layers = checked.items(manifest.get("layers"))
    if len(layers) > MOST_LAYERS:
        raise ListingError(f"{len(layers)} layers")
    return [(checked.text(checked.mapping(layer).get("mediaType")), layer) for layer in layers]


def entry_of(layer: Mapping[str, Any], name: str) -> RepositoryFile:
    """The file of a layer. Raises ListingError. Its name in git, which there is none of, is the checksum's begin."""
    match = _DIGEST.fullmatch(layer["digest"]) if isinstance(layer.get("digest"), str) else None
    if match is None:
        raise ListingError(f"the digest {shown(layer.get('digest'))} is not a sha256")
    return checked_entry(name, layer.get("size"), match[1][:40], match[1])


def stem_of(reference: SourceReference, quantization: object) -> str:
    """What the weights of a model are called: `llama3.2-1b-Q8_0`, without what is not known."""
    if isinstance(quantization, str) and _QUANTIZATION.fullmatch(quantization):
        named = quantization.upper()
        return reference.name if named.lower() in reference.name.lower() else f"{reference.name}-{named}"
    return reference.name


def numbered(name: str, count: int) -> str:
    """A second file of the same kind: LICENSE.2."""
    stem, dot, end = name.partition(".")
    return f"{stem}.{count}{dot}{end}" if dot else f"{name}.{count}"


def no_gguf(reference: SourceReference, kinds: list[str]) -> DownloadError:
    """The error of an artifact that holds no GGUF file."""
    there = ", ".join(sorted({shown(kind).strip("'") for kind in kinds})[:6]) or "nothing"
    return DownloadError(
        NOTHING_FOUND, f"`{reference.repo}` holds no GGUF file, which is what is read here: its layers are {there}",
        "take another tag, or the model from the Hugging Face hub",
    )  # fmt: skip


def _repository(reference: Any) -> ImageRepository:
    return ImageRepository(reference.host, reference.path)
