"""The data of a pipeline: the kinds of steps, what a user selects of them, what is planned and what came of it.

A step is one of three: a command in a container (`CommandStep`), a link that the pipeline makes itself (`LinkStep`), or
a download on the host (`DownloadStep`). All name the paths of containers, below `/data`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, kw_only=True)
class CommandStep:
    """One command inside the runtime's image.

    `{output}` in `argv` is replaced by a temporary name that becomes `output` only when the command has succeeded; with
    `result` it is a directory in which the command leaves `result`, and only that becomes `output`. `merge`: the output
    directory is shared by several steps, so the files that the command leaves in its temporary directory are moved into
    it and the others stay. `options` take part in the step's key beside the argv: what the output depends on and no
    word of the command says (the GPU architecture, the version of the compiler).
    """

    name: str
    argv: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    options: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    result: str = ""
    merge: bool = False
    intermediate: bool = False  # only needed to make something else: not made when that is there already
    packages: tuple[str, ...] = ()  # what its image must hold, when it is not the runtime's own image
    network: bool = False  # whether it downloads something (calibration text)


@dataclass(frozen=True, kw_only=True)
class LinkStep:
    """A symbolic link at `output` to `target`, which replaces an older link."""

    name: str
    target: str
    output: str
    options: ClassVar[Mapping[str, str]] = {}
    result: ClassVar[str] = ""
    intermediate: ClassVar[bool] = False

    @property
    def argv(self) -> tuple[str, ...]:
        """The command that does the same."""
        return ("ln", "-sfn", self.target, self.output)

    @property
    def inputs(self) -> tuple[str, ...]:
        """What the link leads to."""
        return (self.target,)


@dataclass(frozen=True, kw_only=True)
class DownloadStep:
    """Files of the hub, fetched on the host. `argv` is the command that does the same in an image, `size` in bytes.

    `served`: they are loaded as they are, so they are needed also where all that is made from them is there.
    """

    name: str = "download"
    argv: tuple[str, ...]
    output: str
    size: int = 0
    is_done: Callable[[], bool]
    fetch: Callable[[], None]
    served: bool = False
    inputs: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[Mapping[str, str]] = {}
    result: ClassVar[str] = ""

    @property
    def intermediate(self) -> bool:
        """Whether the files are only needed to make something else."""
        return not self.served


Step = CommandStep | LinkStep | DownloadStep


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the steps start from. `path` is its place in the container, `identity` what it is on every machine."""

    path: str = ""
    identity: str = ""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What a user wants done again or left out, by step name."""

    force: tuple[str, ...] = ()
    start: str = ""  # do this step and all after it again
    until: str = ""  # nothing after this one


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """A step, its key, and what is to become of it: run, cached or unneeded (nothing is made from its output)."""

    step: Step
    key: str
    state: str
    forced: bool = False


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What became of a step. `state`: done (it ran), cached (an earlier run's output was right) or unneeded."""

    name: str
    state: str
    output: str
    seconds: float
    size: int  # bytes
