"""`llm ps`, `llm stop`, `llm logs` and `llm metrics`: the servers that run here."""

from __future__ import annotations

import datetime
import os
from typing import TYPE_CHECKING

import click

from jetson_containers.cli.app import App, command, podman_option

if TYPE_CHECKING:
    from jetson_containers.llm.metrics import ServerMetrics
    from jetson_containers.llm.servers import RunningServer


@command("ps")
@podman_option
def ps(app: App) -> int:
    """List the servers that run here: model, address, since when.

    Example: jetson-containers llm ps --json
    """
    from jetson_containers.llm import servers

    found = servers.listing(servers.client_for(app.container_engine))
    if app.console.as_json:
        app.console.result_json([one.to_json() for one in found])
        return 0
    if not found:
        app.console.info("no server runs here; `jetson-containers llm serve MODEL --detach` starts one")
        return 0
    header = ("name", "model", "runtime", "address", "status", "image")
    app.console.table(header, [_row(one) for one in found], to_result=True)
    return 0


@command("stop")
@click.argument("server", nargs=-1, metavar="[MODEL|NAME]...")
@click.option("--all", "everything", is_flag=True, help="End all servers of `llm serve`.")
@podman_option
def stop(app: App, *, server: tuple[str, ...], everything: bool) -> int:
    """End servers, named by their model, container or address; without a name the only one.

    Example: jetson-containers llm stop Qwen2.5-1.5B-Instruct
    """
    from jetson_containers.core.errors import UsageError
    from jetson_containers.llm import servers

    if server and everything:
        raise UsageError("a name and `--all` were given", hint="leave one of them out")
    client = servers.client_for(app.container_engine)
    found = servers.listing(client)
    offered = [one for one in found if one.facts.task != "session"]  # a chat of another terminal is ended by name only
    ended = offered
    if not everything:  # all names are looked up before the first server ends
        named = [one for name in server for one in servers.chosen(found, name)] or servers.chosen(offered, "")
        ended = list({one.name: one for one in named}.values())
    for one in ended:
        servers.stop(one, client)
        if not app.console.as_json:
            app.console.result(one.name)
    if app.console.as_json:
        app.console.result_json([one.name for one in ended])
    elif not ended:
        app.console.info("no server runs here")
    return 0


@command("metrics")
@click.argument("server", required=False, default="", metavar="[MODEL|NAME]")
@click.option("--api-key-env", default="", metavar="NAME", help="Variable with the key of the server.")
def metrics(app: App, /, *, server: str, api_key_env: str) -> int:
    """Show what servers count: requests running and waiting, tokens, tokens/s, use of the KV cache.

    Of all servers, or of those named as in `llm stop`. The numbers are the runtimes' own, since the server started.

    Example: jetson-containers llm metrics --json
    """
    from jetson_containers.core.errors import NotReadyError
    from jetson_containers.llm import servers
    from jetson_containers.llm.metrics import of_server

    key = app.settings.env.get(api_key_env, "") if api_key_env else ""
    os.environ.pop(api_key_env, None)  # nothing that is started needs it
    if api_key_env and not key:
        raise NotReadyError(f"${api_key_env} is not set", hint=f"export {api_key_env}=… with the key of the server")
    listed = [one for one in servers.listing(servers.client_for(app.engine)) if one.status == "running"]
    found = [of_server(one, key) for one in (servers.chosen(listed, server) if server else listed)]
    if app.console.as_json:
        app.console.result_json(found)
    elif not found:
        app.console.info("no server runs here; `jetson-containers llm serve MODEL --detach` starts one")
    else:
        header = ("name", "runtime", "running", "waiting", "prompt tokens", "tokens", "tokens/s", "KV cache", "remark")
        app.console.table(header, [_counted(one) for one in found], to_result=True)
    return int(any(one.problem for one in found))


def _counted(one: ServerMetrics) -> tuple[str, ...]:
    counts = (one.running, one.waiting, one.prompt_tokens, one.generated_tokens)
    rate = f"{one.tokens_per_s:.1f}" if one.tokens_per_s is not None else "-"
    cache = f"{one.cache_used:.0%}" if one.cache_used is not None else "-"
    shown = [str(count) if count is not None else "-" for count in counts]
    return (one.name, one.runtime, *shown, rate, cache, one.problem)


@command("logs")
@click.argument("server", required=False, default="", metavar="[MODEL|NAME]")
@click.option("--follow", "-f", is_flag=True, help="Go on until Ctrl-C or the end of the server.")
@click.option("--tail", "-n", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@podman_option
def logs(app: App, *, server: str, follow: bool, tail: int | None) -> int:
    """Show what a server printed, named as in `llm stop`.

    Example: jetson-containers llm logs -f Qwen2.5-1.5B-Instruct
    """
    from jetson_containers.core.errors import UsageError
    from jetson_containers.llm import servers

    client = servers.client_for(app.container_engine)
    found = servers.chosen(servers.listing(client), server)
    if len(found) > 1:
        raise UsageError(f"several servers have `{server}`", hint=f"name one: {', '.join(one.name for one in found)}")
    return servers.logs(found[0], client, follow=follow, tail="" if tail is None else str(tail))


def _row(server: RunningServer) -> tuple[str, ...]:
    facts = server.facts
    weights = f"{facts.model} {facts.quantization}".strip() or "unknown"
    return (
        server.name,
        weights,
        facts.runtime,
        f"{facts.url} {facts.webui}".strip() or facts.task,
        _status(server),
        server.image,
    )


def _status(server: RunningServer) -> str:
    """How long it runs, or what has become of it."""
    try:
        started = datetime.datetime.fromisoformat(f"{server.since[:19]}+00:00")  # nanoseconds are not read
    except ValueError:
        return server.status
    seconds = (datetime.datetime.now(datetime.timezone.utc) - started).total_seconds()
    return f"{server.status} for {_age(max(seconds, 0))}" if server.status == "running" else server.status


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return f"{seconds:.0f} s"
