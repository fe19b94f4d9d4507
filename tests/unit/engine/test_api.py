"""Questions to an engine over its socket: what it answers, and when a client has to be asked instead."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import NotReadyError
from jetson_containers.engine import api
from jetson_containers.engine.docker import DockerEngine
from jetson_containers.engine.interface import HistoryEntry
from jetson_containers.engine.probe import ProbeAnswer, ProbedHost
from jetson_containers.engine.queries import Queries

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

IMAGE = {
    "Id": "sha256:1",
    "RepoTags": ["a:1"],
    "Architecture": "arm64",
    "Created": "2026-01-01T00:00:00Z",
    "Size": 5,
    "Config": {"Labels": {"one": "1"}},
    "RootFS": {"Layers": ["sha256:l"]},
}
ANSWERS: dict[str, tuple[int, object]] = {
    "/images/a:1/json": (200, IMAGE),
    "/images/a:1/history": (200, [{"Size": 20, "CreatedBy": "RUN\tmake"}, {"Size": 0, "CreatedBy": "ENV A=b"}]),
    "/images/gone/json": (404, {"message": "No such image: gone"}),
    "/images/gone/history": (404, {"message": "No such image: gone"}),
    "/images/other/json": (404, {"message": "page not found"}),
    "/images/broken/json": (500, {"message": "broken"}),
}


@pytest.fixture
def engine_socket(tmp_path: Path) -> Iterator[Path]:
    """A socket on which something answers as an engine does."""
    path = tmp_path / "run" / "socket"
    path.parent.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                request = connection.recv(1 << 16).decode()
                resource = request.split()[1]
                if resource == "/cut":
                    connection.sendall(b'HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n{"Id": ')
                    continue
                status, content = ANSWERS.get(resource, (404, {"message": "page not found"}))
                connection.sendall(f"HTTP/1.0 {status} x\r\n\r\n{json.dumps(content)}".encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield path
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def asking(engine_socket: Path, said: list[tuple[str, ...]]) -> Queries:
    """Questions that go to the socket, else to a client that knows one image, and writes down what it was asked."""

    def client(*words: str) -> ProbeAnswer:
        said.append(words)
        return ProbeAnswer(exit_code=0, out=json.dumps(IMAGE), err="")

    return Queries(client, lambda resource: api.get(engine_socket, resource))


def test_images_are_described_without_a_client(engine_socket: Path) -> None:
    """What is there comes in the order it was asked for; what is not is left out."""
    said: list[tuple[str, ...]] = []
    queries = asking(engine_socket, said)
    assert [row["Id"] for row in queries.named(["gone", "a:1"])] == ["sha256:1"]
    assert queries.inspect("gone") is None
    assert queries.layers(["a:1"]) == {"sha256:1": ("sha256:l",)}
    assert queries.history("a:1") == (
        HistoryEntry(command="RUN make", size=20),
        HistoryEntry(command="ENV A=b", size=0),
    )
    assert queries.history("gone") == ()
    assert said == []


@pytest.mark.parametrize("reference", ["other", "broken"])
def test_client_is_asked_where_the_socket_answers_otherwise(engine_socket: Path, reference: str) -> None:
    """A page that is not known, and an error of the engine, are the client's to explain."""
    said: list[tuple[str, ...]] = []
    assert asking(engine_socket, said).named([reference])
    assert [words[-1] for words in said] == [reference]


def test_answer_that_is_cut_is_none(engine_socket: Path) -> None:
    """An engine that ends in the middle of an answer has not answered."""
    assert api.get(engine_socket, "/cut") is None
    assert api.get(engine_socket.parent / "none", "/images/a:1/json") is None


def test_reference_is_quoted() -> None:
    """A name is part of a path, not of the request."""
    assert api.image_path("host:1/a/b:c@sha256:d", "json") == "/images/host:1/a/b:c@sha256:d/json"
    assert api.image_path("a b?c\r\n", "json") == "/images/a%20b%3Fc%0D%0A/json"


def test_silent_engine_is_an_error_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that accepts and says nothing is not asked twice."""
    monkeypatch.setattr(api, "TIMEOUT", 0.05)
    (tmp_path / "docker").write_bytes(b"\x7fELF")
    (tmp_path / "docker").chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        asked: list[list[str]] = []

        def client(argv: Sequence[str], _env: object) -> ProbeAnswer:
            asked.append(list(argv))
            return ProbeAnswer(exit_code=0, out="", err="")

        host = ProbedHost(
            env={"PATH": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/s"}, uid=0, interactive=False, run=client
        )
        with pytest.raises(NotReadyError, match="does not answer"):
            DockerEngine(host=host).image("a:1")
        assert asked == []


@pytest.mark.parametrize(
    ("start", "endpoint", "expected"),
    [
        (b"\x7fELF\x02", "unix:///run/s", "/run/s"),
        (b"#!/bin/sh\nexec docker -H ssh://there", "unix:///run/s", None),
        (b"\x7fELF\x02", "ssh://there", None),
        (b"\x7fELF\x02", "tcp://there:2376", None),
    ],
    ids=["program", "script", "ssh", "tcp"],
)
def test_socket_is_asked_only_where_it_is_the_clients(
    tmp_path: Path, start: bytes, endpoint: str, expected: str | None
) -> None:
    """A script called `docker` may lead to another engine; other endpoints take a client."""
    (tmp_path / "docker").write_bytes(start)
    found = api.socket_of(str(tmp_path / "docker"), endpoint)
    assert (str(found) if found else None) == expected
