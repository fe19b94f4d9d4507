"""Start a model's server, and beside it a page in which one can chat with it.

    with_page.py --port PORT --server HOST:PORT [--host ADDRESS] -- SERVER …

The server takes the place of this process, so that it gets the container's signals and its exit status counts; the page
runs in a child that ends with the container. Requests of the page go through here to the server: a key that was typed
is handed on and not kept. Pages from elsewhere are refused, and so are public host names (DNS rebinding).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import http.client
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing import Sequence

    from jetson_containers.container_scripts import request_rules
else:
    import request_rules

PAGE = "chat_page.html"
GETS, POSTS = ("/health", "/v1/models"), ("/v1/chat/completions",)
ANSWER_TIME = 3600.0  # seconds without a byte of the server, which may load or think for long
_PIECE = 1 << 16  # bytes


class PageServer(request_rules.LimitedServer):
    """The page's socket, and where the model's server is."""

    def __init__(self, page: str, host: str, port: int, server: str) -> None:
        self.page = page.encode("utf-8")
        self.policy = content_policy(page)
        self.upstream = request_rules.split_address(server)
        super().__init__(host, port, PageHandler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is expected."""


class PageHandler(request_rules.RuledHandler):
    """One request: the page itself, or one that is handed on."""

    server: PageServer  # type: ignore[assignment]  # it has no key: that of the model's server is judged there
    timeout = int(request_rules.REQUEST_TIME)

    def log_message(self, *_: Any) -> None:
        """The server has a log of its own."""

    def do_GET(self) -> None:  # noqa: N802 - the base class calls it so
        """The page, the server's state and its models."""
        path = self.path.partition("?")[0]
        self.close_connection = self.close_connection or self.has_body()  # it is not read: nothing may follow it
        if not self._from_here():
            return
        if path == "/":
            self._answer(200, "text/html; charset=utf-8", self.server.page)
        elif path in GETS:
            self._hand_on("GET", path, b"")
        else:
            self._refuse(404, "there is no such page")

    def do_POST(self) -> None:  # noqa: N802 - the base class calls it so
        """Questions."""
        length = self.headers.get("Content-Length", "")
        if not self._from_here():
            return
        if self.path not in POSTS:
            self._refuse(404, "there is no such page")
        elif not (length.isascii() and length.isdigit() and len(length) < 10):
            self._refuse(411, "Content-Length is needed")
        elif int(length) > request_rules.LARGEST_BODY:
            self._refuse(413, "the question is too large")
        else:
            with self.within(request_rules.BODY_TIME):
                body = self.rfile.read(int(length))
            if len(body) == int(length):
                self._hand_on("POST", self.path, body)
            else:
                self.close_connection = True

    def _from_here(self) -> bool:
        """Whether the browser asks under a name of this network, for the page itself."""
        host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
        try:
            named = bool(host) and request_rules.is_local_name(host)
            same = origin is None or urlsplit(origin).netloc == host
        except ValueError:
            named = same = False
        if not (named and same):
            self._refuse(403, "ask for this page by address")
        return named and same

    def _hand_on(self, method: str, path: str, body: bytes) -> None:
        host, port = self.server.upstream
        kept = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
        connection = http.client.HTTPConnection(host, port, timeout=ANSWER_TIME)
        try:
            connection.request(method, path, body or None, kept)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException):
            connection.close()
            self._refuse(502, "the model's server does not answer")
            return
        with contextlib.closing(connection):
            self.close_connection = True  # the length of a stream is not known
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type") or "application/json")
            self.send_header("Cache-Control", "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            with contextlib.suppress(OSError, http.client.HTTPException):  # either side went away
                while piece := answer.read1(_PIECE):
                    self.wfile.write(piece)
                    self.wfile.flush()

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True
        self._answer(status, "text/plain; charset=utf-8", (why + "\n").encode())

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind, "Content-Length": str(len(body)), "Cache-Control": "no-store",
            "Content-Security-Policy": self.server.policy, "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
        }  # fmt: skip
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def content_policy(page: str) -> str:
    """Only what stands in the page itself may run, and it may talk with nobody but this server."""
    rules = ["default-src 'none'", "connect-src 'self'", "img-src data:", "base-uri 'none'", "form-action 'none'"]
    rules.append("frame-ancestors 'none'")
    for tag in ("script", "style"):
        hashes = [
            base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
            for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        ]
        rules.append(f"{tag}-src " + " ".join(f"'sha256-{digest}'" for digest in hashes))
    return "; ".join(rules)


def main(argv: Sequence[str] | None = None) -> int:
    """Start both. Ends with 2 for wrong words; else the server's exit status is the process's."""
    words = list(sys.argv[1:] if argv is None else argv)
    end = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--host", default="127.0.0.1", help="address of the page")
    parser.add_argument("--port", type=int, required=True, help="port of the page")
    parser.add_argument("--server", required=True, metavar="HOST:PORT", help="where the model's server listens")
    given = parser.parse_args(words[:end])
    program = words[end + 1 :]
    if not program:
        parser.error("the server's command is missing")
    if os.fork() == 0:
        os._exit(_serve(given.host, given.port, given.server))
    os.execvp(program[0], program)  # noqa: S606 - no shell is wanted


def _serve(host: str, port: int, server: str) -> int:
    try:
        page = Path(__file__).with_name(PAGE).read_text(encoding="utf-8")
        PageServer(page, host, port, server).serve_forever()
    except (OSError, ValueError) as error:
        sys.stderr.write(f"no page at {host}:{port}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
