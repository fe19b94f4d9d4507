"""Starting `mlc_llm serve`."""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_mlc_serve_keeps_the_key_out_of_the_argv(drivers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of `mlc_llm serve` is not in the command line."""
    served: list[Any] = []
    uvicorn: Any = ModuleType("uvicorn")
    uvicorn.run = lambda application, **options: served.append((application, options))
    package: Any = ModuleType("mlc_llm")
    cli: Any = ModuleType("mlc_llm.cli")
    cli.serve = SimpleNamespace(main=lambda argv: uvicorn.run("app", host=argv[1]))
    package.cli = cli
    for module in (uvicorn, package, cli):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("API_KEY", "secret")
    monkeypatch.setattr(sys, "argv", ["mlc_serve.py", "model", "127.0.0.1"])
    driver = importlib.import_module("mlc_serve")
    driver.main()
    guard, options = served[0]
    assert options == {"host": "127.0.0.1"}
    assert "API_KEY" not in os.environ
    passed: list[str] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        passed.append(scope["path"])

    guard._application = application

    def status(path: str, key: str = "", kind: str = "http", method: str = "POST") -> int:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"authorization", key.encode())] if key else []
        scope = {"type": kind, "path": path, "headers": headers, "method": method}
        asyncio.run(guard(scope, None, send))
        return int(sent[0].get("status") or sent[0]["code"]) if sent else 0

    assert status("/health") == 200
    assert status("/v1/models") == 401
    assert status("/v1/models", "Bearer wrong") == 401
    assert status("/v1/models", "Basic secret") == 401
    assert status("/ws", kind="websocket") == 1008
    assert passed == []
    assert status("/v1/models", "Bearer secret") == 0
    assert status("lifespan", kind="lifespan") == 0
    assert status("/v1/chat/completions", method="OPTIONS") == 0
    assert passed == ["/v1/models", "lifespan", "/v1/chat/completions"]
