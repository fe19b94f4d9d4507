"""Which running containers use a file or directory of the host: nothing is deleted under a server."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jetson_containers.core import errors, json_text
from jetson_containers.core.errors import EngineMissingError, NotReadyError
from jetson_containers.llm import containers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from jetson_containers.core.console import Console
    from jetson_containers.engine.interface import Engine

_FIELDS = {"name": ".Name", "path": ".Path", "args": ".Args", "env": ".Config.Env", "mounts": ".Mounts"}
_SHOWN = "{" + ",".join(f'"{name}":{{{{json {field}}}}}' for name, field in _FIELDS.items()) + "}"


@dataclass(frozen=True, kw_only=True)
class RunningContainer:
    """`words` are the command line and the variables; `mounts` maps places in the container to those of the host."""

    name: str
    words: tuple[str, ...]
    mounts: Mapping[str, str]

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


def refuse(paths: Iterable[Path], engine: Callable[[], Engine], console: Console) -> None:
    """Raises NotReadyError, with what ends them, where running containers use one of the paths.

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
    used = {one.name: path for path in paths for one in running if one.uses(path)}
    if used:
        names = sorted(used)
        raise NotReadyError(
            f"what would be deleted is in use by {'container' if len(names) == 1 else 'containers'} "
            + ", ".join(f"`{name}`" for name in names),
            details=[f"`{name}` reads {used[name]}" for name in names],
            hint=f"{errors.command(*client, 'rm', '-f', *names)} ends {'it' if len(names) == 1 else 'them'}",
        )


def running_containers(client: Sequence[str]) -> list[RunningContainer]:
    """All of them, those of others too. Raises NotReadyError where the engine does not list them."""
    listed = containers.ask_docker(client, "ps", "--quiet", "--no-trunc")
    if listed.returncode != 0:
        raise NotReadyError((listed.stderr.strip() or "docker ps failed").splitlines()[0])
    if not (found := listed.stdout.split()):
        return []
    shown = containers.ask_docker(
        client, "inspect", "--format", _SHOWN, *found
    )  # it fails where one has ended meanwhile
    return [_read(json_text.parse(line)) for line in shown.stdout.splitlines() if line.strip()]


def _read(shown: Mapping[str, object]) -> RunningContainer:
    mounts = {}
    for mount in _items(shown, "mounts"):
        if isinstance(mount, dict) and mount.get("Source"):
            mounts[str(mount.get("Destination"))] = str(mount["Source"])
    words = (shown.get("path"), *_items(shown, "args"), *_items(shown, "env"))
    return RunningContainer(
        name=str(shown.get("name")).lstrip("/"), words=tuple(str(word) for word in words), mounts=mounts
    )


def _items(shown: Mapping[str, object], key: str) -> list[object]:
    value = shown.get(key)
    return value if isinstance(value, list) else []
