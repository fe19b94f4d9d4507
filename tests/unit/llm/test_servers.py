"""Servers that run are found by their labels, by name, and ended by whoever waits for them."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli import main
from jetson_containers.cli.app import App
from jetson_containers.core.errors import NothingMatchedError, NotReadyError, UsageError
from jetson_containers.engine.owner import OWNER, owner, started_at
from jetson_containers.llm import containers, serve, servers, web_page
from jetson_containers.llm.request import LlmRequest
from jetson_containers.llm.runtimes.interface import Service
from jetson_containers.llm.servers import RunningServer, ServerFacts
from tests.fakes import FakeEngine
from tests.unit.llm.fakes import prepared

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.llm.context import LlmContext

QWEN = ServerFacts(
    model="Qwen2.5-1.5B-Instruct", asked="Qwen/Qwen2.5-1.5B-Instruct", runtime="llama_cpp", quantization="Q4_K_M",
    context=4096, url="http://127.0.0.1:8080/v1", task="serve", source="/data/q", data="/d",
)  # fmt: skip
TINY = replace(QWEN, model="tiny-llama", asked="tiny", url="http://127.0.0.1:8081/v1", source="/data/models/tiny-llama")


def container(name: str, facts: ServerFacts | str, **more: Any) -> dict[str, Any]:
    label = facts if isinstance(facts, str) else facts.label
    labels = {containers.SERVER: "1", containers.FACTS: label, **more.pop("labels", {})}
    shown = {"id": f"{name}-id", "name": f"/{name}", "status": "running", "since": "2026-01-02T03:04:05.678Z"}
    return {**shown, "image": "i:1", "labels": labels, **more}


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What docker lists; `docker rm` takes it away."""
    found = [container("b", TINY), container("a", QWEN)]

    def ask(_client: Any, *words: str) -> subprocess.CompletedProcess[str]:
        if words[0] == "rm":
            found[:] = [one for one in found if one["id"] != words[-1]]
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(containers, "inspected", lambda *_: found)
    monkeypatch.setattr(containers, "ask_docker", ask)
    monkeypatch.setattr(App, "engine", FakeEngine())
    return found


def names(found: list[RunningServer]) -> list[str]:
    return [one.name for one in found]


@pytest.mark.parametrize(
    "wanted", ["a", "Qwen2.5-1.5B-Instruct", "qwen/qwen2.5-1.5b-instruct", "http://127.0.0.1:8080/v1", "a-id"]
)
def test_servers_chosen_takes_any_name(running: list[dict[str, Any]], wanted: str) -> None:
    """A server is named by container, model, address or ID."""
    assert names(servers.listing(())) == ["a", "b"]
    assert names(servers.chosen(servers.listing(()), wanted)) == ["a"]


def test_servers_chosen_leaves_nothing_open(running: list[dict[str, Any]]) -> None:
    """Without a name the only server is meant, and several are an error that names them."""
    with pytest.raises(UsageError, match="several") as caught:
        servers.chosen(servers.listing(()), "")
    assert "b (tiny-llama)" in str(caught.value.hint)
    with pytest.raises(NothingMatchedError, match="`c`"):
        servers.chosen(servers.listing(()), "c")
    del running[0]
    assert names(servers.chosen(servers.listing(()), "")) == ["a"]
    with pytest.raises(NothingMatchedError):
        servers.chosen([], "")


@pytest.mark.parametrize("label", ["", "{", "[]", '{"model": 1}', '{"context": -1}', '{"url": null}'])
def test_servers_listing_has_servers_whose_label_says_nothing(running: list[dict[str, Any]], label: str) -> None:
    """A server of an older version, or one with somebody else's label, is listed all the same."""
    running[:] = [container("old", label)]
    (old,) = servers.listing(())
    assert (old.name, old.facts) == ("old", ServerFacts())


def test_servers_serving_is_the_same_weights_with_the_same_runtime(running: list[dict[str, Any]]) -> None:
    """Another quantization, data directory or a chat of the model is something else, and so is a server that ended."""
    assert servers.serving(replace(TINY, context=99, url="", asked="x"), ()) is not None
    for other in ({"quantization": "Q8_0"}, {"data": "/e"}, {"runtime": "mlc"}, {"source": "/x"}):
        assert servers.serving(replace(TINY, **other), ()) is None
    running[:] = [container("s", replace(TINY, task="session")), container("e", TINY, status="exited")]
    assert servers.serving(TINY, ()) is None


def test_servers_stop_lets_the_command_that_waits_end_it(
    running: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server in the foreground of another terminal is ended by that command, as with Ctrl-C."""
    with subprocess.Popen(["sleep", "60"]) as waiting:
        place = owner().rpartition(".")[2]
        label = f"{waiting.pid}.{started_at(waiting.pid)}.{place}"
        running[:] = [container("f", TINY, labels={OWNER: label})]
        monkeypatch.setattr(containers, "docker", lambda *_: "" if waiting.poll() is not None else "f-id")
        monkeypatch.setattr(containers, "pause", lambda _seconds: waiting.wait(30))
        (server,) = servers.listing(())
        assert not server.detached
        servers.stop(server, ())
        assert waiting.wait(30) == -signal.SIGTERM


def test_servers_stop_says_why_docker_keeps_one(running: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """What docker does not remove is an error with its reason."""
    monkeypatch.setattr(
        containers, "ask_docker", lambda *words: subprocess.CompletedProcess(words, 1, "", "permission denied\n")
    )
    with pytest.raises(NotReadyError, match="permission denied"):
        servers.stop(servers.listing(())[0], ())


@pytest.mark.parametrize(("words", "left"), [(["tiny"], ["a"]), (["--all"], ["s"]), (["b", "--json"], ["a"])])
def test_llm_stop_ends_what_is_named(
    running: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], words: list[str], left: list[str]
) -> None:
    """`llm stop` ends what is named; `--all` leaves the chats of other terminals alone."""
    if words == ["--all"]:
        running.append(container("s", replace(TINY, task="session")))
    assert main.main(["llm", "stop", *words]) == 0
    assert [one["name"].strip("/") for one in running] == left
    assert "b" in capsys.readouterr().out


def test_llm_ps_prints_what_runs(running: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    """`llm ps` says model, address and state; as JSON all of it, with no level between."""
    assert main.main(["llm", "ps"]) == 0
    shown = capsys.readouterr().out
    assert "tiny-llama Q4_K_M" in shown
    assert "http://127.0.0.1:8080/v1" in shown
    assert main.main(["llm", "ps", "--json"]) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert (first["name"], first["model"], first["context"], first["detached"]) == ("a", QWEN.model, 4096, True)
    running.clear()
    assert main.main(["llm", "ps", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_llm_logs_copies_what_docker_says(
    running: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`llm logs` hands docker's streams and exit status through."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho "said: $@"; exit 7\n')
    docker.chmod(0o755)
    monkeypatch.setattr(servers, "client_for", lambda _engine: (str(docker),))
    assert main.main(["llm", "logs", "tiny", "-f", "-n", "3"]) == 7
    assert capfd.readouterr().out == "said: logs --follow --tail 3 b-id\n"


def served_as(wanted: serve.ServeRequest, context: LlmContext, **facts: Any) -> serve.Served:
    decision = prepared(None).decision  # type: ignore[arg-type]
    here = replace(servers.facts_of(decision, task="serve", data=context.data), url="http://127.0.0.1:8083/v1", **facts)
    found = RunningServer(name="n", id="1", status="running", since="", image="i", facts=here)
    return serve._served_already(found, decision, wanted, context)


def test_serve_prints_the_address_of_a_model_that_is_served(context: LlmContext) -> None:
    """A second `llm serve` prints the address of the first."""
    assert served_as(serve.ServeRequest(detach=True, port=8083, name="n"), context).url == "http://127.0.0.1:8083/v1"
    assert context.console.out.getvalue() == "http://127.0.0.1:8083/v1\n"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"port": 9001}, "port 9001"),
        ({"name": "other"}, "name `other`"),
        ({"api_key_env": "KEY"}, "--api-key-env"),
        ({"address": "0.0.0.0"}, "address 0.0.0.0"),
        ({"webui": True}, "--webui"),
    ],
)
def test_serve_refuses_what_the_server_that_runs_does_not_give(
    context: LlmContext, wanted: dict[str, Any], says: str
) -> None:
    """Another port, name, address or key is not what runs: both ways out are named."""
    with pytest.raises(UsageError, match="already served") as caught:
        served_as(serve.ServeRequest(**wanted), context)
    assert says in caught.value.message
    assert "`jetson-containers llm stop n`" in str(caught.value.hint)
    assert "--another" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("model", "name"),
    [("Qwen2.5-1.5B", "jetson-llm-qwen2.5-1.5b-80"), ("a b/ç", "jetson-llm-a-b-80"), ("模型", "jetson-llm-80")],
)
def test_serve_names_containers_by_model_and_port(model: str, name: str) -> None:
    """The name of a container has the characters that docker takes."""
    assert servers.name_of(model, 80) == name
    assert len(servers.name_of("x" * 500, 65535)) < 100


def test_serve_puts_the_page_before_the_server_and_publishes_both() -> None:
    """The page's program starts the server's command; a network of the container's own publishes a port for each."""
    service = Service(argv=("llama-server", "--port", "8080"), model="m")
    own = [
        containers.Listening(host="0.0.0.0", options=("--network", "bridge", "--publish", f"127.0.0.1:{port}:{port}"))
        for port in (8080, 8090)
    ]
    made, listening = web_page.with_page(service, *own, port=8080, page=8090)
    assert made.argv[0] == "python3"
    assert made.argv[-4:] == ("--", *service.argv)
    assert made.argv[made.argv.index("--server") + 1] == "127.0.0.1:8080"
    assert listening.options[-4:] == ("--publish", "127.0.0.1:8080:8080", "--publish", "127.0.0.1:8090:8090")
    shared = containers.Listening(host="::1", options=containers.ON_HOST)
    made, listening = web_page.with_page(service, shared, shared, port=8080, page=8090)
    assert made.argv[made.argv.index("--server") + 1] == "[::1]:8080"
    assert listening.options == containers.ON_HOST


def test_serve_with_a_page_is_not_written_to_a_service_file(context: LlmContext) -> None:
    """`--webui` starts something; `--generate` does not."""
    with pytest.raises(UsageError, match="--webui"):
        serve.serve(LlmRequest(model="tiny"), serve.ServeRequest(webui=True, generate="compose"), context)


def test_llm_stop_ends_several_and_none_where_one_is_unknown(
    running: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """All names are looked up first; a server that is named twice ends once."""
    assert main.main(["llm", "stop", "a", "nope"]) != 0
    assert len(running) == 2
    assert "`nope`" in capsys.readouterr().err
    assert main.main(["llm", "stop", "a", "b", "tiny", "--json"]) == 0
    assert running == []
    assert json.loads(capsys.readouterr().out) == ["a", "b"]


def test_llm_stop_without_a_server_says_what_starts_one(
    running: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """A list of none helps nobody."""
    running.clear()
    assert main.main(["llm", "stop"]) == 3
    assert "llm serve MODEL --detach" in capsys.readouterr().err
