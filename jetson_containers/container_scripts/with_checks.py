"""Start a model's server, and in front of it a program that checks requests by the rules of `request_rules`.

    with_checks.py --host ADDRESS --port PORT --server HOST:PORT [--key-env NAME] [--open PATH]... -- SERVER …

The server takes the place of this process, so that it gets the container's signals and its exit status counts; the
checks run in a child that ends with it. The port is taken before the server starts. Answers are passed on as they come;
a client that leaves ends its request. Until the server listens, requests get 503; upgrades (WebSocket) are refused.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Iterator, NoReturn, Sequence

    from jetson_containers.container_scripts import request_rules
else:
    import request_rules

LARGEST_BODY = 256 << 20  # bytes; pictures and sound for the model, which go through here in pieces
SLOWEST_BODY = 1 << 19  # bytes/s of a large one
CONNECT_TIME = 10.0  # seconds
ANSWER_TIME = 3600.0  # seconds without a byte of the server, which may think for long
WATCH = 0.2  # seconds between looks whether clients are still there
_PIECE = 1 << 16  # bytes
# Of one connection, never passed on (RFC 9110, 7.6.1); and what only a proxy that the server trusts may say.
_OWN = frozenset(
    {
        "connection", "content-length", "expect", "forwarded", "keep-alive", "proxy-authenticate",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_NO_BODY = frozenset({204, 304})


class CheckingServer(request_rules.RuledServer):
    """The published port, and where the model's server listens. It ends when the process `parent` does."""

    most_connections = 256  # servers that batch have more users than ours
    parent = 0

    def __init__(self, host: str, port: int, server: tuple[str, int], *, api_key: str = "", opened: Any = ()) -> None:
        self.upstream = server
        self.opened = frozenset(opened)
        self.reached = False  # once the server has taken a connection, it is no longer loading
        self.waiting: dict[CheckingHandler, socket.socket] = {}
        self.lock = threading.Lock()
        super().__init__(host, port, CheckingHandler, api_key)

    def service_actions(self) -> None:
        """Look around, several times a second: end requests that nobody waits for, and all with the server."""
        if self.parent and os.getppid() != self.parent:
            os._exit(0)
        with self.lock:
            for handler, connection in self.waiting.items():
                if handler.gone():
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def watched(self, handler: CheckingHandler, connection: socket.socket) -> Iterator[None]:
        """End a request to the server when its client leaves: some answers begin after minutes."""
        with self.lock:
            self.waiting[handler] = connection
        try:
            yield
        finally:
            with self.lock:
                del self.waiting[handler]


class CheckingHandler(request_rules.RuledHandler):
    """One connection of a client."""

    server: CheckingServer
    largest_body = LARGEST_BODY

    def log_message(self, *_: Any) -> None:
        """The server has a log of its own."""

    def pass_on(self) -> None:
        """Judge a request by its headers, then hand it to the server."""
        if not self.from_here() or not self._has_key() or not self._is_plain():
            self.drop_body()
            return
        length: int | None = 0
        if self.has_body():
            length = self.body_length()
        if length is None:
            return
        try:
            connection = self._connected()
        except OSError:
            self._unreachable()
            return
        with contextlib.closing(connection):
            self._exchange(connection, length)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = pass_on  # noqa: N815 - the base's names

    def _has_key(self) -> bool:
        bodyless = not self.has_body()
        if bodyless and self.command in {"GET", "HEAD"} and self.path.partition("?")[0] in self.server.opened:
            return True
        if bodyless and self.command == "OPTIONS":  # browsers ask without a key whether they may ask
            return True
        return self.allowed()

    def _is_plain(self) -> bool:
        """Whether it is a request as the server may get it; else it is refused."""
        if not self.path.startswith("/"):
            self.send_error(400, "The request is not one for a path of this server")
            return False
        if "websocket" in self.headers.get("Upgrade", "").lower():
            self.send_error(501, "WebSockets are not passed on to the model's server")
            return False
        return True

    def _connected(self) -> http.client.HTTPConnection:
        """A connection to the server with the request's headers sent. Raises OSError, ValueError."""
        connection = http.client.HTTPConnection(*self.server.upstream, timeout=CONNECT_TIME)
        connection.connect()
        connection.sock.settimeout(ANSWER_TIME)
        self.server.reached = True
        return connection

    def _unreachable(self) -> None:
        self.close_connection = True
        if self.server.reached:
            self.error(502, "The model's server does not answer.")
        else:
            self.error(503, "The model is still being loaded.", code="loading")

    def _exchange(self, connection: http.client.HTTPConnection, length: int) -> None:
        try:
            self._send_head(connection, length)
        except OSError:
            self._unreachable()
            return
        if not self._send_body(connection, length):
            return
        upstream = connection.sock
        with self.server.watched(self, upstream):
            try:
                answer = connection.getresponse()
                if answer.status < 200:
                    raise http.client.HTTPException("an upgrade that was not asked for")
            except (OSError, ValueError, http.client.HTTPException):
                self._unreachable()
                return
            with contextlib.closing(answer):
                self._answer(answer)

    def _send_head(self, connection: http.client.HTTPConnection, length: int) -> None:
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        named = {name.strip().lower() for name in self.headers.get("Connection", "").split(",")}
        for name, value in self.headers.items():
            plain = name.lower()
            if not (plain in _OWN or plain in named or plain.startswith("x-forwarded-")):
                connection.putheader(name, value)
        if "Content-Length" in self.headers:
            connection.putheader("Content-Length", str(length))
        connection.putheader("Connection", "close")
        connection.endheaders()

    def _send_body(self, connection: http.client.HTTPConnection, length: int) -> bool:
        """Hand the body on, piece by piece. False: the client did not send all of it in time."""
        left = length
        with self.within(request_rules.BODY_TIME + length / SLOWEST_BODY):
            while left > 0:
                piece = self.rfile.read1(min(left, _PIECE))
                if not piece:
                    self.close_connection = True
                    return False
                left -= len(piece)
                try:
                    connection.sock.sendall(piece)
                except OSError:  # a server that has refused it already; its answer says why
                    self.close_connection = True
                    return True
        return True

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        """Hand the answer on as it comes; where it breaks off, the client sees that by the end of its connection."""
        bodyless = self.command == "HEAD" or answer.status in _NO_BODY
        known = None if answer.chunked else answer.getheader("Content-Length")
        chunked = not bodyless and (answer.chunked or known is None) and self.request_version != "HTTP/1.0"
        if not bodyless and known is None and not chunked:
            self.close_connection = True
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _OWN:
                self.send_header(name, " ".join(value.split()))
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif known is not None:
            self.send_header("Content-Length", known)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if bodyless:
            return
        try:
            while piece := answer.read1(_PIECE):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            if answer.length:
                raise http.client.IncompleteRead(b"", answer.length)
            if chunked:
                self.wfile.write(b"0\r\n\r\n")
        except (OSError, ValueError, http.client.HTTPException):
            self.close_connection = True


def main(argv: Sequence[str] | None = None) -> int:
    """Start both. Ends with 2 for wrong words, 1 for a port that is taken; else the exit status is the server's."""
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="port to listen on")
    parser.add_argument("--server", required=True, metavar="HOST:PORT", help="where the model's server will listen")
    parser.add_argument("--key-env", default="", metavar="NAME", help="variable that holds the key")
    parser.add_argument("--open", action="append", default=[], metavar="PATH", help="path that needs no key")
    given = parser.parse_args(words[:end])
    program = words[end + 1 :]
    if not program:
        parser.error("the server's command is missing")
    try:
        place = request_rules.split_address(given.server)
    except ValueError as error:
        parser.error(str(error))
    key = os.environ.get(given.key_env, "")
    if given.key_env and not key:
        sys.exit(f"with_checks.py: the environment variable {given.key_env} is empty")
    try:
        server = CheckingServer(given.host, given.port, place, api_key=key, opened=given.open)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {given.host}:{given.port}: {error.strerror}\n")
        return 1
    server.parent = os.getpid()
    if os.fork() == 0:
        _check(server)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # what Python ignores, programs it becomes would ignore too
    try:
        os.execvp(program[0], program)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{program[0]}: {error.strerror}\n")
        return 127 if isinstance(error, FileNotFoundError) else 126


def _check(server: CheckingServer) -> NoReturn:
    """Serve until the model's server ends, or end it: without this nobody could reach it."""
    try:
        server.serve_forever(poll_interval=WATCH)
    finally:
        if os.getppid() == server.parent:
            os.kill(server.parent, signal.SIGTERM)
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
