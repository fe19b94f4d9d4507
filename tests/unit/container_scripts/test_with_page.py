"""The program that serves a page beside a model's server."""

from __future__ import annotations

import http.client
import importlib
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.container_scripts.openai_examples import SCRIPTS_DIR
from tests.unit.llm.fakes import Server, delta

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = "<style>a</style><script>b</script><p>hello</p>"


@pytest.fixture
def with_page(drivers: Path) -> Any:
    """The program as an image sees it."""
    return importlib.import_module("with_page")


@pytest.fixture
def model() -> Iterator[int]:
    """The port of a model's server."""
    Server.answers, Server.asked, Server.keys, Server.status = [delta("hi")], [], [], 200
    yield from _served(ThreadingHTTPServer(("127.0.0.1", 0), Server))


@pytest.fixture
def page(model: int, with_page: Any) -> Iterator[int]:
    """The port of a page beside it."""
    yield from _served(with_page.PageServer(PAGE, "127.0.0.1", 0, f"127.0.0.1:{model}"))


def _served(server: Any) -> Iterator[int]:
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def ask(port: int, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.headers, text


def test_page_server_sends_the_page_with_a_policy(page: int) -> None:
    """The page runs only what stands in it, is in no frame, and talks with its own server alone."""
    status, headers, text = ask(page, "GET", "/")
    assert (status, text) == (200, PAGE)
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "script-src 'sha256-PiPoFgA5WUoziU9lZOGxNIu9egCI1CxKy3PurtWcAJ0='" in policy  # of `b`
    assert headers["X-Frame-Options"] == "DENY"


def test_page_server_hands_questions_on(page: int) -> None:
    """A question reaches the server with its key, and the stream comes back; nothing else is passed on."""
    body = json.dumps({"messages": []}).encode()
    status, _, text = ask(page, "POST", "/v1/chat/completions", body, Authorization="Bearer k", Cookie="c")
    assert status == 200
    assert '"content": "hi"' in text
    assert text.endswith("data: [DONE]\n\n")
    assert (Server.asked, Server.keys) == ([{"messages": []}], ["Bearer k"])
    assert ask(page, "GET", "/v1/models")[0] == 200
    assert ask(page, "GET", "/etc/passwd")[0] == 404
    assert ask(page, "POST", "/v1/completions", body)[0] == 404
    assert len(Server.asked) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:80"},
        {"Host": "evil.example"},
        {"Host": ""},
        {"Host": "[::"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
    ],
)
def test_page_server_refuses_pages_from_elsewhere(page: int, headers: dict[str, str]) -> None:
    """A public name (DNS rebinding) and a page of another origin get nothing, also not the page itself."""
    assert ask(page, "GET", "/", **headers)[0] == 403
    assert ask(page, "POST", "/v1/chat/completions", b"{}", **headers)[0] == 403
    assert Server.asked == []


@pytest.mark.parametrize("host", ["localhost:1", "orin.local", "jetson", "192.0.2.7:9", "[::1]:9"])
def test_page_server_answers_under_names_of_this_network(page: int, host: str) -> None:
    """An address and a name that only this network knows are right."""
    assert ask(page, "GET", "/", Host=host, Origin=f"http://{host}")[0] == 200


def test_page_server_bounds_what_it_takes(page: int) -> None:
    """A body without a length or with too large a one is not read."""
    assert ask(page, "POST", "/v1/chat/completions", b"", **{"Content-Length": "x"})[0] == 411
    assert ask(page, "POST", "/v1/chat/completions", b"", **{"Content-Length": "999999999"})[0] == 413


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nA: b"])
def test_page_server_ends_connections_without_a_whole_request(
    page: int, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """Headers are here in time, as for our other servers; each connection costs a thread."""
    monkeypatch.setattr(sys.modules["request_rules"], "REQUEST_TIME", 0.2)
    assert _raw(page, sent) == b""


def test_page_server_ends_connections_whose_body_does_not_come(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stops half way costs its connection, and the model hears nothing of it."""
    monkeypatch.setattr(sys.modules["request_rules"], "BODY_TIME", 0.2)
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    assert _raw(page, head + b"{") == b""
    assert Server.asked == []


def _raw(port: int, sent: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(sent)
        return connection.recv(1 << 16)


def test_page_server_says_that_the_model_does_not_answer(with_page: Any) -> None:
    """While the model's server is not there yet, the page is, and says so."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server = with_page.PageServer(PAGE, "127.0.0.1", 0, f"127.0.0.1:{closed.getsockname()[1]}")
        for port in _served(server):
            assert ask(port, "GET", "/v1/models")[0] == 502


@pytest.mark.parametrize(("text", "address"), [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:8080", ("::1", 8080))])
def test_page_server_address_is_host_and_port(with_page: Any, text: str, address: tuple[str, int]) -> None:
    """Host and port are read, also of IPv6."""
    assert with_page.request_rules.split_address(text) == address
    for wrong in ("", "80", "host", ":80", "host:x"):
        with pytest.raises(ValueError, match=r"."):
            with_page.request_rules.split_address(wrong)


def test_page_server_stands_beside_a_program_that_keeps_its_process(model: int) -> None:
    """The server takes the place of the process: signals and exit status are its own. The page ends with it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read(); sys.exit(7)"
    argv = [
        sys.executable, str(SCRIPTS_DIR / "with_page.py"), "--port", str(port), "--server", f"127.0.0.1:{model}", "--",
        sys.executable, "-c", script,
    ]  # fmt: skip
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        for _ in range(200):
            try:
                status, _, text = ask(port, "GET", "/")
                break
            except OSError:
                threading.Event().wait(0.05)
        assert status == 200
        assert "<title>Chat</title>" in text
        process.stdin.close()  # type: ignore[union-attr]
        assert process.wait(30) == 7
        os.killpg(process.pid, 15)  # in a container the kernel does this


def test_page_server_needs_a_program_beside_it(with_page: Any) -> None:
    """Without a command there is nothing to serve."""
    with pytest.raises(SystemExit) as ended:
        with_page.main(["--port", "1", "--server", "a:1"])
    assert ended.value.code == 2
