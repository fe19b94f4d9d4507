"""One file of any server, with the checksum that was given with its address, by its server, or found out here."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import settings
from jetson_containers.core.console import Console, Level
from jetson_containers.core.errors import UsageError
from jetson_containers.llm.context import HubAdapter
from jetson_containers.llm.models import lookup
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
    with pytest.raises(UsageError, match=r"cannot be fetched like this|invalid"):
        names.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        f"HTTPS://Host.example:8080/a~b/x.GGUF#SHA256={HEX.upper()}",
        f"http://h/x.gguf#sha256={HEX}",
        "https://host:8080/a/x.gguf",
    ],
)
def test_direct_reference_is_found_by_its_folder(text: str) -> None:
    """The folder says which file it is."""
    found = names.parse(text)
    assert found is not None
    assert names.of_folder(names.DIRECT, found.folder) == found
    assert names.parse(found.repo) == found
    assert names.has_tags(found.repo)


@pytest.mark.parametrize("checked", [True, False])
def test_direct_file_is_fetched_by_the_step_of_chat(data: Path, address: str, checked: bool) -> None:
    """What `llm chat` does first for a file that is not here: it is then where the container reads it."""
    asked = address if checked else address.partition("#")[0]
    hub = HubAdapter(settings=settings.load(), console=Console(level=Level.QUIET))
    model = lookup.find(asked, data, hub, "")
    assert model.first is not None
    assert model.first.fetch is not None
    assert not model.first.is_done()
    model.first.fetch()
    assert model.first.is_done()
    assert (data / model.path.removeprefix("/data/")).read_bytes() == WEIGHTS


# Addresses without a checksum


@pytest.fixture
def plain(address: str) -> str:
    return address.partition("#")[0]


def weights_below(data: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in data.rglob("*.gguf"))


def test_first_use_is_said_kept_and_found_again(capsys: Capture, server: ModelServer, data: Path, plain: str) -> None:
    """What arrives is trusted once, with its checksum in a warning; after that it is as any other model."""
    out, err = run(capsys, "download", plain, "--json")
    assert HEX in err
    assert "gives no checksum" in err
    (item,) = json.loads(out)
    assert [(file["sha256"], file["state"]) for file in item["files"]] == [(HEX, "downloaded")]
    assert weights_below(data) == [WEIGHTS]
    for argv in (("download", plain), ("--offline", "download", plain), ("download", plain, "--verify")):
        assert "gives no checksum" not in run(capsys, *argv)[1]
    assert server.sent_of(WEIGHTS) == len(WEIGHTS)
    (listed,) = json.loads(run(capsys, "llm", "list", "--json")[0])
    assert listed["model"] == plain
    run(capsys, "llm", "rm", "-y", plain)
    assert weights_below(data) == []


def test_first_use_damaged_later_is_repaired(capsys: Capture, server: ModelServer, data: Path, plain: str) -> None:
    """The checksum of the first time holds from then on."""
    run(capsys, "download", plain)
    (blob,) = (path.resolve() for path in data.rglob("*.gguf"))
    blob.write_bytes(WEIGHTS[:-4] + b"\1\2\3\4")
    run(capsys, "download", plain, "--verify")
    assert weights_below(data) == [WEIGHTS]


def test_first_use_can_be_weighed_and_planned(capsys: Capture, data: Path, plain: str) -> None:
    """`llm fit` keeps nothing; `llm chat` says before the download what it would do."""
    out, _ = run(capsys, "llm", "fit", plain, "--board", "orin-nx-16gb", "--json")
    assert (json.loads(out)["model"], json.loads(out)["fits"]) == (plain, True)
    argv = ("llm", "chat", plain, "--prompt", "hi", "--dry-run", "--json", "--target", "cpu")
    planned = json.loads(run(capsys, *argv)[0])
    assert planned["runtime"] == "llama_cpp"
    assert not [path for path in data.rglob("*") if path.is_file()]


def test_first_use_of_a_page_is_refused(capsys: Capture, server: ModelServer, data: Path, plain: str) -> None:
    """A login page under the address of a file is not taken for a model."""
    server.plain[PATH] = b"<!DOCTYPE html><title>Sign in</title>"
    _, err = run(capsys, "download", plain, code=1)
    assert "no GGUF file does" in err
    assert not [path for path in data.rglob("*") if path.is_file() and b"Sign in" in path.read_bytes()]


def test_first_use_of_a_file_that_changed_is_said(capsys: Capture, server: ModelServer, data: Path, plain: str) -> None:
    """Another file under the same address is fetched, and it is said that it is another one."""
    run(capsys, "download", plain)
    server.plain[PATH] = WEIGHTS + b"more"
    _, err = run(capsys, "download", plain)
    assert "is another file now" in err
    assert weights_below(data) == sorted([WEIGHTS, WEIGHTS + b"more"])
    assert "is another file now" not in run(capsys, "download", plain)[1]


def test_first_use_of_a_file_that_changes_meanwhile_stops(
    capsys: Capture, server: ModelServer, data: Path, plain: str
) -> None:
    """A download that broke off does not go on with another file, and two halves never become one."""
    half, changed = len(WEIGHTS) // 2, threading.Event()
    server.fail(f"/storage/{digest_of(WEIGHTS)}", hang=changed, hang_at=half, drop_after=half)

    def change() -> None:
        while server.sent_of(WEIGHTS) < half:
            threading.Event().wait(0.01)
        server.plain[PATH] = WEIGHTS[:-4] + b"\1\2\3\4"
        changed.set()

    changing = threading.Thread(target=change)
    changing.start()
    _, err = run(capsys, "download", plain, code=1)
    changing.join()
    assert "became another file" in err
    assert weights_below(data) == []
    run(capsys, "download", plain)
    assert weights_below(data) == [WEIGHTS[:-4] + b"\1\2\3\4"]


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Repr-Digest", f"sha-256=:{base64.b64encode(bytes.fromhex(HEX)).decode()}:"),
        ("Digest", f"md5=Q2hlY2s=,SHA-256={base64.b64encode(bytes.fromhex(HEX)).decode()}"),
        ("X-Checksum-Sha256", HEX.upper()),
    ],
)
def test_direct_checksum_of_the_server_is_compared(
    capsys: Capture, server: ModelServer, data: Path, plain: str, header: str, value: str
) -> None:
    """A server that says the checksum is held to it."""
    server.plain_headers[header] = value
    assert "gives no checksum" not in run(capsys, "download", plain)[1]
    run(capsys, "llm", "rm", "-y", plain)
    server.plain[PATH] = WEIGHTS[:-1] + b"!"
    _, err = run(capsys, "download", plain, code=1)
    assert "wrong sha256" in err
    assert weights_below(data) == []


def test_first_use_without_a_version_is_refused(capsys: Capture, server: ModelServer, data: Path, plain: str) -> None:
    """A server that says nothing about the file cannot be asked to go on with the same one."""
    server.plain_headers["ETag"] = ""
    _, err = run(capsys, "download", plain, code=1)
    assert "#sha256=HEX" in err
    server.plain_headers["Last-Modified"] = "Sun, 29 Nov 2026 00:00:00 GMT"
    run(capsys, "download", plain)
    assert weights_below(data) == [WEIGHTS]
