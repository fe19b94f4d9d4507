"""Named steps with keyed outputs: a finished step is never repeated, an interrupted one resumes.

A step's output is written under a temporary name and renamed when its command has succeeded, then a manifest is
written beside it: `<output>.manifest.json` with the step's key, command and the output's size and checksum. A step
counts as done only while manifest and output agree.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jetson_containers.console import human_seconds
from jetson_containers.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jetson_containers.console import Console
    from jetson_containers.runtimes.base import StepCommand


class Runner(Protocol):
    """Runs one command in the runtime's image with the data directory at /data."""

    def run(self, command: Sequence[str], *, network: bool, token: bool, show: bool) -> tuple[int, str]:
        """Run to the end; the exit code and the output (stdout and stderr together). `show` streams it to stderr."""
        ...


@dataclass(frozen=True)
class StepResult:
    """What became of a step. `state`: done (it ran) or cached (an earlier run's output was right)."""

    name: str
    state: str
    output: str
    seconds: float
    size: int  # bytes


@dataclass(frozen=True)
class Pipeline:
    """Runs steps; `data` is the host directory that containers see as /data."""

    data: Path
    runner: Runner
    console: Console
    identity: Mapping[str, str] = field(default_factory=dict)  # image and versions, recorded, not part of the key

    def run(self, steps: Sequence[StepCommand], *, force: Sequence[str] = ()) -> list[StepResult]:
        """Run what is not done yet, in order. Raises StepError with the end of the output."""
        results: list[StepResult] = []
        for step in steps:
            redo = step.name in force or any(r.state == "done" for r in results)
            results.append(self._step(step, redo=redo))
        return results

    def _step(self, step: StepCommand, *, redo: bool) -> StepResult:
        output = self.host_path(step.output)
        key = self.key(step)
        if not redo and (manifest := read_manifest(output)) and manifest["key"] == key:
            self.console.info(f"{step.name}: already done ({step.output})")
            return StepResult(step.name, "cached", step.output, 0.0, manifest["size"])
        # The previous output stays until the new one is complete; what an earlier run left half-done goes first.
        part = output.with_name(output.name + ".part")
        _remove(part)
        output.parent.mkdir(parents=True, exist_ok=True)
        argv = [word.replace("{output}", step.output + ".part") for word in step.argv]
        self.console.info(f"{step.name}: {' '.join(argv)}")
        started = datetime.datetime.now(datetime.timezone.utc)
        code, text = self.runner.run(argv, network=step.network, token=step.token, show=self.console.level > 1)
        seconds = (datetime.datetime.now(datetime.timezone.utc) - started).total_seconds()
        if code != 0 or not part.exists():
            _remove(part)
            raise StepError(
                f"step `{step.name}` failed (exit status {code})",
                details=text.strip().splitlines()[-15:],
                hint="the same command again resumes at this step; --verbose shows all of its output",
            )
        manifest_path(output).unlink(missing_ok=True)
        _remove(output)
        part.rename(output)
        size = self._write_manifest(output, step, key, seconds)
        self.console.ok(f"{step.name} in {human_seconds(seconds)}")
        return StepResult(step.name, "done", step.output, seconds, size)

    def key(self, step: StepCommand) -> str:
        """Hash what the output depends on: the command, its options and what its inputs are."""
        material = {
            "argv": list(step.argv),
            "options": dict(step.options),
            "inputs": [_identity_of(self.host_path(path)) for path in step.inputs],
        }
        return hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest()

    def host_path(self, path: str) -> Path:
        """Where a path below /data is on the host; any other path is one of the host already."""
        return self.data / path.removeprefix("/data/") if path.startswith("/data/") else Path(path)

    def _write_manifest(self, output: Path, step: StepCommand, key: str, seconds: float) -> int:
        size, checksum = measure(output)
        manifest = {
            "schema": 1,
            "step": step.name,
            "key": key,
            "command": list(step.argv),
            "inputs": list(step.inputs),
            "size": size,
            "sha256": checksum,
            "seconds": round(seconds, 3),
            "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            **self.identity,
        }
        path = manifest_path(output)
        part = path.with_name(path.name + ".part")
        part.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        part.rename(path)
        return size


def manifest_path(output: Path) -> Path:
    """Where the manifest of an output is."""
    return output.with_name(output.name + ".manifest.json")


def read_manifest(output: Path) -> dict[str, Any] | None:
    """Read the manifest of a complete output; None when either is missing or they disagree in size."""
    path = manifest_path(output)
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        size = manifest["size"]
        if not isinstance(manifest["key"], str) or _size(output) != size:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return dict(manifest)


def measure(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256 of a file, or of all files of a directory in name order."""
    digest = hashlib.sha256()
    size = 0
    for file in _files(path):
        digest.update(str(file.relative_to(path) if file != path else file.name).encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
                size += len(block)
    return size, digest.hexdigest()


def _identity_of(path: Path) -> list[Any]:
    """What an input is: its manifest's checksum, else names, sizes and times of its files."""
    manifest = read_manifest(path)
    if manifest:
        return [path.name, manifest["sha256"]]
    return [
        [str(file.relative_to(path) if file != path else file.name), file.stat().st_size, file.stat().st_mtime_ns]
        for file in _files(path)
    ]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else []


def _size(path: Path) -> int:
    if not path.exists():
        raise FileNotFoundError(path)
    return sum(file.stat().st_size for file in _files(path))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
