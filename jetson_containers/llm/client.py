"""A client of one OpenAI-compatible server on this machine: health, one streamed answer, its measured speeds.

On `http.client`: it uses no proxy, which a server on loopback must not be asked through.
"""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked, json_text
from jetson_containers.core.errors import StepError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


_GONE = 502  # what the checks in front of a server say when it has ended
LARGEST = 1e15  # of a count or of milliseconds that a server says


class RefusedError(StepError):
    """The server did not take a request, and goes on: too long for the context, a role its template lacks."""


class ServerGoneError(StepError):
    """The server does not answer any more, or broke off in the middle."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One answer. Times are seconds from the request; the token counts are the server's own.

    `prefill_s` is the time to the first token, `decode_s` from the first token to the last. A server that measures
    itself (llama.cpp's `timings`) is believed: its figures are without HTTP.
    """

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0
    finish_reason: str = ""
    interrupted: bool = False

    @property
    def prefill_rate(self) -> float | None:
        """Prompt tokens/s; None where it is not known."""
        return self.prompt_tokens / self.prefill_s if self.prompt_tokens and self.prefill_s > 0 else None

    @property
    def decode_rate(self) -> float | None:
        """Generated tokens/s after the first; None for fewer than two tokens."""
        if self.completion_tokens < 2 or self.decode_s <= 0:
            return None
        return (self.completion_tokens - 1) / self.decode_s


@dataclass(kw_only=True)
class OpenAIClient:
    """One server. `key` is sent as a bearer token and appears nowhere else."""

    host: str
    port: int
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 600.0  # seconds without a byte; a first answer on a slow board may take minutes

    def is_ready(self, health: str) -> bool:
        """Whether the server answers its health path with 200."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("GET", health, headers=self._headers())
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int,
        temperature: float | None = None,
        seed: int | None = None,
        extra: Mapping[str, object] | None = None,
        on_text: Callable[[str], None] = lambda _text: None,
    ) -> Turn:
        """Stream one answer; Ctrl-C ends it and keeps what came.

        Raises RefusedError or StepError with the server's message, ServerGoneError where it does not answer any more.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        body |= {"temperature": temperature} if temperature is not None else {}
        body |= {"seed": seed} if seed is not None else {}
        body |= extra or {}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            return self._stream(connection, body, on_text)
        except (OSError, http.client.HTTPException) as error:
            raise ServerGoneError(f"the server stopped answering ({type(error).__name__})") from error
        finally:
            connection.close()

    def _stream(
        self, connection: http.client.HTTPConnection, body: Mapping[str, Any], on_text: Callable[[str], None]
    ) -> Turn:
        started = time.monotonic()
        pieces: list[str] = []
        first = last = 0.0
        usage: Mapping[str, Any] = {}
        timings: Mapping[str, Any] = {}
        reason, interrupted = "", False
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), self._headers())
            response = connection.getresponse()
            if response.status == _GONE:
                raise ServerGoneError("the server stopped answering")
            if response.status != 200:
                kind = RefusedError if response.status < 500 else StepError
                raise kind(f"the server refused: {_message(response.read())}")
            for event in events(response):
                usage, timings = event.get("usage") or usage, event.get("timings") or timings
                for choice in event["choices"]:
                    text = choice["delta"].get("content") or ""
                    reason = choice.get("finish_reason") or reason
                    if text:
                        last = time.monotonic()
                        first = first or last
                        pieces.append(text)
                        on_text(text)
        except KeyboardInterrupt:
            interrupted = True
        count = int(usage.get("completion_tokens") or len(pieces))
        prompt = int(usage.get("prompt_tokens") or 0)
        if timings.get("predicted_n") and timings.get("prompt_ms"):
            prompt, count = int(timings.get("prompt_n") or prompt), int(timings["predicted_n"])
            per_token = float(timings.get("predicted_ms") or 0) / 1000 / max(count, 1)
            return Turn(
                text="".join(pieces),
                prompt_tokens=prompt,
                completion_tokens=count,
                prefill_s=float(timings["prompt_ms"]) / 1000,
                decode_s=per_token * (count - 1),
                finish_reason=reason,
                interrupted=interrupted,
            )
        prefill = first - started if first else 0.0
        return Turn(
            text="".join(pieces),
            prompt_tokens=prompt,
            completion_tokens=count,
            prefill_s=prefill,
            decode_s=last - first if first else 0.0,
            finish_reason=reason,
            interrupted=interrupted,
        )

    def _headers(self) -> dict[str, str]:
        key = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return {"Content-Type": "application/json", "Accept": "text/event-stream", **key}


def events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The JSON objects of a server-sent event stream, up to `[DONE]`.

    Raises StepError for an error object, ServerGoneError where the stream breaks off: half an answer is not an answer.
    """
    finished = False
    for raw in response:
        line = raw.decode("utf-8", errors="replace").strip()
        if not line.startswith("data:"):
            continue
        text = line.removeprefix("data:").strip()
        if text == "[DONE]":
            return
        try:
            event = json_text.parse(text)
        except ValueError:
            continue
        if isinstance(event, dict):
            if event.get("error"):
                raise StepError(f"the server failed: {_message(text.encode())}")
            try:
                event = _checked(event)
            except ValueError as error:
                raise StepError(f"the server sent what is not of its protocol: {error}") from error
            finished = finished or any(choice.get("finish_reason") for choice in event["choices"])
            yield event
    if not finished:
        raise ServerGoneError("the server closed the connection in the middle of an answer")


def _checked(event: dict[str, Any]) -> dict[str, Any]:
    """An event with what we read of it: `choices` (each with a `delta`), and `usage` and `timings` where they are.

    Raises ValueError for other types than the protocol has.
    """
    choices = []
    for choice in map(checked.mapping, checked.items(event.get("choices") or [])):
        delta = checked.mapping(choice.get("delta") or {})
        words = {key: checked.text(choice[key]) for key in ("finish_reason",) if choice.get(key)}
        choices.append({**words, "delta": {"content": checked.text(delta.get("content") or "")}})
    read = {name: checked.mapping(event.get(name) or {}) for name in ("usage", "timings")}
    numbers = {
        name: {key: value for key, value in found.items() if isinstance(value, (int, float)) and 0 <= value < LARGEST}
        for name, found in read.items()
    }
    return {**event, **numbers, "choices": choices}


def _message(raw: bytes) -> str:
    """The sentence in a server's answer: below `error`, or below `message` as MLC and vLLM have it, or the text itself.

    MLC answers with a JSON string that holds the JSON, so what comes out is looked into again.
    """
    return _sentence(raw.decode("utf-8", errors="replace").strip())[:300]


def _sentence(answer: object, depth: int = 3) -> str:
    if isinstance(answer, str) and depth:
        try:
            return _sentence(json_text.parse(answer), depth - 1)
        except ValueError:
            return answer
    if isinstance(answer, dict):
        inner = next((answer[key] for key in ("error", "message", "detail") if answer.get(key)), None)
        if inner is not None and depth:
            return _sentence(inner, depth - 1)
    return answer if isinstance(answer, str) else json.dumps(answer)
