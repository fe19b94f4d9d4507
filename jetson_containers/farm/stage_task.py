"""A stage on its way to a worker, and what comes back. Nothing here builds, and nothing holds a secret."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from jetson_containers import __version__
from jetson_containers.core.errors import UsageError
from jetson_containers.core.secrets import is_secret
from jetson_containers.recipes import shared

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.builder.graph import Node
    from jetson_containers.builder.resources import StageLoad
    from jetson_containers.builder.types import BuildOptions
    from jetson_containers.recipes.package import Package

LARGEST = 256 << 20  # bytes of one stage's packed files; they travel through the scheduler
_PACKAGE = "package"  # the recipe's directory in the archive; what it shares lies beside it as in a tree
TOPIC = "jetson-containers"  # of Dask's events: a worker says what it does with a stage


@dataclass(frozen=True, kw_only=True)
class StageTask:
    """All a worker needs to make one stage. The paths in `node` are those of the client; the files are in `files`."""

    node: Node
    load: StageLoad
    registry: str  # namespace of the registry of stages
    base: str  # reference of the base image that every worker can pull
    below: Mapping[str, str]  # images it stands on that are in the registry already: local name → reference by digest
    total: int  # stages of the build
    tests: str
    skip_tests: tuple[str, ...] = ()
    test_only: tuple[str, ...] = ()
    build_flags: tuple[str, ...] = ()
    files: bytes = field(default=b"", repr=False)
    version: str = __version__

    def options(self, own: BuildOptions) -> BuildOptions:
        """A worker's own options with what this build asks for."""
        return replace(
            own,
            tests=self.tests,
            skip_tests=self.skip_tests,
            test_only=self.test_only,
            build_flags=self.build_flags,
            build_args=self.node.stage.build_args,
        )


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """A finished stage: its local name, and its reference by digest in the registry.

    `state`: built; cached, when an engine or the registry had it. `size` in bytes: Dask takes it for the size of the
    result, and therefore gives what stands on a stage to the worker that has it, unless that one is too busy.
    """

    key: str
    image: str
    reference: str
    state: str
    worker: str
    seconds: float
    size: int = 0
    tests: str = ""

    def __sizeof__(self) -> int:
        """Bytes that another worker has to pull before it can build on this stage."""
        return max(self.size, object.__sizeof__(self))


def of(
    node: Node,
    load: StageLoad,
    options: BuildOptions,
    *,
    registry: str,
    base: str,
    below: Mapping[str, str],
    total: int,
) -> StageTask:
    """Pack a stage. Raises UsageError for files that are too large, or a build argument that is a secret."""
    check_secrets(node)
    definition = node.stage.definition
    files = pack(definition) if definition is not None and definition.dockerfile is not None else b""
    if len(files) > LARGEST:
        raise UsageError(
            f"the files of `{node.stage.package}` take {len(files) >> 20} MiB; a farm sends at most {LARGEST >> 20}",
            hint="let the recipe fetch them, or build it with `--push-stages` instead of `--farm`",
        )
    return StageTask(
        node=_alone(node),
        load=load,
        registry=registry,
        base=base,
        below=below,
        total=total,
        tests=options.tests,
        skip_tests=options.skip_tests,
        test_only=options.test_only,
        build_flags=options.build_flags,
        files=files,
    )


def _alone(node: Node) -> Node:
    """A stage with nothing of the rest of its plan, and nothing of the machine it was planned on."""
    platform = replace(node.plan.platform, host={}, origins={}, notices=())
    plan = replace(node.plan, platform=platform, stages=(node.stage,), notices=(), tests=())
    return replace(node, plan=plan)


def check_secrets(node: Node) -> None:
    """Raise UsageError for a build argument or variable whose name or value is that of a secret."""
    definition = node.stage.definition
    given = {**(definition.variables if definition else {}), **node.stage.build_args}
    found = sorted(name for name, value in given.items() if is_secret(name, value))
    if found:
        raise UsageError(
            f"`{node.stage.package}`: {', '.join(found)} looks like a secret, and a farm is sent none",
            hint="give it to the workers' own settings (mirrors, index_url, docker login)",
        )


def pack(package: Package) -> bytes:
    """The recipe's directory and what it shares, as an archive; equal files give equal bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in sorted(package.path.rglob("*")):
            below = path.relative_to(package.path)
            if not shared.UNSEEN.intersection(below.parts) and (path.is_symlink() or not path.is_dir()):
                _add(archive, path, f"{_PACKAGE}/{below.as_posix()}")
        for name, path in shared.files_of(package).items():
            _add(archive, path, f"{shared.FOLDER}/{name.removeprefix(f'{shared.PLACE}/')}")
    return out.getvalue()


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    entry = archive.gettarinfo(path, name)
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    if not entry.isreg():
        archive.addfile(entry)
        return
    with path.open("rb") as file:
        archive.addfile(entry, file)


def unpack(task: StageTask, directory: Path) -> Node:
    """Put the stage's files below `directory`, and return the stage as if its recipe lay there."""
    (directory / _PACKAGE).mkdir(parents=True)
    if task.files:
        with tarfile.open(fileobj=io.BytesIO(task.files)) as archive:
            # Python before 3.10.12 has no filters; the task itself is a pickle of the same client.
            archive.extraction_filter = getattr(tarfile, "data_filter", None)
            archive.extractall(directory)  # noqa: S202 - filtered
    node = task.node
    definition = node.stage.definition
    if definition is None:
        return node
    # Parts of this program lie below `shared/` too: the client's are meant, and those are what the key is made of.
    share = tuple(entry.removeprefix(shared.PROGRAM) for entry in definition.share)
    definition = replace(definition, path=directory / _PACKAGE, tree=directory, share=share)
    stage = replace(node.stage, definition=definition, context=definition.path)
    return replace(node, stage=stage, plan=replace(node.plan, stages=(stage,)))
