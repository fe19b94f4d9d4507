"""Models of Ollama's registry, from a server that speaks its protocol: downloaded, listed, removed, and its faults."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.hub.transfer import remote
from jetson_containers.registry import http
from tests.modelserver import OLLAMA
from tests.unit.sources.helpers import WEIGHTS, run

if TYPE_CHECKING:
    from tests.modelserver import ModelServer

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pauses between attempts take no time."""
    monkeypatch.setattr(remote.Patience, "__init__", _patience)
    monkeypatch.setattr(http, "FIRST_PAUSE", 0.01)


def _patience(self: Any, tries: int = 3, first: float = 0.01, most: float = 0.02, longest: float = 300.0) -> None:
    for name, value in {"tries": tries, "first": first, "most": most, "longest": longest}.items():
        object.__setattr__(self, name, value)


@pytest.fixture
def name(server: ModelServer, data: Path) -> str:
    server.add_ollama(
        "library/llama3.2", "1b", WEIGHTS, template=b"{{ .Prompt }}", params=b'{"stop": ["x"]}', license=b"MIT"
    )
    return f"ollama://{server.host}/library/llama3.2:1b"


def test_ollama_model_is_downloaded_with_its_small_files(
    capsys: Capture, server: ModelServer, data: Path, name: str
) -> None:
    """Weights, template, parameters and license arrive, verified, below the source's own folder."""
    (item,) = json.loads(run(capsys, "download", name, "--json")[0])
    files = {file["name"]: file for file in item["files"]}
    assert set(files) == {"llama3.2-1b-Q8_0.gguf", "template", "params.json", "LICENSE"}
    assert files["llama3.2-1b-Q8_0.gguf"]["sha256"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert (item["repo"], item["revision"]) == (name, "1b")
    assert Path(item["path"]).is_relative_to(data / "models/ollama")
    assert Path(item["path"], "llama3.2-1b-Q8_0.gguf").read_bytes() == WEIGHTS
    server.forget()
    run(capsys, "download", name)
    assert not server.sent_of(WEIGHTS)


def test_ollama_token_goes_to_the_registry_alone(capsys: Capture, server: ModelServer, name: str) -> None:
    """A registry that wants a token gets one, and the host that stores the blobs does not."""
    server.token_wanted = True
    run(capsys, "download", name)
    assert {seen.headers.get("authorization") for seen in server.seen if "/manifests/" in seen.path} >= {
        "Bearer registry-token"
    }
    assert {seen.headers.get("authorization") for seen in server.blob_requests()} == {None}


def test_ollama_dry_run_lists_and_fetches_nothing(capsys: Capture, server: ModelServer, data: Path, name: str) -> None:
    """A dry run says what would come, and writes nothing."""
    out, _ = run(capsys, "download", name, "--dry-run")
    assert "missing  llama3.2-1b-Q8_0.gguf" in out
    assert not server.sent_of(WEIGHTS)
    assert not (data / "models").exists()


@pytest.mark.parametrize("fault", [{"drop_after": 40_000}, {"no_ranges": True}, {"status": 503}, {"truncate": 30_000}])
def test_ollama_download_goes_on_after_a_fault(
    capsys: Capture, server: ModelServer, name: str, fault: dict[str, Any]
) -> None:
    """A connection that breaks, a short answer and a busy server are asked again from where it stopped."""
    server.fail("/storage/", **fault)
    out, _ = run(capsys, "download", name)
    assert Path(out.strip(), "llama3.2-1b-Q8_0.gguf").read_bytes() == WEIGHTS


def test_ollama_wrong_bytes_are_never_kept(capsys: Capture, server: ModelServer, data: Path, name: str) -> None:
    """A blob whose checksum is wrong twice is an error, and nothing of it stays."""
    server.fail("/storage/" + "sha256:" + hashlib.sha256(WEIGHTS).hexdigest(), flip=True, times=0)
    _, err = run(capsys, "download", name, code=1)
    assert "arrived with the wrong sha256, twice" in err
    assert not [path for path in data.rglob("*") if path.is_file() and path.stat().st_size >= len(WEIGHTS)]
    assert not list(data.rglob("refs/*"))


def test_ollama_redirect_that_does_not_end_is_an_error(capsys: Capture, server: ModelServer, name: str) -> None:
    """A redirect in a circle is one sentence."""
    server.fail("/blobs/", times=0, status=307, headers={"Location": f"{server.url}/v2/x/blobs/loop"})
    _, err = run(capsys, "download", name, code=1)
    assert "answered HTTP 307 for a file that it lists" in err


def test_ollama_redirect_to_plain_http_elsewhere_is_refused(capsys: Capture, server: ModelServer, name: str) -> None:
    """A redirect that leaves encryption is not followed."""
    server.fail("/blobs/", times=0, status=307, headers={"Location": "http://storage.example/x"})
    _, err = run(capsys, "download", name, code=4)
    assert "without encryption" in err


GOOD = {"mediaType": f"{OLLAMA}model", "digest": "sha256:" + "a" * 64, "size": 5}


@pytest.mark.parametrize(
    ("manifest", "words", "code"),
    [
        ({"layers": [{**GOOD, "digest": "sha256:../../etc/passwd"}]}, "is not a sha256", 1),
        ({"layers": [{**GOOD, "digest": "sha256:" + "A" * 64}]}, "is not a sha256", 1),
        ({"layers": [{**GOOD, "digest": ["x"]}]}, "is not a sha256", 1),
        ({"layers": [{**GOOD, "size": -1}]}, "is not a number of bytes", 1),
        ({"layers": [{**GOOD, "size": 1 << 80}]}, "not JSON|no valid JSON|number", 4),
        ({"layers": [{**GOOD, "size": "5"}]}, "is not a number of bytes", 1),
        ({"layers": [GOOD] * 201}, "201 layers", 1),
        ({"layers": [GOOD, GOOD]}, "holds no GGUF file", 3),
        ({"layers": [{**GOOD, "mediaType": f"{OLLAMA}tensor"}]}, "holds no GGUF file.*tensor", 3),
        ({"layers": [{**GOOD, "mediaType": "../../x\x1b[31m"}]}, "holds no GGUF file", 3),
        ({"layers": "many"}, "no list where one is expected", 1),
        ({"layers": [7]}, "no object where one is expected", 1),
        ({}, "no list where one is expected", 1),
    ],
)
def test_ollama_hostile_manifest_is_one_sentence(
    capsys: Capture, server: ModelServer, data: Path, manifest: dict[str, Any], words: str, code: int
) -> None:
    """A manifest that no registry gives is refused before anything is written."""
    server.add_body("library/bad", "1b", json.dumps(manifest).encode())
    _, err = run(capsys, "download", f"ollama://{server.host}/library/bad:1b", code=code)
    assert re.search(words, err.replace("\n", " ")), err
    assert "\x1b" not in err
    assert not (data / "models").exists()


def test_ollama_huge_manifest_is_refused(capsys: Capture, server: ModelServer, data: Path) -> None:
    """A manifest larger than a registry may give is not read further."""
    server.add_body("library/big", "1b", json.dumps({"layers": [], "x": "y" * (5 << 20)}).encode())
    _, err = run(capsys, "download", f"ollama://{server.host}/library/big:1b", code=4)
    assert "a manifest of 5242" in err
    assert not (data / "models").exists()


def test_ollama_absent_model_says_what_to_check(capsys: Capture, server: ModelServer, name: str) -> None:
    """A model that is not there is exit status 3; a tag in upper case gets a suggestion."""
    _, err = run(capsys, "download", name.replace(":1b", ":1B"), code=3)
    assert f"did you mean `{name}`" in err
    assert server.seen


def test_ollama_moved_tag_is_said_where_a_digest_pins_it(capsys: Capture, server: ModelServer, name: str) -> None:
    """What a digest pins is taken as that, or not at all."""
    digest = server.add_ollama("library/llama3.2", "1b", WEIGHTS + b"new")
    run(capsys, "download", f"{name}@{digest}")
    _, err = run(capsys, "download", f"{name}@sha256:{'0' * 64}", code=1)
    assert f"is {digest} now" in err


def test_ollama_offline_takes_what_is_here_and_a_silent_registry_does_too(
    capsys: Capture, server: ModelServer, name: str
) -> None:
    """Offline the cache serves; so it does when the registry does not answer, which is said."""
    _, err = run(capsys, "--offline", "download", name, code=4)
    assert "is not in the cache" in err
    path = run(capsys, "download", name)[0]
    assert run(capsys, "--offline", "download", name)[0] == path
    server.fail("/manifests/", times=0, status=503)
    out, err = run(capsys, "download", name)
    assert out == path
    assert "using what is in the cache" in err


def test_ollama_registry_that_does_not_answer_names_host_and_remedy(capsys: Capture, data: Path) -> None:
    """A host that refuses connections is named, with what to check."""
    assert not data.exists()
    _, err = run(capsys, "download", "ollama://127.0.0.1:9/library/x:1b", code=4)
    assert "127.0.0.1:9" in err
    assert "hint:" in err


def test_ollama_mirror_is_asked_instead(
    capsys: Capture, server: ModelServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The setting `mirrors` names another host for Ollama's registry, also for the short form."""
    assert name
    mirrors = {"registries": {"registry.ollama.ai": server.host}}
    monkeypatch.setenv("JETSON_CONTAINERS_MIRRORS", json.dumps(mirrors))
    out, _ = run(capsys, "download", "llama3.2:1b")
    assert Path(out.strip()).parts[-3] == "registry.ollama.ai+library+llama3.2+1b"


def test_ollama_model_is_listed_and_removed(capsys: Capture, server: ModelServer, data: Path, name: str) -> None:
    """`llm list` shows one row for each tag, and `llm rm` deletes that one, by any of its names."""
    server.add_ollama("library/llama3.2", "3b", WEIGHTS + b"3")
    run(capsys, "download", name, name.replace("1b", "3b"))
    listed = json.loads(run(capsys, "llm", "list", "--json")[0])
    assert [(one["model"], one["kind"]) for one in listed] == [
        (name, "download"),
        (name.replace("1b", "3b"), "download"),
    ]
    run(capsys, "llm", "rm", "-y", "llama3.2:3b")
    assert [one["model"] for one in json.loads(run(capsys, "llm", "list", "--json")[0])] == [name]
    run(
        capsys,
        "llm",
        "rm",
        "-y",
        name.upper()
        .replace("OLLAMA", "ollama")
        .replace("LLAMA3.2", "llama3.2")
        .replace("1B", "1b")
        .replace("LIBRARY", "library"),
    )
    assert json.loads(run(capsys, "llm", "list", "--json")[0]) == []
    assert {path.name for path in (data / "models/ollama").glob("*")} == {".locks"}


@pytest.mark.parametrize("short", [True, False])
def test_ollama_model_is_what_llama_cpp_loads(
    capsys: Capture, server: ModelServer, name: str, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    """`llm chat` plans the download and the server of the file; what a short name was taken for is one line."""
    monkeypatch.setenv("JETSON_CONTAINERS_MIRRORS", json.dumps({"registries": {"registry.ollama.ai": server.host}}))
    asked = "llama3.2:1b" if short else name
    out, err = run(capsys, "llm", "chat", asked, "--prompt", "hi", "--dry-run", "--json", "--target", "cpu")
    planned = json.loads(out)
    assert planned["runtime"] == "llama_cpp"
    assert planned["artefact"].startswith("/data/models/ollama/")
    assert planned["artefact"].endswith("/llama3.2-1b-Q8_0.gguf")
    assert planned["steps"][0]["argv"][:2] == ["jetson-containers", "download"]
    assert ("is taken for Ollama's model of that name, ollama://llama3.2:1b" in err) is short


def test_ollama_model_of_another_quantization_is_refused(capsys: Capture, name: str) -> None:
    """A quantization that the tag does not have is refused before the download."""
    _, err = run(capsys, "llm", "chat", name, "--prompt", "hi", "--quantization", "Q4_K_M", "--dry-run", code=2)
    assert "no GGUF file with Q4_K_M" in err


def test_ollama_model_is_weighed_before_the_download(
    capsys: Capture, server: ModelServer, data: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`llm fit` reads the header of the file and keeps nothing; the short form is said for what it is taken."""
    monkeypatch.setenv("JETSON_CONTAINERS_MIRRORS", json.dumps({"registries": {"registry.ollama.ai": server.host}}))
    out, err = run(capsys, "llm", "fit", "llama3.2:1b", "--board", "orin-nx-16gb", "--json")
    assert json.loads(out)["model"] == "ollama://llama3.2:1b"
    assert json.loads(out)["fits"] is True
    assert "is taken for Ollama's model of that name" in err
    assert not [path for path in data.rglob("*") if path.is_file()]
    server.fail("/storage/sha256:" + hashlib.sha256(WEIGHTS).hexdigest(), drop_after=100)
    assert json.loads(run(capsys, "llm", "fit", name, "--board", "orin-nx-16gb", "--json")[0])["model"] == name


def test_ollama_model_has_the_name_that_its_user_gave_it(
    capsys: Capture, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alias is a name for `download`, `llm fit`, `llm chat` and `llm rm`."""
    monkeypatch.setenv("JETSON_CONTAINERS_MODEL_ALIASES", f"mine={name}")
    run(capsys, "download", "mine")
    assert json.loads(run(capsys, "llm", "fit", "mine", "--board", "orin-nx-16gb", "--json")[0])["model"] == name
    argv = ("llm", "chat", "mine", "--prompt", "hi", "--dry-run", "--json", "--target", "cpu")
    assert json.loads(run(capsys, *argv)[0])["runtime"] == "llama_cpp"
    run(capsys, "llm", "rm", "-y", "mine")
    assert json.loads(run(capsys, "llm", "list", "--json")[0]) == []


def _number(key: str, value: int) -> bytes:
    return struct.pack("<Q", len(key)) + key.encode() + struct.pack("<II", 4, value)


def _large() -> bytes:
    """The header of a file whose one tensor takes 128 GiB."""
    kind = struct.pack("<Q", 20) + b"general.architecture" + struct.pack("<IQ", 8, 5) + b"llama"
    shape = {"block_count": 80, "embedding_length": 8192, "attention.head_count": 64, "vocab_size": 128_256}
    values = [kind, *(_number(f"llama.{key}", value) for key, value in shape.items())]
    tensor = struct.pack("<Q", 13) + b"output.weight" + struct.pack("<IQQIQ", 2, 1 << 18, 1 << 18, 1, 0)
    return b"GGUF" + struct.pack("<IQQ", 3, 1, len(values)) + b"".join(values) + tensor


def test_ollama_model_that_does_not_fit_is_refused_before_the_download(
    capsys: Capture, server: ModelServer, data: Path
) -> None:
    """`llm chat` reads the header first; what does not fit is exit status 2, and nothing is fetched."""
    server.add_ollama("library/large", "65b", _large() + bytes(2 << 20), file_type="F16")
    name = f"ollama://{server.host}/library/large:65b"
    _, err = run(capsys, "llm", "chat", name, "--prompt", "hi", "--board", "orin-nano-4gb", "--target", "cpu", code=2)
    assert re.search(r"orin-nano-4gb has .* GiB more memory", err)
    assert not [path for path in data.rglob("*") if path.is_file()]
