"""Servers of runtimes stand behind checks, our own and those whose image has no Python do not."""

from __future__ import annotations

import io
import socket
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.llm import checked_requests
from jetson_containers.llm.containers import ON_HOST, Containers, Listening
from jetson_containers.llm.runtimes.interface import ServeOptions
from jetson_containers.llm.runtimes.transformers import Transformers
from tests.unit.llm import fakes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.llm.context import LlmContext
    from jetson_containers.llm.prepare import PreparedModel

OPTIONS = ServeOptions(port=8080, host="0.0.0.0", threads=2)
BRIDGE = Listening(host="0.0.0.0", options=("--network", "bridge", "--publish", "127.0.0.1:8080:8080"))
ANYWHERE = Listening(host="127.0.0.1", options=ON_HOST)


@dataclass(frozen=True, kw_only=True)
class Says(Containers):
    """An image that answers one text to every command; None where nothing could be started."""

    said: str | None = "True\n"

    def capture(self, command: Sequence[str], *, seconds: float | None = None) -> str | None:
        assert tuple(command) == checked_requests.PYTHON
        return self.said


def model(context: LlmContext, containers: Containers, said: str | None = "True\n", **values: Any) -> PreparedModel:
    set_ = {**context.settings.values, **{name: settings.Value(value, "test") for name, value in values.items()}}
    image = Says(
        platform=containers.platform, engine=containers.engine, settings=replace(context.settings, values=set_),
        console=containers.console, image=containers.image, image_for=containers.image_for, said=said,
    )  # fmt: skip
    return fakes.prepared(image)


def warned(context: LlmContext) -> str:
    assert isinstance(context.console.err, io.StringIO)
    return context.console.err.getvalue()


def test_server_of_a_runtime_listens_on_loopback_behind_the_checks(context: LlmContext, containers: Containers) -> None:
    """The checks listen where the server would have, and know where it does."""
    service = checked_requests.service_of(model(context, containers), OPTIONS, BRIDGE)
    end = service.argv.index("--")
    assert service.argv[:end] == (
        "python3", "/run/jetson-containers/drivers/with_checks.py", "--host", "0.0.0.0", "--port", "8080", "--server",
        "127.0.0.1:18080",
    )  # fmt: skip
    words = service.argv[end + 1 :]
    assert words[0] == "llama-server"
    assert words[words.index("--host") + 1 :][:3] == ("127.0.0.1", "--port", "18080")
    assert (service.health, service.key_env) == ("/health", "LLAMA_API_KEY")
    assert warned(context) == ""


def test_server_with_a_key_says_which_paths_need_none(context: LlmContext, containers: Containers) -> None:
    """The key stays in its variable; health and the files of the server's page are open."""
    options = replace(OPTIONS, api_key=True)
    argv = checked_requests.service_of(model(context, containers), options, BRIDGE).argv
    assert argv[argv.index("--key-env") + 1] == "LLAMA_API_KEY"
    opened = {argv[index + 1] for index, word in enumerate(argv) if word == "--open"}
    assert {"/health", "/", "/index.html"} <= opened
    assert not any(path.startswith("/v1") for path in opened)


@pytest.mark.parametrize("said", ["False\n", "", None, "== banner ==\nsh: python3: not found\n"])
def test_image_without_python_is_served_as_it_is_and_said(
    context: LlmContext, containers: Containers, said: str | None
) -> None:
    """An image that cannot run the checks, or does not say, serves all the same."""
    prepared = model(context, containers, said)
    assert checked_requests.service_of(prepared, OPTIONS, BRIDGE) == prepared.decision.service(OPTIONS)
    assert "has no Python 3.8, so requests to its server are not checked" in warned(context)


def test_image_that_prints_a_banner_has_python_too(context: LlmContext, containers: Containers) -> None:
    """Only the last word counts."""
    service = checked_requests.service_of(model(context, containers, "== banner ==\n\nTrue\n"), OPTIONS, BRIDGE)
    assert service.argv[0] == "python3"


def test_setting_gives_the_server_its_port_back(context: LlmContext, containers: Containers) -> None:
    """With `check_requests: false` nobody asks the image, and the server listens itself."""
    prepared = model(context, containers, None, check_requests=False)
    assert checked_requests.service_of(prepared, OPTIONS, BRIDGE) == prepared.decision.service(OPTIONS)
    assert checked_requests.shown(prepared.decision, OPTIONS, BRIDGE, prepared.containers.settings).argv[0] != "python3"
    assert warned(context) == ""


def test_server_that_checks_requests_itself_stands_alone(context: LlmContext, containers: Containers) -> None:
    """Our own servers have the rules already."""
    prepared = model(context, containers, None)
    job = replace(prepared.decision.job, prepared=False, quantization="fp32")
    prepared = replace(prepared, decision=replace(prepared.decision, runtime=Transformers(), job=job))
    assert "with_checks" not in " ".join(checked_requests.service_of(prepared, OPTIONS, BRIDGE).argv)
    assert warned(context) == ""


def test_port_of_the_server_is_one_that_there_is() -> None:
    """Published ports above 55535 have theirs below."""
    assert (checked_requests.inner_port(8080), checked_requests.inner_port(60999)) == (18080, 50999)
    assert all(0 < checked_requests.inner_port(port) < 65536 for port in range(1, 65536))


def test_port_that_is_taken_on_the_hosts_network_is_another(context: LlmContext, containers: Containers) -> None:
    """On the host's network another program may listen where the server would."""
    prepared = model(context, containers)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = replace(OPTIONS, port=port - 10000 if port > 10000 else port + 10000)
        argv = checked_requests.service_of(prepared, options, ANYWHERE).argv
        assert argv[argv.index("--server") + 1] != f"127.0.0.1:{port}"
        argv = checked_requests.service_of(prepared, options, BRIDGE).argv
        assert argv[argv.index("--server") + 1] == f"127.0.0.1:{checked_requests.inner_port(options.port)}"
