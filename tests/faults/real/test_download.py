"""Downloads that are killed, get every fault of a network, or find damaged files: the next run has the whole model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.real.mounts import fill, read_only, small_disk
from tests.faults.real.scene import ROOT, Program, wait_until
from tests.hubserver import HubServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

BLOCK = 1 << 16
SHARD = 8 * BLOCK
FILES = {
    "config.json": b'{"model_type": "none"}',
    "a.safetensors": os.urandom(SHARD),
    "b.safetensors": os.urandom(SHARD),
}
NAME = "org/model"


class Downloads:
    """One user's downloads from one hub."""

    def __init__(self, hub: HubServer, directory: Path) -> None:
        self.hub = hub
        self.directory = directory
        self.programs: list[Program] = []
        self.data = directory / "data"
        self.cache = self.data / "models/huggingface"
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        self.env = {
            **kept, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(self.cache), "JETSON_CONTAINERS_DATA": str(self.data),
            "HOME": str(directory / "home"), "TMPDIR": str(directory / "tmp"),
            "JETSON_CONTAINERS_CACHE": str(directory / "cache"),
        }  # fmt: skip
        for name in ("home", "tmp", "data"):
            (directory / name).mkdir()

    def start(self, *words: str, **env: str) -> Program:
        command = [sys.executable, str(ROOT / "scripts/main.py"), "download", NAME, *words]
        self.programs.append(Program(command, {**self.env, **env}, self.directory))
        return self.programs[-1]

    def run(self, *words: str, **env: str) -> tuple[int, str]:
        program = self.start(*words, **env)
        return program.ended(), program.said

    def whole(self) -> None:
        """A run finishes; what it gives is the model, byte by byte, and nothing temporary is left."""
        self.hub.faults.clear()
        code, said = self.run()
        assert code == 0, said
        (snapshot,) = self.cache.glob("*/snapshots/*")
        assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == FILES
        assert [str(path) for path in self.cache.rglob("*.incomplete*")] == []
        assert list((self.directory / "tmp").iterdir()) == []

    def nothing_again(self) -> None:
        """A further run fetches no file."""
        self.hub.forget()
        code, said = self.run()
        assert code == 0, said
        assert self.hub.sent == {}

    def counts_as_absent(self) -> None:
        """Without the hub, the part that is there is no model."""
        code, said = self.run("--offline")
        assert code == 4, said


@pytest.fixture
def downloads(hub_server: HubServer, tmp_path: Path) -> Iterator[Downloads]:
    hub_server.add(NAME, FILES)
    made = Downloads(hub_server, tmp_path)
    yield made
    for program in made.programs:
        program.close()


# Killed.


def _amid(downloads: Downloads, name: str) -> None:
    downloads.hub.fail(f"/resolve/{name}", hang=threading.Event(), hang_at=SHARD // 2)


QUICK = ("amid a file", signal.SIGKILL)
STANDING: dict[str, tuple[Callable[[Downloads], Any], str]] = {
    "listing": (lambda downloads: downloads.hub.fail("/api/", delay=5.0), "/api/"),
    "first file": (lambda downloads: downloads.hub.fail("/resolve/", delay=5.0), "config.json"),
    "redirect": (lambda downloads: downloads.hub.fail("a.safetensors", delay=5.0), "a.safetensors"),
    "amid a file": (lambda downloads: _amid(downloads, "a.safetensors"), "/storage/"),
    "amid the last file": (lambda downloads: _amid(downloads, "b.safetensors"), "b.safetensors"),
}


SIGNALS = (signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
KILLS = [
    pytest.param(moment, number, id=f"{moment}-{number.name}", marks=[pytest.mark.quick] * ((moment, number) == QUICK))
    for moment in STANDING
    for number in SIGNALS
]


@pytest.mark.parametrize(("moment", "number"), KILLS)
def test_download_that_is_killed_goes_on(downloads: Downloads, moment: str, number: signal.Signals) -> None:
    """Before the listing, between files and amid a file; nothing that had arrived of it is fetched again."""
    order, request = STANDING[moment]
    order(downloads)
    program = downloads.start()
    wait_until(lambda: any(request in seen.path for seen in [*downloads.hub.seen]))
    if moment.startswith("amid"):
        wait_until(lambda: any(p.stat().st_size == SHARD // 2 for p in downloads.cache.rglob("*.incomplete")))
    program.send(number)
    assert program.ended() in {-number, 130, 128 + number}
    downloads.counts_as_absent()
    downloads.whole()
    if moment.startswith("amid"):  # of other files, bytes may have been under way
        standing = "b.safetensors" if "last" in moment else "a.safetensors"
        assert downloads.hub.sent[standing] == SHARD
    downloads.nothing_again()


# The network.

PLACES = {"listing": "/api/", "small file": "config.json", "redirect": f"{NAME}/resolve", "storage": "/storage/"}
ANSWERS: dict[str, dict[str, Any]] = {
    "500 twice": {"status": 500, "times": 2},
    "503 once": {"status": 503, "times": 1, "headers": {"Retry-After": "0"}},
    "429 once": {"status": 429, "times": 1, "headers": {"Retry-After": "0"}},
    "401": {"status": 401},
    "HTML": {"body": b"<html>Welcome to our hotel</html>", "headers": {"Content-Type": "text/html"}},
    "slow": {"delay": 0.5, "times": 1},
}
BODIES: dict[str, dict[str, Any]] = {
    "reset at once": {"drop_after": 0, "times": 1},
    "reset amid": {"drop_after": SHARD // 2, "times": 2},
    "reset always": {"drop_after": BLOCK},
    "cut": {"truncate": SHARD // 2, "times": 1},
    "another byte": {"flip": True, "times": 1},
    "another byte always": {"flip": True},
    "dripping": {"trickle": 0.02, "block": BLOCK // 8, "times": 1},
    "no ranges": {"no_ranges": True},
}


def _survive(downloads: Downloads, path: str, **fault: Any) -> None:
    """With the fault a run ends by itself; what it called done is whole, and without the fault the next one is done."""
    downloads.hub.fail(path, **{"times": 0, **fault})
    code, said = downloads.run()
    assert code in {0, 1, 3, 4}, said
    if code == 0:
        (snapshot,) = downloads.cache.glob("*/snapshots/*")
        assert {path.name: path.read_bytes() for path in snapshot.iterdir()} == FILES
    else:
        assert sum(line.startswith("error: ") for line in said.splitlines()) == 1, said
        downloads.counts_as_absent()
    downloads.whole()
    downloads.nothing_again()


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("place", PLACES)
def test_download_with_a_wrong_answer_is_whole_later(downloads: Downloads, place: str, answer: str) -> None:
    """A hub that fails, refuses or is somebody else's page, at each kind of request."""
    _survive(downloads, PLACES[place], **ANSWERS[answer])


@pytest.mark.parametrize("body", BODIES)
def test_download_with_a_broken_body_is_whole_later(downloads: Downloads, body: str) -> None:
    """Connections that break, end early, hand on other bytes or drip."""
    _survive(downloads, "/storage/", **BODIES[body])


@pytest.mark.quick
def test_download_from_a_hub_that_is_broken_is_whole_later(downloads: Downloads) -> None:
    """A hub that answers every question with an error."""
    _survive(downloads, "", status=500)


def test_download_with_a_listing_that_breaks_off_is_whole_later(downloads: Downloads) -> None:
    """A listing that is cut is none."""
    _survive(downloads, "/api/", body=b'{"id": "org/model", "sha": "')


def test_download_whose_hub_is_killed_goes_on_with_the_next(tmp_path: Path) -> None:
    """The hub's process is killed amid a file and started anew."""
    root = tmp_path / "hub" / NAME
    root.mkdir(parents=True)
    for name, content in FILES.items():
        (root / name).write_bytes(content)
    (root / "c.safetensors").write_bytes(bytes(24 << 20))
    command = [sys.executable, "-m", "tests.hubserver", str(tmp_path / "hub")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        hub = HubServer.__new__(HubServer)
        hub.url = first.stdout.readline().strip()
        downloads = Downloads(hub, tmp_path)
        program = downloads.start()
        wait_until(lambda: bool(list(downloads.cache.rglob("*.incomplete"))))
        first.kill()
    assert program.ended() in {0, 4}, program.said
    with subprocess.Popen([*command, hub.url.rpartition(":")[2]], cwd=ROOT, stdout=subprocess.PIPE, text=True) as again:
        assert again.stdout is not None
        again.stdout.readline()
        code, said = downloads.run()
        again.kill()
    assert code == 0, said
    (snapshot,) = downloads.cache.glob("*/snapshots/*")
    assert {path.name: path.stat().st_size for path in snapshot.iterdir()}["c.safetensors"] == 24 << 20
    assert list(downloads.cache.rglob("*.incomplete")) == []


# Several at once.


@pytest.mark.parametrize("number", [pytest.param(2, marks=pytest.mark.quick), 4])
def test_downloads_at_once_fetch_each_byte_once(downloads: Downloads, number: int) -> None:
    """Downloads of the same model at once all have it, and one of them fetches it."""
    downloads.hub.fail("/storage/", trickle=0.05, times=2)
    programs = [downloads.start() for _ in range(number)]
    codes = [program.ended() for program in programs]
    assert codes == [0] * number, "".join(program.said for program in programs)
    assert downloads.hub.sent["a.safetensors"] == downloads.hub.sent["b.safetensors"] == SHARD
    downloads.whole()


def test_downloads_at_once_survive_one_that_is_killed(downloads: Downloads) -> None:
    """The one that fetches is killed: another one goes on with its file."""
    _amid(downloads, "a.safetensors")
    first = downloads.start()
    wait_until(lambda: any(p.stat().st_size == SHARD // 2 for p in downloads.cache.rglob("*.incomplete")))
    others = [downloads.start() for _ in range(2)]
    others[0].wait_for("another process")
    first.send(signal.SIGKILL)
    first.ended()
    assert [program.ended() for program in others] == [0, 0]
    assert downloads.hub.sent["a.safetensors"] == SHARD
    downloads.whole()


# Places.


@pytest.mark.parametrize("place", ["data", "home", "tmp"])
@pytest.mark.parametrize("wrong", ["full", "read-only"])
def test_download_into_a_place_that_cannot_be_written_is_whole_later(
    downloads: Downloads, place: str, wrong: str
) -> None:
    """A full or read-only folder of models, home or temporary folder."""
    with small_disk(downloads.directory / place, "2200k") as disk:
        if wrong == "full":
            filler = fill(disk)
            code, said = downloads.run()
            filler.unlink()
        else:
            with read_only(disk):
                code, said = downloads.run()
        assert code == (4 if place == "data" else 0), said
        if code:
            assert sum(line.startswith("error: ") for line in said.splitlines()) == 1, said
            downloads.counts_as_absent()
        downloads.whole()


# Files.


def _each(pattern: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(cache: Path) -> None:
        found = [path for path in cache.rglob(pattern) if path.is_file() and not path.is_symlink()]
        assert found
        for path in found:
            path.write_bytes(change(path.read_bytes()))

    return damage


def _unlink(pattern: str) -> Callable[[Path], None]:
    def damage(cache: Path) -> None:
        for path in [*cache.rglob(pattern)]:
            path.unlink()

    return damage


DAMAGES: dict[str, Callable[[Path], None]] = {
    "a blob that is cut": _each("blobs/*", lambda content: content[: len(content) // 2]),
    "empty blobs": _each("blobs/*", lambda _: b""),
    "blobs that are gone": _unlink("blobs/*"),
    "a branch that names nothing": _each("refs/*", lambda _: b""),
    "a branch of nonsense": _each("refs/*", lambda _: b"\0" * 40),
    "links that are gone": _unlink("snapshots/*/*"),
    "lists of a newer version": _each("*.json", lambda _: b'{"schema": 999}'),
    "lists that are cut": _each("*.json", lambda content: content[: len(content) // 2]),
    "lists that are gone": _unlink("*.json"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_download_over_damaged_files_is_whole(downloads: Downloads, damage: str) -> None:
    """Whatever is damaged in the cache, the next run has the model again."""
    downloads.whole()
    DAMAGES[damage](downloads.cache)
    downloads.whole()
    downloads.nothing_again()


@pytest.mark.parametrize(
    "part",
    [b"", b"\0" * 100, b"\0" * SHARD, b"\0" * (SHARD + 1)],
    ids=["empty", "of zeros", "of zeros to its end", "too long"],
)
def test_download_over_a_part_of_something_else_is_whole(downloads: Downloads, part: bytes) -> None:
    """A part that a crash left with other bytes is found by its checksum and fetched anew."""
    _amid(downloads, "a.safetensors")
    program = downloads.start()
    wait_until(lambda: any(p.stat().st_size == SHARD // 2 for p in downloads.cache.rglob("*.incomplete")))
    program.send(signal.SIGKILL)
    program.ended()
    for path in downloads.cache.rglob("*.incomplete"):
        path.write_bytes(part)
    code, said = downloads.run()
    assert code in {0, 4}, said
    downloads.whole()
