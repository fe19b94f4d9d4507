"""Pull and push through the engine's API, whose events tell the bytes.

The docker client carries the connection (`docker system dial-stdio`, as it does for itself over ssh): it reaches what
all other commands reach, through sudo, a context, ssh or TLS. The login comes from the user's configuration, as the
client would take it. When the connection is closed, the engine stops the transfer.
"""

from __future__ import annotations

import base64
import http.client
import json
from typing import IO, TYPE_CHECKING
from urllib.parse import quote, urlencode

from jetson_containers.core import checked, json_text
from jetson_containers.core.docker_login import DOCKER_HUB, HUB_KEY, docker_credentials
from jetson_containers.core.errors import RegistryError
from jetson_containers.core.mirrors import host_of
from jetson_containers.core.process import TAIL, FinishedProcess

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.core.process import Children
    from jetson_containers.engine.interface import TransferRequest
    from jetson_containers.engine.transfer_events import TransferEvents

_LONGEST = 1 << 20  # bytes of one event
_PIECE = 64 << 10  # bytes that are read at once at most
_COMPLAINTS = 64 << 10  # bytes of the client's messages that are read


def path_of(request: TransferRequest) -> str:
    """The path and query of the API.

    >>> from jetson_containers.engine.interface import TransferRequest
    >>> path_of(TransferRequest(reference="dustynv/mlc:r36.4", platform="linux/arm64"))
    '/images/create?fromImage=dustynv%2Fmlc&tag=r36.4&platform=linux%2Farm64'
    >>> path_of(TransferRequest(reference="localhost:5000/a/b", push=True))
    '/images/localhost:5000/a/b/push?tag=latest'
    """
    name, tag = _split(request.reference)
    if request.push:
        return f"/images/{quote(name, safe='/:')}/push?{urlencode({'tag': tag})}"
    platform = {"platform": request.platform} if request.platform else {}
    return f"/images/create?{urlencode({'fromImage': name, 'tag': tag, **platform})}"


def _split(reference: str) -> tuple[str, str]:
    """The name of an image, and its digest or else its tag."""
    name, _, digest = reference.partition("@")
    if ":" in name.rpartition("/")[2]:
        name, _, tag = name.rpartition(":")
    else:
        tag = ""
    return name, digest or tag or "latest"


def run(
    request: TransferRequest,
    events: TransferEvents,
    *,
    argv: Sequence[str],
    api_version: str,
    env: Mapping[str, str],
    children: Children,
    patience: float | None = None,
) -> FinishedProcess:
    """Do a transfer over the connection that `argv` opens; the answer has the text of what failed, as docker prints it.

    `patience` is how many seconds may pass until the engine says anything. Raises RegistryError for a login that cannot
    be read, where one is needed; InterruptedByUserError after `children.stop`.
    """
    login, problem = _login(request, env)
    with children.connected(argv, env=env) as (connection, complaints):
        connection.settimeout(patience)
        try:
            output = _ask(f"/v{api_version}{path_of(request)}", events, connection, login)
        except TimeoutError:
            return FinishedProcess(exit_code=1, output="", timed_out=True)
        except (OSError, http.client.HTTPException, ValueError) as error:
            output = f"error during connect: {error or type(error).__name__}"
        if output:
            output = "\n".join(filter(None, (_said(complaints), output, problem)))
    return FinishedProcess(exit_code=int(bool(output)), output="\n".join(output.splitlines()[-TAIL:]))


def _login(request: TransferRequest, env: Mapping[str, str]) -> tuple[str, str]:
    """The header with the login, and why there is none: a pull may do without, a push hardly."""
    host = host_of(request.reference)
    try:
        found = docker_credentials(host, env)
    except RegistryError as error:
        if request.push:
            raise
        return "e30=", f"{error.message} ({error.hint})"
    fields = {}
    if found is not None:
        login = (
            {"identitytoken": found.identity_token}
            if found.identity_token
            else {"username": found.username, "password": found.password}
        )
        fields = {**login, "serveraddress": HUB_KEY if host == DOCKER_HUB else host}
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode(), ""


def _ask(path: str, events: TransferEvents, connection: socket.socket, login: str) -> str:
    """Send a request and read its events; the text of what failed, nothing when it did not."""
    client = http.client.HTTPConnection("docker")
    client.sock = connection
    client.request("POST", path, headers={"X-Registry-Auth": login, "Content-Length": "0"})
    answer = client.getresponse()
    if answer.status != http.client.OK:
        return f"Error response from daemon: {_message(answer.read(_LONGEST))}"
    for line in _lines(answer):
        connection.settimeout(None)
        events.take(line)
    return events.error


def _lines(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    """The lines of an answer as they come. Its `readline` would take a connection that is lost for the end."""
    rest = b""
    while piece := answer.read1(_PIECE):
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > _LONGEST:
            raise ValueError(f"a line of more than {_LONGEST} bytes")
    yield rest


def _message(body: bytes) -> str:
    try:
        return checked.text(checked.mapping(json_text.parse(body)).get("message"))
    except ValueError:
        return body.decode("utf-8", errors="replace")


def _said(complaints: IO[bytes]) -> str:
    complaints.seek(0)
    return complaints.read(_COMPLAINTS).decode("utf-8", errors="replace").strip()
