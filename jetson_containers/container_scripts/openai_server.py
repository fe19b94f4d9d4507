"""A small OpenAI-compatible server for runtimes that have none: one model, one answer at a time.

Runs inside images: Python 3.8 and the standard library. A backend makes text (`Backend`), everything of the protocol
is here: models, chat and text completions, streamed or not, usage, stop strings, keys, errors, health, shutdown.
`API_KEY` in the environment asks for `Authorization: Bearer` below /v1. Without a key any page in a browser on this
network could ask, so requests for a public host name (DNS rebinding) and of pages from elsewhere are refused then.
"""

from __future__ import annotations

import argparse
import contextlib
import hmac
import ipaddress
import json
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
import uuid
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing import Iterator

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
    from openai_protocol import BadRequest, CompletionRequest, GenerationOptions, GenerationReport, error_object
    from text_stream import Stopper, TextStream

__all__ = ["Backend", "BadRequest", "GenerationOptions", "GenerationReport", "TextStream", "argument_parser", "serve"]

LARGEST_BODY = 32 << 20  # bytes
MOST_CONNECTIONS = 64  # at once; each costs a thread
DROPPED = 1 << 20  # bytes of a refused body that are read and thrown away
DROP_TIME = 1.0  # seconds that this may take
REQUEST_TIME = 60.0  # seconds until a request's headers are here, the wait between two requests included
BODY_TIME = 60.0  # seconds until its body is here
# Names that no public DNS server answers: what a page from elsewhere cannot be made to stand under.
LOCAL_ENDINGS = (".local", ".localhost", ".lan", ".internal", ".home.arpa")
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


class LimitedServer(ThreadingHTTPServer):
    """A listening socket, IPv4 or IPv6, with at most MOST_CONNECTIONS at once."""

    daemon_threads = True
    request_queue_size = 128  # of the base class's 5 the sixth waits a second, until its packet is sent again

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Give a connection its thread, or refuse it where too many are open."""
        if self.free.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):  # whoever opens so many does not wait for answers either
            request.settimeout(1)
            request.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection to its end."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()


class Server(LimitedServer):
    """The listening socket and what its requests share: the backend, one lock, and whether it is loaded."""

    def __init__(self, backend: Backend, host: str, port: int, api_key: str = "") -> None:
        self.backend = backend
        self.api_key = api_key
        self.loaded = threading.Event()
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self.turn = threading.Lock()
        self.created = int(time.time())
        self.host = host
        super().__init__(host, port, Handler)

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

    def names_us(self, host: str) -> bool:
        """Whether a `Host` is an address, a name of this network, or the one the server was told to listen on."""
        return is_local_name(host) or (urlsplit("//" + host).hostname or "") in self.own_names

    @cached_property
    def own_names(self) -> frozenset[str]:
        """The names of this machine with a domain; looked up once, because a name server may be asked for them."""
        return frozenset({self.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()})

    def stop(self) -> None:
        """End `serve_forever`, from any thread but its own."""
        self.stopping.set()
        threading.Thread(target=self.shutdown, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class calls it so
        """A client that went away is expected; anything else is reported."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            traceback.print_exc()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = 600  # seconds without a byte, of an answer that is being taken too
    server_version = "jetson-containers"
    sys_version = ""
    disable_nagle_algorithm = True  # a token is a small packet, and should not wait for the next one

    def handle_one_request(self) -> None:
        """Serve a request whose headers are here in time; else the connection ends."""
        with self._within(REQUEST_TIME) as self._late:
            super().handle_one_request()

    def parse_request(self) -> bool:
        """Read the headers; from then on the request has all the time it needs."""
        try:
            return super().parse_request()
        finally:
            self._late.cancel()

    @contextlib.contextmanager
    def _within(self, seconds: float) -> Iterator[threading.Timer]:
        """End the connection where what is done inside takes longer; a timeout of the socket is for each byte."""
        late = threading.Timer(seconds, self._end_connection)
        late.daemon = True
        late.start()
        try:
            yield late
        finally:
            late.cancel()

    def _end_connection(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        """Health and models."""
        if not self._from_here():
            return
        path = self._path()
        if path in {"/health", "/v1/health"}:
            state = "ok" if self.server.loaded.is_set() else "loading"
            self._json(200 if state == "ok" else 503, {"status": state})
        elif not self._allowed():
            pass
        elif path == "/v1/models":
            self._json(200, {"object": "list", "data": [self._model()]})
        elif path == "/v1/models/" + self.server.backend.model_id:
            self._json(200, self._model())
        else:
            self._no_such(path)

    def do_POST(self) -> None:
        """Completions."""
        path = self._path()
        if not self._from_here() or not self._allowed():
            self._drop_body()
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
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) <= 18) or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self.error(411, "Content-Length is needed.")
            return None
        if int(length) > LARGEST_BODY:
            self.close_connection = True
            self.error(413, f"The body is larger than {LARGEST_BODY} bytes.")
            return None
        with self._within(BODY_TIME):
            body = self.rfile.read(int(length))
        if len(body) < int(length):
            self.close_connection = True
            return None
        return body

    def _drop_body(self) -> None:
        """Read on a little after a refusal, so that the client sees the answer; the connection is not used again."""
        self.close_connection = True
        with contextlib.suppress(OSError, ValueError), self._within(DROP_TIME):
            left = min(int(self.headers.get("Content-Length") or 0), DROPPED)
            while left > 0 and (block := self.rfile.read(min(left, 1 << 16))):
                left -= len(block)

    def _from_here(self) -> bool:
        """Whether a request without a key may be of a program or page of this network; else it is refused."""
        if self.server.api_key:
            return True
        try:
            host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
            named = not host or self.server.names_us(host)
            page = urlsplit(origin).hostname if origin else ""
            same = origin is None or page in {urlsplit("//" + host).hostname, "localhost", "127.0.0.1", "::1"}
        except ValueError:  # neither is an address
            named = same = False
        if named and same:
            return True
        self.close_connection = True
        what = f"Origin: {origin}" if named else f"Host: {host}"
        self.error(403, f"`{what[:100]}` is refused: ask by address, or set API_KEY.")
        return False

    def _allowed(self) -> bool:
        key = self.server.api_key
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), key.encode())
        if not key or (scheme.lower() == "bearer" and right):
            return True
        self.error(401, "A valid key is needed: `Authorization: Bearer KEY`.", code="invalid_api_key")
        return False

    def _model(self) -> dict[str, Any]:
        model_id = self.server.backend.model_id
        return {"id": model_id, "object": "model", "created": self.server.created, "owned_by": "jetson-containers"}

    def _json(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def answer(self, value: dict[str, Any]) -> None:
        """Send a whole answer."""
        self._json(200, value)

    def error(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        """Send an error as OpenAI's clients expect it."""
        self._json(status, error_object(status, message, param, code))

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

    def gone(self) -> bool:
        """Whether the client has closed the connection."""
        try:
            poll = select.poll()  # select() knows no descriptors above 1023
            poll.register(self.connection, select.POLLIN)
            return bool(poll.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True

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


def is_local_name(host: str) -> bool:
    """Whether a `Host` is an address, or a name that only this network knows. Raises ValueError."""
    name = urlsplit("//" + host).hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(LOCAL_ENDINGS)
    return True


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
