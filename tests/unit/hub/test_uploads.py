"""Uploads against a hub that takes them: what is sent, with which rights, and what goes wrong."""

from __future__ import annotations

import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli.main import main
from jetson_containers.llm.pipeline import manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# The client hands bytes over in a way that httpx wants to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
TOKEN = "hf_uploads0nly"
WEIGHTS = b"GGUF" + bytes(range(256)) * 20


class TakingHub:
    """A hub that takes commits: large files by LFS, small ones within the commit."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.objects: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, str]] = []  # method, path, authorization
        self.created: list[dict[str, Any]] = []
        self.status = 0  # of every answer, where it is not 0
        self.storage_status = 0  # of answers to large files

    def answer(self, method: str, path: str, body: bytes, url: str) -> dict[str, Any]:
        if method == "PUT":
            self.objects[path.rpartition("/")[2]] = body
            return {}
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return {"url": f"{url}/me/model", "name": "me/model", "id": "1"}
        if "/preupload/" in path:
            files = [(each["path"], "lfs" if each["path"].endswith(".gguf") else "regular")
                     for each in json.loads(body)["files"]]  # fmt: skip
            return {"files": [{"path": name, "uploadMode": mode, "shouldIgnore": False} for name, mode in files]}
        if path.endswith("/objects/batch"):
            wanted = json.loads(body)["objects"]
            todo = {each["oid"]: {"upload": {"href": f"{url}/lfs/{each['oid']}"}} for each in wanted
                    if each["oid"] not in self.objects}  # fmt: skip
            rows = [{**each, **({"actions": todo[each["oid"]]} if each["oid"] in todo else {})} for each in wanted]
            return {"transfer": "basic", "objects": rows}
        if "/commit/" in path:
            for line in body.splitlines():
                self._take(json.loads(line))
            return {"commitUrl": f"{url}/me/model/commit/abc", "commitOid": "abc", "success": True}
        return {}

    def _take(self, line: dict[str, Any]) -> None:
        value = line["value"]
        if line["key"] == "file":
            self.files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            self.files[value["path"]] = self.objects[value["oid"]]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TakingHub]:
    """A hub on loopback, with a token for it, and a data folder of its own."""
    found = TakingHub()

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
            url = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
            status = (found.storage_status if self.command == "PUT" else 0) or found.status
            said = json.dumps({"error": f"no: {TOKEN}"} if status else found.answer(self.command, self.path, body, url))
            self.send_response(status or 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: object) -> None:
            pass

        do_GET = do_POST = do_PUT = answer  # noqa: N815 - http.server looks these names up

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        for name in ("HF_HUB_OFFLINE", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("JETSON_CONTAINERS_DATA", str(tmp_path / "data"))
        monkeypatch.chdir(tmp_path)
        yield found
        server.shutdown()


def folder(place: Path) -> Path:
    place.mkdir(parents=True)
    for name, data in {"m-Q4_K_M.gguf": WEIGHTS, "config.json": b"{}", ".cache/x": b"1", "a[b].txt": b"note",
                       "m.manifest.json": b"{}"}.items():  # fmt: skip
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(data)
    return place


def test_upload_of_a_folder_sends_what_belongs_to_the_model(
    hub: TakingHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its files arrive whole, without hidden ones and our manifest; a new repository is private."""
    place = folder(tmp_path / "model")
    assert main(["llm", "upload", str(place), "me/model", "-y", "--json"]) == 0
    said = capsys.readouterr()
    assert hub.files == {"m-Q4_K_M.gguf": WEIGHTS, "config.json": b"{}", "a[b].txt": b"note"}
    assert [each["name"] for each in json.loads(said.out)["files"]] == ["a[b].txt", "config.json", "m-Q4_K_M.gguf"]
    assert json.loads(said.out)["commit"].endswith("/commit/abc")
    assert "public" not in json.dumps(hub.created)
    about = [(path, token) for _, path, token in hub.asked if "me/model" in path or path == "/api/repos/create"]
    assert {token for _, token in about} == {f"Bearer {TOKEN}"}
    assert {token for _, path, token in hub.asked if path.startswith("/lfs/")} == {""}  # the storage gets none
    assert TOKEN not in said.out + said.err + " ".join(sys.argv)
    assert main(["llm", "upload", str(place), "me/model", "-y", "--public"]) == 0
    assert sum(method == "PUT" for method, _, _ in hub.asked) == 1  # what the hub has is not sent again


def test_upload_of_a_name_is_what_was_made_of_it(hub: TakingHub, tmp_path: Path) -> None:
    """A model of `llm list` is found by its name; where several were made, one has to be named."""
    for kind in ("Q4_K_M", "Q8_0"):
        output = tmp_path / f"data/models/llm/m/m-{kind}.gguf"
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_bytes(WEIGHTS)
        facts = {"model": "org/m", "runtime": "llama_cpp", "quantization": kind}
        measured = {"": manifest.measure(output)}
        manifest.write(output, measured, step="quantize", merge=False, key="k", seconds=0, facts=facts)
    assert main(["llm", "upload", "m", "me/model", "-y"]) == 2
    assert main(["llm", "upload", "m", "me/model", "-y", "--quantization", "q8_0"]) == 0
    assert list(hub.files) == ["m-Q8_0.gguf"]


@pytest.mark.parametrize(("status", "code", "says"), [(401, 4, "write"), (403, 4, "write"), (500, 1, "refused")])
def test_upload_that_is_refused_says_why(
    status: int, code: int, says: str, hub: TakingHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token without the right, and a hub that fails; the token is in no message, even where the hub repeats it."""
    hub.status = status
    assert main(["llm", "upload", str(folder(tmp_path / "model")), "me/model", "-y"]) == code
    shown = capsys.readouterr().err
    assert says in shown
    assert TOKEN not in shown


def test_upload_whose_large_file_is_refused_says_why(
    hub: TakingHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the storage says is the error, and no commit is made of the rest."""
    hub.storage_status = 400
    assert main(["llm", "upload", str(folder(tmp_path / "model")), "me/model", "-y"]) == 1
    assert "refused" in capsys.readouterr().err
    assert hub.files == {}


def test_upload_asks_before_anything_leaves_the_machine(
    hub: TakingHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal `-y` is needed; a dry run, a wrong name, no token and no network send nothing."""
    place = str(folder(tmp_path / "model"))
    assert main(["llm", "upload", place, "me/model"]) == 2
    assert main(["llm", "upload", place, "me/model", "--dry-run"]) == 0
    assert "m-Q4_K_M.gguf" in capsys.readouterr().out
    assert main(["llm", "upload", place, "model", "-y"]) == 2
    assert main(["llm", "upload", place, "me/model", "-y", "--offline"]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["llm", "upload", str(tmp_path / "empty"), "me/model", "-y"]) == 2
    monkeypatch.delenv("HF_TOKEN")
    assert main(["llm", "upload", place, "me/model", "-y"]) == 4
    assert hub.asked == []
