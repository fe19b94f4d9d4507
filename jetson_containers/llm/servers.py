"""The servers that run here, found by the labels of their containers: list, find, end them, read their logs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked, json_text
from jetson_containers.core.errors import NothingMatchedError, NotReadyError, UsageError, command
from jetson_containers.engine import owner
from jetson_containers.llm import containers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jetson_containers.engine.interface import ContainerEngine
    from jetson_containers.llm.decide import Decision

_FIELDS = {
    "id": ".ID", "name": ".Name", "status": ".State.Status", "since": ".State.StartedAt", "labels": ".Config.Labels",
    "image": ".Config.Image",
}  # fmt: skip
_LONGEST_NAME = 60  # characters of a model's name in that of its container
_PATIENCE = 20.0  # seconds for a run in another terminal to end its server


@dataclass(frozen=True, kw_only=True)
class ServerFacts:
    """What the label of a server says. `task` is "serve", or "session" for a chat or benchmark.

    `asked` is the name of the model as it was typed, `source` the checkpoint as the container sees it below `data`, a
    directory of the host; `context` is in tokens.
    """

    model: str = ""
    asked: str = ""
    runtime: str = ""
    quantization: str = ""
    context: int = 0
    url: str = ""
    health: str = ""
    webui: str = ""  # address of the page to chat in
    task: str = ""
    source: str = ""
    data: str = ""

    @property
    def label(self) -> str:
        """The value of the label."""
        return json.dumps(asdict(self))

    def is_same_model(self, other: ServerFacts) -> bool:
        """Whether both serve the same weights with the same runtime."""
        kept = ("runtime", "quantization", "source", "data")
        return all(getattr(self, name) == getattr(other, name) for name in kept)


@dataclass(frozen=True, kw_only=True)
class RunningServer:
    """A server's container. `status` and `since` (RFC 3339) are docker's; `owner` is the process that will end it."""

    name: str
    id: str
    status: str
    since: str
    image: str
    facts: ServerFacts
    owner: str = ""

    @property
    def detached(self) -> bool:
        """Whether it runs in the background, without a process that waits for it."""
        return not self.owner

    def to_json(self) -> dict[str, Any]:
        """All of it on one level."""
        own = {name: value for name, value in asdict(self).items() if name not in {"facts", "owner"}}
        return {**own, **asdict(self.facts), "detached": self.detached}


def name_of(model: str, port: int) -> str:
    """The container that serves a model on a port; docker takes letters, digits and `_.-`."""
    plain = re.sub(r"[^a-z0-9_.-]+", "-", model.lower()).strip("-.")[:_LONGEST_NAME]
    return f"jetson-llm-{plain}-{port}" if plain else f"jetson-llm-{port}"


def facts_of(decision: Decision, *, task: str, data: Path, **where: str) -> ServerFacts:
    """What the label of a server for this decision says; `where` are `url`, `health` and `webui`."""
    return ServerFacts(
        model=decision.model.name,
        asked=decision.model.asked,
        runtime=decision.runtime.name,
        quantization=decision.quantization,
        context=decision.job.context,
        task=task,
        source=decision.job.source,
        data=str(data.resolve()),
        **where,
    )


def client_for(engine: ContainerEngine) -> tuple[str, ...]:
    """The docker client of an engine, after servers are removed whose command was killed."""
    client = containers.client_for(engine)
    containers.remove_orphans(client)
    return client


def listing(client: Sequence[str]) -> list[RunningServer]:
    """All of them, also those that have ended and still have their container; sorted by name.

    Raises NotReadyError where the engine does not list them.
    """
    shown = containers.inspected(client, _FIELDS, "--all", "--filter", f"label={containers.SERVER}")
    return sorted(map(_read, shown), key=lambda one: one.name)


def serving(wanted: ServerFacts, client: Sequence[str]) -> RunningServer | None:
    """The server of `llm serve` that has this model already, if one runs."""
    running = (one for one in listing(client) if one.facts.task == "serve" and one.status == "running")
    return next((one for one in running if one.facts.is_same_model(wanted)), None)


def chosen(found: Sequence[RunningServer], wanted: str) -> list[RunningServer]:
    """Those of a name: a container's, an ID's beginning, a model's with or without its organization, or an address.

    Without a name the only one. Raises NothingMatchedError, and UsageError where the choice is left open.
    """
    if not wanted:
        if len(found) > 1:
            raise UsageError("several servers run", hint=f"name one, or use `--all`: {_names(found)}")
        if not found:
            hint = "`jetson-containers llm serve MODEL --detach` starts one"
            raise NothingMatchedError("no server runs here", hint=hint)
        return list(found)
    exact = [one for one in found if wanted in {one.name, one.facts.url}]
    named = exact or [one for one in found if _is_named(one, wanted)]
    if not named:
        raise NothingMatchedError(
            f"no server `{wanted}` runs here", hint=f"running: {_names(found)}" if found else "no server runs here"
        )
    return named


def stop(server: RunningServer, client: Sequence[str]) -> None:
    """End a server and remove its container.

    One that a command of this machine waits for is ended by that command, which then ends as with Ctrl-C. Raises
    NotReadyError where docker does not remove it.
    """
    if (pid := owner.owner_process(server.owner)) and pid != os.getpid():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and containers.docker(client, "ps", "-aq", "--filter", f"id={server.id}"):
            containers.pause(0.2)
    done = containers.ask_docker(client, "rm", "--force", server.id)
    if done.returncode != 0 and "No such container" not in done.stderr:
        last = (done.stderr.strip() or "docker rm failed").splitlines()[-1]
        ends = command(containers.program(client), "rm", "--force", server.name)
        raise NotReadyError(f"cannot end {server.name}: {last}", hint=ends)


def logs(server: RunningServer, client: Sequence[str], *, follow: bool = False, tail: str = "") -> int:
    """Copy what a server printed, or its last `tail` lines, to stdout and stderr; the engine's exit status."""
    words = ["logs", *(["--follow"] if follow else []), *(["--tail", tail] if tail else []), server.id]
    return subprocess.run([*client, *words], stdin=subprocess.DEVNULL, check=False).returncode


def _names(found: Sequence[RunningServer]) -> str:
    return ", ".join(f"{one.name} ({one.facts.model or 'unknown model'})" for one in found)


def _is_named(server: RunningServer, wanted: str) -> bool:
    said = {server.facts.model.lower(), server.facts.asked.lower()} - {""}
    names = said | {name.rpartition("/")[2] for name in said}
    asked = wanted.lower()
    return asked in names or asked.rpartition("/")[2] in names or (len(wanted) >= 4 and server.id.startswith(asked))


def _read(shown: Mapping[str, Any]) -> RunningServer:
    labels = shown.get("labels") or {}
    texts = {key: str(shown.get(key) or "") for key in ("id", "name", "status", "since", "image")}
    texts["name"] = texts["name"].removeprefix("/")
    return RunningServer(**texts, facts=_facts(labels.get(containers.FACTS, "")), owner=labels.get(owner.OWNER, ""))


def _facts(label: str) -> ServerFacts:
    """What a label says; nothing where it is not ours to read: a server of an older version has none."""
    try:
        said = checked.mapping(json_text.parse(label)) if label else {}
        known = {field.name: said[field.name] for field in fields(ServerFacts) if field.name in said}
        for name, value in known.items():
            _ = checked.number(value) if name == "context" else checked.text(value)
    except ValueError:
        return ServerFacts()
    return ServerFacts(**known)
