"""A model of a registry (Ollama's, an OCI artifact): GGUF files that llama.cpp reads as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.models.repository import check_place, is_cached, model_name, snapshot, weights_of
from jetson_containers.llm.models.types import Model
from jetson_containers.llm.pipeline.types import DownloadStep
from jetson_containers.sources.names import DIRECT

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.llm.models.types import ModelHub
    from jetson_containers.sources.names import SourceReference


def find(model: str, asked: SourceReference, data: Path, hub: ModelHub, quantization: str) -> Model:
    """Look the model up. Raises UsageError where it has another quantization, and what `hub.describe` raises."""
    info = hub.describe(str(asked))
    names = [entry.name for entry in info.files]
    file = weights_of(info, quantization)
    # An address has its checksum behind it, or its version is what the commit says.
    pinned = str(asked) if asked.digest or asked.source == DIRECT else f"{asked}@sha256:{info.commit}"
    path = snapshot(info.id, info.commit, file, info.folder)
    place = snapshot(info.id, info.commit, "", info.folder)
    return Model(
        asked=model,
        name=model_name(file),
        path=path,
        identity=f"{info.id}@{info.commit}/{file}",
        prepared="llama_cpp",
        first=DownloadStep(
            argv=("jetson-containers", "download", pinned),
            output=path,
            size=sum(entry.size for entry in info.files),
            is_done=lambda: is_cached(data / place.removeprefix("/data/"), info.files),
            fetch=lambda: check_place(hub.download(pinned, ignore=()), data, place),
            served=True,
        ),
        files=tuple(names),
        facts={"model": info.id, "revision": info.commit, "file": file},
    )
