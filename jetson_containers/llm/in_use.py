"""Which running containers use a file or directory of the host: nothing is deleted under a server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core import errors
from jetson_containers.core.errors import EngineMissingError, NotReadyError, UsageError
from jetson_containers.llm import containers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jetson_containers.core.console import Console
    from jetson_containers.core.errors import JetsonError
    from jetson_containers.engine.interface import ContainerEngine

_FIELDS = {
    "name": ".Name", "path": ".Path", "args": ".Args", "env": ".Config.Env", "mounts": ".Mounts",
    "labels": ".Config.Labels",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RunningContainer:
    """`words` are the command line and the variables; `mounts` maps places in the container to those of the host.

    `is_server`: it is one of ours, which `llm stop` ends.
    """

    name: str
    words: tuple[str, ...]
    mounts: Mapping[str, str]
    is_server: bool = False

    def uses(self, path: Path) -> bool:
        """Whether its options name `path` or something below it."""
        patterns = [re.compile(rf"(?<![\w.-]){re.escape(place)}(?![\w.-])") for place in self.places_of(path)]
        return any(pattern.search(word) for word in self.words for pattern in patterns)

    def places_of(self, path: Path) -> list[str]:
        """Where the container sees a path of the host."""
        real = Path(os.path.realpath(path.parent)) / path.name
        roots = {inside: Path(os.path.realpath(outside)) for inside, outside in self.mounts.items()}
        return [
            (Path(inside) / real.relative_to(root)).as_posix()
            for inside, root in roots.items()
            if root == real or root in real.parents
        ]


def refuse(paths: Iterable[Path], engine: Callable[[], ContainerEngine], console: Console) -> None:
    """Raises UsageError, with what ends them, where servers use one of the paths, NotReadyError for other containers.

    Without an engine nothing runs; what cannot be found out is reported and stops nothing.
    """
    try:
        client = containers.client_for(engine())
        running = running_containers(client)
    except EngineMissingError:
        return
    except NotReadyError as error:
        console.warning(f"cannot find out whether a server uses this: {error.message}", error.hint)
        return
    used = [(one, path) for one in running for path in paths if one.uses(path)]
    if used:
        raise _refusal(used, client)


def _refusal(used: Sequence[tuple[RunningContainer, Path]], client: Sequence[str]) -> JetsonError:
    """UsageError where all are servers of ours, else NotReadyError: the others are ended by docker."""
    reads = {one.name: path for one, path in used}
    servers = {one.name for one, _ in used if one.is_server}
    names = sorted(reads)
    ours, others = (sorted(chosen) for chosen in (servers, reads.keys() - servers))
    ends = [containers.stop_command(client, *ours)] if ours else []
    ends += [errors.command(*client, "rm", "-f", *others)] if others else []
    kind = NotReadyError if others else UsageError
    return kind(
        f"what would be deleted is in use by {'container' if len(names) == 1 else 'containers'} "
        + ", ".join(f"`{name}`" for name in names),
        details=[f"`{name}` reads {reads[name]}" for name in names],
        hint=f"{' and '.join(ends)} {'end' if len(ends) > 1 else 'ends'} {'it' if len(names) == 1 else 'them'}",
    )


def running_containers(client: Sequence[str]) -> list[RunningContainer]:
    """All of them, those of others too. Raises NotReadyError where the engine does not list them."""
    return [_read(shown) for shown in containers.inspected(client, _FIELDS)]


def _read(shown: Mapping[str, object]) -> RunningContainer:
    mounts = {}
    for mount in _items(shown, "mounts"):
        if isinstance(mount, dict) and mount.get("Source"):
            mounts[str(mount.get("Destination"))] = str(mount["Source"])
    words = (shown.get("path"), *_items(shown, "args"), *_items(shown, "env"))
    labels = shown.get("labels")
    return RunningContainer(
        name=str(shown.get("name")).lstrip("/"),
        words=tuple(str(word) for word in words),
        mounts=mounts,
        is_server=isinstance(labels, dict) and containers.SERVER in labels,
    )


def _items(shown: Mapping[str, object], key: str) -> list[object]:
    value = shown.get(key)
    return value if isinstance(value, list) else []
