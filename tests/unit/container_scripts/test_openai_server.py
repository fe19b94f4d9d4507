"""The server: the OpenAI protocol over a socket, with a backend that makes known text."""

from __future__ import annotations

import ast
import http.client
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.container_scripts.openai_examples import SCRIPTS_DIR, WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType


class Backend:
    """Says WORDS; the prompt's first word can ask for something else."""

    model_id = "words"

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self.seen: list[Any] = []
        self.options: Any = None
        self.closed = threading.Event()
        self.may_load = threading.Event()
        self.may_load.set()
        self.running = 0
        self.most = 0

    def load(self) -> None:
        assert self.may_load.wait(120)

    def count(self, text: str) -> int:
        return len(text.split())

    def generate(self, prompt: Any, options: Any) -> Iterator[str]:
        self.seen.append(prompt)
        self.options = options
        text = prompt if isinstance(prompt, str) else prompt[-1]["content"]
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if text == "too long":
                raise self._module.BadRequest("too long", "messages", "context_length_exceeded")
            if text == "broken":
                raise RuntimeError("out of luck")
            if text == "half":
                yield "half "
                raise RuntimeError("out of luck")
            while text == "forever" and not options.cancelled.is_set():
                yield "again "
                options.cancelled.wait(0.001)
            for count, word in enumerate(WORDS.split(), 1):
                yield word + " "
                if count == options.max_tokens:
                    break
        finally:
            self.running -= 1
            self.closed.set()


class Running:
    """A server on a free port, in this process."""

    def __init__(self, module: ModuleType, key: str = "", *, loaded: bool = True) -> None:
        self.backend = Backend(module)
        self.server = module.Server(self.backend, "127.0.0.1", 0, key)
        self.port: int = self.server.server_address[1]
        if not loaded:
            self.backend.may_load.clear()
        self.loading = threading.Thread(target=self.server.load)
        self.loading.start()
        if loaded:
            self.loading.join()
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.backend.may_load.set()
        self.server.stop()
        self.thread.join()
        self.loading.join()
        self.server.server_close()

    def ask(self, path: str, body: Any = None, key: str = "", method: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method or ("GET" if data is None else "POST"), path, data, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, json.loads(text) if text.startswith("{") else text

    def chat(self, text: str = "hello", **options: Any) -> tuple[int, Any]:
        return self.ask("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **options})


@pytest.fixture
def running(drivers: Path) -> Iterator[Running]:
    server = Running(importlib.import_module("openai_server"))
    yield server
    server.close()


def events(text: str) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_chat_answer_has_usage_and_finish_reason(running: Running) -> None:
    """A chat is answered with usage and the reason of its end."""
    status, answer = running.chat("how are you", model="words")
    assert status == 200
    assert answer["object"] == "chat.completion"
    assert answer["choices"] == [
        {
            "index": 0,
            "logprobs": None,
            "message": {"role": "assistant", "content": WORDS + " "},
            "finish_reason": "stop",
        }
    ]
    assert answer["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    assert running.backend.seen == [[{"role": "user", "content": "how are you"}]]


def test_stream_has_role_pieces_reason_and_usage_in_order(running: Running) -> None:
    """A stream has a role, then pieces, then a reason, then usage."""
    status, text = running.chat(stream=True, stream_options={"include_usage": True}, max_tokens=2)
    assert status == 200
    told = events(text)
    deltas = [event["choices"][0]["delta"] for event in told[:-1]]
    assert deltas == [{"role": "assistant", "content": ""}, {"content": "one "}, {"content": "two "}, {}]
    assert [event["choices"][0]["finish_reason"] for event in told[:-1]] == [None, None, None, "length"]
    assert told[-1]["choices"] == []
    assert told[-1]["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    assert {event["object"] for event in told} == {"chat.completion.chunk"}
    assert len({event["id"] for event in told}) == 1


def test_stream_has_usage_only_when_asked(running: Running) -> None:
    """A stream has no usage unless asked."""
    _, text = running.chat(stream=True)
    assert all("usage" not in event for event in events(text))


@pytest.mark.parametrize(
    ("stop", "text", "reason"),
    [
        ("three", "one two ", "stop"),
        (["six", "o t"], "one tw", "stop"),
        ("o three f", "one tw", "stop"),  # spread over three pieces
        ("seven", WORDS + " ", "stop"),
        ("six seven", WORDS + " ", "stop"),  # begins, and never comes
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_stop_strings_end_the_text_before_them(
    running: Running, stop: Any, text: str, reason: str, *, stream: bool
) -> None:
    """Text ends before the first stop string."""
    _, answer = running.chat(stop=stop, stream=stream)
    if stream:
        told = events(answer)
        assert "".join(event["choices"][0]["delta"].get("content", "") for event in told) == text
        assert told[-1]["choices"][0]["finish_reason"] == reason
    else:
        assert answer["choices"][0]["message"]["content"] == text
        assert answer["choices"][0]["finish_reason"] == reason


def test_completions_echo_stop_at_sixteen_and_stream(running: Running) -> None:
    """Text completions echo the prompt, stop at sixteen tokens and stream."""
    _, answer = running.ask("/v1/completions", {"prompt": "zero ", "echo": True})
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"] == "zero " + WORDS + " "
    assert running.backend.options.max_tokens == 16
    assert running.backend.seen == ["zero "]
    _, text = running.ask("/v1/completions", {"prompt": ["zero "], "stream": True, "max_tokens": 1})
    assert [event["choices"][0]["text"] for event in events(text)] == ["one ", ""]


def test_request_options_reach_the_backend(running: Running) -> None:
    """The options of a request reach the backend."""
    running.chat(max_completion_tokens=3, temperature=0, top_p=0.5, seed=7, stop="x")
    options = running.backend.options
    assert (options.max_tokens, options.temperature, options.top_p, options.seed) == (3, 0.0, 0.5, 7)
    assert options.stop == ("x",)


def test_request_content_in_parts_is_text(running: Running) -> None:
    """Content in parts is text."""
    parts = [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]
    messages = [{"role": "developer", "content": "be brief"}, {"role": "user", "content": parts}]
    assert running.ask("/v1/chat/completions", {"messages": messages})[0] == 200
    assert running.backend.seen == [[{"role": "system", "content": "be brief"}, {"role": "user", "content": "a b"}]]


USER = [{"role": "user", "content": "x"}]


WRONG = [
    (b"{", 400, "not JSON"),
    (b"[]", 400, "JSON object"),
    ({}, 400, "`messages`"),
    ({"messages": []}, 400, "`messages`"),
    ({"messages": [{"role": "tool", "content": "x"}]}, 400, "messages[0]"),
    ({"messages": [{"role": ["user"], "content": "a list"}]}, 400, "`messages[0]` needs a role"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "must be text"),
    ({"messages": [{"role": "system", "content": "x"}]}, 400, "the user's"),
    ({"messages": USER, "model": "other"}, 404, "`other` is not served"),
    ({"messages": USER, "n": 2}, 400, "`n` is not offered"),
    ({"messages": USER, "tools": [{}]}, 400, "`tools` is not offered"),
    ({"messages": USER, "response_format": {"type": "json_object"}}, 400, "response_format"),
    ({"messages": USER, "max_tokens": 0}, 400, "`max_tokens` must be a whole number of at least 1"),
    ({"messages": USER, "max_tokens": True}, 400, "`max_tokens`"),
    ({"messages": USER, "max_tokens": 1 << 63}, 400, "`max_tokens` must be"),
    ({"messages": USER, "seed": -(1 << 63)}, 400, "`seed` must be"),
    ({"messages": USER, "temperature": 3}, 400, "`temperature` must be a number from 0 to 2"),
    ({"messages": USER, "top_p": "x"}, 400, "`top_p`"),
    ({"messages": USER, "stop": [1]}, 400, "`stop`"),
    ({"messages": [{"role": "user", "content": "too long"}]}, 400, "too long"),
    ({"messages": [{"role": "user", "content": "too long"}], "stream": True}, 400, "too long"),
    ({"messages": [{"role": "user", "content": "broken"}]}, 500, "out of luck"),
]


@pytest.mark.parametrize(("body", "status", "said"), WRONG, ids=[said for _, _, said in WRONG])
def test_request_that_is_wrong_gets_the_reason(running: Running, body: Any, status: int, said: str) -> None:
    """A wrong request gets the reason."""
    got, answer = running.ask("/v1/chat/completions", body)
    assert got == status
    assert said in answer["error"]["message"]
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert running.chat()[0] == 200  # and the server goes on


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "type", "text"]), inner)
    ),
    max_leaves=6,
)


FIELDS = ["messages", "prompt", "model", "stream", "stream_options", "max_tokens", "max_completion_tokens",
          "temperature", "top_p", "seed", "stop", "n", "logprobs", "tools", "response_format", "echo"]  # fmt: skip


@pytest.mark.long
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.dictionaries(st.sampled_from(FIELDS), JSON), chat=st.booleans(), right=st.booleans())
def test_request_parser_accepts_or_refuses_any_json(
    drivers: Path, body: dict[str, Any], *, chat: bool, right: bool
) -> None:
    """Whatever is sent is a request or a bad one."""
    protocol = importlib.import_module("openai_protocol")
    if right:
        body = {**body, "messages": USER, "prompt": "x"}
    try:
        request = protocol.CompletionRequest(body, chat=chat, model_id="words")
    except protocol.BadRequest:
        return
    assert request.options.temperature is None or 0 <= request.options.temperature <= 2  # NaN is neither
    assert isinstance(request.options.max_tokens, int)
    assert isinstance(request.prompt, list if chat else str)


def test_stream_ends_with_an_error_after_a_failure(running: Running) -> None:
    """A failure inside a stream ends it with an error."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=120)
    body = {"messages": [{"role": "user", "content": "half"}], "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    answer = connection.getresponse()
    assert answer.status == 200
    with pytest.raises(http.client.IncompleteRead) as cut:  # no end of stream: clients do not take it for an answer
        answer.read()
    assert b"out of luck" in cut.value.partial
    assert b"[DONE]" not in cut.value.partial
    connection.close()
    assert running.chat()[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models", 200),
        ("GET", "/v1/models/words", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/nowhere", 404),
        ("GET", "/v1/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/health?x=1", 200),
    ],
)
def test_server_answers_only_known_paths(running: Running, method: str, path: str, status: int) -> None:
    """Known paths are answered, others are refused."""
    got, answer = running.ask(path, {} if method == "POST" else None, method=method)
    assert got == status
    assert "error" in answer or "data" in answer or "id" in answer or answer == {"status": "ok"}


def test_request_body_without_length_or_too_large_is_refused(running: Running) -> None:
    """A body without length or too large is refused."""
    for header, status in (("Transfer-Encoding: chunked", b"411"), ("Content-Length: 99999999999", b"413")):
        with socket.create_connection(("127.0.0.1", running.port), 10) as raw:
            raw.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
            assert raw.recv(1000).split()[1] == status


def test_health_waits_for_the_model(drivers: Path) -> None:
    """Health waits for the model."""
    server = Running(importlib.import_module("openai_server"), loaded=False)
    try:
        assert server.ask("/health") == (503, {"status": "loading"})
        status, answer = server.chat()
        assert (status, answer["error"]["code"]) == (503, "loading")
        server.backend.may_load.set()
        server.loading.join()
        assert server.ask("/health") == (200, {"status": "ok"})
        assert server.chat()[0] == 200
    finally:
        server.close()


def test_api_key_is_required_below_v1(drivers: Path) -> None:
    """A key is asked for below /v1."""
    server = Running(importlib.import_module("openai_server"), "sésame")
    try:
        assert server.ask("/health")[0] == 200
        for key, status in (("", 401), ("wrong", 401), ("sésam", 401)):
            got, answer = server.ask("/v1/models", key=key.encode().decode("latin-1"))
            assert (got, answer["error"]["code"]) == (status, "invalid_api_key")
        assert server.ask("/v1/completions", {"prompt": "x"})[0] == 401
        assert server.ask("/v1/models", key="sésame".encode().decode("latin-1"))[0] == 200
    finally:
        server.close()


@pytest.mark.parametrize("stream", [True, False])
def test_client_that_leaves_stops_its_answer(running: Running, *, stream: bool) -> None:
    """A client that leaves stops its answer."""
    body = json.dumps({"messages": [{"role": "user", "content": "forever"}], "stream": stream}).encode()
    with socket.create_connection(("127.0.0.1", running.port), 10) as raw:
        raw.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        if stream:
            assert raw.recv(100)
        else:
            while not running.backend.running:
                time.sleep(0.001)
    assert running.backend.closed.wait(120)
    assert running.chat()[0] == 200


def test_server_makes_one_answer_after_another(running: Running) -> None:
    """Answers are made one after another."""
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(running.chat()[0])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [200] * 8
    assert running.backend.most == 1


def test_connection_serves_several_requests(running: Running) -> None:
    """A connection serves several requests."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=120)
    for stream in (True, False, True):
        connection.request("POST", "/v1/chat/completions", json.dumps({"messages": USER, "stream": stream}))
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read()
    connection.close()


def test_openai_client_works_with_the_server(running: Running) -> None:
    """The client of OpenAI works with the server."""
    openai = pytest.importorskip("openai", reason="cannot run here: the openai client is not installed")
    client = openai.OpenAI(base_url=f"http://127.0.0.1:{running.port}/v1", api_key="none")
    assert [model.id for model in client.models.list()] == ["words"]
    answer = client.chat.completions.create(model="words", messages=USER, max_tokens=2)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("one two ", "length")
    stream = client.chat.completions.create(model="words", messages=USER, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in stream) == WORDS + " "
    assert client.completions.create(model="words", prompt="x").choices[0].text == WORDS + " "
    with pytest.raises(openai.BadRequestError, match="too long"):
        client.chat.completions.create(model="words", messages=[{"role": "user", "content": "too long"}])
    client.close()


PROGRAM = """
import sys
sys.path.insert(0, {drivers!r})
import openai_server
class Backend:
    model_id = "m"
    def load(self):
        {load}
    def count(self, text):
        return 0
    def generate(self, prompt, options):
        yield "x"
args = openai_server.argument_parser("x").parse_args()
raise SystemExit(openai_server.serve(Backend(), args.host, args.port))
"""


def start(tmp_path: Path, load: str, port: int = 0) -> subprocess.Popen[str]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(drivers=str(SCRIPTS_DIR), load=load), encoding="utf-8")
    argv = [sys.executable, "-u", str(program), "--port", str(port)]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env={**os.environ, "API_KEY": "k"})


def test_sigterm_ends_the_program(tmp_path: Path) -> None:
    """SIGTERM ends the program."""
    process = start(tmp_path, "pass")
    assert process.stderr is not None
    assert "listening on http://127.0.0.1:" in process.stderr.readline()
    assert process.stderr.readline() == "ready: m\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    process.stderr.close()


def test_model_that_cannot_be_loaded_ends_the_program(tmp_path: Path) -> None:
    """A model that cannot be loaded ends the program."""
    process = start(tmp_path, "raise MemoryError('too big')")
    assert process.stderr is not None
    assert "the model could not be loaded: too big" in process.stderr.read()
    assert process.wait(120) == 1
    process.stderr.close()


def test_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    """A port that is taken is an error."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(tmp_path, "pass", taken.getsockname()[1])
        assert process.stderr is not None
        assert "Address already in use" in process.stderr.read()
        assert process.wait(120) == 1
        process.stderr.close()


@pytest.mark.parametrize("path", sorted(SCRIPTS_DIR.glob("*.py")), ids=lambda path: path.stem)
def test_drivers_are_python_3_8_without_the_package(path: Path) -> None:
    """Drivers are Python 3.8 and need nothing else of the package."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 8))
    found = [node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    typing_only = {child for node in found for part in node.body for child in ast.walk(part)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node not in typing_only:
            assert not (node.module or "").startswith("jetson_containers")
    if path.stem != "__init__":  # annotations may be newer than 3.8 where they are not evaluated
        assert isinstance(tree.body[1], ast.ImportFrom)
        assert tree.body[1].module == "__future__"
    newer = {"removeprefix", "removesuffix", "cache", "to_thread", "bit_count", "pairwise"}
    assert not newer & {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_drivers_are_part_of_the_distribution() -> None:
    """A package of its own, which `packages.find` takes along; all of it is found by name."""
    names = {path.name for path in SCRIPTS_DIR.iterdir() if path.suffix == ".py"}
    assert {"__init__.py", "openai_server.py", "mlc_old_server.py", "mlc_serve.py"} <= names
    script = textwrap.dedent("""
        import setuptools
        print(setuptools.find_packages(include=["jetson_containers*"]))
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=SCRIPTS_DIR.parents[1], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip("cannot run here: setuptools is not installed")
    assert "jetson_containers.container_scripts" in done.stdout


def raw(port: int, text: bytes, timeout: float = 60) -> bytes:
    """What the server answers to bytes, up to the end of the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
        connection.sendall(text)
        answer = b""
        while block := connection.recv(1 << 16):
            answer += block
    return answer


def request(headers: str, body: bytes = b'{"messages": [{"role": "user", "content": "x"}]}') -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


@pytest.mark.parametrize(
    "headers",
    [
        "Host: evil.example\r\n",
        "Host: evil.example:8000\r\n",
        "Host: 127.0.0.1\r\nOrigin: https://evil.example\r\n",
        "Host: localhost\r\nOrigin: null\r\n",
        "Host: [::1\r\n",
        "Host: evil.example@localhost\r\n",
        "Host: localhost/.evil.example\r\n",
        "Host: evil.example\\.local\r\n",
        "Origin: null\r\n",
        "Host: localhost\r\nOrigin:\r\n",
    ],
)
def test_request_of_a_foreign_page_is_refused_without_a_key(running: Running, headers: str) -> None:
    """A page in a browser can neither be rebound to us nor post from elsewhere; the model is not asked."""
    answer = raw(running.port, request(headers))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"API_KEY" in answer
    assert running.backend.seen == []


@pytest.mark.parametrize(
    "headers",
    [
        "Host: 127.0.0.1:8000\r\n",
        "Host: [::1]:8000\r\n",
        "Host: jetson\r\n",
        "Host: jetson.local:8000\r\n",
        "Host: 192.168.1.5:8000\r\nOrigin: http://192.168.1.5:3000\r\n",
        "Host: jetson.local\r\nOrigin: http://localhost:3000\r\n",
        "",
    ],
)
def test_request_of_this_network_is_answered_without_a_key(running: Running, headers: str) -> None:
    """Addresses, names without a public domain, pages of the same host, and old clients without `Host`."""
    assert raw(running.port, request(headers)).startswith(b"HTTP/1.1 200 ")


def test_request_with_the_key_may_come_from_any_page(drivers: Path) -> None:
    """Who has the key may put the server behind a name of their own; a foreign page does not have it."""
    module = importlib.import_module("openai_server")
    running = Running(module, "k")
    try:
        assert raw(running.port, request("Host: llm.example\r\nAuthorization: Bearer k\r\n")).startswith(
            b"HTTP/1.1 200 "
        )
        assert raw(running.port, request("Host: llm.example\r\n")).startswith(b"HTTP/1.1 401 ")
    finally:
        running.close()


def test_key_is_asked_for_before_the_body_is_read(drivers: Path) -> None:
    """A body that never comes costs an uninvited client its answer, and the server nothing."""
    module = importlib.import_module("openai_server")
    running = Running(module, "k")
    try:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 31000000\r\n\r\n"
        assert raw(running.port, head).startswith(b"HTTP/1.1 401 ")
    finally:
        running.close()


@pytest.mark.parametrize("sent", [b"", b"GET /health HTTP/1.1\r\nHost: x\r\nA: b", b"G"])
def test_connection_without_a_whole_request_ends(
    running: Running, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """However slowly headers come, they are here in time or the connection is closed."""
    monkeypatch.setattr(sys.modules["request_rules"], "REQUEST_TIME", 0.2)
    assert b"200 OK" not in raw(running.port, sent)


def test_connections_beyond_the_limit_are_refused_and_room_comes_back(running: Running) -> None:
    """Idle connections do not shut others out for ever."""
    idle = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(running.server.most_connections)]
    try:
        until = time.monotonic() + 60
        while not (answer := raw(running.port, b"GET /health HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 503 "):
            assert time.monotonic() < until, answer
    finally:
        for connection in idle:
            connection.close()
    while not raw(running.port, b"GET /health HTTP/1.0\r\n\r\n").startswith((b"HTTP/1.1 200 ", b"HTTP/1.0 200 ")):
        assert time.monotonic() < until + 60


def test_refused_body_that_trickles_ends_with_its_connection(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused client does not hold a thread by sending a byte now and then."""
    monkeypatch.setattr(sys.modules["request_rules"], "DROP_TIME", 0.2)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 1000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as connection:
        connection.sendall(head)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 403 ")
        with pytest.raises(ConnectionError):
            trickle(connection)


def trickle(connection: socket.socket) -> None:
    """Send a byte now and then, for a minute at most."""
    for _ in range(6000):
        connection.sendall(b"x")
        time.sleep(0.01)


@pytest.mark.parametrize(
    "sent", [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"BREW /v1/x HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_request_that_is_malformed_gets_an_error_in_json(running: Running, sent: bytes) -> None:
    """What the base class cannot read is answered as clients of the API read it, not by a page of HTML."""
    head, _, body = raw(running.port, sent).partition(b"\r\n\r\n")
    assert head.split()[1] in {b"400", b"501", b"505"}
    assert json.loads(body)["error"]["message"]


@pytest.mark.parametrize("said", [b"Content-Length: 44", b"Transfer-Encoding: chunked"])
def test_body_of_a_question_without_one_is_not_the_next_request(running: Running, said: bytes) -> None:
    """What follows a GET on its connection is not read as a request: for a proxy in front it is this one's body."""
    hidden = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = raw(running.port, b"GET /health HTTP/1.1\r\nHost: x\r\n" + said + b"\r\n\r\n" + hidden)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in answer


def test_key_that_ends_with_any_letter_is_right(drivers: Path) -> None:
    """Of the key only spaces around it are left out: the bytes of a letter may look like one."""
    server = Running(importlib.import_module("openai_server"), "cl\u00e0")
    try:
        head = "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer  cl\u00e0 \r\n\r\n"
        assert raw(server.port, head.encode()).startswith(b"HTTP/1.1 200 ")
    finally:
        server.close()


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"messages": ' + b"[" * 200_000])
def test_body_that_is_nested_deeply_is_refused(running: Running, body: bytes) -> None:
    """It gets an answer; the connection is not cut."""
    status, answer = running.ask("/v1/chat/completions", body)
    assert (status, answer["error"]["message"]) == (400, "The body is nested too deeply.")


def test_body_is_asked_for_only_with_the_key(drivers: Path) -> None:
    """`100 Continue` waits until the request was judged."""
    server = Running(importlib.import_module("openai_server"), "k")
    try:
        head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n"
        assert raw(server.port, head + b"\r\n").startswith(b"HTTP/1.1 401 ")
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(head + b"Authorization: Bearer k\r\n\r\n")
            assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    finally:
        server.close()
