"""What `llm` has stored on the disk: artifacts and downloads, with sizes; and their removal."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import NothingMatchedError, NotReadyError, UsageError, command
from jetson_containers.hub import cache
from jetson_containers.hub.host_owner import unlink
from jetson_containers.llm.pipeline.manifest import below, path_for, read
from jetson_containers.sources import downloaded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jetson_containers.llm.pipeline.manifest import Manifest


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One thing on the disk. `kind`: artefact, intermediate (made again when needed) or download."""

    kind: str
    model: str
    runtime: str
    quantization: str
    step: str
    path: str
    size: int  # bytes
    made: str = ""
    intact: bool | None = None  # None: complete, its bytes not verified


def listing(data: Path, downloads: Iterable[tuple[str, Path, int]], *, verify: bool = False) -> list[Stored]:
    """Everything, by model. `downloads` are (repository, directory, bytes); with `verify` every file is read.

    An output with missing or truncated files is listed too: it takes space without being usable. One that the user
    deleted completely (an intermediate file, say) is not listed.
    """
    known = (manifest for manifest in below(data / "models", broken=True) if manifest.output.exists())
    found = [_stored(manifest, verify=verify) for manifest in known]
    found += [
        Stored(kind="download", model=name, runtime="", quantization="", step="download", path=str(path), size=size)
        for name, path, size in downloads
    ]
    return sorted(found, key=lambda stored: (stored.model.lower(), stored.runtime, stored.path))


def choose(stored: Sequence[Stored], wanted: str, *, runtime: str = "", quantization: str = "") -> list[Stored]:
    """What a name means: a repository, else its last part or a path, narrowed by runtime and quantization.

    Raises NothingMatchedError.
    """
    whole = downloaded.whole_name(wanted)
    exact = [one for one in stored if one.model in {wanted, whole}]  # `tiny` is not `acme/tiny` where both are here
    narrowed = [
        one
        for one in exact or stored
        if (_is_named(one, wanted) or _is_named(one, whole))
        and (not runtime or one.runtime == runtime)
        and (not quantization or one.quantization.lower() == quantization.lower())
    ]
    if not narrowed:
        names = sorted({one.model for one in stored})
        raise NothingMatchedError(
            f"nothing of `{wanted}` is stored here",
            hint=f"stored: {', '.join(names)}" if names else "no models are stored yet",
        )
    return narrowed


def remove(stored: Stored, data: Path) -> None:
    """Delete an artifact with its manifest, the manifest last. Raises UsageError for a path outside data."""
    output, root = Path(os.path.abspath(stored.path)), Path(os.path.abspath(data))  # noqa: PTH100 - links stay links
    if root not in output.parents:
        raise UsageError(f"{output} is outside {data}")
    if stored.kind == "download":
        # With the hub's own locks: nothing is removed during a download.
        reference = downloaded.reference_at(output)
        if reference is not None:
            downloaded.remove(data, reference)
            return
        cache.remove(data, stored.model, "dataset" if output.name.startswith("datasets--") else "model")
        return
    try:
        for manifest in _manifests_of(output):
            for name in manifest.files:
                unlink(manifest.place(name))
            manifest.path.unlink(missing_ok=True)
        _remove_empty(output)
    except PermissionError as error:
        raise NotReadyError(
            f"{error.filename} belongs to another user",
            hint=f"{command('sudo', 'rm', '-r', output)}, or do it as the user who made it",
        ) from error


def _manifests_of(output: Path) -> list[Manifest]:
    """All manifests whose output this is: several steps may have filled one directory."""
    candidates = (read(path) for path in output.parent.glob(output.name + ".*" + "manifest.json"))
    whole = read(path_for(output))
    found = [manifest for manifest in candidates if manifest is not None and manifest.output == output]
    return found + ([whole] if whole is not None and whole.path not in {one.path for one in found} else [])


def _remove_empty(directory: Path) -> None:
    if directory.is_dir():
        for folder in sorted((path for path in directory.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
        if not any(directory.iterdir()):
            directory.rmdir()
    with contextlib.suppress(OSError):  # it holds something else, or is a link to another disk
        directory.parent.rmdir()


def _stored(manifest: Manifest, *, verify: bool) -> Stored:
    facts = manifest.facts
    return Stored(
        kind="intermediate" if facts.get("intermediate") else "artefact",
        model=str(facts.get("model", "")),
        runtime=str(facts.get("runtime", "")),
        quantization=str(facts.get("quantization", "")),
        step=manifest.step,
        path=str(manifest.output),
        size=manifest.size,
        made=str(facts.get("made", "")),
        intact=False if not manifest.is_complete() else not manifest.corrupt() if verify else None,
    )


def _is_named(stored: Stored, wanted: str) -> bool:
    names = {stored.model, stored.model.rpartition("/")[2], stored.path, stored.path.rpartition("/")[2]}
    return wanted.rstrip("/") in names
