"""A proxy before a server on loopback that breaks what passes it, as networks and bad proxies do."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.quiethandler import QuietHandler

if TYPE_CHECKING:
    from collections.abc import Mapping

_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


@dataclass
class NetworkFault:
    """What goes wrong with requests whose method and path fit; the first `times` of them (0: all)."""

    path: str = ""
    methods: tuple[str, ...] = ("GET", "HEAD", "POST", "PUT", "PATCH")
    times: int = 0
    status: int = 0
    body: bytes = b"ordered by the test"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds before anything is said
    reset: bool = False  # the connection breaks before an answer
    cut: int | None = None  # bytes of the body that are sent, of all that are announced
    flip: bool = False  # the middle byte of the body is another one
    drip: float = 0.0  # seconds between pieces of the body

    def fits(self, method: str, path: str) -> bool:
        return self.path in path and method in self.methods


class FaultyProxy:
    """Hands requests on to `upstream` (HOST:PORT); `host` is where it listens."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.faults: list[NetworkFault] = []
        self.hit: list[str] = []  # the requests that met a fault
        self._lock = threading.Lock()
        proxy = self

        class Handler(QuietHandler):
            gone = (OSError, http.client.HTTPException)

            def do_any(self) -> None:
                proxy.pass_on(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_any  # noqa: N815 - http.server's names

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FaultyProxy:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def fail(self, path: str = "", **what: Any) -> NetworkFault:
        self.faults.append(NetworkFault(path, **what))
        return self.faults[-1]

    def _fault(self, method: str, path: str) -> NetworkFault:
        with self._lock:
            for fault in self.faults:
                if fault.fits(method, path):
                    self.hit.append(f"{method} {path}")
                    if fault.times == 1:
                        self.faults.remove(fault)
                    elif fault.times:
                        fault.times -= 1
                    return fault
        return NetworkFault()

    def pass_on(self, request: Any) -> None:
        fault = self._fault(request.command, urlsplit(request.path).path)
        time.sleep(fault.delay)
        if fault.reset:
            request.close_connection = True
            request.connection.close()
        elif fault.status:
            request.close_connection = True
            self._answer(request, fault.status, fault.headers, fault.body, fault)
        else:
            status, headers, body = self._ask(request)
            self._answer(request, status, headers, body, fault)

    def _ask(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        data = self._body(request)
        upstream = http.client.HTTPConnection(self.upstream, timeout=30)
        try:
            upstream.request(request.command, request.path, data, headers)
            answer = upstream.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
            if request.command == "HEAD" and answer.getheader("Content-Length"):
                kept["Content-Length"] = str(answer.getheader("Content-Length"))
            return answer.status, kept, answer.read()
        finally:
            upstream.close()

    @staticmethod
    def _body(request: Any) -> bytes:
        if request.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return bytes(request.rfile.read(int(request.headers.get("Content-Length") or 0)))
        found = b""
        while size := int(request.rfile.readline().split(b";")[0], 16):
            found += request.rfile.read(size)
            request.rfile.readline()
        request.rfile.readline()
        return found

    @staticmethod
    def _answer(request: Any, status: int, headers: Mapping[str, str], body: bytes, fault: NetworkFault) -> None:
        if fault.flip and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        if "Content-Length" not in headers and status not in {204, 304}:
            request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        if request.command == "HEAD":
            return
        sent = body if fault.cut is None else body[: fault.cut]
        pieces = [sent[at : at + 512] for at in range(0, len(sent), 512)] if fault.drip else [sent]
        for piece in pieces:
            request.wfile.write(piece)
            request.wfile.flush()
            time.sleep(fault.drip)
        if fault.cut is not None:
            request.close_connection = True
            request.connection.close()
