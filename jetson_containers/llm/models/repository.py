"""Which files of a repository of the hub make up a model, and where the hub's cache keeps them."""

from __future__ import annotations

import re
from dataclasses import replace
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import NotReadyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.hub.describe import ModelInfo
    from jetson_containers.hub.transfer.types import RepositoryFile

# What no runtime here reads: other formats of the same weights, and pictures. Safetensors stand in for `.bin`.
NOT_WEIGHTS = (
    "*.gguf", "*.onnx", "onnx/*", "*.msgpack", "*.h5", "*.tflite", "original/*", "*.pth", "consolidated*", "*.png",
    "*.jpg",
)  # fmt: skip
MOST_SHARDS = 200  # files of weights; the largest published models have fewer than 100
_SHARD = re.compile(r"(?P<stem>.+)-[0-9]{5}-of-(?P<count>[0-9]{5})\.gguf")


def gguf_for(info: ModelInfo, quantization: str) -> str:
    """The file with the quantization in a repository of GGUF files. Raises UsageError listing what there is."""
    files = sorted(entry.name for entry in info.files if entry.name.endswith(".gguf") and "mmproj" not in entry.name)
    wanted = (quantization or "Q4_K_M").lower()
    found = [name for name in files if re.search(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9_])", name.lower())]
    # Unsloth's dynamic quantizations, UD-Q4_K_M, are asked for by their whole name where there are plain ones.
    found = [name for name in found if f"ud-{wanted}" not in name.lower()] or found
    if len(found) == 1 or (found and "-of-" in found[0]):
        return found[0]
    if len(files) == 1 and not quantization:
        return files[0]
    raise UsageError(
        f"`{info.id}` has {len(found) or 'no'} GGUF file{'s' if len(found) > 1 else ''} with {wanted.upper()}",
        hint="Specify one: " + ", ".join(f"{info.id}/{name}" for name in files[:8]),
    )


def require_file(info: ModelInfo, file: str) -> None:
    """Raise UsageError for the name of a file, unless empty, that the repository does not have."""
    names = sorted(entry.name for entry in info.files)
    if file and file not in names:
        raise UsageError(f"`{info.id}` has no file `{file}`", hint=", ".join(names[:10]))


def gguf_meant(info: ModelInfo, file: str, quantization: str) -> str:
    """The file of GGUF weights that is meant by a file or folder of the repository; empty: by the repository."""
    if file.endswith(".gguf"):
        return file
    inside = (
        tuple(entry for entry in info.files if entry.name.startswith(f"{file.rstrip('/')}/")) if file else info.files
    )
    if not any(entry.name.endswith(".gguf") for entry in inside):
        raise UsageError(f"`{info.id}` has no GGUF file in `{file}`")
    return weights_of(replace(info, files=inside), quantization)


def weights_of(info: ModelInfo, quantization: str) -> str:
    """The file that is loaded: the only one, the first of all parts, or as `gguf_for`."""
    names = [entry.name for entry in info.files]
    weights = sorted(name for name in names if name.endswith(".gguf") and not name.startswith(("mmproj", "adapter-")))
    if not quantization and weights and set(shards_of(weights[0], names)) >= set(weights):
        return weights[0]
    file = gguf_for(info, quantization)
    return next(iter(shards_of(file, names)), file)


def shards_of(file: str, names: Sequence[str]) -> tuple[str, ...]:
    """All parts of a GGUF model that is split over several files, the first one first; none for a complete one."""
    part = _SHARD.fullmatch(file)
    if part is None:
        return ()
    matches = ((name, _SHARD.fullmatch(name)) for name in sorted(names))
    return tuple(name for name, other in matches if other and other.groups() == part.groups())


def is_one_model(names: Sequence[str]) -> bool:
    """Whether GGUF files are one model: a single file, or the parts of one."""
    return bool(names) and set(shards_of(names[0], names) or names[:1]) == set(names)


def parts_of(file: str, names: Sequence[str]) -> tuple[str, ...]:
    """All files of a GGUF model, the first one first: the file itself, or the parts that it is split into.

    Raises UsageError where a part is missing, or there are more than anybody publishes.
    """
    part = _SHARD.fullmatch(file)
    if part is None:
        return (file,)
    found, count = shards_of(file, names), int(part["count"])
    if not 0 < count <= MOST_SHARDS:
        raise UsageError(f"`{file}` says that it is one of {count} files; at most {MOST_SHARDS} are read")
    if len(found) != count:
        raise UsageError(
            f"`{file}` is one of {count} files, of which {len(found)} are here", hint="all parts are needed"
        )
    return found


def model_name(file: str) -> str:
    """The name of a model in one file, or in several parts."""
    part = _SHARD.fullmatch(file)
    return Path(part["stem"]).name if part else Path(file).stem


def all_but(kept: Sequence[str], names: Sequence[str]) -> tuple[str, ...]:
    """Patterns that leave out every file that is not kept."""
    return tuple(escape(name) for name in names if name not in kept)


def not_needed(names: Sequence[str]) -> tuple[str, ...]:
    """Patterns of the files that a checkpoint is loaded without."""
    has_safetensors = any(re.fullmatch(r"(?!adapter_|consolidated)[^/]+\.safetensors", name) for name in names)
    return (*NOT_WEIGHTS, *(("*.bin", "*.pt") if has_safetensors else ()))


def snapshot(repository: str, commit: str, file: str = "", folder: str = "") -> str:
    """Where the cache keeps a commit, or one file of it, as containers see it; `folder` is the hub's by default."""
    folder = folder or f"huggingface/models--{repository.replace('/', '--')}"
    place = f"/data/models/{folder}/snapshots/{commit}"
    return f"{place}/{file}" if file else place


def is_cached(place: Path, wanted: Sequence[RepositoryFile]) -> bool:
    """Whether every file that is wanted is there with its size."""
    try:
        return bool(wanted) and all((place / entry.name).stat().st_size == entry.size for entry in wanted)
    except OSError:
        return False


def check_place(downloaded: Path, data: Path, path: str) -> None:
    """Raises NotReadyError where a download is in another place than containers look at."""
    expected = data / path.removeprefix("/data/")
    if downloaded.resolve() != expected.resolve():
        raise NotReadyError(
            f"the download went to {downloaded} instead of {expected}", hint="Is HF_HUB_CACHE set elsewhere?"
        )
