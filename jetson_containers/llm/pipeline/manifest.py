"""The record beside every output of a step: what it is, how and from what it was made, with checksums.

An output counts only while its manifest says so. The manifest travels with the files: it is what lets a small board use
what a big machine made.
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.files import write_json
from jetson_containers.hub.transfer.reference import is_safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SUFFIX = ".manifest.json"
SCHEMA = 2


@dataclass(frozen=True, kw_only=True)
class ManifestEntry:
    """One file of an output: bytes and sha256."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What was read. `files` are relative to the output directory; a file's own is named `""`."""

    path: Path
    output: Path
    step: str
    key: str
    files: Mapping[str, ManifestEntry]
    seconds: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)  # everything else: model, revision, image, versions …

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files.values())

    def is_complete(self) -> bool:
        """Whether every file is there with its size. Cheap: no file is read."""
        try:
            return all(self.place(name).stat().st_size == entry.size for name, entry in self.files.items())
        except OSError:
            return False

    def corrupt(self) -> list[str]:
        """Names of files that are missing or whose contents changed. Reads everything."""
        return [name or self.output.name for name, entry in self.files.items() if _differs(self.place(name), entry)]

    def place(self, name: str) -> Path:
        """Where a file of it is."""
        return self.output / name if name else self.output


def path_for(output: Path, step: str = "") -> Path:
    """Where the manifest of an output is; with `step`, that of one step's share of a directory several fill."""
    return output.with_name(f"{output.name}.{step}{SUFFIX}" if step else output.name + SUFFIX)


def read(path: Path) -> Manifest | None:
    """Read a manifest; None when it is missing, unreadable or names files outside its output."""
    try:
        raw = json_text.parse(path.read_text(encoding="utf-8"))
        step = str(raw.pop("step"))
        merged = bool(raw.pop("merge", False))
        files = {
            str(name): ManifestEntry(size=int(row["size"]), sha256=str(row["sha256"]))
            for name, row in raw.pop("files").items()
        }
        name = path.name.removesuffix(SUFFIX).removesuffix(f".{step}" if merged else "")
        if not files or not is_safe(name) or not all(file == "" or is_safe(file) for file in files):
            return None
        return Manifest(
            path=path,
            output=path.with_name(name),
            step=step,
            key=str(raw.pop("key")),
            files=files,
            seconds=float(raw.pop("seconds", 0)),
            facts=raw,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def below(directory: Path, *, broken: bool = False) -> Iterator[Manifest]:
    """All manifests below a directory whose output is whole, in path order; with `broken` those of others too."""
    for path in sorted(directory.rglob("*" + SUFFIX)):
        manifest = read(path)
        if manifest is not None and (broken or manifest.is_complete()):
            yield manifest


def write(
    output: Path,
    files: Mapping[str, ManifestEntry],
    *,
    step: str,
    merge: bool,
    key: str,
    seconds: float,
    facts: Mapping[str, Any],
) -> Manifest:
    """Write the manifest of measured files under its name when it is complete."""
    path = path_for(output, step if merge else "")
    files = dict(sorted(files.items()))
    data = {
        "schema": SCHEMA,
        "step": step,
        **({"merge": True} if merge else {}),
        "key": key,
        **facts,
        "files": {name: {"size": entry.size, "sha256": entry.sha256} for name, entry in files.items()},
        "seconds": round(seconds, 3),
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
    }
    write_json(path, data)
    return Manifest(path=path, output=output, step=step, key=key, files=files, seconds=seconds, facts=facts)


def names_of(output: Path) -> list[str]:
    """The files of an output relative to it; `[""]` for a file."""
    if output.is_dir():
        return sorted(str(file.relative_to(output)) for file in output.rglob("*") if file.is_file())
    return [""]


def measure(path: Path) -> ManifestEntry:
    """Size in bytes and sha256 of one file."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            size += len(block)
    return ManifestEntry(size=size, sha256=digest.hexdigest())


def _differs(path: Path, entry: ManifestEntry) -> bool:
    try:
        return measure(path) != entry
    except OSError:
        return True
