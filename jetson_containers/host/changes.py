"""What a step of `setup` changes: files, and commands with the commands that undo them."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import dataclass, field
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core.errors import StepError, command

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def run_command(argv: Sequence[str]) -> str:
    """Run a command of a step, and give what it printed. Raises StepError where it fails or is missing."""
    try:
        done = subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise StepError(
            f"`{argv[0]}` cannot be run: {error.strerror}", hint="install it, or leave this step out"
        ) from error
    if done.returncode != 0:
        said = tuple((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise StepError(f"{command(*argv)} failed with code {done.returncode}", details=said)
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """A file of text before and after; None: there is no file."""

    path: str  # absolute, on the machine that is set up
    before: str | None
    after: str | None
    mode: int = 0o644

    def shown(self) -> list[str]:
        """The change as a unified diff."""
        before, after = (self.before or "").splitlines(), (self.after or "").splitlines()
        old = self.path if self.before is not None else "/dev/null"
        new = self.path if self.after is not None else "/dev/null"
        return list(unified_diff(before, after, old, new, lineterm=""))


@dataclass(frozen=True, kw_only=True)
class CommandChange:
    """A command, and the one that undoes it; empty where nothing has to be undone.

    `clear` removes what the command leaves behind when it fails or is interrupted half-way.
    """

    argv: tuple[str, ...]
    undo: tuple[str, ...] = ()
    clear: tuple[str, ...] = ()

    def shown(self) -> list[str]:
        """The command as it can be pasted."""
        return [f"# {shlex.join(self.argv)}"]


Change = FileChange | CommandChange


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """What a step changes. Without changes, `reason` says why there are none."""

    step: str
    purpose: str
    changes: tuple[Change, ...] = ()
    reason: str = ""
    later: str = ""  # what is still to be done by hand afterwards


@dataclass(frozen=True, kw_only=True)
class HostMachine:
    """The machine that is set up: files below `root`, and commands that `run` executes.

    `pending` holds texts of files that a dry run would have written.
    """

    root: Path = Path("/")
    run: Callable[[Sequence[str]], str] = run_command
    user: str = ""  # who becomes a member of the group docker
    is_jetson: bool = False
    daemon_json: str = "/etc/docker/daemon.json"
    data_root: str = "/var/lib/docker"  # of the engine
    new_data_root: str = ""  # where it is to be; empty: on the fastest disk that is not its own
    swap_file: str = ""
    swap_gib: int = 0  # 0: as much as there is memory, at most 16
    restart: bool = True  # whether the engine may be stopped and started
    pending: dict[str, str | None] = field(default_factory=dict)

    def place(self, path: str) -> Path:
        """Where a path of the machine lies here."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str | None:
        """The text of a file; None where there is none. Raises StepError where it cannot be read."""
        if path in self.pending:
            return self.pending[path]
        try:
            return self.place(path).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StepError(
                f"{path}: cannot be read: {error}", hint="run it as root: sudo jetson-containers setup"
            ) from error

    def has(self, *paths: str) -> bool:
        """Whether one of these paths exists."""
        return any(self.place(path).exists() for path in paths)
