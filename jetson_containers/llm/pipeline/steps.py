"""Named steps with keyed outputs: a finished step is never repeated, an interrupted one resumes.

A step's output is written under a temporary name and renamed when its command has succeeded, then a manifest is
written beside it (`manifest`). A step counts as done only while manifest and output agree. What is needed is found
backwards from the last step: an intermediate output is made only when something that is missing is made from it, so a
finished artifact is used without the checkpoint it came from.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jetson_containers.core import diagnosis, files
from jetson_containers.core.console import human_bytes, human_seconds
from jetson_containers.core.errors import StepError, UsageError
from jetson_containers.hub.host_owner import unlink
from jetson_containers.llm.pipeline import manifest
from jetson_containers.llm.pipeline.types import (
    CommandStep,
    DownloadStep,
    LinkStep,
    Origin,
    PlannedStep,
    Selection,
    StepResult,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.core.console import Console
    from jetson_containers.hub.host_owner import HostOwner
    from jetson_containers.llm.pipeline.manifest import Manifest, ManifestEntry
    from jetson_containers.llm.pipeline.types import Step


class StepRunner(Protocol):
    """Runs one command in the runtime's image with the data directory at /data."""

    def run(self, step: CommandStep, argv: Sequence[str], *, show: bool) -> tuple[int, str]:
        """Run to the end; the exit code and the output (stdout and stderr together). `show` streams it to stderr.

        A container that an earlier, killed run of the same step left behind is ended first.
        """
        ...


EVERYTHING = Selection()
NO_ORIGIN = Origin()
_SMALL = 64_000_000  # bytes that are read at once
_LARGE = 2_000_000_000  # bytes whose checksums take long enough to say so


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Runs steps; `data` is the host directory that containers see as /data."""

    data: Path
    runner: StepRunner
    console: Console
    origin: Origin = NO_ORIGIN
    facts: Mapping[str, Any] = field(default_factory=dict)  # recorded in the manifests, no part of the keys

    def run(self, steps: Sequence[Step], selection: Selection = EVERYTHING) -> list[StepResult]:
        """Run what is needed and not done yet, in order. Raises StepError with the end of the output.

        Raises UsageError when the selection names a step there is not.
        """
        return [self._run(planned) for planned in self.plan(steps, selection)]

    def plan(self, steps: Sequence[Step], selection: Selection = EVERYTHING) -> list[PlannedStep]:
        """Decide without doing anything: the steps up to `until`, each with its key and state."""
        chosen = chosen_steps(steps, selection)
        forced = _forced(chosen, selection)
        keys = self.keys(chosen)
        planned: list[PlannedStep] = []
        for step, key in reversed(list(zip(chosen, keys, strict=True))):
            kept = not step.intermediate and not isinstance(step, LinkStep)
            last = not isinstance(step, LinkStep) and not any(_uses(later, step) for later in steps)
            wanted = kept or last or step.name in forced or step.name == selection.until
            consumed = any(later.state == "run" and _uses(later.step, step) for later in planned)
            done = step.name not in forced and self._is_done(step, key)
            state = "cached" if done else "run" if wanted or consumed else "unneeded"
            planned.insert(0, PlannedStep(step=step, key=key, state=state, forced=step.name in forced))
        return planned

    def keys(self, steps: Sequence[Step]) -> list[str]:
        """Hash what each output depends on: the command, its options, what the command's inputs were made from.

        No path of this machine takes part, so that a key is the same wherever it is computed. What a download brings
        counts as the origin it is, not as the words that fetch it: they name a commit that was not requested.
        """
        keys: list[str] = []
        for index, step in enumerate(steps):
            inputs: list[Any] = []
            for path in step.inputs:
                makers = [i for i in range(index) if not isinstance(steps[i], DownloadStep)]
                made = [keys[i] for i in makers if _is_within(path, steps[i].output)]
                inputs.append(made or self._identity(path))
            material = {
                "name": step.name,
                "argv": [self._portable(word) for word in step.argv],
                "options": dict(step.options),
                "result": step.result,
                "inputs": inputs,
            }
            keys.append(hashlib.sha256(json.dumps(material, sort_keys=True).encode()).hexdigest())
        return keys

    def manifest(self, step: CommandStep) -> Manifest | None:
        """The manifest of a step's output, when the output is whole."""
        found = manifest.read(manifest.path_for(self.host_path(step.output), step.name if step.merge else ""))
        return found if found is not None and found.is_complete() else None

    def host_path(self, path: str) -> Path:
        """Where a path below /data is on the host; any other path is one of the host already."""
        return self.data / path.removeprefix("/data/") if path.startswith("/data/") else Path(path)

    def _is_done(self, step: Step, key: str) -> bool:
        if isinstance(step, DownloadStep):
            return step.is_done()
        if isinstance(step, LinkStep):
            return files.points_to(self.host_path(step.output), self.host_path(step.target))
        found = self.manifest(step)
        return found is not None and found.key == key

    def _run(self, planned: PlannedStep) -> StepResult:
        step = planned.step
        if planned.state != "run":
            return self._skipped(step, planned.state)
        started = time.monotonic()
        size = 0
        if isinstance(step, DownloadStep):
            step.fetch()
        elif isinstance(step, LinkStep):
            self._link(step)
        else:
            made = self._command(step, planned)
            if made is None:
                return self._skipped(step, "cached")
            size = made
            self.console.ok(f"{step.name} in {human_seconds(time.monotonic() - started)}")
        seconds = 0.0 if isinstance(step, LinkStep) else time.monotonic() - started
        return StepResult(name=step.name, state="done", output=step.output, seconds=seconds, size=size)

    def _skipped(self, step: Step, state: str) -> StepResult:
        found = self.manifest(step) if isinstance(step, CommandStep) else None
        if state == "cached" and not isinstance(step, LinkStep):
            self.console.info(f"{step.name}: already done ({step.output})")
        return StepResult(name=step.name, state=state, output=step.output, seconds=0.0, size=found.size if found else 0)

    def _link(self, step: LinkStep) -> None:
        output = self.host_path(step.output)
        with files.readable_os_errors():
            self._owner().make_directory(output.parent)
            files.link(output, self.host_path(step.target))

    def _command(self, step: CommandStep, planned: PlannedStep) -> int | None:
        """Bytes of the output; None where another run has made it since the plan: while we waited for it, or before."""
        output = self.host_path(step.output)
        with files.readable_os_errors():
            self._owner().make_directory(output.parent)
            with self._alone(step) as waited:
                if (waited or not planned.forced) and self._is_done(step, planned.key):
                    return None
                return self._make(step, planned.key, output)

    def _make(self, step: CommandStep, key: str, output: Path) -> int:
        """Run the command into a temporary place; output and manifest appear only when it has succeeded."""
        # The previous output stays until the new one is complete; what an earlier run left half-done goes first.
        part = part_of(output, step)
        files.remove(part)
        if step.merge or step.result:
            part.mkdir()
        argv = [word.replace("{output}", part_of_text(step)) for word in step.argv]
        self.console.info(f"{step.name}: {shlex.join(argv)}")
        started = time.monotonic()
        try:
            code, text = self.runner.run(step, argv, show=self.console.level > 1)
            made = part / step.result if step.result else part
            names = manifest.names_of(made) if made.exists() else []
            if code != 0 or not names:
                raise _failed(step, code, text)
            # Read before it replaces the previous output: a large one takes minutes, in which a run may be stopped.
            measured = self._measured(made, names)
            self._replace(step, made, output, names)
        finally:
            files.remove(part)
        facts = {
            "command": list(step.argv),
            "options": dict(step.options),
            "inputs": list(step.inputs),
            **({"intermediate": True} if step.intermediate else {}),
            **self.facts,
        }
        seconds = time.monotonic() - started
        written = manifest.write(
            output, measured, step=step.name, merge=step.merge, key=key, seconds=seconds, facts=facts
        )
        owner = self._owner()
        owner.take(written.path)
        owner.take(output)
        owner.chown_leftovers(output)
        return written.size

    def _owner(self) -> HostOwner:
        """Whose the outputs are: root leaves nothing that the owner of the data directory cannot remove."""
        from jetson_containers.hub.downloads import translate_errors
        from jetson_containers.hub.host_owner import owner_of

        with translate_errors():
            return owner_of(self.data)

    def _measured(self, made: Path, names: Sequence[str]) -> dict[str, ManifestEntry]:
        size = sum((made / name if name else made).stat().st_size for name in names)
        if size > _LARGE:
            self.console.info(f"computing checksums of {human_bytes(size)}")
        return {name: manifest.measure(made / name if name else made) for name in names}

    def _replace(self, step: CommandStep, made: Path, output: Path, names: Sequence[str]) -> None:
        """Put a new output in the place of the previous one, whose manifest goes first."""
        record = manifest.path_for(output, step.name if step.merge else "")
        before = manifest.read(record)
        was, now = (str((facts or {}).get("model", "")) for facts in (before and before.facts, self.facts))
        if was and now and was != now:
            self.console.warning(f"{step.output} was made of {was} and is now of {now}", "both have the same name here")
        record.unlink(missing_ok=True)
        if not step.merge:
            files.remove(output)
            made.rename(output)
            return
        for name in set(before.files if before else ()) - set(names):
            unlink(output / name)  # such as a shard more than there are now
        files.move_into(made, output, names)

    @contextlib.contextmanager
    def _alone(self, step: CommandStep) -> Iterator[bool]:
        """Two runs that make the same output take turns; yields whether this one had to wait.

        The kernel lets go of the lock when a run is killed. The lock file stays: removing it would let a third run lock
        another file of the same name.
        """
        # The path as containers see it: the data directory may be reached by several.
        path = self.data / ".locks" / hashlib.sha256(step.output.encode()).hexdigest()[:16]
        self._owner().make_directory(path.parent)
        with files.open_lock(path) as lock:
            self._owner().take(path)
            waited = not files.try_lock(lock)
            if waited:
                self.console.info(f"waiting for another run that makes {step.output}")
                files.wait_for_lock(lock)
            yield waited

    def _portable(self, word: str) -> str:
        return word.replace(self.origin.path, "{source}") if self.origin.path else word

    def _identity(self, path: str) -> Any:
        """What an input is that no step makes: the origin's identity, else names, sizes and times of its files."""
        if self.origin.path and _is_within(path, self.origin.path):
            return self.origin.identity
        return identity_of(self.host_path(path))


def identity_of(place: Path) -> list[list[Any]]:
    """What a local file or directory is, without reading it: names, sizes in bytes and times in ns.

    A small file (a calibration text) is read, so that a copy of it on another machine is the same.
    """
    if not place.exists():
        return []
    if place.is_file() and place.stat().st_size <= _SMALL:
        entry = manifest.measure(place)
        return [["", entry.size, entry.sha256]]
    found = [(name, (place / name if name else place).stat()) for name in manifest.names_of(place)]
    return [[name, state.st_size, state.st_mtime_ns] for name, state in found]


def final_argv(step: Step) -> list[str]:
    """A step's command as it can be pasted: with its final place for the temporary one."""
    place = step.output.removesuffix(f"/{step.result}") if step.result else step.output
    return [word.replace("{output}", place) for word in step.argv]


def part_of_text(step: CommandStep) -> str:
    """The temporary name of a step's output as containers see it."""
    return f"{step.output}.{step.name}.part" if step.merge else f"{step.output}.part"


def part_of(output: Path, step: CommandStep) -> Path:
    """The temporary name of a step's output on the host."""
    return output.with_name(output.name + part_of_text(step).removeprefix(step.output))


def _failed(step: CommandStep, code: int, text: str) -> StepError:
    lines = text.splitlines()
    finding = diagnosis.diagnose(lines, exit_code=code, model=True)
    resume = "run the same command again to resume at this step; use --verbose to see all of its output"
    what = f"failed (exit status {code})" if code else "succeeded without any output"
    return StepError(
        f"step `{step.name}` {what}" + (f": {finding.cause}" if finding else ""),
        details=diagnosis.relevant(lines, 15),
        hint=f"{finding.remedy}\n{resume}" if finding else resume,
    )


def chosen_steps(steps: Sequence[Step], selection: Selection) -> tuple[Step, ...]:
    """The steps up to the last one that is wanted. Raises UsageError when the selection names a step there is not."""
    for name in (*selection.force, *([selection.start] if selection.start else ())):
        _index(steps, name)
    return tuple(steps[: _index(steps, selection.until) + 1] if selection.until else steps)


def _index(steps: Sequence[Step], name: str) -> int:
    names = [step.name for step in steps]
    if name not in names:
        raise UsageError(f"unknown step `{name}`", hint=f"steps: {', '.join(names) or 'none'}")
    return names.index(name)


def _forced(steps: Sequence[Step], selection: Selection) -> set[str]:
    """The steps that are done again: those named, all from `start` on, and what is made from any of them."""
    forced = {steps[_index(steps, name)].name for name in selection.force}
    if selection.start:
        forced |= {step.name for step in steps[_index(steps, selection.start) :]}
    for index, step in enumerate(steps):
        if any(earlier.name in forced and _uses(step, earlier) for earlier in steps[:index]):
            forced.add(step.name)
    return forced


def _uses(step: Step, producer: Step) -> bool:
    return any(_is_within(path, producer.output) for path in step.inputs)


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")
