"""Servers and what becomes of them: whose containers they are, how they end, where they listen, their service files."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import EngineMissingError, InterruptedByUserError, StepError, UsageError
from jetson_containers.launch import gpu
from jetson_containers.launch.command import Launch
from jetson_containers.launch.parts import Mount
from jetson_containers.llm import bench, chat, download_in_image, prepare, serve, service_files, session
from jetson_containers.llm.client import OpenAIClient, RefusedError, ServerGoneError, Turn, _message
from jetson_containers.llm.containers import (
    OWNER,
    SERVER,
    Containers,
    claim,
    client_for,
    end,
    owner,
    remove_orphans,
    running,
    told_to_end,
)
from jetson_containers.llm.decide import Decision, Goal
from jetson_containers.llm.models.types import Model
from jetson_containers.llm.pipeline.types import CommandStep
from jetson_containers.llm.request import LlmRequest
from jetson_containers.llm.runtimes.interface import Job, Service, Target
from jetson_containers.llm.runtimes.llama_cpp import LlamaCpp
from tests.fakes import FakeEngine
from tests.unit.llm.conftest import CPU

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from jetson_containers.llm.context import LlmContext


class Docker:
    """Containers by name, each with status, labels; remembers what was removed."""

    def __init__(self) -> None:
        self.containers: dict[str, tuple[str, dict[str, str]]] = {}
        self.removed: list[str] = []

    def __call__(self, _client: Sequence[str], *words: str) -> str:
        if words[0] == "rm":
            self.removed += [name for name in words[2:] if self.containers.pop(name, None)]
            return ""
        assert words[0] == "ps"
        wanted = [words[index + 1] for index, word in enumerate(words) if word == "--filter"]
        found = [name for name in self.containers if all(self._has(name, pattern) for pattern in wanted)]
        return "".join(self._line(name, "--quiet" in words, words[-1]) + "\n" for name in found)

    def _has(self, name: str, pattern: str) -> bool:
        kind, _, value = pattern.partition("=")
        if kind == "name":
            return name in value.replace("\\", "")
        label, _, content = value.partition("=")
        labels = self.containers[name][1]
        return label in labels and (not content or labels[label] == content)

    def _line(self, name: str, quiet: bool, form: str) -> str:
        status, labels = self.containers[name]
        if quiet:
            return name
        if OWNER in form:
            return f"{name} {labels.get(OWNER, '')}"
        return f"{name}\t{status}\t{labels.get(SERVER, '')}"


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Docker:
    made = Docker()
    monkeypatch.setattr("jetson_containers.llm.containers.docker", made)
    return made


@pytest.fixture
def containers(context: LlmContext) -> Containers:
    return Containers(
        platform=CPU,
        engine=FakeEngine(),
        settings=context.settings,
        console=context.console,
        image="image:1",
        image_for=lambda _packages: "other:1",
    )


def server(containers: Containers, *command: str) -> Launch:
    """A server called `mine` whose docker is a command of this machine."""
    planned = containers.server(Service(argv=("x",), model="m"), name="mine")
    return replace(planned, argv=command) if command else planned


OURS = {SERVER: "1"}


@pytest.mark.parametrize(
    ("status", "labels", "is_running", "says"),
    [
        ("Up 2 hours", {}, True, "not a server of ours"),
        ("Exited (0) 2 days ago", {}, True, "not a server of ours"),
        ("Up 2 hours", OURS, False, "a server that runs"),
        ("Up 2 hours", OURS, True, ""),
        ("Exited (137) 2 days ago", OURS, False, ""),
    ],
)
def test_containers_claim_removes_only_a_server_of_ours(
    containers: Containers, docker: Docker, status: str, labels: dict[str, str], is_running: bool, says: str
) -> None:
    """Only a server of ours makes way for another."""
    docker.containers = {"mine": (status, labels), "mine2": (status, {})}
    with pytest.raises(UsageError, match=says) if says else contextlib.nullcontext():
        claim(server(containers), running=is_running)
    assert docker.removed == ([] if says else ["mine"])


def test_containers_running_leaves_a_container_of_the_same_name(
    containers: Containers, docker: Docker, tmp_path: Path
) -> None:
    """The name was taken between the look and the start."""
    with running(server(containers, "false", "run"), tmp_path / "log") as process:
        docker.containers["mine"] = ("Up 1 second", {})
        process.wait(120)
    assert docker.removed == []


def test_containers_running_removes_the_server_in_the_end(
    containers: Containers, docker: Docker, tmp_path: Path
) -> None:
    """A server that ran is removed."""
    with running(server(containers, "true", "run"), tmp_path / "log"):
        docker.containers["mine"] = ("Up 1 second", {**OURS, OWNER: owner()})
    assert docker.removed == ["mine"]


def test_containers_orphans_are_those_of_a_killed_process_of_this_user_and_machine(
    containers: Containers, docker: Docker
) -> None:
    """Orphans are the servers of a killed process of this user and machine."""
    pid, start, place = owner().split(".")
    owners = {
        "alive": f"{pid}.{start}.{place}",
        "orphan": f"{2**22 + 1}.{start}.{place}",
        "reused": f"{pid}.{int(start) + 1}.{place}",
        "elsewhere": f"{2**22 + 1}.{start}.0123456789ab",
    }
    docker.containers = {name: ("Up 1 hour", {OWNER: whose}) for name, whose in owners.items()}
    remove_orphans(client_for(containers.engine))
    assert docker.removed == ["orphan", "reused"]


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_containers_sigterm_and_sighup_end_the_work_in_order(number: signal.Signals) -> None:
    """SIGTERM and a lost terminal end the work in order."""
    before = signal.signal(number, signal.SIG_DFL)

    def work() -> None:
        with told_to_end():
            os.kill(os.getpid(), number)
            threading.Event().wait(10)

    try:
        with pytest.raises(InterruptedByUserError, match=number.name):
            work()
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_containers_ignored_sighup_stays_ignored() -> None:
    """A process that ignores a lost terminal goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with told_to_end():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


class Local(Containers):
    """Runs commands of this machine in the place of docker's."""

    def plan(self, image: str, options: Sequence[str], command: Sequence[str], *, env: Any, name: str = "") -> Launch:
        return Launch(tuple(command), {}, (), image, (), name, gpu.Gpu.NONE)

    def remove(self, planned: Launch) -> None:
        pass


def test_containers_run_hides_secrets_of_an_env_file(context: LlmContext, tmp_path: Path) -> None:
    """Secrets of an .env file are not shown."""
    (tmp_path / ".env").write_text("MY_API_KEY=from-the-file\n")
    loaded = settings.load({"data": str(tmp_path)}, files=(), root=tmp_path)
    local = Local(
        platform=CPU,
        engine=FakeEngine(),
        settings=loaded,
        console=context.console,
        image="image:1",
        image_for=lambda _packages: "",
    )
    step = CommandStep(name="convert", argv=(), inputs=(), output="/data/x")
    code, text = local.run(step, ["echo", "it is from-the-file"], show=False)
    assert (code, text) == (0, "it is ***\n")


def test_target_of_keeps_no_answer_that_docker_could_not_get(context: LlmContext) -> None:
    """What docker could not start says nothing about the image."""
    engine = FakeEngine()
    engine.add_image("llama_cpp:1")
    answers: list[str | None] = [None, "help text"]

    class Probing(Containers):
        def capture(self, command: Sequence[str]) -> str | None:
            return answers.pop(0)

    probing = Probing(
        platform=CPU,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image="llama_cpp:1",
        image_for=lambda _packages: "",
    )
    assert prepare.target_of(probing, LlamaCpp(), context).probed == {}
    assert prepare.target_of(probing, LlamaCpp(), context).probed == {"llama-server --help": "help text"}
    local = Local(
        platform=CPU,
        engine=engine,
        settings=context.settings,
        console=context.console,
        image="llama_cpp:1",
        image_for=lambda _packages: "",
    )
    assert local.capture(["sh", "-c", "echo Error response from daemon; exit 125"]) is None
    assert local.capture(["sh", "-c", "echo usage; exit 1"]) == "usage\n"


# Where a server listens.


def prepared(containers: Containers) -> prepare.PreparedModel:
    job = Job(
        source="/data/x.gguf",
        name="x",
        config=None,
        quantization="",
        target=Target(platform=CPU, device="cpu"),
        prepared=True,
        context=512,
    )
    model = Model(asked="x", name="x", path="/data/x.gguf", identity="x")
    decision = Decision(
        request=LlmRequest(model="x"), goal=Goal.SERVED, model=model, runtime=LlamaCpp(), job=job, steps=()
    )
    return prepare.PreparedModel(decision=decision, containers=containers)


def start(
    context: LlmContext, containers: Containers, monkeypatch: pytest.MonkeyPatch, **wanted: Any
) -> serve.Served | None:
    """Serve with everything but the start of a container."""
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: prepared(containers))
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
    with pytest.raises(UsageError, match="no address of this machine"):
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
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: pytest.fail("hours of work for nothing"))

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
    service = yaml.safe_load(answer["text"])["services"]["jetson-llm-llama_cpp-8080"]
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


# Service files.


def awkward(containers: Containers, *command: str) -> Launch:
    planned = containers.server(Service(argv=command, model="m"), name="llm", detach=True)
    mount = Mount("/mnt/a: $b 50%", "/data")
    argv = [word for word in planned.argv if not word.endswith(":/data")]
    argv.remove("--volume")  # the first one is that of /data
    argv[argv.index("run") + 1 : argv.index("run") + 1] = mount.argv
    others = tuple(each for each in planned.mounts if each.target != "/data")
    return replace(planned, argv=tuple(argv), mounts=(mount, *others))


def test_service_files_compose_keeps_every_character(containers: Containers) -> None:
    """A compose file keeps every character."""
    planned = awkward(containers, "serve", "$HOME", "50%", "a: b")
    service = yaml.safe_load(service_files.generate("compose", planned))["services"]["llm"]
    assert service["command"] == ["serve", "$$HOME", "50%", "a: b"]
    assert {"type": "bind", "source": "/mnt/a: $$b 50%", "target": "/data", "read_only": False} in service["volumes"]
    assert any(volume["read_only"] for volume in service["volumes"])  # the drivers


def test_service_files_quadlet_expands_nothing(containers: Containers) -> None:
    """A quadlet expands nothing."""
    planned = awkward(containers, "serve", "$HOME", "50%", 'a "b" \\c')
    text = service_files.generate("quadlet", planned, "API_KEY", "MY_KEY")
    assert 'Exec=serve "$$HOME" 50%% "a \\"b\\" \\\\c"' in text.splitlines()
    assert "Mount=type=bind,source=/mnt/a: $$b 50%%,target=/data" in text.splitlines()
    assert "Secret=MY_KEY,type=env,target=API_KEY" in text.splitlines()


# Answers that do not come to their end.


@pytest.fixture
def broken() -> Iterator[Callable[[bytes], OpenAIClient]]:
    """A server that reads a request, says something, and is gone."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serving(said: bytes) -> OpenAIClient:
            def serve_once() -> None:
                with contextlib.suppress(OSError):  # some tests go before they are answered
                    connection, _ = listening.accept()
                    with connection:
                        asked = b""
                        while not asked.endswith(b"}"):  # all of it: what is left unread would reset the connection
                            asked += connection.recv(65536) or b"}"
                        connection.sendall(said)

            threading.Thread(target=serve_once, daemon=True).start()
            return OpenAIClient(host="127.0.0.1", port=listening.getsockname()[1], model="m", timeout=120)

        yield serving


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
HALF = b'data: {"choices": [{"delta": {"content": "half"}}]}\n\n'
WHOLE = b'data: {"choices": [{"delta": {"content": "all"}, "finish_reason": "stop"}]}\n\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize("said", [b"", HEAD, HEAD + chunk(HALF), HEAD + chunk(HALF)[:-9]])
def test_client_refuses_half_an_answer(broken: Callable[[bytes], OpenAIClient], said: bytes) -> None:
    """Half an answer is not an answer."""
    with pytest.raises(ServerGoneError):
        broken(said).ask([{"role": "user", "content": "hi"}], max_tokens=5)


def test_client_accepts_a_complete_answer_without_the_end_of_the_stream(
    broken: Callable[[bytes], OpenAIClient],
) -> None:
    """An answer that said it is complete needs nothing more."""
    assert broken(HEAD + chunk(WHOLE)).ask([{"role": "user", "content": "hi"}], max_tokens=5).text == "all"


def test_client_ctrl_c_before_the_first_word_ends_the_answer_only(
    broken: Callable[[bytes], OpenAIClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C before the first word ends the answer only."""

    def stop(_self: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("http.client.HTTPConnection.getresponse", stop)
    turn = broken(b"").ask([{"role": "user", "content": "hi"}], max_tokens=5)
    assert (turn.text, turn.interrupted) == ("", True)


def test_session_end_of_a_server_in_an_answer_is_reported_with_its_log(tmp_path: Path) -> None:
    """The end of a server in an answer is reported with its log."""
    log = tmp_path / "log"
    log.write_text("loaded\nCUDA error: out of memory\n")
    process = subprocess.Popen(["sh", "-c", "exit 134"])
    error = session._why_gone(ServerGoneError("gone"), process, log)
    assert "the server ended (exit status 134)" in error.message
    assert "before it had loaded" not in error.message
    assert any("out of memory" in line for line in error.details)


class Answers:
    """A client that answers from a list: a turn, or an error to raise."""

    def __init__(self, *answers: Turn | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[list[str]] = []

    def ask(self, messages: Sequence[dict[str, str]], **_: Any) -> Turn:
        self.asked.append([message["content"] for message in messages])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def converse(
    client: Answers, context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str
) -> Turn | None:
    typed = iter(lines)
    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("builtins.input", lambda _prompt: next(typed))
    opened = session.Session(
        client=client, log=tmp_path / "log", loaded_s=0.1, image="image:1", service=Service(argv=("s",), model="m")
    )  # type: ignore[arg-type]
    return chat.Conversation(session=opened, options=chat.ChatOptions(), console=context.console).run()


def test_chat_refused_question_does_not_end_the_conversation(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question the server refuses does not end the conversation."""
    client = Answers(RefusedError("the server refused: context is full"), Turn(text="ok"))
    turn = converse(client, context, tmp_path, monkeypatch, "too long", "short", "/exit")
    assert turn == Turn(text="ok")
    assert client.asked == [["too long"], ["short"]]
    assert "context is full" in context.console.err.getvalue()  # type: ignore[union-attr]


def test_chat_question_stopped_before_the_first_word_leaves_no_trace(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A question stopped before the first word leaves no trace."""
    client = Answers(Turn(text="", interrupted=True), Turn(text="half", interrupted=True), Turn(text="ok"))
    converse(client, context, tmp_path, monkeypatch, "one", "two", "three", "/exit")
    assert client.asked == [["one"], ["two"], ["two", "half", "three"]]


def test_chat_prompt_goes_to_stderr(context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`llm chat --json >FILE` on a terminal: the file holds one JSON value and nothing else."""
    asked: list[str] = []
    converse(Answers(), context, tmp_path, monkeypatch, "/exit")
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or "/exit")
    opened = session.Session(
        client=Answers(), log=tmp_path / "log", loaded_s=0.1, image="image:1", service=Service(argv=("s",), model="m")
    )  # type: ignore[arg-type]
    chat.Conversation(session=opened, options=chat.ChatOptions(), console=context.console).run()
    assert asked == [""]
    assert ">>> " in context.console.err.getvalue()  # type: ignore[union-attr]
    assert context.console.out.getvalue() == ""  # type: ignore[union-attr]


@pytest.mark.parametrize("stdin", [None, io.StringIO(""), io.StringIO(" \n")])
def test_chat_without_a_question_prepares_nothing(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None
) -> None:
    """No model is loaded for no question."""
    monkeypatch.setattr("sys.stdin", stdin)
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: pytest.fail("prepared"))
    with pytest.raises(UsageError, match="nothing is asked"):
        chat.chat(LlmRequest(model="tiny"), chat.ChatOptions(), context)


def test_chat_only_answer_stopped_by_ctrl_c_is_not_a_success(
    context: LlmContext, containers: Containers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The only answer, stopped by Ctrl-C, is not a success."""

    @contextlib.contextmanager
    def opened(*_: Any, **__: Any) -> Iterator[session.Session]:
        client: Any = Answers(Turn(text="half an", interrupted=True))
        yield session.Session(
            client=client, log=tmp_path / "log", loaded_s=0.1, image="image:1", service=Service(argv=("s",), model="m")
        )

    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: prepared(containers))
    monkeypatch.setattr(chat, "open_session", opened)
    with pytest.raises(KeyboardInterrupt):
        chat.chat(LlmRequest(model="x"), chat.ChatOptions(prompt="hi"), context)


def test_plan_refuses_until_where_no_model_is_left_to_serve(context: LlmContext) -> None:
    """--until may end before there is a model to be served."""
    with pytest.raises(UsageError, match="after `convert` there is no model"):
        prepare.plan(LlmRequest(model="tiny", until="convert"), context)
    made = prepare.plan(LlmRequest(model="tiny", until="convert"), context, goal=Goal.QUANTIZED)
    assert [step.name for step in made.steps] == ["make", "convert"]
    with pytest.raises(UsageError, match="no step `nonsense`"):
        prepare.plan(LlmRequest(model="tiny", force=("nonsense",)), context)


def test_bench_refuses_a_csv_of_other_columns_before_it_measures(
    context: LlmContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that rows cannot go into is refused before anything is measured."""
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: pytest.fail("an hour for nothing"))
    path = tmp_path / "other.csv"
    path.write_text("a,b\n")
    with pytest.raises(UsageError, match="other columns"):
        bench.bench(LlmRequest(model="tiny"), bench.BenchOptions(csv=path), context)


def test_download_in_image_that_is_stopped_leaves_no_container(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download in an image that is stopped leaves no container."""
    removed: list[str] = []

    class Stopped(Local):
        def plan(self, *args: Any, **given: Any) -> Launch:
            return replace(super().plan(*args, **given), argv=("sleep", "30"), name="downloading")

        def remove(self, planned: Launch) -> None:
            removed.append(planned.name)
            started[0].kill()

    started: list[subprocess.Popen[str]] = []

    def communicate(self: subprocess.Popen[str], *_: Any, **__: Any) -> Any:
        started.append(self)
        raise InterruptedByUserError("stopped by SIGTERM")

    engine = FakeEngine()
    engine.add_image("image:1")
    monkeypatch.setattr(download_in_image, "Containers", Stopped)
    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)
    with pytest.raises(InterruptedByUserError):
        download_in_image.download(["org/m"], "image:1", CPU, lambda: engine, context.settings, context.console)
    assert set(removed) == {"downloading"}


def test_session_exit_status_137_may_mean_a_removed_container(tmp_path: Path) -> None:
    """A server that somebody removed is not said to have lacked memory for certain."""
    (tmp_path / "log").write_text("loaded\n")
    assert "or its container was removed" in session.server_failed(137, tmp_path / "log", loaded=True).message
    assert "was removed" not in session.server_failed(137, tmp_path / "log").message


@pytest.mark.parametrize("key", ["two words", "openup\n", "schlüssel"])
def test_serve_refuses_a_key_that_no_header_can_hold_without_showing_it(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """A key that no header can hold is refused without showing it."""
    monkeypatch.setenv("MY_KEY", key)
    with pytest.raises(UsageError, match="MY_KEY") as caught:
        serve.serve(LlmRequest(model="tiny"), serve.ServeRequest(api_key_env="MY_KEY"), context, dry_run=True)
    assert key.strip() not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ('{"error": {"message": "too long", "code": 400}}', "too long"),
        ('"{\\"object\\":\\"error\\",\\"message\\":\\"Request prompt has 4001 tokens\\",\\"code\\":400}"',
         "Request prompt has 4001 tokens"),
        ('{"object": "error", "message": "no such model"}', "no such model"),
        ('{"error": "gone"}', "gone"),
        ('{"detail": [{"loc": ["body"]}]}', '[{"loc": ["body"]}]'),
        ("Bad Gateway", "Bad Gateway"),
        ("", ""),
    ],
)  # fmt: skip
def test_client_shows_a_refusal_of_the_server_as_a_sentence(raw: str, text: str) -> None:
    """What a server refuses is shown as a sentence."""
    assert _message(raw.encode()) == text
