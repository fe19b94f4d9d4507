"""The handler of HTTP servers in tests: it logs nothing, and a client that goes away is no fault."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import ClassVar


class QuietHandler(BaseHTTPRequestHandler):
    """`gone`: what a client that goes away raises."""

    protocol_version = "HTTP/1.1"
    gone: ClassVar[tuple[type[Exception], ...]] = (ConnectionError, TimeoutError)

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        """Serve a request, or end the connection with its client."""
        try:
            super().handle_one_request()
        except self.gone:
            self.close_connection = True
