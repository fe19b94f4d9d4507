"""Where a server listens, what it prints, and what is refused before it starts."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from jetson_containers.core.console import Console
from jetson_containers.core.errors import (
    EngineMissingError,
    InterruptedByUserError,
    NotReadyError,
    StepError,
    UsageError,
)
from jetson_containers.engine.owner import OWNER, owner
from jetson_containers.llm import prepare, serve, session
from jetson_containers.llm.client import OpenAIClient
from jetson_containers.llm.containers import Containers, end, running
from jetson_containers.llm.request import LlmRequest
from tests.fakes import FakeEngine
from tests.unit.llm.fakes import OURS, Docker, prepared, server

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jetson_containers.llm.context import LlmContext


def test_serve_refuses_a_taken_port(context: LlmContext, client: OpenAIClient) -> None:
    """A port that is taken is refused."""
    assert not serve.is_free("127.0.0.1", client.port)
    with serve.reserved(serve.ServeRequest(), context.data) as port:
        assert port >= serve.DEFAULT_PORT
        with serve.reserved(serve.ServeRequest(), context.data) as other:
            assert other > port  # nobody listens yet, and it is promised all the same
        with pytest.raises(UsageError, match="is taken"), serve.reserved(serve.ServeRequest(port=port), context.data):
            pass


def test_serve_refuses_an_unset_key_before_anything(context: LlmContext) -> None:
    """A key that is not set is refused before anything is done."""
    with pytest.raises(NotReadyError, match="NO_SUCH_KEY"):
        serve.serve(LlmRequest(model="tiny"), serve.ServeRequest(api_key_env="NO_SUCH_KEY"), context, dry_run=True)


def test_containers_running_leaves_a_container_of_the_same_name(
    containers: Containers, docker: Docker, tmp_path: Path
) -> None:
    """The name was taken between the look and the start."""
    with running(server(containers, "false", "run"), tmp_path / "log") as process:
        docker.containers["mine"] = ("Up 1 second", {})
        process.wait(120)
    assert docker.removed == []


def test_containers_end_removes_a_container_that_appears_late() -> None:
    """Stopped while docker was still creating it: the first removal finds nothing."""
    process = subprocess.Popen(["sleep", "30"])
    calls: list[int] = []

    def remove() -> None:
        calls.append(1)
        if len(calls) == 2:
            process.kill()

    end(process, remove)
    assert process.poll() is not None
    assert len(calls) == 3


def start(
    context: LlmContext, containers: Containers, monkeypatch: pytest.MonkeyPatch, **wanted: Any
) -> serve.Served | None:
    """Serve with everything but the start of a container."""
    ready = prepared(containers)
    monkeypatch.setattr(prepare, "decided", lambda *_, **__: ready.decision)
    monkeypatch.setattr(prepare, "make", lambda *_, **__: ready)
    monkeypatch.setattr(serve, "_serving", lambda *_: None)
    monkeypatch.setattr(serve, "_wait_for", lambda *_: None)
    monkeypatch.setattr(serve.subprocess, "run", lambda argv, **_: subprocess.CompletedProcess(argv, 0, "", ""))
    return serve.serve(LlmRequest(model="x"), serve.ServeRequest(**wanted), context)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:{port}/v1"),
        ("0.0.0.0", "http://127.0.0.1:{port}/v1"),
        ("::1", "http://[::1]:{port}/v1"),
    ],
)
def test_serve_address_can_be_pasted(
    context: LlmContext, containers: Containers, docker: Docker, monkeypatch: pytest.MonkeyPatch, host: str, url: str
) -> None:
    """The address of a server can be pasted."""
    monkeypatch.setattr(serve, "is_free", lambda _host, _port: True)
    port = session.free_port()
    served = start(context, containers, monkeypatch, address=host, port=port, detach=True)
    assert served is not None
    assert served.url == url.format(port=port)
    assert context.console.out.getvalue() == served.url + "\n"  # type: ignore[union-attr]


def test_serve_checks_the_port_at_the_address_of_the_server() -> None:
    """A port is checked where the server will listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not serve.is_free("127.0.0.2", port)
        assert not serve.is_free("0.0.0.0", port)
        assert serve.is_free("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_serve_refuses_an_address_of_another_machine(host: str) -> None:
    """An address of another machine is not a taken port."""
    with pytest.raises(UsageError, match="not an address of this machine"):
        serve.is_free(host, 8080)


class OnPort(Docker):
    """A container that listens on a port until it is removed."""

    def __init__(self, listening: socket.socket, labels: dict[str, str]) -> None:
        super().__init__()
        self.listening = listening
        self.containers["there"] = ("Up 1 hour", labels)

    def __call__(self, client: Sequence[str], *words: str) -> str:
        answer = super().__call__(client, *words)
        if "there" in self.removed:
            self.listening.close()
        return answer


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken


def owned_by_a_killed_process() -> dict[str, str]:
    _, start, place = owner().split(".")
    return {**OURS, OWNER: f"{2**22 + 1}.{start}.{place}"}


@pytest.mark.parametrize("detach", [False, True])
def test_serve_takes_a_port_that_only_an_orphan_holds(
    context: LlmContext, containers: Containers, monkeypatch: pytest.MonkeyPatch, listening: socket.socket,
    *, detach: bool,
) -> None:  # fmt: skip
    """`llm serve` was killed with SIGKILL: its server went on listening."""
    docker = OnPort(listening, owned_by_a_killed_process())
    monkeypatch.setattr("jetson_containers.llm.containers.docker", docker)
    monkeypatch.setattr(serve, "_foreground", lambda *_: None)
    port = listening.getsockname()[1]
    here = replace(context, engine=lambda: containers.engine)
    served = start(here, containers, monkeypatch, port=port, detach=detach)
    assert docker.removed == ["there"]
    assert served is not None
    assert served.url == f"http://127.0.0.1:{port}/v1"


def test_serve_removes_an_orphan_before_it_looks_for_a_free_port(
    context: LlmContext, containers: Containers, monkeypatch: pytest.MonkeyPatch, listening: socket.socket
) -> None:
    """An orphan is removed before a free port is looked for."""
    docker = OnPort(listening, owned_by_a_killed_process())
    monkeypatch.setattr("jetson_containers.llm.containers.docker", docker)
    monkeypatch.setattr(serve, "_foreground", lambda *_: None)
    monkeypatch.setattr(serve, "DEFAULT_PORT", listening.getsockname()[1])
    served = start(context, containers, monkeypatch)
    assert served is not None
    assert served.url == f"http://127.0.0.1:{serve.DEFAULT_PORT}/v1"


@pytest.mark.parametrize("labels", [{}, OURS, {OWNER: owner()}], ids=["foreign", "detached", "owner-alive"])
def test_serve_leaves_a_port_that_another_container_holds(
    context: LlmContext, containers: Containers, monkeypatch: pytest.MonkeyPatch, listening: socket.socket,
    labels: dict[str, str],
) -> None:  # fmt: skip
    """A port that another container holds stays taken."""
    docker = OnPort(listening, labels)
    monkeypatch.setattr("jetson_containers.llm.containers.docker", docker)
    here = replace(context, engine=lambda: containers.engine)
    with pytest.raises(UsageError, match="is taken"):
        start(here, containers, monkeypatch, port=listening.getsockname()[1])
    assert docker.removed == []


def test_serve_refuses_a_taken_port_before_the_model_is_prepared(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch, listening: socket.socket
) -> None:
    """Without an engine, too: nothing of ours can listen there then."""
    monkeypatch.setattr(prepare, "make", lambda *_, **__: pytest.fail("hours of work for nothing"))

    def missing() -> FakeEngine:
        return FakeEngine(missing=EngineMissingError("no container engine"))

    with pytest.raises(UsageError, match="is taken"):
        serve.serve(
            LlmRequest(model="x"), serve.ServeRequest(port=listening.getsockname()[1]), replace(context, engine=missing)
        )


def test_serve_generate_does_not_depend_on_who_listens_now(
    context: LlmContext, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service file does not depend on who listens now."""
    monkeypatch.setattr(serve, "is_free", lambda _host, _port: False)
    console = Console(out=io.StringIO(), err=io.StringIO(), as_json=True)
    monkeypatch.delenv("NOT_SET", raising=False)
    start(replace(context, console=console), containers, monkeypatch, generate="compose", api_key_env="NOT_SET")
    answer = json.loads(console.out.getvalue())  # type: ignore[union-attr]
    assert answer["kind"] == "compose"
    service = yaml.safe_load(answer["text"])["services"]["jetson-llm-x-8080"]
    assert "8080" in service["command"]
    assert any(entry.startswith("LLAMA_API_KEY=${NOT_SET:?") for entry in service["environment"])


def test_serve_in_the_foreground_prints_its_address_while_it_runs(
    context: LlmContext, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server in the foreground says where it is while it runs."""
    console = Console(out=io.StringIO(), err=io.StringIO(), as_json=True)
    said: list[str] = []

    class Process:
        returncode = 0

        def wait(self) -> None:
            said.append(console.out.getvalue())  # type: ignore[union-attr]
            raise InterruptedByUserError("stopped by SIGTERM")

    @contextlib.contextmanager
    def replacement(*_: Any) -> Iterator[Process]:
        yield Process()

    monkeypatch.setattr("jetson_containers.llm.containers.running", replacement)
    monkeypatch.setattr(session, "wait_until_ready", lambda *_: None)
    port = session.free_port()
    assert start(replace(context, console=console), containers, monkeypatch, port=port) is not None
    assert json.loads(said[0])["url"] == f"http://127.0.0.1:{port}/v1"
    assert console.out.getvalue() == said[0]  # type: ignore[union-attr]


def test_serve_detached_reports_the_exit_status_of_the_server(
    context: LlmContext, containers: Containers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """137 is how a diagnosis knows that memory ran out; `docker wait` itself ends with 0."""
    planned = server(containers, "sh", "-c", 'test "$0" = wait && echo 137', "run")
    monkeypatch.setattr(serve, "_logs_of", lambda _planned: "loading\n")
    with pytest.raises(StepError, match="exit status 137"):
        serve._wait_for(
            planned, OpenAIClient(host="127.0.0.1", port=session.free_port(), model="m"), "/health", context
        )


def test_serve_takes_the_key_out_of_the_environment(context: LlmContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that are started meanwhile (docker's client, nvidia-smi) do not get the key of the server."""
    monkeypatch.setenv("MY_KEY", "sesame-open-123")
    with pytest.raises(AssertionError, match="the engine was asked"):
        serve.serve(LlmRequest(model="tiny"), serve.ServeRequest(api_key_env="MY_KEY"), context, dry_run=True)
    assert "MY_KEY" not in os.environ


@pytest.mark.parametrize("key", ["two words", "openup\n", "schlüssel"])
def test_serve_refuses_a_key_that_no_header_can_hold_without_showing_it(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """A key that no header can hold is refused without showing it."""
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(UsageError, match="MY_KEY") as caught:
        serve.serve(LlmRequest(model="tiny"), serve.ServeRequest(api_key_env="MY_KEY"), context, dry_run=True)
    assert key.strip() not in f"{caught.value.message} {caught.value.hint}"
