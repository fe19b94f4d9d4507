"""Repositories of ModelScope, from a server that speaks its protocol."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.modelserver import digest_of
from tests.unit.sources.helpers import WEIGHTS, run

if TYPE_CHECKING:
    from tests.modelserver import ModelServer

Capture = pytest.CaptureFixture[str]
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
    "intermediate_size": 128, "num_attention_heads": 4, "vocab_size": 100, "max_position_embeddings": 512,
}  # fmt: skip


@pytest.fixture
def scope(server: ModelServer, data: Path, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
    assert data
    monkeypatch.setenv("MODELSCOPE_DOMAIN", server.host)
    monkeypatch.delenv("MODELSCOPE_API_TOKEN", raising=False)
    server.scope["org/tiny"] = {"config.json": json.dumps(CONFIG).encode(), "sub/model.safetensors": b"\7" * 5000}
    server.scope["org/x-GGUF"] = {"x-Q4_K_M.gguf": WEIGHTS, "x-Q8_0.gguf": WEIGHTS + b"8"}
    return server


def test_modelscope_repository_is_downloaded_whole(capsys: Capture, scope: ModelServer, data: Path) -> None:
    """All files arrive with their folders, verified, at the commit that the server names; offline they serve."""
    (item,) = json.loads(run(capsys, "download", "ms://org/tiny", "--json")[0])
    assert (item["repo"], item["commit"]) == ("ms://org/tiny", scope.commit)
    assert Path(item["path"]).is_relative_to(data / "models/modelscope/modelscope.cn+org+tiny")
    assert Path(item["path"], "sub/model.safetensors").read_bytes() == b"\7" * 5000
    assert json.loads(run(capsys, "--offline", "download", "ms://org/tiny", "--json")[0])[0]["path"] == item["path"]
    listed = json.loads(run(capsys, "llm", "list", "--json")[0])
    assert [one["model"] for one in listed] == ["ms://org/tiny"]
    run(capsys, "llm", "rm", "-y", "https://modelscope.cn/models/org/tiny/files")
    assert json.loads(run(capsys, "llm", "list", "--json")[0]) == []


def test_modelscope_one_file_and_patterns_choose(capsys: Capture, scope: ModelServer) -> None:
    """One file of a repository, by its name or by its address, and patterns."""
    page = "https://modelscope.cn/models/org/x-GGUF/resolve/master/x-Q8_0.gguf"
    for name in ("ms://org/x-GGUF/x-Q8_0.gguf", page):
        assert Path(run(capsys, "download", name)[0].strip()).read_bytes() == WEIGHTS + b"8"
    run(capsys, "download", "ms://org/x-GGUF", "--include", "*Q4*")
    assert scope.sent_of(WEIGHTS + b"8") == len(WEIGHTS) + 1


def test_modelscope_revision_and_commit_are_asked_for(capsys: Capture, scope: ModelServer) -> None:
    """A commit is a revision; one that is not there is exit status 3."""
    run(capsys, "download", f"ms://org/tiny@{scope.commit}")
    _, err = run(capsys, "download", "ms://org/tiny@v9", code=3)
    assert "has no revision `v9` of `ms://org/tiny`" in err
    _, err = run(capsys, "download", "ms://org/absent", code=3)
    assert "has no model `ms://org/absent`" in err


def test_modelscope_list_without_a_commit_gets_one_of_its_files(capsys: Capture, scope: ModelServer) -> None:
    """Where the answer names no commit, the files together are it, and can be asked for by it."""
    scope.commit = "unknown"
    first = json.loads(run(capsys, "download", "ms://org/tiny", "--json")[0])[0]["commit"]
    assert re.fullmatch(r"[0-9a-f]{40}", first)
    assert json.loads(run(capsys, "download", f"ms://org/tiny@{first}", "--json")[0])[0]["commit"] == first


def test_modelscope_token_goes_to_modelscope_alone(
    capsys: Capture, scope: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token of the variable is sent to ModelScope, and not to the host that stores the files."""
    monkeypatch.setenv("MODELSCOPE_API_TOKEN", "ms-secret-of-mine")
    out, err = run(capsys, "download", "ms://org/x-GGUF/x-Q8_0.gguf")
    assert {seen.headers.get("authorization") for seen in scope.seen if "/api/" in seen.path} == {
        "Bearer ms-secret-of-mine"
    }
    assert {seen.headers.get("authorization") for seen in scope.blob_requests()} == {None}
    assert "secret" not in out + err
    scope.fail("/repo/files", status=403)
    _, err = run(capsys, "download", "ms://org/tiny", code=4)
    assert "does not let this token read `ms://org/tiny`" in err


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"Path": "../../../etc/passwd"}, "is not a relative path below the repository"),
        ({"Path": "/etc/passwd"}, "is not a relative path below the repository"),
        ({"Path": "config.json"}, "is listed twice"),
        ({"Path": ["x"]}, "is not a relative path below the repository"),
        ({"Sha256": None}, "has no sha256"),
        ({"Sha256": "../x"}, "hexadecimal digits"),
        ({"Size": -5}, "is not a number of bytes"),
        ({"Size": "5"}, "is not a number of bytes"),
    ],
)
def test_modelscope_hostile_list_is_one_sentence(
    capsys: Capture, scope: ModelServer, data: Path, broken: dict[str, object], words: str
) -> None:
    """A list that ModelScope does not give is refused before anything is written."""
    scope.broken = broken
    _, err = run(capsys, "download", "ms://org/tiny", code=1)
    assert words in err
    assert not (data / "models").exists()


@pytest.mark.parametrize("body", [b"[]", b'{"Data": {"Files": 7}}', b'{"Data": {"Files": [7]}}', b'{"Data": 5}'])
def test_modelscope_answer_of_another_form_is_one_sentence(capsys: Capture, scope: ModelServer, body: bytes) -> None:
    """An answer of another form names who gave it."""
    scope.fail("/repo/files", body=body)
    _, err = run(capsys, "download", "ms://org/tiny", code=1)
    assert f"ModelScope ({scope.host}) lists `ms://org/tiny` with values it does not give" in err


def test_modelscope_wrong_bytes_are_never_kept(capsys: Capture, scope: ModelServer, data: Path) -> None:
    """A file whose checksum is wrong twice is an error, and nothing of it stays."""
    scope.fail(f"/storage/{digest_of(WEIGHTS)}", flip=True, times=0)
    _, err = run(capsys, "download", "ms://org/x-GGUF/x-Q4_K_M.gguf", code=1)
    assert "arrived with the wrong sha256, twice" in err
    assert not [path for path in data.rglob("*") if path.is_file() and path.stat().st_size >= len(WEIGHTS)]


def test_modelscope_that_does_not_answer_names_host_and_remedy(
    capsys: Capture, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that refuses connections is named, with what to check."""
    assert data
    monkeypatch.setenv("MODELSCOPE_DOMAIN", "127.0.0.1:9")
    _, err = run(capsys, "download", "ms://org/tiny", code=4)
    assert "ModelScope 127.0.0.1:9: connection refused" in err
    assert "curl -I http://127.0.0.1:9/" in err


@pytest.mark.parametrize(
    ("name", "runtime", "artifact"),
    [
        ("ms://org/x-GGUF:Q8_0", "llama_cpp", "/x-Q8_0.gguf"),
        ("modelscope.cn/org/x-GGUF", "llama_cpp", "/x-Q4_K_M.gguf"),
    ],
)
def test_modelscope_model_is_what_a_runtime_loads(
    capsys: Capture, scope: ModelServer, name: str, runtime: str, artifact: str
) -> None:
    """`llm chat` plans the download of the file with the quantization, and its server."""
    assert scope
    argv = ("llm", "chat", name, "--prompt", "hi", "--dry-run", "--json", "--target", "cpu")
    planned: dict[str, Any] = json.loads(run(capsys, *argv)[0])
    assert planned["runtime"] == runtime
    assert planned["artefact"].endswith(artifact)
    assert planned["steps"][0]["argv"][:2] == ["jetson-containers", "download"]


def test_modelscope_checkpoint_is_converted_like_one_of_the_hub(capsys: Capture, scope: ModelServer) -> None:
    """A checkpoint is weighed by its config.json and prepared by the same steps as one of the hub."""
    scope.scope["org/tiny"]["model.safetensors"] = b"\7" * 5000
    argv = ("llm", "quantize", "ms://org/tiny", "--dry-run", "--json", "--target", "cpu")
    planned = json.loads(run(capsys, *argv)[0])
    assert planned["steps"][0]["output"].startswith("/data/models/modelscope/modelscope.cn+org+tiny/snapshots/")
    assert [step["name"] for step in planned["steps"]][:2] == ["download", "convert"]
