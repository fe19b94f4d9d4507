"""Carrying out steps, and undoing them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import StepError
from jetson_containers.host import journal
from jetson_containers.host.changes import CommandChange, FileChange, HostMachine, StepPlan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE = FileChange(path="/etc/x.conf", before="old\n", after="new\n")
START = CommandChange(argv=("start",), undo=("stop",))


class Recorder:
    """A machine whose commands are recorded; those in `failing` fail."""

    def __init__(self, root: Path, failing: Sequence[str] = ()) -> None:
        self.commands: list[str] = []
        self.failing = failing
        self.host = HostMachine(root=root, run=self.run)
        (root / "etc").mkdir(parents=True)
        (root / "etc/x.conf").write_text("old\n")

    def run(self, argv: Sequence[str]) -> str:
        self.commands.append(" ".join(argv))
        if argv[0] in self.failing:
            raise StepError(f"{argv[0]} failed", details=("because",))
        return ""

    @property
    def text(self) -> str:
        return self.host.place("/etc/x.conf").read_text()


def quiet(_: str) -> None:
    pass


def plan(*changes: Any) -> StepPlan:
    return StepPlan(step="demo", purpose="to try", changes=changes)


def test_apply_and_undo_leave_the_machine_as_it_was(tmp_path: Path) -> None:
    """Changes are undone in reverse order, and nothing is left that could be undone."""
    recorder = Recorder(tmp_path)
    recorder.host.place("/etc/x.conf").chmod(0o600)
    new = FileChange(path="/etc/new.d/y", before=None, after="y")
    journal.apply(plan(FILE, START, new), recorder.host, quiet)
    assert (recorder.text, recorder.host.place("/etc/new.d/y").read_text()) == ("new\n", "y")
    (entry,) = journal.entries(recorder.host)
    assert (entry.step, entry.done, entry.changes) == ("demo", 3, (FILE, START, new))
    assert (entry.folder / "files/etc/x.conf").read_text() == "old\n"
    journal.undo(entry, recorder.host, quiet)
    assert (recorder.text, recorder.commands) == ("old\n", ["start", "stop"])
    assert not recorder.host.place("/etc/new.d/y").exists()
    assert recorder.host.place("/etc/x.conf").stat().st_mode & 0o777 == 0o600
    assert journal.entries(recorder.host) == []


def test_apply_that_fails_undoes_what_was_done(tmp_path: Path) -> None:
    """The failing command is named with what it printed; only what was done is undone."""
    recorder = Recorder(tmp_path, failing=["break"])
    with pytest.raises(StepError, match=r"demo: break failed; .* undone") as caught:
        journal.apply(plan(START, FILE, CommandChange(argv=("break",), undo=("mend",))), recorder.host, quiet)
    assert caught.value.details == ("because",)
    assert (recorder.text, recorder.commands) == ("old\n", ["start", "break", "stop"])
    assert journal.entries(recorder.host) == []


def test_apply_refuses_a_file_that_changed_meanwhile(tmp_path: Path) -> None:
    """Between plan and change nobody else's text is overwritten."""
    recorder = Recorder(tmp_path)
    recorder.host.place("/etc/x.conf").write_text("other\n")
    with pytest.raises(StepError, match="changed meanwhile"):
        journal.apply(plan(FILE), recorder.host, quiet)
    assert recorder.text == "other\n"


def test_undo_refuses_a_file_that_changed_since(tmp_path: Path) -> None:
    """Nothing of the step is undone then, and the former text is named."""
    recorder = Recorder(tmp_path)
    entry = journal.apply(plan(START, FILE), recorder.host, quiet)
    recorder.host.place("/etc/x.conf").write_text("edited\n")
    with pytest.raises(StepError, match="changed after the step demo") as caught:
        journal.undo(entry, recorder.host, quiet)
    assert "files/etc/x.conf" in (caught.value.hint or "")
    assert (recorder.text, recorder.commands) == ("edited\n", ["start"])


def test_undo_of_a_step_that_was_killed_undoes_what_was_done(tmp_path: Path) -> None:
    """The journal counts the changes that are made."""
    recorder = Recorder(tmp_path)

    class KilledError(Exception):
        """As when the process dies."""

    def die(argv: Sequence[str]) -> str:
        raise KilledError

    dying = HostMachine(root=tmp_path, run=die)
    with pytest.raises(KilledError):
        journal.apply(plan(FILE, START), dying, quiet)
    (entry,) = journal.entries(recorder.host)
    assert entry.done == 1
    journal.undo(entry, recorder.host, quiet)
    assert (recorder.text, recorder.commands) == ("old\n", [])


@pytest.mark.parametrize("text", ["", "{}", '{"step": "x", "time": 1, "done": 5, "changes": []}'])
def test_entries_refuse_what_is_no_journal(tmp_path: Path, text: str) -> None:
    """A journal that cannot be read is named."""
    recorder = Recorder(tmp_path)
    file = recorder.host.place(f"{journal.FOLDER}/0001/journal.json")
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(StepError, match="journal of setup"):
        journal.entries(recorder.host)


def test_apply_removes_what_a_failing_command_left(tmp_path: Path) -> None:
    """Half a copy does not stay, nor a whole one whose step failed later; a command with an undo is only undone."""
    half = CommandChange(argv=("copy",), clear=("remove", "copy"))
    file = CommandChange(argv=("make",), undo=("unmake",), clear=("remove", "file"))
    recorder = Recorder(tmp_path, failing=["copy"])
    with pytest.raises(StepError, match="undone"):
        journal.apply(plan(START, half), recorder.host, quiet)
    assert recorder.commands == ["start", "copy", "stop", "remove copy"]
    later = Recorder(tmp_path / "later", failing=["last"])
    with pytest.raises(StepError, match="undone"):
        journal.apply(plan(file, half, CommandChange(argv=("last",))), later.host, quiet)
    assert later.commands == ["make", "copy", "last", "unmake", "remove copy"]


def test_apply_undoes_all_after_ctrl_c(tmp_path: Path) -> None:
    """The engine that a step had stopped runs again, and half a copy is gone."""
    recorder = Recorder(tmp_path)

    def interrupted(argv: Sequence[str]) -> str:
        recorder.run(argv)
        if argv[0] == "copy":
            raise KeyboardInterrupt
        return ""

    machine = replace(recorder.host, run=interrupted)
    stop = CommandChange(argv=("stop",), undo=("start",))
    copy = CommandChange(argv=("copy",), clear=("remove", "copy"))
    with pytest.raises(KeyboardInterrupt):
        journal.apply(plan(stop, FILE, copy), machine, quiet)
    assert recorder.commands == ["stop", "copy", "start", "remove copy"]
    assert recorder.text == "old\n"
    assert journal.entries(machine) == []


def test_apply_says_what_could_not_be_removed(tmp_path: Path) -> None:
    """A rest that stays is named, and the step is undone all the same."""
    recorder = Recorder(tmp_path, failing=["copy", "remove"])
    said: list[str] = []
    with pytest.raises(StepError, match="undone"):
        journal.apply(plan(CommandChange(argv=("copy",), clear=("remove", "it"))), recorder.host, said.append)
    assert said == ["remove failed; remove what is left by hand"]
