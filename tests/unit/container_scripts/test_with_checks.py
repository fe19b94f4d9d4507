"""The program that checks requests in front of a model's server, against a server that behaves well and badly."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.container_scripts.openai_examples import SCRIPTS_DIR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = "a-key"
PATIENCE = 60.0  # seconds for what takes milliseconds on a machine that is not busy


class Upstream(BaseHTTPRequestHandler):
    """A model's server: says what it was asked, streams, breaks off, or waits."""

    protocol_version = "HTTP/1.1"
    seen: list[tuple[str, str, dict[str, str], bytes]] = []  # noqa: RUF012
    go_on = threading.Event()
    left = threading.Event()

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append((self.command, self.path, dict(self.headers.items()), body))
        getattr(self, "say_" + self.path.strip("/").partition("?")[0].replace("/", "_"), self.say)(body)

    do_GET = do_HEAD = do_POST = do_DELETE = do_OPTIONS = answer  # noqa: N815 - the base's names

    def say(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "X-Of-Server": "yes", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(OSError):
                self.wfile.write(body)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def start_chunks(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def say_stream(self, _body: bytes) -> None:
        """The second event waits until the test has seen the first."""
        self.start_chunks()
        self.chunk(b"data: 1\n\n")
        assert self.go_on.wait(PATIENCE)
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def say_both(self, _body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(b"data: 1\n\n")
        self.chunk(b"")

    def say_breaks(self, _body: bytes) -> None:
        self.start_chunks()
        self.chunk(b"data: 1\n\n")
        self.close_connection = True

    def say_short(self, _body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"half")
        self.close_connection = True

    def say_closes(self, _body: bytes) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"until the end")
        self.close_connection = True

    def say_empty(self, _body: bytes) -> None:
        self.send_response(204)
        self.end_headers()

    def say_wrong(self, body: bytes) -> None:
        self.say(body, 422)

    def say_nonsense(self, _body: bytes) -> None:
        self.wfile.write(b"\x00nonsense\r\n\r\n")
        self.close_connection = True

    def say_thinks(self, _body: bytes) -> None:
        """Nothing until the client has left."""
        self.connection.settimeout(PATIENCE)
        with contextlib.suppress(OSError):
            if self.connection.recv(1) == b"":
                self.left.set()
        self.close_connection = True


def served(server: Any) -> Iterator[Any]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def upstream() -> Iterator[int]:
    """The port of the model's server."""
    Upstream.seen.clear()
    Upstream.go_on.clear()
    Upstream.left.clear()
    for server in served(ThreadingHTTPServer(("127.0.0.1", 0), Upstream)):
        server.daemon_threads = True
        yield server.server_address[1]


@pytest.fixture
def module(drivers: Path) -> Any:
    """The program as an image sees it."""
    return importlib.import_module("with_checks")


@pytest.fixture
def front(module: Any, upstream: int) -> Iterator[int]:
    """The port of the checks, without a key."""
    for server in served(module.CheckingServer("127.0.0.1", 0, ("127.0.0.1", upstream))):
        yield server.server_address[1]


@pytest.fixture
def locked(module: Any, upstream: int) -> Iterator[int]:
    """The port of the checks, with a key."""
    place = ("127.0.0.1", upstream)
    for server in served(module.CheckingServer("127.0.0.1", 0, place, api_key=KEY, opened=("/health", "/"))):
        yield server.server_address[1]


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def raw(port: int, sent: bytes) -> bytes:
    """All that comes back until the connection ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(sent)
        found = b""
        with contextlib.suppress(ConnectionError):
            while block := connection.recv(1 << 16):
                found += block
        return found


def wait_until(happened: Callable[[], Any]) -> Any:
    until = time.monotonic() + PATIENCE
    while not (found := happened()):
        assert time.monotonic() < until
        time.sleep(0.01)
    return found


def said(text: bytes) -> str:
    """The message of an error, which is JSON as OpenAI's clients read it."""
    return str(json.loads(text)["error"]["message"])


def test_request_and_answer_pass_through(front: int) -> None:
    """Method, path, query, headers and body reach the server; status, headers and body come back."""
    status, headers, text = ask(front, "POST", "/v1/x?a=1&b=%20", b"\x00body", **{"Content-Type": "x/y", "X-A": "1"})
    assert (status, headers["X-Of-Server"], text) == (200, "yes", b"\x00body")
    method, path, got, body = Upstream.seen[0]
    assert (method, path, got["Content-Type"], got["X-A"], body) == ("POST", "/v1/x?a=1&b=%20", "x/y", "1", b"\x00body")
    assert got["Host"] == f"127.0.0.1:{front}"
    status, _, text = ask(front, "POST", "/wrong", b'{"error": {}}')
    assert (status, text) == (422, b'{"error": {}}')
    assert ask(front, "DELETE", "/v1/y")[0] == 200


def test_headers_of_one_connection_are_not_passed_on(front: int) -> None:
    """What belongs to the client's connection stays there, and nobody says who a proxy saw."""
    sent = {"Connection": "X-Hop, close", "X-Hop": "1", "TE": "x", "X-Forwarded-For": "192.0.2.1", "Upgrade": "h2c"}
    assert ask(front, "GET", "/v1/x", **sent)[0] == 200
    got = {name.lower(): value for name, value in Upstream.seen[0][2].items()}
    assert not {"x-hop", "te", "x-forwarded-for", "upgrade", "content-length"} & got.keys()
    assert got["connection"] == "close"


def test_stream_passes_event_by_event(front: int) -> None:
    """An event is there before the server says the next, and the connection serves another request."""
    connection = http.client.HTTPConnection("127.0.0.1", front, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("POST", "/stream", b"{}")
        answer = connection.getresponse()
        assert answer.getheader("Content-Type") == "text/event-stream"
        assert answer.read1(100) == b"data: 1\n\n"
        Upstream.go_on.set()
        assert answer.read() == b"data: [DONE]\n\n"
        connection.request("GET", "/v1/again")
        assert connection.getresponse().read() == b""


def test_stream_reaches_clients_of_http_1_0(front: int) -> None:
    """They see the end of an answer by that of the connection."""
    Upstream.go_on.set()
    text = raw(front, b"GET /stream HTTP/1.0\r\nHost: x\r\n\r\n")
    assert text.endswith(b"\r\n\r\ndata: 1\n\ndata: [DONE]\n\n")
    assert b"chunked" not in text


@pytest.mark.parametrize("path", ["/breaks", "/short"])
def test_answer_that_breaks_off_is_seen_as_such(front: int, path: str) -> None:
    """A part of an answer is never taken for the whole."""
    with pytest.raises(http.client.IncompleteRead):
        ask(front, "GET", path)


def test_answer_without_a_length_is_whole(front: int) -> None:
    """An answer that ends with the server's connection arrives, one without a body too."""
    assert ask(front, "GET", "/closes")[2] == b"until the end"
    assert ask(front, "GET", "/empty")[0] == 204
    status, headers, text = ask(front, "HEAD", "/v1/x")
    assert (status, headers["Content-Length"], text) == (200, "0", b"")


def test_client_that_leaves_ends_its_request(front: int) -> None:
    """A server that thinks learns that nobody waits for the answer any more."""
    with socket.create_connection(("127.0.0.1", front), timeout=PATIENCE) as connection:
        connection.sendall(b"GET /thinks HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: Upstream.seen)
    assert Upstream.left.wait(PATIENCE)


@pytest.mark.parametrize(
    ("headers", "what"),
    [
        ({"Host": "evil.example:80"}, "Host: evil.example:80"),
        ({"Host": "evil.example."}, "Host: evil.example."),
        ({"Host": "[::"}, "Host: [::"),
        ({"Origin": "http://evil.example"}, "Origin: http://evil.example"),
        ({"Origin": "null"}, "Origin: null"),
    ],
)
def test_request_of_a_foreign_page_is_refused_before_the_server(front: int, headers: dict[str, str], what: str) -> None:
    """Without a key neither a public name nor a page from elsewhere reaches the server, whatever the path."""
    for method, path in (("GET", "/health"), ("POST", "/v1/chat/completions"), ("OPTIONS", "/v1/models")):
        status, _, text = ask(front, method, path, **headers)
        assert (status, what in said(text)) == (403, True)
    assert Upstream.seen == []


@pytest.mark.parametrize("host", ["localhost:1", "orin.local", "jetson", "192.0.2.7:9", "[::1]:9"])
def test_request_under_a_name_of_this_network_passes(front: int, host: str) -> None:
    """Addresses and names that only this network knows are right, with a page of the same name."""
    assert ask(front, "GET", "/v1/models", Host=host, Origin=f"http://{host}")[0] == 200


def test_key_is_asked_for_but_on_open_paths(locked: int) -> None:
    """Only the paths that were named answer without the key, and only to requests without a body."""
    assert ask(locked, "GET", "/health")[0] == 200
    assert ask(locked, "GET", "/?x=1")[0] == 200
    assert ask(locked, "OPTIONS", "/v1/models", Origin="https://elsewhere.example")[0] == 200
    seen = len(Upstream.seen)
    for method, path, headers in (
        ("GET", "/v1/models", {}),
        ("GET", "/metrics", {}),
        ("GET", "/health/../v1/models", {}),
        ("GET", "/v1/models", {"Authorization": "Bearer no"}),
        ("GET", "/v1/models", {"Authorization": f"Basic {KEY}"}),
        ("GET", "/health", {"Content-Length": "1"}),
        ("POST", "/health", {"Content-Length": "0"}),
    ):
        status, _, text = ask(locked, method, path, **headers)
        assert (status, "key is needed" in said(text)) == (401, True)
    assert len(Upstream.seen) == seen
    assert ask(locked, "GET", "/v1/models", Authorization=f"bearer {KEY}", Origin="https://x.example")[0] == 200


def test_key_is_asked_for_before_the_body(locked: int) -> None:
    """A client without the key is refused without sending its body, which it is not asked for either."""
    head = b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 31000000\r\n"
    assert raw(locked, head + b"\r\n").startswith(b"HTTP/1.1 401 ")
    assert raw(locked, head + b"Expect: 100-continue\r\n\r\n").startswith(b"HTTP/1.1 401 ")
    right = b"Authorization: Bearer a-key\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n"
    head = b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n" + right
    with socket.create_connection(("127.0.0.1", locked), timeout=PATIENCE) as connection:
        connection.sendall(head)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"GET /\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c: d\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 70000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 411),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n", 413),
        (b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n", 501),
        # What Python's parser of mail would pass over, so that the server, or a proxy before it, sees another request.
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\nContent-Length: 2\r\n\r\n{}", 411),
        (b"POST / HTTP/1.1\r\nHost: x\r\nno header\r\nContent-Length: 2\r\n\r\n{}", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rContent-Length: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nFrom x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", 400),
        (b"GET\x0b/\x0bHTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /\xa0HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/01.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nOrigin: http://evil.example\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 400),
    ],
)
def test_request_that_is_malformed_gets_a_clean_answer(front: int, sent: bytes, status: int) -> None:
    """The answer is a status and an error in JSON, the connection ends, and the server hears nothing."""
    answer = raw(front, sent)
    head, _, text = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Connection: close" in head
    assert said(text)
    assert Upstream.seen == []


def test_request_whose_head_ends_early_is_not_passed_on(front: int) -> None:
    """Headers that were cut off may have said that a body follows, or another origin."""
    with socket.create_connection(("127.0.0.1", front), timeout=PATIENCE) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 400 ")
    assert Upstream.seen == []


def test_stream_with_a_length_is_passed_on_without_it(front: int) -> None:
    """A client of HTTP/1.0 gets the pieces of a chunked answer, whose length is another."""
    head, _, body = raw(front, b"GET /both HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").partition(b"\r\n\r\n")
    assert b"content-length" not in head.lower()
    assert body == b"data: 1\n\n"


def test_body_that_does_not_come_ends_its_connection(front: int, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly a body comes, it is here in time or both connections are closed."""
    monkeypatch.setattr(module.request_rules, "BODY_TIME", 0.2)
    assert raw(front, b"POST /v1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab") == b""
    assert [body for _, _, _, body in Upstream.seen] in ([], [b"ab"])  # the server sees that it is not the whole


def trickle(connection: socket.socket) -> None:
    """Send a byte now and then, for a minute at most."""
    for _ in range(6000):
        connection.sendall(b"x")
        time.sleep(0.01)


def test_headers_that_drip_end_their_connection(front: int, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of a whole request counts, not that of each byte."""
    monkeypatch.setattr(module.request_rules, "REQUEST_TIME", 0.2)
    with socket.create_connection(("127.0.0.1", front), timeout=PATIENCE) as slow, pytest.raises(ConnectionError):
        trickle(slow)
    assert Upstream.seen == []


def test_thousand_connections_are_bounded(front: int, module: Any) -> None:
    """A thousand idle connections take no more threads than are allowed, and room comes back."""
    idle: list[socket.socket] = []
    try:
        idle.extend(socket.create_connection(("127.0.0.1", front), timeout=PATIENCE) for _ in range(1000))
        wait_until(lambda: raw(front, b"GET /v1/x HTTP/1.0\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 503 "))
        assert threading.active_count() < 3 * module.CheckingServer.most_connections  # one and its timer each
    finally:
        for connection in idle:
            connection.close()
    wait_until(lambda: raw(front, b"GET /v1/x HTTP/1.0\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200 "))


def test_server_that_is_loading_or_gone_is_said(module: Any) -> None:
    """Until the server has listened once it loads, afterwards it is gone; nonsense of it is no answer either."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = unused.getsockname()
    for checks in served(module.CheckingServer("127.0.0.1", 0, place)):
        port = checks.server_address[1]
        status, headers, text = ask(port, "GET", "/health")
        assert (status, headers["Retry-After"], said(text)) == (503, "1", "The model is still being loaded.")
        for _ in served(ThreadingHTTPServer(place, Upstream)):
            assert ask(port, "GET", "/health")[0] == 200
            assert ask(port, "GET", "/nonsense")[0] == 502
        assert ask(port, "GET", "/health")[0] == 502


PROGRAM = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: (print("term", flush=True), os._exit(7)))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = " ".join(sys.argv[1:]).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(text))); self.end_headers()
        self.wfile.write(text)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def program(*words: str, port: int, behind: int, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    argv = [sys.executable, str(SCRIPTS_DIR / "with_checks.py"), "--port", str(port), "--server", f"127.0.0.1:{behind}"]
    with subprocess.Popen([*argv, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | env) as run:
        try:
            yield run
        finally:
            run.kill()


def status_of(port: int) -> int:
    try:
        return ask(port, "GET", "/health")[0]
    except OSError:
        return 0


def test_program_becomes_the_server_and_ends_with_it() -> None:
    """Signals reach the server, its exit status is the program's, and the port is free afterwards."""
    port, behind = free_port(), free_port()
    with program("--", sys.executable, "-c", PROGRAM, str(behind), "more", port=port, behind=behind) as running:
        wait_until(lambda: status_of(port) == 200)
        assert ask(port, "GET", "/")[2] == f"{behind} more".encode()
        running.send_signal(signal.SIGTERM)
        assert running.wait(PATIENCE) == 7
        wait_until(lambda: status_of(port) == 0)


def test_program_takes_the_key_from_its_variable() -> None:
    """The key is in no argument; a variable that is empty is an error, not a server without a key."""
    port, behind = free_port(), free_port()
    words = ("--key-env", "SOME_KEY", "--open", "/health", "--", sys.executable, "-c", PROGRAM, str(behind))
    with program(*words, port=port, behind=behind, SOME_KEY=KEY):
        wait_until(lambda: status_of(port) == 200)
        assert ask(port, "GET", "/v1/models")[0] == 401
        assert ask(port, "GET", "/v1/models", Authorization=f"Bearer {KEY}")[0] == 200
    with program(*words, port=port, behind=behind, SOME_KEY="") as refused:
        assert refused.wait(PATIENCE) == 1
        assert b"SOME_KEY is empty" in refused.communicate()[1]


def test_program_says_what_is_wrong_before_the_server_starts(tmp_path: Path) -> None:
    """A port that is taken, missing words and a server that is not there end it with a sentence."""
    started = tmp_path / "started"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with program("--", "touch", str(started), port=taken.getsockname()[1], behind=free_port()) as running:
            assert running.wait(PATIENCE) == 1
            assert b"cannot listen on 127.0.0.1:" in running.communicate()[1]
    assert not started.exists()
    for words, status in (((), 2), (("--", "/no/such/program"), 127), (("--", str(tmp_path)), 126)):
        with program(*words, port=free_port(), behind=free_port()) as running:
            assert running.wait(PATIENCE) == status
