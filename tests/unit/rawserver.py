"""A server that sends whatever bytes a test wants, as slowly as it wants."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def server(answer: Callable[[socket.socket, str], None]) -> Iterator[str]:
    """A server on loopback that gives each connection, with its own address, to `answer` in a thread; its address."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            answer(connection, address)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield address
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def drip(connection: socket.socket, text: bytes, seconds: float) -> None:
    """Send one byte after another, so many seconds apart."""
    for byte in text:
        connection.sendall(bytes([byte]))
        time.sleep(seconds)
