"""What running containers use is not deleted under them."""

from __future__ import annotations

import io
import json
import os
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli import main
from jetson_containers.cli.app import App
from jetson_containers.core.console import Console
from jetson_containers.core.errors import EngineMissingError, EnginePermissionError, NotReadyError, UsageError
from jetson_containers.llm import containers, in_use
from jetson_containers.llm.in_use import RunningContainer
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MODEL = "models/llama_cpp/tiny/tiny-Q4_K_M.gguf"
SERVER = f"llama-server -m /data/{MODEL} --alias tiny"


@dataclass
class Client:
    """A docker client that lists some containers; `words` are of `docker inspect`'s Path, Args and Env."""

    folder: Path
    engine: FakeEngine

    def lists(self, *containers: dict[str, Any], status: int = 0, complaint: str = "") -> None:
        lines = "\n".join(json.dumps(each) for each in containers)
        self._write(
            f"case $1 in ps) echo {shlex.quote(complaint)} >&2; {'echo id; ' * bool(containers)} exit {status};;\n"
            f"inspect) printf '%s\\n' {shlex.quote(lines)}; exit 1;; esac"
        )

    def _write(self, script: str) -> None:
        path = self.folder / "docker"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        self.engine.capabilities_ = replace(self.engine.capabilities_, client=str(path))


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path, FakeEngine())


def container(
    command: str, data: object, *, name: str = "/server-1", env: Sequence[str] = (), ours: bool = False
) -> dict[str, Any]:
    path, *args = shlex.split(command)
    mounts = [{"Type": "bind", "Source": str(data), "Destination": "/data"}, {"Type": "tmpfs", "Destination": "/tmp"}]
    labels = {containers.SERVER: "1"} if ours else None
    return {"name": name, "path": path, "args": args, "env": [*env], "mounts": mounts, "labels": labels}


@pytest.mark.parametrize(
    ("words", "used"),
    [
        (("llama-server", "-m", f"/data/{MODEL}"), True),
        (("sh", "-c", f"exec llama-server --model=/data/{MODEL} --port 1"), True),
        (("server", f"MODEL=/data/{MODEL}"), True),
        (("server", f"/data/{MODEL}.part"), False),
        (("server", f"/data/{MODEL[:-6]}2.gguf"), False),
        (("server", "/data/models/llama_cpp/tiny"), False),
        (("server", f"/other/data/{MODEL}"), False),
        (("server",), False),
    ],
)
def test_in_use_container_uses_what_its_command_names(tmp_path: Path, words: tuple[str, ...], used: bool) -> None:
    """A container uses what its command names."""
    one = RunningContainer(name="x", words=words, mounts={"/data": str(tmp_path)})
    assert one.uses(tmp_path / MODEL) is used


def test_in_use_directory_is_used_with_what_is_below_it(tmp_path: Path) -> None:
    """A directory is used with what is below it."""
    repository = tmp_path / "models/huggingface/models--acme--tiny"
    words = ("vllm", "serve", "/data/models/huggingface/models--acme--tiny/snapshots/1234")
    assert RunningContainer(name="x", words=words, mounts={"/data": str(tmp_path)}).uses(repository)
    assert not RunningContainer(name="x", words=words, mounts={"/data": "/elsewhere"}).uses(repository)
    assert not RunningContainer(name="x", words=words, mounts={"/data": str(tmp_path)}).uses(repository.with_name("m"))


def test_in_use_data_directory_behind_a_link_is_the_same(tmp_path: Path) -> None:
    """A data directory behind a link is the same."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    words = ("server", f"/data/{MODEL}")
    for mounted, asked in (("data", "disk"), ("disk", "data")):
        one = RunningContainer(name="x", words=words, mounts={"/data": str(tmp_path / mounted)})
        assert one.uses(tmp_path / asked / MODEL)


def test_in_use_counts_any_of_several_mounts(tmp_path: Path) -> None:
    """Any of several mounts counts."""
    mounts = {"/whole": str(tmp_path), "/models": str(tmp_path / "models")}
    assert RunningContainer(name="x", words=("s", f"/{MODEL}"), mounts=mounts).uses(tmp_path / MODEL)


@pytest.fixture
def console() -> Console:
    return Console(out=io.StringIO(), err=io.StringIO())


def test_in_use_refusal_names_the_servers_and_what_ends_them(tmp_path: Path, client: Client, console: Console) -> None:
    """The refusal names the servers and what ends them."""
    client.lists(
        container(SERVER, tmp_path, name="/b"),
        container(SERVER, tmp_path, name="/a"),
        container(SERVER, "/elsewhere", name="/c"),
    )
    with pytest.raises(NotReadyError) as caught:
        in_use.refuse([tmp_path / "other", tmp_path / MODEL], lambda: client.engine, console)
    assert "`a`, `b`" in caught.value.message
    assert str(tmp_path / MODEL) in caught.value.details[0]
    assert f"`{tmp_path}/docker rm -f a b`" in str(caught.value.hint)


def test_in_use_refusal_ends_servers_of_ours_with_llm_stop(tmp_path: Path, client: Client, console: Console) -> None:
    """Servers of ours are ended by `llm stop`, containers of others by docker."""
    client.lists(container(SERVER, tmp_path, name="/a", ours=True), container(SERVER, tmp_path, name="/b", ours=True))
    with pytest.raises(UsageError) as caught:
        in_use.refuse([tmp_path / MODEL], lambda: client.engine, console)
    assert str(caught.value.hint) == "`jetson-containers llm stop a b` ends them"
    client.lists(container(SERVER, tmp_path, name="/a", ours=True), container(SERVER, tmp_path, name="/c"))
    with pytest.raises(NotReadyError) as mixed:
        in_use.refuse([tmp_path / MODEL], lambda: client.engine, console)
    assert "`jetson-containers llm stop a` and " in str(mixed.value.hint)
    assert "rm -f c` end them" in str(mixed.value.hint)


def test_in_use_refuses_nothing_where_nothing_uses_it(tmp_path: Path, client: Client, console: Console) -> None:
    """Nothing is refused where nothing uses it."""
    client.lists()
    in_use.refuse([tmp_path / MODEL], lambda: client.engine, console)
    client.lists(container("sleep 1", tmp_path))
    in_use.refuse([tmp_path / MODEL], lambda: client.engine, console)
    assert console.err.getvalue() == ""  # type: ignore[attr-defined]


def test_in_use_reports_what_cannot_be_asked(tmp_path: Path, client: Client, console: Console) -> None:
    """What cannot be asked is reported."""
    client.lists(status=1, complaint="permission denied")
    in_use.refuse([tmp_path / MODEL], lambda: client.engine, console)
    assert "permission denied" in console.err.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("error", "said"), [(EngineMissingError("none"), False), (EnginePermissionError("no"), True)])
def test_in_use_without_an_engine_nothing_runs(
    tmp_path: Path, console: Console, error: NotReadyError, said: bool
) -> None:
    """Without an engine nothing runs."""

    def engine() -> Any:
        raise error

    in_use.refuse([tmp_path / MODEL], engine, console)
    assert bool(console.err.getvalue()) is said  # type: ignore[attr-defined]


@pytest.mark.parametrize("more", [("-y",), ("--dry-run",)])
def test_llm_rm_leaves_a_model_that_is_served(
    tmp_path: Path,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: tuple[str, ...],
) -> None:
    """`llm rm` leaves a model that is served."""
    snapshot = tmp_path / "data/models/huggingface/models--acme--tiny/snapshots/1234"
    snapshot.mkdir(parents=True)
    (snapshot / "model.gguf").write_bytes(b"x" * 100)
    monkeypatch.setenv("JETSON_CONTAINERS_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(App, "engine", client.engine)
    client.lists(container(f"llama-server -m /data/{os.path.relpath(snapshot, tmp_path / 'data')}", tmp_path / "data"))
    assert main.main(["llm", "rm", "acme/tiny", *more]) == 4
    assert "`server-1`" in capsys.readouterr().err
    assert snapshot.exists()
    client.lists()
    assert main.main(["llm", "rm", "acme/tiny", *more]) == 0
    assert snapshot.exists() is (more == ("--dry-run",))
