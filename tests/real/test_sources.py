"""Downloads from other sources than the hub as users run them: killed in the middle, and gone on with."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.modelserver import ModelServer, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = b"GGUF" + os.urandom(1 << 20) * 8
HALF = len(WEIGHTS) // 2


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as started:
        yield started


def of_ollama(server: ModelServer) -> str:
    server.add_ollama("library/big", "1b", WEIGHTS, license=b"MIT")
    return f"ollama://{server.host}/library/big:1b"


def of_registry(server: ModelServer) -> str:
    server.add_manifest("ai/big", "1b", [server.layer("application/vnd.docker.ai.gguf.v3", WEIGHTS)])
    return f"oci://{server.host}/ai/big:1b"


def of_modelscope(server: ModelServer) -> str:
    server.scope["org/big-GGUF"] = {"README.md": b"x", "big-Q4_K_M.gguf": WEIGHTS}
    return "ms://org/big-GGUF"


def of_any_server(server: ModelServer) -> str:
    server.plain["/models/big-Q4_K_M.gguf"] = WEIGHTS
    return f"https://{server.host}/models/big-Q4_K_M.gguf#{digest_of(WEIGHTS).replace(':', '=')}"


def of_any_server_without_checksum(server: ModelServer) -> str:
    return of_any_server(server).partition("#")[0]


SOURCES: dict[str, Callable[[ModelServer], str]] = {
    "ollama": of_ollama,
    "oci": of_registry,
    "modelscope": of_modelscope,
    "direct": of_any_server,
    "first-use": of_any_server_without_checksum,
}


def start(data: Path, *argv: str) -> subprocess.Popen[str]:
    env = {**os.environ, "JETSON_CONTAINERS_DATA": str(data), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, str(ROOT / "scripts/main.py"), *argv]
    return subprocess.Popen(command, env=env, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(data: Path, *argv: str) -> str:
    with start(data, *argv) as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, "Traceback" in err) == (0, False), err
    return out


def wait_for_half(process: subprocess.Popen[str], data: Path) -> Path:
    """The part of the file, once the download stands still in its middle."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        for part in data.rglob("*.incomplete"):
            with contextlib.suppress(FileNotFoundError):
                if part.stat().st_size == HALF:
                    return part
        time.sleep(0.02)
    raise AssertionError("the download does not come to its half")


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_source_download_that_was_killed_goes_on_where_it_stopped(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """A killed download is listed, goes on where it stopped, and is whole only then."""
    monkeypatch.setenv("MODELSCOPE_DOMAIN", server.host)
    name, data = SOURCES[source](server), tmp_path / "data"
    hanging = threading.Event()
    server.fail(f"/storage/{digest_of(WEIGHTS)}", hang=hanging, hang_at=HALF)
    process = start(data, "download", name)
    part = wait_for_half(process, data)
    process.kill()
    process.communicate()
    hanging.set()
    assert part.stat().st_size == HALF
    (listed,) = json.loads(finish(data, "llm", "list", "--json"))
    assert (listed["model"], listed["size"] >= HALF) == (name, True)
    server.forget()
    (file,) = (path for path in Path(finish(data, "download", name).strip()).rglob("*.gguf"))
    assert file.read_bytes() == WEIGHTS
    assert [seen.range for seen in server.blob_requests() if seen.path.endswith(digest_of(WEIGHTS))] == [
        f"bytes={HALF}-"
    ]
    assert server.sent_of(WEIGHTS) == len(WEIGHTS) - HALF
    finish(data, "llm", "rm", "-y", name)
    assert not list(data.rglob("*.gguf"))
