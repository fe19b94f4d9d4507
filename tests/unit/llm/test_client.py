"""The client against a server of the protocol, and against answers that break off."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import StepError
from jetson_containers.llm import session
from jetson_containers.llm.client import OpenAIClient, ServerGoneError, Turn, _message
from tests.unit.llm.fakes import Server, delta

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def ask(client: OpenAIClient, **given: Any) -> tuple[Turn, list[str]]:
    heard: list[str] = []
    turn = client.ask([{"role": "user", "content": "hi"}], max_tokens=5, on_text=heard.append, **given)
    return turn, heard


def test_client_streams_and_counts_an_answer(client: OpenAIClient) -> None:
    """An answer is streamed and counted."""
    Server.answers = [
        delta("A"), delta(" B"), {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}},
    ]  # fmt: skip
    turn, heard = ask(client, temperature=0.0, seed=1)
    assert (turn.text, heard, turn.finish_reason) == ("A B", ["A", " B"], "stop")
    assert (turn.prompt_tokens, turn.completion_tokens) == (7, 3)
    (asked,) = Server.asked
    assert (asked["temperature"], asked["seed"], asked["stream_options"]) == (0.0, 1, {"include_usage": True})
    assert Server.keys == ["Bearer k"]


def test_client_believes_a_server_that_measures_itself(client: OpenAIClient) -> None:
    """A server that measures itself is believed."""
    timings = {"prompt_n": 10, "prompt_ms": 500.0, "predicted_n": 5, "predicted_ms": 1000.0}
    Server.answers = [delta("x", timings=timings)]
    turn, _ = ask(client)
    assert turn.prefill_rate == pytest.approx(20.0)
    assert turn.decode_rate == pytest.approx(5.0)


def test_client_passes_on_an_error_of_the_server(client: OpenAIClient) -> None:
    """An error of the server is passed on."""
    Server.status = 400
    with pytest.raises(StepError, match="context is full"):
        ask(client)
    Server.status = 200
    Server.answers = [{"error": {"message": "out of slots"}}]
    with pytest.raises(StepError, match="out of slots"):
        ask(client)


def test_client_reports_a_server_that_is_gone() -> None:
    """A server that is gone is one clear error."""
    with pytest.raises(StepError, match="stopped answering"):
        ask(OpenAIClient(host="127.0.0.1", port=session.free_port(), model="m"))


def test_client_turn_of_one_token_has_no_speed() -> None:
    """One token has no speed."""
    assert Turn(text="a", prompt_tokens=3, completion_tokens=1, prefill_s=0.1, decode_s=0.0).decode_rate is None
    assert Turn(text="a", prompt_tokens=0, completion_tokens=5, prefill_s=0.0, decode_s=0.0).prefill_rate is None


def test_client_repr_does_not_hold_the_key() -> None:
    """A key is not in the client's repr."""
    assert "topsecret" not in repr(OpenAIClient(host="h", port=1, model="m", key="topsecret"))


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
