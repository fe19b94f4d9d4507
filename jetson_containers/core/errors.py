"""The ways to fail, each with its exit code; only `jetson_containers.cli` prints them and exits.

Policy: a user's mistake raises one of these and never shows a traceback; anything else that is raised is a
bug and always does. A message says what failed; `hint` names the command or action that helps.
"""

from __future__ import annotations

import errno
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})  # numbers of an OSError that are not a bug, wherever it happens


def command(*words: object) -> str:
    """A command to suggest, as it can be pasted into a shell: in backticks, every word quoted where it has to be.

    All commands with a name, path or value in them are made here.
    """
    return f"`{shlex.join(map(str, words))}`"


def chown_command(path: object) -> str:
    """The command that makes a path the user's own."""
    return f'`sudo chown -R "$(id -u):$(id -g)" {shlex.quote(str(path))}`'


class JetsonError(Exception):
    """Base of every expected failure.

    `message` is one line; `details` are further lines shown below it; `hint` is what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)


class UsageError(JetsonError):
    """A wrong option, argument or combination of them."""

    exit_code = 2


class ConfigError(JetsonError):
    """A settings or environment value that cannot be used; the message names its origin."""

    exit_code = 2


class TargetError(JetsonError):
    """`--target` or the host itself names no platform we know; the message lists the known ones."""

    exit_code = 2


class RecipeError(JetsonError):
    """A package definition that cannot be read. Names the file and, where known, the line (1-based)."""

    exit_code = 2

    def __init__(self, message: str, *, path: Path, line: int | None = None, hint: str | None = None) -> None:
        where = f"{path}:{line}" if line else str(path)
        super().__init__(f"{where}: {message}", hint=hint)
        self.path = path
        self.line = line


class RequirementSyntaxError(JetsonError):
    """A `requires:` or `depends:` entry outside the grammar."""

    exit_code = 2


class UnknownPackageError(JetsonError):
    """A name that no package, alias or version has; says who asked for it and what was perhaps meant."""

    exit_code = 2


class UnavailablePackageError(JetsonError):
    """The package exists, but not on this platform; says which rule excludes it."""

    exit_code = 2


class UnsatisfiableError(JetsonError):
    """No consistent set of packages exists; names both demanders and the way out."""

    exit_code = 2


class CycleError(JetsonError):
    """Packages that depend on each other; the message prints the chain `a -> b -> a`."""

    exit_code = 2


class LayerBudgetError(JetsonError):
    """The image would have more layers than overlay2 can stack (125)."""

    exit_code = 2


class NothingMatchedError(JetsonError):
    """A pattern or query that matches nothing."""

    exit_code = 3


class NotReadyError(JetsonError):
    """The environment is not ready: no engine, no rights, no disk, no network, no token."""

    exit_code = 4


class EngineMissingError(NotReadyError):
    """No container engine is installed, or its daemon does not answer."""


class EnginePermissionError(NotReadyError):
    """The engine is there, but this user is not allowed to use it."""


class ImageInUseError(NotReadyError):
    """An image cannot lose its last name while a container uses it."""


class DiskSpaceError(NotReadyError):
    """Not enough free space for what is to be written."""


class RegistryError(NotReadyError):
    """A registry that is down, refuses us, or gives an unusable answer; names the host."""


class SignatureError(JetsonError):
    """An image that must be signed and has no valid signature; nothing of it was started."""


class OutputError(NotReadyError):
    """Results cannot be written to stdout: it is closed, or the disk behind it is full."""


class ReaderGoneError(JetsonError):
    """Whoever read our stdout has stopped (`| head`). No failure of ours: nothing is said, the code is SIGPIPE's."""

    exit_code = 141


class ToldError(JetsonError):
    """A program we ran has failed and printed the reason itself: only its exit code is passed on."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class BuildError(JetsonError):
    """A stage that failed to build."""


class PackageTestError(JetsonError):
    """A package's own tests failed in the image that was built."""


class StepError(JetsonError):
    """A step of a pipeline (download, convert, quantize, chat …) failed."""


class DoesNotFitError(JetsonError):
    """A model that this machine has not the memory for; `--anyway` tries it all the same."""

    exit_code = 2


class NoCompatibleImageError(JetsonError):
    """No image for the request can run on this platform; `details` is the table of refusals."""

    exit_code = 127


class InterruptedByUserError(JetsonError):
    """Ctrl-C (or TERM); children were stopped first."""

    exit_code = 130
