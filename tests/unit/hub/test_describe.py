"""Describing a model without its weights."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NothingMatchedError, NotReadyError, UsageError
from jetson_containers.hub.describe import ModelInfo, describe, weight_bytes
from jetson_containers.hub.transfer.types import RepositoryFile
from tests.unit import rawserver
from tests.unit.hub.helpers import FILES, run
from tests.unit.rawserver import drip

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from tests.hubserver import HubServer


def described(reference: str, **given: Any) -> ModelInfo:
    return describe(reference, settings.load(), Console(), **given)


def test_describe_reads_a_model_without_its_weights(data: Path, server: HubServer) -> None:
    """Describing a model fetches its config and not its weights."""
    info = described("org/tiny@main")
    assert (info.id, info.revision, info.commit) == ("org/tiny", "main", server.repos["model", "org/tiny"].refs["main"])
    assert info.config == {"model_type": "llama", "hidden_size": 64}
    assert (info.weights, info.is_gguf, info.gated, info.path) == ({"safetensors": 5000}, False, False, None)
    assert set(server.sent) == {"config.json"}
    assert [file.name for file in info.files] == sorted(FILES)


def test_describe_names_the_path_of_a_cached_model(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A described model that is in the cache has a path, online and offline."""
    (path,) = run(capsys, "org/tiny")[0].splitlines()
    online, offline = described("org/tiny"), described("org/tiny", offline=True)
    assert str(online.path) == path
    assert offline == online


def test_describe_keeps_the_older_commit_for_offline_use(
    data: Path, server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Describing a newer commit leaves the cached one to offline users."""
    run(capsys, "org/tiny")
    server.repos["model", "org/tiny"].commit({**FILES, "model.safetensors": b"new" * 1000})
    assert described("org/tiny").path is None
    assert run(capsys, "org/tiny", "--offline")[0]


def test_describe_gated_model_without_a_token_has_weights_but_no_config(data: Path, server: HubServer) -> None:
    """Without a token a gated model is described by its list of files alone."""
    server.add("org/gated", FILES, gated="manual")
    info = described("org/gated")
    assert (info.gated, info.config, info.weights) == ("manual", None, {"safetensors": 5000})
    assert "gated and no token was given" in info.config_missing
    assert described("org/gated", token="good").config


def test_describe_gguf_repository_says_that_it_has_no_config(data: Path, server: HubServer) -> None:
    """A GGUF repository has weights and no config, and this is said."""
    server.add("org/x-GGUF", {"x-Q4_K_M.gguf": b"GGUF" * 600, "x-Q8_0.gguf": b"GGUF" * 900, "README.md": b"#"})
    info = described("org/x-GGUF")
    assert info.is_gguf
    assert (info.weights, info.config, info.config_missing) == ({"gguf": 6000}, None, "there is no config.json")


def test_describe_errors_for_absent_uncached_and_wrong_names(data: Path) -> None:
    """An absent, an uncached and a wrong name are three errors."""
    with pytest.raises(NothingMatchedError):
        described("org/absent")
    with pytest.raises(NotReadyError):
        described("org/tiny", offline=True)
    with pytest.raises(UsageError):
        described("no name")


def test_weights_are_counted_once_per_format() -> None:
    """Copies of the weights, shards and training files are not counted twice."""
    sizes = {
        "model-00001-of-00002.safetensors": 10, "model-00002-of-00002.safetensors": 5, "consolidated.safetensors": 15,
        "pytorch_model.bin": 15, "training_args.bin": 1, "original/consolidated.00.pth": 15, "optimizer.pt": 30,
        "tokenizer.json": 3,
    }  # fmt: skip
    entries = [RepositoryFile(name, size, "") for name, size in sizes.items()]
    assert weight_bytes(entries) == {"safetensors": 15, "bin": 15}


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"], ids=["headers", "body"])
def test_describe_ends_in_time_where_a_hub_drips(data: Path, first: bytes) -> None:
    """A hub that sends byte by byte, each in time for a single read, is left when the time is up."""

    def answer(connection: socket.socket, _address: str) -> None:
        connection.sendall(first)
        drip(connection, b"X" * 60_000, 0.02)

    began = time.monotonic()
    with rawserver.server(answer) as address, pytest.raises(NotReadyError, match="no whole answer within 1 s"):
        described("org/tiny", endpoint=address, limit=1.0)
    assert time.monotonic() - began < 60  # all of it would take twenty minutes
