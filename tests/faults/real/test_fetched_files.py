"""Wheels and plain files that a recipe fetches with a checksum, from an index and a mirror with every fault.

A build that fails names the file in one error and leaves nothing; one that succeeds asked again. The next build, with
the faults gone, makes the whole image.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import json
import shutil
import subprocess
import sys
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.real.proxy import FaultyProxy
from tests.faults.real.scene import ROOT, Scene
from tests.real.conftest import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jetson_containers.engine.docker import DockerEngine

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(600)]

WHEEL, FILE = "tiny-1.0-py3-none-any.whl", "tiny-1.0.tar.gz"
SIZE = 60_000  # bytes of what is fetched, about
HTML = b"<html>Welcome to our hotel</html>"
FAULTS: dict[str, dict[str, Any]] = {
    "dropped once": {"cut": SIZE // 2, "times": 1},
    "dropped always": {"cut": SIZE // 2},
    "truncated": {"status": 200, "body": b"\x50\x4b\x03\x04" + bytes(SIZE // 2)},
    "another byte": {"flip": True},
    "503 once": {"status": 503, "times": 1},
    "503 always": {"status": 503},
    "404": {"status": 404},
    "reset once": {"reset": True, "times": 1},
    "reset always": {"reset": True},
    "HTML": {"status": 200, "body": HTML, "headers": {"Content-Type": "text/html"}},
    "dripping": {"drip": 0.005},
}
INDEX = ("503 once", "503 always", "reset once", "HTML")
HELD = {"dripping", "dropped once", "reset once", "503 once"}  # what a build must come through by itself


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[FaultyProxy]:
    """A folder on loopback, behind a network that can break."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with FaultyProxy(f"127.0.0.1:{server.server_address[1]}") as proxy:
            yield proxy
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def images(engine: DockerEngine) -> Iterator[dict[str, str]]:
    """Images of ours in which recipes fetch: one with pip, one with curl."""
    made = {"wheel": _image(engine, "python"), "file": _image(engine, "build-essential")}
    yield made
    for name in made.values():
        engine.untag(name)


def _image(engine: DockerEngine, package: str) -> str:
    name = f"{PREFIX}/fetching-{package}"
    words = ["build", package, "--target", "cpu", "--name", name, "--skip-tests", "all"]
    done = subprocess.run(
        [sys.executable, "-m", "jetson_containers", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot run here: no image with {package} can be built: {done.stderr[-300:]}")
    return next(each for image in engine.images() for each in image.references if each.startswith(name))


class Fetching(Scene):
    """A recipe that fetches a wheel, and one that fetches a file; both say which checksum they expect."""

    proxy: FaultyProxy
    bases: dict[str, str]

    def prepare(self, folder: Path) -> None:
        (folder / "simple" / "tiny").mkdir(parents=True)
        (folder / "simple" / "tiny" / "index.html").write_text(f'<a href="/wheels/{WHEEL}">{WHEEL}</a>')
        (folder / "wheels").mkdir()
        wheel = folder / "wheels" / WHEEL
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("tiny.py", "ONE = 1\n")
            archive.writestr("tiny.bin", bytes(range(256)) * (SIZE // 256))
            archive.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
            tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            archive.writestr("tiny-1.0.dist-info/WHEEL", tag)
            archive.writestr("tiny-1.0.dist-info/RECORD", "")
        (folder / FILE).write_bytes(bytes(range(256)) * (SIZE // 256))
        sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (wheel, folder / FILE)}
        install = "COPY tiny.lock /tmp/tiny.lock\nRUN pip install --no-deps --require-hashes -r /tmp/tiny.lock"
        self.recipe("wheel", install, test="python3 -c 'import tiny'")
        (self.directory / "packages/wheel/tiny.lock").write_text(f"tiny==1.0 --hash=sha256:{sums[WHEEL]}\n")
        run = "COPY nvidia.sh install.sh /tmp/\nRUN bash /tmp/install.sh"
        self.recipe("file", run, test="test -s /opt/tiny")
        place = self.directory / "packages/file"
        shutil.copy(ROOT / "packages/shared/cuda/nvidia.sh", place)  # what our recipes fetch with
        url = f"https://files.invalid/{FILE}"
        (place / "install.sh").write_text(f". /tmp/nvidia.sh\nfetch {url} {sums[FILE]} /opt/tiny\n")

    def fetch(self, package: str) -> subprocess.CompletedProcess[str]:
        """A build as its user starts it."""
        found = {
            "python": f"http://{self.proxy.host}/simple",
            "files": {"https://files.invalid/": f"http://{self.proxy.host}/"},
        }
        network = "--build-flags=--network=host"
        self.base = self.bases[package]
        return self.run(self.build_words(network, package), JETSON_CONTAINERS_MIRRORS=json.dumps(found))

    def failed_well(self, package: str, file: str, done: subprocess.CompletedProcess[str]) -> None:
        """One error that names the file, and nothing of it in the store or on the disk."""
        assert done.returncode in {1, 4}, done.stderr
        assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1, done.stderr
        assert file in done.stderr, done.stderr
        assert not [name for name in self.images() if f":{package}-" in name]
        assert self.left_over() == []

    def finished(self, package: str) -> None:
        """The next build makes the image with what was to be fetched, and the one after it has nothing to do."""
        done = self.fetch(package)
        assert done.returncode == 0, done.stderr
        assert "nothing to build" in self.fetch(package).stderr
        image = next(name for name in self.images() if name.startswith(f"jc-fault-{self.nonce}/"))
        count = "import tiny, os; print(os.path.getsize(os.path.join(os.path.dirname(tiny.__file__), 'tiny.bin')))"
        words = ["python3", "-c", count] if package == "wheel" else ["sh", "-c", "wc -c < /opt/tiny"]
        assert self.docker("run", "--rm", image, *words).strip() == str(SIZE // 256 * 256)
        assert self.left_over() == []


@pytest.fixture
def fetching(tmp_path: Path, images: dict[str, str]) -> Iterator[Fetching]:
    folder = tmp_path / "scene"
    folder.mkdir()
    made = Fetching(folder, "")
    made.bases = images
    made.prepare(tmp_path / "served")
    with served(tmp_path / "served") as made.proxy:
        yield made
    made.close()


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("package", "file"), [("wheel", WHEEL), ("file", FILE)], ids=["wheel", "file"])
def test_fetched_file_with_a_fault_is_whole_later(fetching: Fetching, package: str, file: str, fault: str) -> None:
    """Asked for again and whole, or one error that names it; never taken for whole."""
    fetching.proxy.fail(file, methods=("GET",), **FAULTS[fault])
    done = fetching.fetch(package)
    assert fetching.proxy.hit, done.stderr
    if done.returncode:
        assert fault not in HELD, done.stderr
        fetching.failed_well(package, file, done)
    fetching.proxy.faults.clear()
    fetching.finished(package)


@pytest.mark.parametrize("fault", INDEX)
def test_index_with_a_fault_is_asked_again_or_named(fetching: Fetching, fault: str) -> None:
    """The page of the package in the index: the error names the package."""
    fetching.proxy.fail("/simple/tiny", methods=("GET",), **FAULTS[fault])
    done = fetching.fetch("wheel")
    assert fetching.proxy.hit, done.stderr
    if done.returncode:
        assert fault not in HELD, done.stderr
        fetching.failed_well("wheel", "tiny", done)
    fetching.proxy.faults.clear()
    fetching.finished("wheel")
