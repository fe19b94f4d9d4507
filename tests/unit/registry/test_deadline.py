"""A request ends within its time limit, whatever the server sends and however slowly."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from jetson_containers.registry.deadline import left_until
from jetson_containers.registry.http import Transport
from jetson_containers.registry.types import UnreachableError
from tests.unit.rawserver import drip, server

if TYPE_CHECKING:
    import socket

LIMIT = 0.4  # seconds
HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
# What is sent at once, and what then comes byte by byte without end.
DRIPS = {
    "nothing": (b"", b""),
    "status line": (b"", b"HTTP/1.1 200 " + b"O" * 60_000),
    "name of a header": (HEADERS, b"X" * 60_000),
    "many headers": (HEADERS, b"A: b\r\n" * 10_000),
    "informational answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000),
    "body": (HEADERS + b"Content-Length: 60000\r\n\r\n", b"[" * 60_000),
    "body of an error": (b"HTTP/1.1 404 Not Found\r\nContent-Length: 60000\r\n\r\n", b"x" * 60_000),
    "length of a chunk": (HEADERS + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 60_000),
    "chunks": (HEADERS + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n[\r\n" * 10_000),
}


@pytest.mark.parametrize("what", DRIPS)
def test_transport_ends_a_request_that_drips(what: str) -> None:
    """Whatever comes byte by byte, each in time for a single read, the request as a whole ends."""
    first, slow = DRIPS[what]

    def answer(connection: socket.socket, _address: str) -> None:
        connection.sendall(first)
        drip(connection, slow, LIMIT / 20)
        time.sleep(60 if not slow else 0)

    began = time.monotonic()
    with server(answer) as address, pytest.raises(UnreachableError, match="no answer within"):
        Transport(timeout=LIMIT, env={}, jitter=lambda: 0.0).request("GET", f"{address}/v2/")
    assert time.monotonic() - began < 30  # every drip would take twenty minutes


def test_transport_gives_redirects_no_time_of_their_own() -> None:
    """A server that sends from one address to the next, each in time, is left as well."""
    hops = []

    def answer(connection: socket.socket, address: str) -> None:
        hops.append(1)
        time.sleep(LIMIT * 0.6)
        where = f"Location: {address}/{len(hops)}\r\n".encode()
        connection.sendall(b"HTTP/1.1 307 Temporary Redirect\r\n" + where + b"Content-Length: 0\r\n\r\n")

    with server(answer) as address, pytest.raises(UnreachableError, match="no answer within"):
        Transport(timeout=LIMIT, env={}, jitter=lambda: 0.0).request("GET", f"{address}/0")
    assert len(hops) < 5


def test_transport_reads_an_answer_in_pieces() -> None:
    """An answer that comes in small pieces but in time is read whole."""

    def answer(connection: socket.socket, _address: str) -> None:
        drip(connection, HEADERS + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n", 0)

    with server(answer) as address:
        assert Transport(timeout=60, env={}).request("GET", f"{address}/v2/", want_json=True).json() == [1]


def test_left_is_what_is_left_and_then_an_error() -> None:
    """Seconds until the moment, and TimeoutError from then on."""
    now = [10.0]
    left = left_until(12.5, lambda: now[0])
    assert left() == 2.5
    now[0] = 12.5
    with pytest.raises(TimeoutError):
        left()
