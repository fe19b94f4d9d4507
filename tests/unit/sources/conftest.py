"""What tests of sources share: a server of models and a machine whose data are its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.modelserver import ModelServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as started:
        yield started


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, folder in {"DATA": "data", "CACHE": "cache", "LOGS": "logs"}.items():
        monkeypatch.setenv(f"JETSON_CONTAINERS_{name}", str(tmp_path / folder))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"
