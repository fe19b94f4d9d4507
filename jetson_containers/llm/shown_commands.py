"""A dry run: the commands that would run, as they can be pasted into a shell, and which steps are done already.

Nothing is made, pulled or started. Without an engine the command is that of one with NVIDIA's runtime; where no image
is here that fits, the line finds one itself when it is pasted.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from jetson_containers.core.console import Console, Level
from jetson_containers.core.errors import JetsonError, NotReadyError
from jetson_containers.engine.interface import RunCapabilities
from jetson_containers.engine.owner import OWNER
from jetson_containers.llm import checked_requests, containers, servers
from jetson_containers.llm.pipeline.steps import Pipeline, final_argv
from jetson_containers.llm.pipeline.types import CommandStep, DownloadStep
from jetson_containers.llm.runtimes.interface import ServeOptions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from jetson_containers.engine.interface import ContainerEngine
    from jetson_containers.llm.containers import Containers, Listening
    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.decide import Decision
    from jetson_containers.llm.pipeline.types import PlannedStep, Step
    from jetson_containers.llm.runtimes.interface import Service

PORT = 8080
_UNKNOWN = "image-that-autotag-finds.invalid/"  # the name in a command until the line is written


@dataclass(frozen=True, kw_only=True)
class DryServer:
    """How the server would be started. `key_name` is the variable of the user that holds its key."""

    service: Service
    listening: Listening
    name: str
    detach: bool = False
    key_name: str = ""


def show_prepared(decision: Decision, context: LlmContext) -> None:
    """Print the commands that prepare a model."""
    _show(decision, context, None)


def show_session(decision: Decision, context: LlmContext, *, checked: bool = True) -> None:
    """Print the commands that prepare a model and start a server for a chat, or without checks for a benchmark."""
    listening = containers.listening(context.settings, "127.0.0.1", PORT)
    options = ServeOptions(port=PORT, host=listening.host, threads=decision.request.threads)
    name = servers.name_of(decision.model.name, PORT)
    bare = decision.service(options)
    service = checked_requests.shown(decision, options, listening, context.settings) if checked else bare
    show_served(decision, context, DryServer(service=service, listening=listening, name=name))


def show_served(decision: Decision, context: LlmContext, server: DryServer) -> None:
    """Print the commands that prepare a model and serve it."""
    _show(decision, context, server)


def _show(decision: Decision, context: LlmContext, server: DryServer | None) -> None:
    made = _containers(decision, context)
    pipeline = Pipeline(data=context.data, runner=made, console=context.console, origin=decision.model.origin)
    planned = pipeline.plan(decision.steps, decision.selection)
    start = _start(made, server) if server else []
    if context.console.as_json:
        context.console.result_json(_as_json(decision, planned, made, server, start))
        return
    for step in planned:
        for line in _lines(step, made):
            context.console.result(line)
    for line in start:
        context.console.result(line)


def _as_json(
    decision: Decision, planned: Sequence[PlannedStep], made: Containers, server: DryServer | None, start: Sequence[str]
) -> dict[str, Any]:
    steps = [
        {
            "name": one.step.name, "argv": final_argv(one.step), "output": one.step.output, "state": one.state,
            "shell": _commands(one.step, made),
        }
        for one in planned
    ]  # fmt: skip
    return {
        "model": decision.model.asked,
        "runtime": decision.runtime.name,
        "quantization": decision.job.quantization,
        "artefact": decision.artifact,
        "steps": steps,
        "command": list(server.service.argv) if server else [],
        "shell": list(start),
    }


def _lines(planned: PlannedStep, made: Containers) -> list[str]:
    """The commands of a step; of one that will not run, a comment."""
    step = planned.step
    if planned.state == "run":
        return [f"# {step.name}", *_commands(step, made)]
    return [f"# {step.name}: {'done' if planned.state == 'cached' else 'not needed'} ({step.output})"]


def _commands(step: Step, made: Containers) -> list[str]:
    if isinstance(step, DownloadStep):
        return [shlex.join(["jetson-containers", "download", *step.argv[1:]])]
    data = made.settings.path("data").absolute()
    output = data / step.output.removeprefix("/data/")
    folder = shlex.join(["mkdir", "-p", str(output.parent)])
    if not isinstance(step, CommandStep):
        return [folder, shlex.join(["ln", "-sfn", str(data / step.target.removeprefix("/data/")), str(output)])]
    return [folder, _joined(made.planned_step(step, final_argv(step)).argv)]


def _start(made: Containers, server: DryServer) -> list[str]:
    """The line that starts the server, without the label by which it would be ended together with this command."""
    planned = made.server(server.service, name=server.name, detach=server.detach, listening=server.listening)
    argv = list(planned.argv)
    owners = [index for index, word in enumerate(argv) if word.startswith(f"{OWNER}=")]
    for index in reversed(owners):
        del argv[index - 1 : index + 1]
    if not server.key_name:
        return ["# serve", _joined(argv)]
    at = argv.index("run") + 1
    argv[at:at] = ["--env", server.service.key_env]
    return ["# serve", f'export {server.service.key_env}="${server.key_name}"', _joined(argv)]


def _containers(decision: Decision, context: LlmContext) -> Containers:
    engine = _engine(context)

    def image_for(packages: Sequence[str]) -> str:
        return _local(packages, context) if engine is not None else _unknown(packages)

    return containers.Containers(
        platform=context.platform,
        engine=engine or _no_engine(podman=context.settings["podman"]),
        settings=context.settings,
        console=context.console,
        image=decision.request.image or image_for(decision.runtime.packages(context.platform)),
        image_for=image_for,
        threads=decision.request.threads,
        dry_run=True,
    )


def _engine(context: LlmContext) -> ContainerEngine | None:
    try:
        engine = context.engine()
        _ = engine.run_capabilities
    except NotReadyError:
        return None
    return engine


@dataclass(frozen=True, kw_only=True)
class _AssumedEngine:
    """An engine that is not here: only its capabilities are asked for."""

    run_capabilities: RunCapabilities

    @property
    def capabilities(self) -> RunCapabilities:
        """The same."""
        return self.run_capabilities


def _no_engine(*, podman: bool) -> ContainerEngine:
    """What is assumed of an engine that is not here."""
    docker = RunCapabilities(client="docker", sudo=False, runtimes=("nvidia",), cdi_devices=())
    cdi = ("nvidia.com/gpu=all",)
    other = replace(docker, client="podman", runtimes=(), cdi_devices=cdi, podman=True, rootless=os.getuid() != 0)
    return cast("ContainerEngine", _AssumedEngine(run_capabilities=other if podman else docker))


def _local(packages: Sequence[str], context: LlmContext) -> str:
    """The image of this machine that would be taken, else one that is found when the line is pasted."""
    from jetson_containers.autotag import search

    chosen = search.options(context.settings, disable=("registry", "build"), quiet=True)
    try:
        console = Console(level=Level.QUIET)
        return search.find(packages, context.platform, context.engine, context.settings, console, chosen)
    except JetsonError:
        return _unknown(packages)


def _unknown(packages: Sequence[str]) -> str:
    return _UNKNOWN + ",".join(packages)


def _joined(argv: Sequence[str]) -> str:
    """A line without docker's `-i`, which would swallow the lines that are pasted after it."""
    words: list[str] = []
    interactive = argv.index("-i") if "-i" in argv[: argv.index("run") + 2] else -1
    for index, word in enumerate(argv):
        if index == interactive:
            continue
        if word.startswith(_UNKNOWN):
            found = shlex.join(["jetson-containers", "autotag", *word.removeprefix(_UNKNOWN).split(",")])
            words.append(f'"$({found})"')
        else:
            words.append(shlex.quote(word))
    return " ".join(words)
