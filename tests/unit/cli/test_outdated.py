"""`outdated`: what is shown, and the exit code."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli.app import App
from jetson_containers.cli.outdated import outdated
from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NothingMatchedError, UsageError
from jetson_containers.updates.index import SIMPLE
from tests.fakes import FakeEngine
from tests.unit.fakeregistry import FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    with FakeRegistry() as started:
        for name, versions in {"a": ("1.0", "2.0"), "b": ("3.0",)}.items():
            body = json.dumps({"files": [{"filename": f"{name}-{version}.tar.gz"} for version in versions]}).encode()
            started.routes[f"/simple/{name}/"] = lambda request, body=body: started.send(
                request, 200, body, kind=SIMPLE
            )
        started.routes["/pypi/b/3.0/json"] = lambda request: started.send(request, 200, b'{"vulnerabilities": []}')
        yield started


def call(server: FakeRegistry, folder: Path, *argv: str, **flags: Any) -> tuple[object, str, str]:
    """Exit code, results and messages of `outdated` over a tree of two recipes."""
    for name, version in (("a", "1.0"), ("b", "3.0")):
        recipe = folder / "tree" / name
        recipe.mkdir(parents=True, exist_ok=True)
        (recipe / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
        (recipe / "config.yaml").write_text(
            f"source: {{python: {name}=={version}}}\nversions:\n  - version: {version}\n"
        )
    given = {"packages": folder / "tree", "cache": folder / "cache", "index_url": f"{server.url}/simple", **flags}
    app = App({"target": "cpu"})
    out, err = io.StringIO(), io.StringIO()
    app.__dict__["settings"] = settings.load(given, env={"HOME": str(folder)}, files=(), root=folder)
    app.__dict__["console"] = Console(as_json="--json" in argv, out=out, err=err)
    app.__dict__["engine"] = FakeEngine()
    code = outdated.main([*argv], standalone_mode=False, obj=app)
    return code, out.getvalue(), err.getvalue()


def test_outdated_shows_what_is_behind(server: FakeRegistry, tmp_path: Path) -> None:
    """What upstream is ahead of is a row; the rest is counted, and what is unknown is not called none."""
    code, out, err = call(server, tmp_path)
    assert code == 0
    assert [line.split() for line in out.splitlines()[-1:]] == [["a", "1.0", "2.0", "unknown", "a:1.0"]]
    assert "2 pins: 1 behind, 1 current, 0 unknown" in err
    assert "known vulnerabilities: 0 of 1 Python packages; 1 could not be asked about" in err


def test_outdated_check_fails_for_a_known_vulnerability(server: FakeRegistry, tmp_path: Path) -> None:
    """`--check` exits with 1 where one is known, with 0 where none is, and says what could not be asked."""
    code, _, err = call(server, tmp_path, "--check")
    assert (code, "whether 1 of these" in err) == (0, True)
    server.routes["/pypi/a/1.0/json"] = lambda request: server.send(
        request, 200, b'{"vulnerabilities": [{"id": "PYSEC-7"}]}'
    )
    code, out, _ = call(server, tmp_path, "--check")
    assert (code, "PYSEC-7" in out) == (1, True)
    assert call(server, tmp_path)[0] == 0


def test_outdated_gives_json_of_named_packages(server: FakeRegistry, tmp_path: Path) -> None:
    """`--json` holds every pin of the packages that were named."""
    _, out, _ = call(server, tmp_path, "b", "--json")
    (row,) = json.loads(out)
    assert (row["name"], row["state"], row["vulnerabilities"], row["packages"]) == ("b", "current", [], ["b:3.0"])


def test_outdated_refuses_what_it_cannot_ask(server: FakeRegistry, tmp_path: Path) -> None:
    """Offline, an image that is not here, and an index with a password are said at once."""
    with pytest.raises(UsageError, match="needs a network connection"):
        call(server, tmp_path, offline=True)
    with pytest.raises(NothingMatchedError, match="no image `x:1` is here"):
        call(server, tmp_path, "--image", "x:1")
    with pytest.raises(UsageError, match="credentials"):
        call(server, tmp_path, index_url="https://me:secret@index.example/simple")
    assert server.seen == []
