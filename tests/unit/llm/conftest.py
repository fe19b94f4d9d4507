"""A machine without GPU, engine, hub and catalog, its containers, and a client of a local server."""

from __future__ import annotations

import io
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.llm.client import OpenAIClient
from jetson_containers.llm.containers import Containers
from jetson_containers.llm.context import LlmContext
from tests.fakes import FakeEngine
from tests.unit.llm.fakes import CPU, Docker, FakeCatalog, NoHub, Server, no_engine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.hubserver import HubServer


@pytest.fixture
def context(tmp_path: Path) -> LlmContext:
    places = {name: str(tmp_path / name) for name in ("data", "logs", "cache")}
    return LlmContext(
        platform=CPU,
        settings=settings.load(places, files=()),
        console=Console(out=io.StringIO(), err=io.StringIO()),
        hub=NoHub(),
        engine=no_engine,
        catalog=FakeCatalog,  # type: ignore[arg-type]
    )


@pytest.fixture
def containers(context: LlmContext) -> Containers:
    return Containers(
        platform=CPU,
        engine=FakeEngine(),
        settings=context.settings,
        console=context.console,
        image="image:1",
        image_for=lambda _packages: "other:1",
    )


@pytest.fixture
def client() -> Iterator[OpenAIClient]:
    Server.answers, Server.asked, Server.keys, Server.status = [], [], [], 200
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield OpenAIClient(host="127.0.0.1", port=server.server_address[1], model="m", key="k")
        server.shutdown()
        thread.join()


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Docker:
    made = Docker()
    monkeypatch.setattr("jetson_containers.llm.containers.docker", made)
    return made


@pytest.fixture
def hub(hub_server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubServer:
    """The hub that commands ask, and a data directory of their own."""
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub_server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "data/models/huggingface"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setenv("JETSON_CONTAINERS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return hub_server
