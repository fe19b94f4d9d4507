"""Pulls and pushes over the engine's API, against an engine that answers as it is told."""

from __future__ import annotations

import base64
import json
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import InterruptedByUserError, RegistryError
from jetson_containers.core.process import Children
from jetson_containers.engine import transfer
from jetson_containers.engine.interface import TransferRequest
from jetson_containers.engine.transfer_events import TransferEvents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from jetson_containers.core.process import FinishedProcess

# What `docker system dial-stdio` is here: it keeps the request and answers with the bytes of a file.
ENGINE = """
import sys
request = b""
while b"\\r\\n\\r\\n" not in request:
    request += sys.stdin.buffer.raw.read(1)
open({request!r}, "wb").write(request)
sys.stdout.buffer.write(open({answer!r}, "rb").read())
sys.stdout.buffer.flush()
sys.stderr.write({complaint!r})
{then}
"""
HEADS = "HTTP/1.1 {} X\r\nContent-Type: application/json\r\n"


def events(*found: Mapping[str, Any], end: bytes = b"0\r\n\r\n", status: int = 200) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(line), line) for line in (json.dumps(e).encode() + b"\r\n" for e in found))
    return (HEADS.format(status) + "Transfer-Encoding: chunked\r\n\r\n").encode() + body + end


def refusal(status: int, text: str) -> bytes:
    return (HEADS.format(status) + f"Content-Length: {len(text)}\r\n\r\n{text}").encode()


class Site:
    """A fake engine, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lines, self.children = folder, [], Children()
        self.env = {**os.environ, "DOCKER_CONFIG": str(folder)}

    def run(
        self, answer: bytes, *, push: bool = False, reference: str = "reg.example:5000/a/b:1", complaint: str = "",
        then: str = "", patience: float | None = None, platform: str | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> FinishedProcess:  # fmt: skip
        (self.folder / "answer").write_bytes(answer)
        paths = {name: str(self.folder / name) for name in ("request", "answer")}
        program = ENGINE.format(**paths, complaint=complaint, then=then)
        return transfer.run(
            TransferRequest(reference=reference, push=push, platform=platform),
            TransferEvents(on_line or self.lines.append),
            argv=[sys.executable, "-S", "-c", program],
            api_version="1.41",
            env=self.env,
            children=self.children,
            patience=patience,
        )

    @property
    def asked(self) -> str:
        return (self.folder / "request").read_text().splitlines()[0]

    @property
    def login(self) -> dict[str, str]:
        request = (self.folder / "request").read_text()
        return json.loads(base64.urlsafe_b64decode(request.partition("X-Registry-Auth: ")[2].split()[0]))

    def configure(self, **config: Any) -> None:
        (self.folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_transfer_asks_the_engine_and_hears_its_events(site: Site) -> None:
    """The request is that of the API, and events come as lines."""
    ended = site.run(events({"status": "Pulling from a/b", "id": "1"}), platform="linux/arm64")
    assert (ended.exit_code, ended.output, site.lines) == (0, "", ["1: Pulling from a/b"])
    query = "fromImage=reg.example%3A5000%2Fa%2Fb&tag=1&platform=linux%2Farm64"
    assert site.asked == f"POST /v1.41/images/create?{query} HTTP/1.1"
    assert site.login == {}


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("x", "fromImage=x&tag=latest"),
        ("a/b:1@sha256:ab", "fromImage=a%2Fb&tag=sha256%3Aab"),
        ("localhost:5000/x", "fromImage=localhost%3A5000%2Fx&tag=latest"),
        ("a b&c#d", "fromImage=a+b%26c%23d&tag=latest"),
    ],
)
def test_transfer_path_has_name_and_tag_apart(reference: str, path: str) -> None:
    """A digest comes before a tag, no tag means `latest`, and nothing leaves its place in the query."""
    assert transfer.path_of(TransferRequest(reference=reference)) == f"/images/create?{path}"
    assert "#" not in transfer.path_of(TransferRequest(reference=reference, push=True))


@pytest.mark.parametrize(
    ("entry", "login"),
    [
        ({"auth": base64.b64encode(b"me:p:w\xc3\xbc").decode()}, {"username": "me", "password": "p:wü"}),
        ({"identitytoken": "tok"}, {"identitytoken": "tok"}),
    ],
)
def test_transfer_takes_the_login_of_docker(site: Site, entry: dict[str, str], login: dict[str, str]) -> None:
    """The login goes to the engine with the registry it is for; that of another registry does not."""
    site.configure(auths={"reg.example:5000": entry, "other.example": {"auth": "bWU6cHc="}})
    site.run(events(), push=True)
    assert site.login == {**login, "serveraddress": "reg.example:5000"}
    site.run(events(), push=True, reference="third.example/a:1")
    assert site.login == {}


def test_transfer_names_docker_hub_as_the_engine_knows_it(site: Site) -> None:
    """A login of docker.io has the address that docker itself writes."""
    site.configure(auths={"https://index.docker.io/v1/": {"auth": "bWU6cHc="}})
    site.run(events(), reference="me/a:1")
    assert site.login["serveraddress"] == "https://index.docker.io/v1/"


def test_transfer_without_a_login_that_can_be_read(site: Site) -> None:
    """A pull goes on without it and says so where it fails; a push ends before anything is moved."""
    site.configure(credsStore="none-such-helper")
    assert site.run(events()).exit_code == 0
    assert "docker-credential-none-such-helper" in site.run(events({"error": "denied"})).output
    with pytest.raises(RegistryError, match="docker-credential-none-such-helper"):
        site.run(events(), push=True)


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (events({"status": "x"}, {"error": "no basic auth credentials"}), "no basic auth credentials"),
        (refusal(404, '{"message":"manifest unknown"}'), "Error response from daemon: manifest unknown"),
        (refusal(500, "<html>"), "Error response from daemon: <html>"),
        (refusal(500, '["message"]'), 'Error response from daemon: ["message"]'),
        (events({"status": "x"}, end=b""), "error during connect: IncompleteRead(0 bytes read)"),
        (events({"status": "x" * (1 << 21)}), "error during connect: a line of more than 1048576 bytes"),
        (events({"status": "x"}, end=b"ff\r\n{"), "error during connect: IncompleteRead(0 bytes read)"),
        (b"", "error during connect: Remote end closed connection without response"),
        (b"SSH-2.0-OpenSSH\r\n", "error during connect: SSH-2.0-OpenSSH"),
    ],
    ids=["event", "status", "page", "list", "cut", "long", "torn", "nothing", "else"],
)
def test_transfer_that_fails_has_the_words_of_the_engine(site: Site, answer: bytes, output: str) -> None:
    """Whatever ends a transfer early is told as docker tells it."""
    ended = site.run(answer)
    assert (ended.exit_code, ended.output.strip()) == (1, output)


def test_transfer_tells_what_the_client_complains_of(site: Site) -> None:
    """Where the client reaches no engine, its own words come first."""
    said = "Cannot connect to the Docker daemon at tcp://board:2375."
    assert site.run(b"", complaint=said).output.startswith(f"{said}\nerror during connect")


def test_transfer_waits_no_longer_than_it_is_told_for_the_first_word(site: Site) -> None:
    """Patience is for the first event only."""
    ended = site.run(b"", patience=0.2, then="sys.stdin.buffer.read()")
    assert ended.timed_out


def test_transfer_is_stopped_from_another_thread(site: Site) -> None:
    """`stop` closes the connection, upon which the engine ends the transfer; the client has ended too."""
    started = threading.Event()
    threading.Thread(target=lambda: (started.wait(60), site.children.stop()), daemon=True).start()
    with pytest.raises(InterruptedByUserError):
        site.run(
            events({"status": "x"}, end=b""), on_line=lambda _line: started.set(),
            then=f"sys.stdin.buffer.read(); open({str(site.folder / 'closed')!r}, 'w')",
        )  # fmt: skip
    assert (site.folder / "closed").exists()


def test_transfer_interrupted_closes_the_connection(site: Site) -> None:
    """So does Ctrl-C, before it goes on its way."""

    def interrupt(_line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        site.run(
            events({"status": "x"}, end=b""), on_line=interrupt,
            then=f"sys.stdin.buffer.read(); open({str(site.folder / 'closed')!r}, 'w')",
        )  # fmt: skip
    assert (site.folder / "closed").exists()
