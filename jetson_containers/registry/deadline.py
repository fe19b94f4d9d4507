"""HTTP connections that end by one moment, whatever the server does.

The time limit of `http.client` is one for each read from the socket. A server that sends its status line, a header or
the length of a chunk byte by byte would get it anew for every byte; here each read gets what is left of the request's.
"""

from __future__ import annotations

import functools
import http.client
import io
import socket
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    Left = Callable[[], float]


def left_until(deadline: float, clock: Callable[[], float]) -> Left:
    """A function for the seconds that are left; it raises TimeoutError when there are none."""

    def left() -> float:
        seconds = deadline - clock()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    return left


class TimedRequest(urllib.request.Request):
    """A request that knows how much time is left; so does what a redirect leads to."""

    left: Left


class HTTPHandler(urllib.request.HTTPHandler):
    """Opens plain connections."""

    def http_open(self, req: Any) -> http.client.HTTPResponse:
        """Send a `TimedRequest`, and read its status and headers."""
        return self.do_open(_connection(http.client.HTTPConnection, req.left), req)


class HTTPSHandler(urllib.request.HTTPSHandler):
    """Opens connections with TLS. `tls` gives the context when the first is: it reads the machine's certificates."""

    def __init__(self, tls: Callable[[], ssl.SSLContext]) -> None:
        urllib.request.AbstractHTTPHandler.__init__(self)  # that of HTTPSHandler would read them
        self._tls = functools.cache(tls)

    def https_open(self, req: Any) -> http.client.HTTPResponse:
        """Send a `TimedRequest`, and read its status and headers."""
        return self.do_open(_connection(http.client.HTTPSConnection, req.left), req, context=self._tls())


def _connection(kind: type[http.client.HTTPConnection], left: Left) -> Any:
    """What makes connections of a kind that end by one moment."""

    def make(host: str, **options: Any) -> http.client.HTTPConnection:
        made = kind(host, **options)
        made.response_class = functools.partial(_TimedResponse, left=left)  # type: ignore[assignment]
        made._create_connection = functools.partial(_connect, left=left)  # type: ignore[attr-defined]  # noqa: SLF001
        return made

    return make


def _connect(address: tuple[str, int], *_: object, left: Left) -> socket.socket:
    """As `socket.create_connection`, which gives each address of a name the whole time."""
    failed: OSError = OSError("its name has no address")
    for family, kind, protocol, _name, place in socket.getaddrinfo(*address, type=socket.SOCK_STREAM):
        made = socket.socket(family, kind, protocol)
        try:
            made.settimeout(left())
            made.connect(place)
            made.settimeout(left())  # of the TLS handshake as a whole
        except OSError as error:
            made.close()
            failed = error
        else:
            return made
    raise failed


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, left: Left, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock, left))


class _TimedReader(io.RawIOBase):
    """Reads from a socket with what time is left."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, left: Left) -> None:
        self._raw = raw
        self._sock = sock
        self._left = left

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
