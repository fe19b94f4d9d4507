"""Carries out plans of `setup`, and undoes them: what is about to change is written down and backed up first.

One folder per step below /var/lib/jetson-containers/setup, numbered: `journal.json` with the changes and how many of
them are done, and copies of the files as they were.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.errors import StepError, command
from jetson_containers.core.files import remove, write_atomically, write_json
from jetson_containers.core.text import is_number
from jetson_containers.host.changes import Change, CommandChange, FileChange, HostMachine, StepPlan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FOLDER = "/var/lib/jetson-containers/setup"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A step that was carried out, or begun. `done` changes of it are made."""

    folder: Path
    step: str
    time: float
    changes: tuple[Change, ...]
    done: int


def entries(machine: HostMachine) -> list[Entry]:
    """What can be undone, the oldest first. Raises StepError for a journal that cannot be read."""
    files = sorted(machine.place(FOLDER).glob("*/journal.json"), key=lambda file: int(file.parent.name))
    return [_read(file) for file in files]


def apply(plan: StepPlan, machine: HostMachine, say: Callable[[str], None]) -> Entry:
    """Make the changes of a plan. Where one fails, those before it are undone, and StepError says so.

    After Ctrl-C they are undone too, and KeyboardInterrupt goes on.
    """
    entry = _begin(plan, machine)
    for change in plan.changes:
        try:
            _make(change, machine)
        except KeyboardInterrupt:
            _give_up(change, entry, machine, say)
            raise
        except (StepError, OSError) as error:
            message = error.message if isinstance(error, StepError) else str(error)
            details = error.details if isinstance(error, StepError) else ()
            _give_up(change, entry, machine, say)
            raise StepError(
                f"{plan.step}: {message}; what the step had changed before is undone",
                details=details,
                hint="correct the cause, and run it again",
            ) from error
        entry = replace(entry, done=entry.done + 1)
        _write(entry)
    return entry


def _give_up(change: Change, entry: Entry, machine: HostMachine, say: Callable[[str], None]) -> None:
    """Undo the changes before the one that failed, and remove what it and they would leave behind."""
    undo(entry, machine, say)
    for each in (change, *reversed(entry.changes[: entry.done])):
        if isinstance(each, CommandChange) and each.clear and not (each.undo and each is not change):
            try:
                machine.run(each.clear)
            except StepError as error:
                say(f"{error.message}; remove what is left by hand")


def undo(entry: Entry, machine: HostMachine, say: Callable[[str], None]) -> None:
    """Undo a step. Raises StepError, before anything is undone, for a file that was changed since by others."""
    made = entry.changes[: entry.done]
    for change in made:
        if isinstance(change, FileChange) and machine.read(change.path) != change.after:
            compare = command("diff", _backup(entry.folder, change), change.path)
            raise StepError(
                f"{change.path} was changed after the step {entry.step}, so it is not put back",
                hint=f"undo what came later first; {compare} compares it with the former one",
            )
    for number in range(entry.done - 1, -1, -1):
        change = made[number]
        if isinstance(change, FileChange):
            say(f"put back {change.path}")
            _write_file(change.path, change.before, change.mode, machine)
        elif change.undo:
            say(CommandChange(argv=change.undo).shown()[0])
            machine.run(change.undo)
        entry = replace(entry, done=number)
        _write(entry)
    remove(entry.folder)


def _begin(plan: StepPlan, machine: HostMachine) -> Entry:
    parent = machine.place(FOLDER)
    numbers = [int(folder.name) for folder in parent.glob("*") if is_number(folder.name)]
    folder = parent / f"{max(numbers, default=0) + 1:04}"
    entry = Entry(folder=folder, step=plan.step, time=time.time(), changes=plan.changes, done=0)
    for change in plan.changes:
        if isinstance(change, FileChange) and change.before is not None:
            write_atomically(_backup(folder, change), change.before, mode=0o600)
    _write(entry)
    return entry


def _backup(folder: Path, change: FileChange) -> Path:
    return folder / "files" / change.path.lstrip("/")


def _make(change: Change, machine: HostMachine) -> None:
    if isinstance(change, CommandChange):
        machine.run(change.argv)
        return
    if machine.read(change.path) != change.before:
        raise StepError(f"{change.path} was changed meanwhile")
    _write_file(change.path, change.after, change.mode, machine)


def _write_file(path: str, text: str | None, mode: int, machine: HostMachine) -> None:
    place = machine.place(path)
    if text is None:
        place.unlink(missing_ok=True)
        return
    kept = place.stat().st_mode & 0o777 if place.exists() else mode
    write_atomically(place, text, mode=kept)


def _write(entry: Entry) -> None:
    changes = [
        {"kind": "file" if isinstance(change, FileChange) else "command", **asdict(change)} for change in entry.changes
    ]
    data = {"step": entry.step, "time": entry.time, "done": entry.done, "changes": changes}
    write_json(entry.folder / "journal.json", data)


def _read(file: Path) -> Entry:
    try:
        data = json_text.parse(file.read_text(encoding="utf-8"))
        changes = tuple(_change(row) for row in data["changes"])
        done = int(data["done"])
        if not 0 <= done <= len(changes):
            raise ValueError(done)
        return Entry(folder=file.parent, step=str(data["step"]), time=float(data["time"]), changes=changes, done=done)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StepError(
            f"{file}: is not a journal of setup: {error}", hint="the former files lie beside it, in `files`"
        ) from error


def _change(row: dict[str, Any]) -> Change:
    row = dict(row)
    if row.pop("kind") == "file":
        return FileChange(**row)
    return CommandChange(argv=tuple(row["argv"]), undo=tuple(row["undo"]), clear=tuple(row.get("clear", ())))
