"""Questions to an engine over its socket, where that is at hand: starting a client for each takes ten times as long.

Only what a client would print unchanged is asked here. Every doubt is answered by None, and then a client is asked: it
knows contexts, sudo, TLS and ssh.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jetson_containers.core import json_text
from jetson_containers.core.text import is_number

TIMEOUT = 60  # seconds an answer may take: a store of thousands of images on an SD card is slow
OK, NOT_FOUND = 200, 404  # statuses
MOST = 64 << 20  # bytes of an answer
_PROGRAM = b"\x7fELF"  # how a compiled program begins


def socket_of(client: str, endpoint: str, root: Path = Path("/")) -> Path | None:
    """The socket that a client would ask; None where that is not certain.

    A script that calls itself `docker` may lead anywhere, whatever the environment says.
    """
    if not endpoint.startswith("unix:///"):
        return None
    try:
        with Path(client).open("rb") as stream:
            compiled = stream.read(len(_PROGRAM)) == _PROGRAM
    except OSError:
        return None
    return root / endpoint.removeprefix("unix:///") if compiled else None


def image_path(reference: str, what: str) -> str:
    """The path of a question about an image: `json` (all about it) or `history`."""
    return f"/images/{quote(reference, safe='/:@')}/{what}"


def is_missing(status: int, content: object) -> bool:
    """Whether an answer says that an image is not there."""
    said = content.get("message") if isinstance(content, dict) else None
    return status == NOT_FOUND and isinstance(said, str) and "no such image" in said.lower()


def get(path: Path, resource: str) -> tuple[int, Any] | None:
    """Status and content of an answer; None when there is none that can be read.

    HTTP/1.0, so that an answer ends with its connection. Raises TimeoutError when the engine does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(path))
            connection.sendall(f"GET {resource} HTTP/1.0\r\nHost: docker\r\n\r\n".encode("ascii"))
            answer = _read(connection)
    except TimeoutError:
        raise
    except (OSError, UnicodeError):
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not is_number(words[1].decode("ascii", "replace")):
        return None
    try:
        return int(words[1]), json_text.parse(body.decode())
    except ValueError:
        return None


def _read(connection: socket.socket) -> bytes:
    """Everything up to the end of a connection; nothing where it is too much."""
    parts, size = [], 0
    while part := connection.recv(1 << 16):
        parts.append(part)
        size += len(part)
        if size > MOST:
            return b""
    return b"".join(parts)
