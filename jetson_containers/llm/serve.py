"""Serve a prepared model: in the foreground, detached, or as a service file that survives a reboot."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core import files
from jetson_containers.core.errors import InterruptedByUserError, NotReadyError, StepError, UsageError
from jetson_containers.core.text import is_number
from jetson_containers.hub.host_owner import owner_of
from jetson_containers.llm import (
    checked_requests,
    containers,
    prepare,
    servers,
    service_files,
    session,
    shown_commands,
    web_page,
)
from jetson_containers.llm.client import OpenAIClient
from jetson_containers.llm.runtimes.interface import ServeOptions
from jetson_containers.llm.step_progress import StepProgress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jetson_containers.core.console import Console
    from jetson_containers.launch.command import Launch
    from jetson_containers.llm.containers import Listening
    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.decide import Decision
    from jetson_containers.llm.prepare import PreparedModel
    from jetson_containers.llm.request import LlmRequest
    from jetson_containers.llm.runtimes.interface import Service
    from jetson_containers.llm.servers import RunningServer

DEFAULT_PORT = 8080
_PAGE_PORT = 8090
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """Where to listen and how. `port` 0: 8080, or the next free one. `api_key_env` names the variable with the key."""

    port: int = 0
    address: str = "127.0.0.1"
    detach: bool = False
    name: str = ""
    generate: str | None = None  # one of `service_files.KINDS`
    api_key_env: str = ""
    another: bool = False  # although the model is served already
    webui: bool = False  # with a page to chat in, on a port of its own


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server that runs. `health` and `url` answer on this machine."""

    name: str
    url: str
    health: str
    model: str
    image: str
    runtime: str
    webui: str = ""  # address of the page to chat in


def serve(request: LlmRequest, wanted: ServeRequest, context: LlmContext, *, dry_run: bool = False) -> Served | None:
    """Prepare, start, print the address when it answers. In the foreground until Ctrl-C, which is not an error.

    Raises UsageError for a port that is taken, NotReadyError for a key that is not set, else as `prepare`.
    """
    if wanted.webui and wanted.generate:
        raise UsageError("`--webui` and `--generate` do not go together", hint="serve with `--webui --detach`")
    if wanted.generate in service_files.OF_DOCKER and context.settings["podman"]:
        raise UsageError(
            f"`--generate {wanted.generate}` writes a file for Docker", hint="Podman takes `quadlet` and `kube`"
        )
    key = "" if wanted.generate else _key(wanted, context)  # a service file only names the variable
    if dry_run:
        _show_dry(prepare.plan(request, context), wanted, context)
        return None
    if wanted.port and not wanted.generate:
        _refuse_taken_port(wanted, context)
    decision = prepare.decided(request, context)
    if not (wanted.generate or wanted.another) and (found := _serving(decision, context)):
        return _served_already(found, decision, wanted, context)
    prepared = prepare.make(decision, context)
    if wanted.generate:
        _generate(prepared, wanted, wanted.generate, context)
        return None
    containers.remove_orphans(containers.client_for(prepared.containers.engine))
    with reserved(wanted, context.data) as port:
        return _start(prepared, wanted, port, key, context)


def _show_dry(decision: Decision, wanted: ServeRequest, context: LlmContext) -> None:
    port = wanted.port or DEFAULT_PORT
    place = containers.listening(context.settings, wanted.address, port)
    service = checked_requests.shown(decision, _options(decision, wanted, port, place), place, context.settings)
    if wanted.webui:
        beside = containers.listening(context.settings, wanted.address, _PAGE_PORT)
        service, place = web_page.with_page(service, place, beside, port=port, page=_PAGE_PORT)
    server = shown_commands.DryServer(
        service=service,
        listening=place,
        name=wanted.name or servers.name_of(decision.model.name, port),
        detach=wanted.detach,
        key_name=wanted.api_key_env,
    )
    shown_commands.show_served(decision, context, server)
    if place.options != containers.ON_HOST:
        context.console.info(f"in a network of its own, published at {wanted.address or '[::]'}:{port} only")


def _serving(decision: Decision, context: LlmContext) -> RunningServer | None:
    """The server that has this model already. Without an engine there is none; preparing will say so."""
    with contextlib.suppress(NotReadyError):
        client = servers.client_for(context.engine())
        return servers.serving(servers.facts_of(decision, task="serve", data=context.data), client)
    return None


def _served_already(found: RunningServer, decision: Decision, wanted: ServeRequest, context: LlmContext) -> Served:
    """Say where. Raises UsageError where what was asked for is something that server does not give."""
    facts = found.facts
    another = "use `--another` to start another copy"
    differs = [
        what
        for what, other in (
            (f"port {wanted.port}", wanted.port and not facts.url.endswith(f":{wanted.port}/v1")),
            (f"name `{wanted.name}`", wanted.name and wanted.name != found.name),
            (f"a context of {decision.job.context} tokens (it has {facts.context})", _is_longer(decision, found)),
            ("a key (`--api-key-env`)", wanted.api_key_env),
            (f"address {wanted.address}", wanted.address not in _LOOPBACK),
            ("options of the runtime", decision.request.runtime_options),
            ("a page (`--webui`)", wanted.webui and not facts.webui),
        )
        if other
    ]
    ends = containers.stop_command(("podman",) if context.settings["podman"] else ("docker",), found.name)
    if differs:
        raise UsageError(
            f"{decision.title} is already served at {facts.url}, and not with {', '.join(differs)}",
            hint=f"{ends} ends that server; {another}",
        )
    context.console.ok(f"{decision.title} is already served at {facts.url}; {another}, {ends} to end it")
    served = Served(
        name=found.name, url=facts.url, health=facts.health, model=facts.model, image=found.image,
        runtime=facts.runtime, webui=facts.webui,
    )  # fmt: skip
    show(served, context.console)
    return served


def _is_longer(decision: Decision, found: RunningServer) -> bool:
    return bool(decision.request.context) and decision.request.context > found.facts.context


def _refuse_taken_port(wanted: ServeRequest, context: LlmContext) -> None:
    """Raises UsageError before anything is prepared, unless only an orphaned server holds the port: that is removed."""
    if is_free(wanted.address, wanted.port):
        return
    with contextlib.suppress(NotReadyError):  # without an engine none of our servers listens there
        containers.remove_orphans(containers.client_for(context.engine()))
    if not is_free(wanted.address, wanted.port):
        raise _taken(wanted.port)


def _taken(port: int) -> UsageError:
    return UsageError(f"port {port} is taken", hint="use `--port 0` for the next free one from 8080 on")


def _start(prepared: PreparedModel, wanted: ServeRequest, port: int, key: str, context: LlmContext) -> Served:
    listening = prepared.containers.listening(wanted.address, port)
    options = _options(prepared.decision, wanted, port, listening)
    service = checked_requests.service_of(prepared, options, listening)
    if wanted.address not in _LOOPBACK and not wanted.api_key_env:
        context.console.warning(
            f"anyone who can reach {wanted.address}:{port} can use this server", "require a key with --api-key-env NAME"
        )
    address, place = _place(wanted.address, port)
    page = _page_port(wanted, port) if wanted.webui else 0
    if page:
        beside = prepared.containers.listening(wanted.address, page)
        service, listening = web_page.with_page(service, listening, beside, port=port, page=page)
    planned = _planned(prepared, wanted, service, port, key, context.data, listening, page)
    served = Served(
        name=planned.name,
        url=f"{place}/v1",
        health=f"{place}{service.health}",
        model=service.model,
        image=planned.image,
        runtime=prepared.decision.runtime.name,
        webui=_page_url(wanted.address, page),
    )
    client = OpenAIClient(host=address, port=port, model=service.model, key=key)
    if wanted.detach:
        _detach(planned, client, service.health, context)
        show(served, context.console)
    else:
        _foreground(planned, client, service.health, served, prepared, context)
    return served


def _place(address: str, port: int) -> tuple[str, str]:
    """Where a server that listens on an address answers on this machine: the address, and the beginning of its URL."""
    reached = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - compared
    return reached, f"http://[{reached}]:{port}" if ":" in reached else f"http://{reached}:{port}"


def _page_port(wanted: ServeRequest, port: int) -> int:
    """The first free port for the page. Raises NotReadyError after a hundred."""
    for page in range(_PAGE_PORT, _PAGE_PORT + 100):
        if page != port and is_free(wanted.address, page):
            return page
    raise NotReadyError(f"no port is free from {_PAGE_PORT} to {_PAGE_PORT + 99}", hint="leave out `--webui`")


def _page_url(address: str, page: int) -> str:
    return f"{_place(address, page)[1]}/" if page else ""


def _options(decision: Decision, wanted: ServeRequest, port: int, listening: Listening) -> ServeOptions:
    key, threads = bool(wanted.api_key_env), decision.request.threads
    return ServeOptions(port=port, host=listening.host, threads=threads, api_key=key, metrics=True)


def _planned(
    prepared: PreparedModel,
    wanted: ServeRequest,
    service: Service,
    port: int,
    key: str,
    data: Path,
    listening: Listening,
    page: int = 0,
) -> Launch:
    place = _place(wanted.address, port)[1]
    facts = servers.facts_of(
        prepared.decision, task="serve", data=data, url=f"{place}/v1", health=f"{place}{service.health}",
        webui=_page_url(wanted.address, page),
    )  # fmt: skip
    return prepared.containers.server(
        service,
        name=wanted.name or servers.name_of(prepared.decision.model.name, port),
        detach=wanted.detach or bool(wanted.generate),
        api_key=key,
        facts=facts.label,
        listening=listening,
    )


def _generate(prepared: PreparedModel, wanted: ServeRequest, kind: str, context: LlmContext) -> None:
    port = wanted.port or DEFAULT_PORT
    listening = prepared.containers.listening(wanted.address, port)
    options = _options(prepared.decision, wanted, port, listening)
    service = checked_requests.service_of(prepared, options, listening)
    planned = _planned(prepared, wanted, service, port, "", context.data, listening)
    console = context.console
    gpu = prepared.decision.job.target.device != "cpu"
    key_env = service.key_env if wanted.api_key_env else ""
    # Paths of the API itself ask for the key, which a service file does not hold.
    place = _place(wanted.address, wanted.port or DEFAULT_PORT)[1]
    health = "" if key_env and service.health.startswith("/v1") else f"{place}{service.health}"
    text = service_files.generate(kind, planned, key_env, wanted.api_key_env, gpu=gpu, health=health)
    if console.as_json:
        console.result_json({"kind": kind, "text": text})
    else:
        console.result(text)


@contextlib.contextmanager
def reserved(wanted: ServeRequest, data: Path) -> Iterator[int]:
    """The port asked for, or the first free one from 8080 on, kept from other runs until this server has ended.

    Otherwise a run between the check and the listening would take the other's server for its own. Raises UsageError
    for a port that is taken, NotReadyError after a hundred.
    """
    for port in (wanted.port,) if wanted.port else range(DEFAULT_PORT, DEFAULT_PORT + 100):
        lock = data / ".locks" / f"port-{port}"
        owner = owner_of(data)
        with files.readable_os_errors():
            owner.make_directory(lock.parent)
        with files.open_lock(lock) as descriptor:
            owner.take(lock)
            if files.try_lock(descriptor) and is_free(wanted.address, port):
                yield port
                return
    if wanted.port:
        raise _taken(wanted.port)
    raise NotReadyError(f"no port is free from {DEFAULT_PORT} to {DEFAULT_PORT + 99}", hint="--port N")


def _detach(planned: Launch, client: OpenAIClient, health: str, context: LlmContext) -> None:
    """Start, wait until it answers, leave it running; a server that fails before is removed."""
    containers.claim(planned, running=True)
    environment = {**containers.without_tokens(os.environ), **planned.env_additions}
    with containers.terminate_on_signals():
        done = subprocess.run(
            planned.argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise StepError("the server did not start", details=done.stderr.strip().splitlines()[-5:])
        try:
            _wait_for(planned, client, health, context)
        except BaseException:
            containers.docker(containers.client_of(planned), "rm", "--force", planned.name)
            raise
    client_words = containers.client_of(planned)
    shows = containers.server_command(client_words, "logs", "-f", planned.name)
    ends = containers.stop_command(client_words, planned.name)
    context.console.ok(f"serving; {shows} shows its log, {ends} ends it")


def _wait_for(planned: Launch, client: OpenAIClient, health: str, context: LlmContext) -> None:
    """Wait for a detached server. Raises StepError with its log, and with the status it ended with."""
    log = containers.log_of(context.settings, planned.name)
    with subprocess.Popen(
        [*containers.client_of(planned), "wait", planned.name],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as waiting:  # fmt: skip
        try:
            with StepProgress(console=context.console, name=f"loading {client.model}"):
                session.wait_until_ready(client, health, waiting, log)
        except StepError:
            log.parent.mkdir(parents=True, exist_ok=True)
            with files.open_no_link(log, "w", encoding="utf-8") as file:
                file.write(_logs_of(planned))
            # What `docker wait` prints is the status of the server; its own is 0.
            ended = waiting.stdout.read().strip() if waiting.poll() is not None and waiting.stdout else ""
            raise session.server_failed(int(ended) if is_number(ended) else None, log) from None
        finally:
            waiting.terminate()


def _logs_of(planned: Launch) -> str:
    done = subprocess.run(
        [*containers.client_of(planned), "logs", planned.name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
    )  # fmt: skip
    return done.stdout


def _foreground(
    planned: Launch, client: OpenAIClient, health: str, served: Served, prepared: PreparedModel, context: LlmContext
) -> None:
    log = containers.log_of(context.settings, planned.name)
    with containers.running(planned, log) as process:
        title = f"loading {prepared.decision.title}"
        with StepProgress(console=context.console, name=title, last_line=lambda: session.last_line(log)):
            session.wait_until_ready(client, health, process, log)
        try:  # from here on Ctrl-C ends it, also right after the address is printed
            context.console.ok(f"{prepared.decision.title} at {served.url} (model `{served.model}`); Ctrl-C ends it")
            show(served, context.console)  # now: a program that starts it needs the address while it runs
            process.wait()
        except (KeyboardInterrupt, InterruptedByUserError):
            context.console.info("ended")
            return
    raise session.server_failed(process.returncode, log, loaded=True)


def _key(wanted: ServeRequest, context: LlmContext) -> str:
    """The key. No program finds it in its environment from now on, but the client that starts the server."""
    if not wanted.api_key_env:
        return ""
    given = os.environ.pop(wanted.api_key_env, None)
    value = context.settings.env.get(wanted.api_key_env, "") if given is None else given
    if not value:
        raise NotReadyError(
            f"the variable {wanted.api_key_env}, which should hold the server's key, is empty",
            hint=f"export {wanted.api_key_env}=…  (for instance: {secrets.token_urlsafe(8)}…, longer)",
        )
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise UsageError(
            f"the key in {wanted.api_key_env} cannot be sent in an HTTP header",
            hint="use printable ASCII characters without spaces and line ends",
        )
    return value


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there. Raises UsageError for an address this machine does not have."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(
                f"`{host}` is not an address of this machine", hint="--host 127.0.0.1, or 0.0.0.0"
            ) from error
        return False
    return True


def show(served: Served, console: Console) -> None:
    """Print its address, as the only result."""
    if console.as_json:
        console.result_json(served)
    else:
        console.result(served.url)
        if served.webui:
            console.info(f"chat in a browser: {served.webui}")
