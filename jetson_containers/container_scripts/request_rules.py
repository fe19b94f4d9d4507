"""What every server of ours asks of a request before it reads the body: where it comes from, its key, time and size.

`LimitedServer` bounds the connections, `RuledServer` has the key and the names it answers to, `RuledHandler` applies
the rules to one connection and answers what is refused as OpenAI's clients read it. Python 3.8, the standard library.

Without a key any page in a browser on this network could ask, so requests for a public host name (DNS rebinding) and of
pages from elsewhere are refused then.
"""

from __future__ import annotations

import contextlib
import hmac
import ipaddress
import json
import re
import select
import socket
import sys
import threading
import traceback
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing import Iterator

    from jetson_containers.container_scripts.openai_protocol import error_object
else:  # inside an image these files stand alone, in one directory
    from openai_protocol import error_object

LARGEST_BODY = 32 << 20  # bytes
MOST_CONNECTIONS = 64  # at once; each costs a thread
DROPPED = 1 << 20  # bytes of a refused body that are read and thrown away
DROP_TIME = 1.0  # seconds that this may take
REQUEST_TIME = 60.0  # seconds until a request's headers are here, the wait between two requests included
BODY_TIME = 60.0  # seconds until its body is here
# Names that no public DNS server answers: what a page from elsewhere cannot be made to stand under.
LOCAL_ENDINGS = (".local", ".localhost", ".lan", ".internal", ".home.arpa")
# What a request's head may be (RFC 9112, 3 and 5). Python reads mail's headers: it takes a carriage return for the end
# of a line and leaves out what follows a line without a name, so that another program may see another request.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(_TOKEN + rb" [!-~]+ HTTP/1\.[0-9]\r?\n")
_HEADER_LINE = re.compile(_TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*\r?\n")
_ONCE = ("Host", "Origin", "Authorization")  # of two, another program may judge the other
_HOST = re.compile(r"[0-9A-Za-z._~%:\[\]-]*")


class LimitedServer(ThreadingHTTPServer):
    """A listening socket, IPv4 or IPv6, with at most `most_connections` at once."""

    daemon_threads = True
    request_queue_size = 128  # of the base class's 5 the sixth waits a second, until its packet is sent again
    most_connections = MOST_CONNECTIONS

    def __init__(self, host: str, port: int, handler: type[BaseHTTPRequestHandler]) -> None:
        self.free = threading.BoundedSemaphore(self.most_connections)
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


class RuledServer(LimitedServer):
    """A limited server with a key, or "" for none, which knows the names of its machine."""

    def __init__(self, host: str, port: int, handler: type[RuledHandler], api_key: str = "") -> None:
        self.host = host
        self.api_key = api_key
        super().__init__(host, port, handler)

    def names_us(self, host: str) -> bool:
        """Whether a `Host` is an address, a name of this network, or the one the server was told to listen on."""
        return is_local_name(host) or (urlsplit("//" + host).hostname or "") in self.own_names

    @cached_property
    def own_names(self) -> frozenset[str]:
        """The names of this machine with a domain; looked up once, because a name server may be asked for them."""
        return frozenset({self.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()})

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class calls it so
        """A client that went away is expected; anything else is reported."""
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError, socket.timeout)):
            traceback.print_exc()


class HeadLines:
    """The lines of a request's head; `wrong` once one of them is not a header, or the end is missing."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.wrong = False

    def readline(self, limit: int = -1) -> bytes:
        """The next line."""
        line: bytes = self._stream.readline(limit)
        self.wrong = self.wrong or not (line in {b"\r\n", b"\n"} or _HEADER_LINE.fullmatch(line))
        return line


class RuledHandler(BaseHTTPRequestHandler):
    """One connection."""

    server: RuledServer
    raw_requestline: bytes  # which the base class sets
    protocol_version = "HTTP/1.1"
    timeout = 600  # seconds without a byte, of an answer that is being taken too
    server_version = "jetson-containers"
    sys_version = ""
    disable_nagle_algorithm = True  # a token is a small packet, and should not wait for the next one
    largest_body = LARGEST_BODY  # bytes

    def handle_one_request(self) -> None:
        """Serve a request whose headers are here in time; else the connection ends."""
        self.expects_continue = False
        with self.within(REQUEST_TIME) as self._late:
            super().handle_one_request()

    def parse_request(self) -> bool:
        """Read the headers; from then on the request has all the time it needs. A malformed head is refused."""
        stream = self.rfile
        head = HeadLines(stream)
        self.rfile = head  # type: ignore[assignment]
        try:
            read = super().parse_request()
        finally:
            self.rfile = stream
            self._late.cancel()
        if not read:
            return False
        twice = any(len(self.headers.get_all(name, ())) > 1 for name in _ONCE)
        if head.wrong or twice or not _REQUEST_LINE.fullmatch(self.raw_requestline):
            self.send_error(400, "The request's line or headers are malformed")
            return False
        return True

    def has_body(self) -> bool:
        """Whether the request says that a body follows."""
        return "Content-Length" in self.headers or "Transfer-Encoding" in self.headers

    def handle_expect_100(self) -> bool:
        """Keep "100 Continue" until the request was judged: it asks the client for the body."""
        self.expects_continue = True
        return True

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[threading.Timer]:
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

    def body_length(self) -> int | None:
        """Bytes of the body that follows, after "100 Continue" where the client waits for it; None: it was refused.

        The connection cannot be used again after a refusal, because where the next request begins is not known.
        """
        lengths = self.headers.get_all("Content-Length") or [""]
        length = lengths[0]
        plain = length.isascii() and length.isdigit() and len(length) <= 18 and len(lengths) == 1
        if not plain or "Transfer-Encoding" in self.headers:
            self.close_connection = True
            self.error(411, "Content-Length is needed.")
            return None
        if int(length) > self.largest_body:
            self.close_connection = True
            self.error(413, f"The body is larger than {self.largest_body} bytes.")
            return None
        if self.expects_continue:
            self.send_response_only(100)
            self.end_headers()
        return int(length)

    def drop_body(self) -> None:
        """Read on a little after a refusal, so that the client sees the answer; the connection is not used again."""
        self.close_connection = True
        if self.expects_continue:
            return  # none was sent
        with contextlib.suppress(OSError, ValueError), self.within(DROP_TIME):
            left = min(int(self.headers.get("Content-Length") or 0), DROPPED)
            while left > 0 and (block := self.rfile.read(min(left, 1 << 16))):
                left -= len(block)

    def from_here(self) -> bool:
        """Whether a request without a key may be of a program or page of this network; else it is refused."""
        if self.server.api_key:
            return True
        try:
            host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
            named = not host or self.server.names_us(host)
            page = urlsplit(origin).hostname if origin else ""
            ours = {urlsplit("//" + host).hostname, "localhost", "127.0.0.1", "::1"}
            same = origin is None or (bool(page) and page in ours)
        except ValueError:  # neither is an address
            named = same = False
        if named and same:
            return True
        self.close_connection = True
        what = f"Origin: {origin}" if named else f"Host: {host}"
        self.error(403, f"`{what[:100]}` is refused: ask by address, or set API_KEY.")
        return False

    def allowed(self) -> bool:
        """Whether the request has the key, where one is set; else it is refused."""
        key = self.server.api_key
        scheme, _, given = self.headers.get("Authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip(" \t").encode("latin-1"), key.encode())
        if not key or (scheme.lower() == "bearer" and right):
            return True
        self.error(401, "A valid key is needed: `Authorization: Bearer KEY`.", code="invalid_api_key")
        return False

    def send_json(self, status: int, value: dict[str, Any]) -> None:
        """Send a whole answer."""
        body = json.dumps(value).encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if getattr(self, "command", "") != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        """Send an error as OpenAI's clients expect it."""
        self.send_json(status, error_object(status, message, param, code))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002
        """Answer what the base class cannot read, instead of with its page of HTML; the connection ends."""
        self.close_connection = True
        if self.request_version == "HTTP/0.9":  # what is assumed of a line that says none; it has no status line
            self.request_version = "HTTP/1.0"
        self.error(int(code), f"{message or self.responses.get(code, ('',))[0]}.")

    def gone(self) -> bool:
        """Whether the client has closed the connection."""
        try:
            poll = select.poll()  # select() knows no descriptors above 1023
            poll.register(self.connection, select.POLLIN)
            return bool(poll.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            return True


def is_local_name(host: str) -> bool:
    """Whether a `Host` is an address, or a name that only this network knows. Raises ValueError."""
    if not _HOST.fullmatch(host):
        raise ValueError(f"`{host[:100]}` is not a host")
    name = urlsplit("//" + host).hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." not in name or name.endswith(LOCAL_ENDINGS)
    return True


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, an IPv6 address in brackets. Raises ValueError."""
    found = urlsplit("//" + text)
    if not found.hostname or not found.port:
        raise ValueError(f"`{text}` is not HOST:PORT")
    return found.hostname, found.port
