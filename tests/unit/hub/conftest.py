"""What tests of hub share: fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.hub.helpers import FILES, in_image, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hubserver import HubServer


@pytest.fixture
def server(hub_server: HubServer) -> HubServer:
    hub_server.add("org/tiny", FILES)
    return hub_server


@pytest.fixture
def data(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "data/models/huggingface"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setenv("JETSON_CONTAINERS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


@pytest.fixture(params=["host", "image"])
def download(request: pytest.FixtureRequest, data: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Both command lines: what follows holds for each."""
    called = run if request.param == "host" else in_image
    return lambda *argv, code=0: called(capsys, *argv, code=code)
