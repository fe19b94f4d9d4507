"""One file of any server, with the checksum that was given with its address."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.sources import names
from tests.modelserver import digest_of
from tests.unit.sources.helpers import WEIGHTS, run

if TYPE_CHECKING:
    from tests.modelserver import ModelServer

Capture = pytest.CaptureFixture[str]
HEX = digest_of(WEIGHTS).removeprefix("sha256:")
PATH = "/of/mine/tiny-Q8_0.gguf"


@pytest.fixture
def address(server: ModelServer, data: Path) -> str:
    assert data
    server.plain[PATH] = WEIGHTS
    return f"https://{server.host}{PATH}#sha256={HEX}"


def test_direct_file_is_downloaded_verified_listed_and_removed(
    capsys: Capture, server: ModelServer, data: Path, address: str
) -> None:
    """The file arrives once, is found again offline, and has its address as its name."""
    (item,) = json.loads(run(capsys, "download", address, "--json")[0])
    path = Path(item["path"])
    assert path.is_relative_to(data / "models/direct")
    assert next(path.rglob("*.gguf") if path.is_dir() else iter([path])).read_bytes() == WEIGHTS
    run(capsys, "download", address)
    run(capsys, "--offline", "download", address)
    assert server.sent_of(WEIGHTS) == len(WEIGHTS)
    (listed,) = json.loads(run(capsys, "llm", "list", "--json")[0])
    assert listed["model"] == address
    run(capsys, "llm", "rm", "-y", address)
    assert json.loads(run(capsys, "llm", "list", "--json")[0]) == []
    assert not list(data.rglob("*.gguf"))


def test_direct_file_is_weighed_and_planned_as_others(capsys: Capture, data: Path, address: str) -> None:
    """`llm fit` reads the header of the file and keeps nothing; `llm chat` takes llama.cpp for it."""
    out, _ = run(capsys, "llm", "fit", address, "--board", "orin-nx-16gb", "--json")
    assert (json.loads(out)["model"], json.loads(out)["fits"]) == (address, True)
    assert not [path for path in data.rglob("*") if path.is_file()]
    run(capsys, "download", address)
    argv = ("llm", "chat", address, "--prompt", "hi", "--dry-run", "--json", "--target", "cpu")
    assert json.loads(run(capsys, *argv)[0])["runtime"] == "llama_cpp"


def test_direct_file_with_another_checksum_is_refused(capsys: Capture, data: Path, address: str) -> None:
    """Bytes of another checksum are not taken, and nothing of them stays as a model."""
    wrong = address[:-8] + ("0" * 8 if HEX[-8:] != "0" * 8 else "1" * 8)
    _, err = run(capsys, "download", wrong, code=1)
    assert "sha256" in err.lower() or "checksum" in err.lower()
    assert not list(data.rglob("*.gguf"))


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ({"status": 404}, 3, "has no file"),
        ({"status": 403}, 4, "does not let everybody read"),
        ({"status": 418}, 1, "answered HTTP 418"),
    ],
)
def test_direct_answer_without_a_file_is_one_sentence(
    capsys: Capture, server: ModelServer, address: str, fault: dict[str, int], code: int, words: str
) -> None:
    """A server that has no such file, or does not hand it out, is named."""
    server.fail(PATH, **fault)
    _, err = run(capsys, "download", address, code=code)
    assert words in err
    assert server.host in err


@pytest.mark.parametrize("size", ["*", "-5", "9" * 40, "5 5"])
def test_direct_size_that_is_none_is_refused(capsys: Capture, server: ModelServer, address: str, size: str) -> None:
    """A size that cannot be one is refused before anything is written."""
    server.fail(PATH, status=206, body=b"G", headers={"Content-Range": f"bytes 0-0/{size}"})
    _, err = run(capsys, "download", address, code=1)
    assert "does not say how large" in err


@pytest.mark.parametrize(
    "text",
    [
        f"https://host/../x.gguf#sha256={HEX}",
        f"https://host/a/./x.gguf#sha256={HEX}",
        f"https://host/a//x.gguf#sha256={HEX}",
        f"https://host/a+b/x.gguf#sha256={HEX}",
        f"https://host/x.gguf?a=b#sha256={HEX}",
        f"https://host/x.gguf#sha256={HEX[1:]}",
        f"https://host/{'a' * 120}/{'b' * 120}/x.gguf#sha256={HEX}",
        "https://host/x.gguf#sha256=",
    ],
)
def test_direct_address_that_cannot_be_a_folder_is_refused(text: str) -> None:
    """Parts that would leave the folder, a query, a broken checksum: refused with the way to fetch the file."""
    with pytest.raises(UsageError, match=r"gives no checksum|invalid"):
        names.parse(text)


@pytest.mark.parametrize(
    "text", [f"HTTPS://Host.example:8080/a~b/x.GGUF#SHA256={HEX.upper()}", f"http://h/x.gguf#sha256={HEX}"]
)
def test_direct_reference_is_found_by_its_folder(text: str) -> None:
    """The folder says which file it is."""
    found = names.parse(text)
    assert found is not None
    assert names.of_folder(names.DIRECT, found.folder) == found
    assert names.parse(found.repo) == found
    assert names.has_tags(found.repo)
