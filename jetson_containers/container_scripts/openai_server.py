"""A small OpenAI-compatible server for runtimes that have none: one model, one answer at a time.

Runs inside images: Python 3.8 and the standard library. A backend makes text (`Backend`), everything of the protocol
is here: models, chat and text completions, streamed or not, usage, stop strings, keys, errors, health, shutdown.
`API_KEY` in the environment asks for `Authorization: Bearer` below /v1; the other rules are those of `request_rules`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback
import uuid
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing import Iterator

    from jetson_containers.container_scripts import request_rules
    from jetson_containers.container_scripts.openai_protocol import (
        BadRequest,
        CompletionRequest,
        GenerationOptions,
        GenerationReport,
        Prompt,
        error_object,
    )
    from jetson_containers.container_scripts.text_stream import Stopper, TextStream
else:  # inside an image these files stand alone, in one directory
    import request_rules
    from openai_protocol import BadRequest, CompletionRequest, GenerationOptions, GenerationReport, error_object
    from text_stream import Stopper, TextStream

__all__ = ["Backend", "BadRequest", "GenerationOptions", "GenerationReport", "TextStream", "argument_parser", "serve"]

WATCH = 0.2  # seconds between looks whether the client is still there
GRACE = 5.0  # seconds that a running answer gets to end when the server is told to


class Backend(Protocol):
    """What makes the text.

    `load` is called once, before anything else. `generate` gets a string (continue it) or chat messages whose
    `content` is text, and gives pieces of text; it is closed when no more is wanted.
    """

    model_id: str

    def load(self) -> None:
        """Load the model; an exception ends the server."""
        ...

    def count(self, text: str) -> int:
        """How many tokens a text has."""
        ...

    def generate(self, prompt: Prompt, options: GenerationOptions) -> Iterator[str]:
        """Answer. May raise BadRequest before the first piece."""
        ...


class Server(request_rules.RuledServer):
    """The listening socket and what its requests share: the backend, one lock, and whether it is loaded."""

    def __init__(self, backend: Backend, host: str, port: int, api_key: str = "") -> None:
        self.backend = backend
        self.loaded = threading.Event()
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self.turn = threading.Lock()
        self.created = int(time.time())
        super().__init__(host, port, Handler, api_key)

    def load(self) -> None:
        """Load the model; a failure is kept and ends the server."""
        try:
            self.backend.load()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the server cannot work
            traceback.print_exc()
            self.failure = error
            self.stop()
        else:
            self.loaded.set()
            _log(f"ready: {self.backend.model_id}")

    def stop(self) -> None:
        """End `serve_forever`, from any thread but its own."""
        self.stopping.set()
        threading.Thread(target=self.shutdown, daemon=True).start()


class Handler(request_rules.RuledHandler):
    """One connection."""

    server: Server

    def do_GET(self) -> None:  # noqa: N802 - the base class calls it so
        """Health and models."""
        self.close_connection = self.close_connection or self.has_body()  # it is not read: nothing may follow it
        if not self.from_here():
            return
        path = self._path()
        if path in {"/health", "/v1/health"}:
            state = "ok" if self.server.loaded.is_set() else "loading"
            self.send_json(200 if state == "ok" else 503, {"status": state})
        elif not self.allowed():
            pass
        elif path == "/v1/models":
            self.send_json(200, {"object": "list", "data": [self._model()]})
        elif path == "/v1/models/" + self.server.backend.model_id:
            self.send_json(200, self._model())
        else:
            self._no_such(path)

    def do_POST(self) -> None:  # noqa: N802 - the base class calls it so
        """Completions."""
        path = self._path()
        if not self.from_here() or not self.allowed():
            self.drop_body()
            return
        body = self._body()
        if body is None:
            return
        if path not in {"/v1/chat/completions", "/v1/completions"}:
            self._no_such(path)
            return
        try:
            parsed = json.loads(body.decode("utf-8"))
            if not isinstance(parsed, dict):
                raise BadRequest("The body must be a JSON object.")
            request = CompletionRequest(
                parsed, chat=path.endswith("chat/completions"), model_id=self.server.backend.model_id
            )
            if not self.server.loaded.is_set():
                raise BadRequest("The model is still being loaded.", code="loading", status=503)
            CompletionAnswer(self, request).give()
        except BadRequest as error:
            self.error(error.status, str(error), error.param, error.code)
        except ValueError as error:
            self.error(400, f"The body is not JSON: {error}")
        except RecursionError:
            self.error(400, "The body is nested too deeply.")

    def _path(self) -> str:
        return self.path.partition("?")[0].rstrip("/") or "/"

    def _no_such(self, path: str) -> None:
        known = ["/health", "/v1/models", "/v1/chat/completions", "/v1/completions"]
        if path in known:
            self.error(405, f"`{path}` does not answer {self.command}.")
        else:
            self.error(404, f"There is no `{path}`; known: {', '.join(known)}")

    def _body(self) -> bytes | None:
        """The request's body; None when it was refused, and then the connection cannot be used again."""
        length = self.body_length()
        if length is None:
            return None
        with self.within(request_rules.BODY_TIME):
            body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return None
        return body

    def _model(self) -> dict[str, Any]:
        model_id = self.server.backend.model_id
        return {"id": model_id, "object": "model", "created": self.server.created, "owned_by": "jetson-containers"}

    def answer(self, value: dict[str, Any]) -> None:
        """Send a whole answer."""
        self.send_json(200, value)

    def start_events(self) -> None:
        """Begin a stream of server-sent events; HTTP/1.0 clients see its end by the connection's."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-cache")
        if self.request_version == "HTTP/1.0":
            self.close_connection = True
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def event(self, value: dict[str, Any] | None) -> None:
        """Send one event, or the last one."""
        text = "[DONE]" if value is None else json.dumps(value)
        self._chunk(b"data: %s\n\n" % text.encode("utf-8"))
        if value is None:
            self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        if self.request_version == "HTTP/1.0":
            self.wfile.write(data)
        else:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say what is asked, but for the health checks that come every few seconds."""
        if not getattr(self, "path", "").endswith("/health"):
            _log(format % args)


class CompletionAnswer:
    """One generation, and how it is sent to the client."""

    def __init__(self, handler: Handler, request: CompletionRequest) -> None:
        self._handler = handler
        self._request = request
        self._server = handler.server
        self._id = ("chatcmpl-" if request.chat else "cmpl-") + uuid.uuid4().hex
        self._created = int(time.time())
        self._finish = "stop"
        self._text = ""
        self._started = False

    def give(self) -> None:
        """Wait for the turn, generate, and answer; stops early when the client goes or the server ends."""
        options = self._request.options
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,), daemon=True)
        watcher.start()
        try:
            while not self._server.turn.acquire(timeout=WATCH):
                if options.cancelled.is_set():
                    self._handler.close_connection = True
                    return
            try:
                self._generate()
            finally:
                self._server.turn.release()
        except ConnectionError:
            self._handler.close_connection = True
        except BadRequest:
            if not self._started:
                raise
            self._handler.close_connection = True
        except Exception as error:  # noqa: BLE001 - a failure of one answer must not end the server
            traceback.print_exc()
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            done.set()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(WATCH):
            if self._server.stopping.is_set() or self._handler.gone():
                self._request.options.cancelled.set()
                return

    def _generate(self) -> None:
        options = self._request.options
        stopper = Stopper(options.stop)
        pieces = self._server.backend.generate(self._request.prompt, options)
        try:
            for piece in pieces:
                if options.cancelled.is_set() or self._handler.gone():
                    self._handler.close_connection = True
                    return
                self._say(stopper.push(piece))
                if stopper.stopped:
                    break
            self._say(stopper.end())
        finally:
            close = getattr(pieces, "close", None)
            if close:
                close()
        if options.cancelled.is_set():
            self._handler.close_connection = True
            return
        usage = self._usage()
        self._finish = self._reason(stopper, usage["completion_tokens"])
        self._end(usage)

    def _say(self, piece: str) -> None:
        self._text += piece
        if not self._request.stream:
            return
        self._start()
        if piece:
            self._handler.event(self._chunk(piece, None))

    def _start(self) -> None:
        """Headers wait for the first piece, so that what is wrong with a request still gets its status."""
        if self._started:
            return
        self._started = True
        self._handler.start_events()
        if self._request.chat:
            self._handler.event(self._object({"delta": {"role": "assistant", "content": ""}, "finish_reason": None}))
        elif self._request.echo:
            self._handler.event(self._chunk(str(self._request.prompt), None))

    def _end(self, usage: dict[str, int]) -> None:
        if not self._request.stream:
            text = (str(self._request.prompt) if self._request.echo else "") + self._text
            said: dict[str, Any] = (
                {"message": {"role": "assistant", "content": text}} if self._request.chat else {"text": text}
            )
            self._handler.answer({**self._object({**said, "finish_reason": self._finish}), "usage": usage})
            return
        self._start()
        self._handler.event(self._chunk("", self._finish))
        if self._request.include_usage:
            self._handler.event({**self._object({}), "choices": [], "usage": usage})
        self._handler.event(None)

    def _fail(self, message: str) -> None:
        try:
            if self._started:
                self._handler.event(error_object(500, message))
                self._handler.close_connection = True
            else:
                self._handler.error(500, message)
        except ConnectionError:
            self._handler.close_connection = True

    def _chunk(self, piece: str, finish: str | None) -> dict[str, Any]:
        if self._request.chat:
            return self._object({"delta": {"content": piece} if piece else {}, "finish_reason": finish})
        return self._object({"text": piece, "finish_reason": finish})

    def _object(self, choice: dict[str, Any]) -> dict[str, Any]:
        kind = "text_completion"
        if self._request.chat:
            kind = "chat.completion.chunk" if self._request.stream else "chat.completion"
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._server.backend.model_id,
            "choices": [{"index": 0, "logprobs": None, **choice}],
        }

    def _usage(self) -> dict[str, int]:
        report = self._request.options.report
        count = self._server.backend.count
        prompt = report.prompt_tokens
        if prompt is None:
            given = self._request.prompt
            prompt = count(given if isinstance(given, str) else "\n".join(message["content"] for message in given))
        completion = report.completion_tokens
        if completion is None:
            completion = count(self._text)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def _reason(self, stopper: Stopper, tokens: int) -> str:
        if stopper.stopped:
            return "stop"
        said = self._request.options.report.finish_reason
        limit = self._request.options.max_tokens
        return said or ("length" if 0 < limit <= tokens else "stop")


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """The options all drivers have."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="port to listen on")
    parser.add_argument("--model-id", default="", help="what requests say as `model`; default: the directory's name")
    return parser


def serve(backend: Backend, host: str, port: int) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. The model loads while /health already answers."""
    try:
        server = Server(backend, host, port, os.environ.pop("API_KEY", ""))
    except OSError as error:
        _log(f"cannot listen on {host}:{port}: {error.strerror}")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    _log(f"loading {backend.model_id}, listening on http://{host}:{server.server_address[1]}")
    threading.Thread(target=server.load, daemon=True).start()
    with server:
        server.serve_forever(poll_interval=WATCH)
        server.turn.acquire(timeout=GRACE)
    if server.failure is not None:
        _log(f"the model could not be loaded: {server.failure}")
        return 1
    return 0


def _log(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
