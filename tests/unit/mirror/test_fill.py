"""A folder with what a plan fetches: filled from servers of the test, checked, continued, and served again."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import threading
import urllib.request
import zipfile
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.console import Console
from jetson_containers.core.errors import ConfigError
from jetson_containers.engine import context
from jetson_containers.mirror import needs
from jetson_containers.mirror.fill import Filler, _rows_html
from jetson_containers.mirror.serve import serving
from jetson_containers.plan.stage import Stage, StageKind
from tests.quiethandler import QuietHandler
from tests.unit import treemaker
from tests.unit.cli.test_checkout import git

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.mirror.fill import Filled

PC = treemaker.PC_CPU
WHEEL = "tiny-1.0-py3-none-any.whl"
FOREIGN = "tiny-1.0-cp38-cp38-manylinux2014_aarch64.whl"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("tiny.py", "1\n")
    return buffer.getvalue()


class Origin:
    """What recipes fetch: an HTTP server's folder, a repository with a submodule, and the recipe that pins them."""

    def __init__(self, folder: Path) -> None:
        self.served = folder / "served"
        self.recipe = folder / "recipe"
        self.inner = self._repository(folder / "inner", {})
        outer = folder / "outer"
        outer.mkdir()
        git(outer, "init", "-b", "main")
        git(outer, "-c", "protocol.file.allow=always", "submodule", "add", str(folder / "inner"), "deep/inner")
        text = (outer / ".gitmodules").read_text().replace(str(folder / "inner"), "../inner")
        (outer / ".gitmodules").write_text(text)
        self.commit = self._repository(outer, {"README": "here"})
        self.files = {"tool-1.tar.gz": b"archive" * 500, WHEEL: wheel(), FOREIGN: b"foreign", "left-1.0.0.tgz": b"npm"}
        treemaker.write(self.served, {})
        self.served.mkdir()
        for name, data in self.files.items():
            (self.served / name).write_bytes(data)
        page = "".join(f'<a href="../../{name}#sha256={sha256(self.files[name])}">x</a>' for name in (WHEEL, FOREIGN))
        treemaker.write(self.served, {"simple/tiny/index.html": page})

    def _repository(self, folder: Path, more: dict[str, str]) -> str:
        folder.mkdir(exist_ok=True)
        git(folder, "init", "-b", "main")
        treemaker.write(folder, more)
        git(folder, "add", ".")
        git(folder, "commit", "--allow-empty", "-m", "first")
        return git(folder, "rev-parse", "HEAD")

    def stages(self, *, digest: str = "") -> list[Stage]:
        """The stage of the recipe."""
        integrity = base64.b64encode(hashlib.sha512(self.files["left-1.0.0.tgz"]).digest()).decode()
        locked = {
            "node_modules/left": {"resolved": "https://n.invalid/left-1.0.0.tgz", "integrity": f"sha512-{integrity}"}
        }
        hashes = " ".join(f"--hash=sha256:{sha256(self.files[name])}" for name in (WHEEL, FOREIGN))
        texts = {
            "tool.lock": f"tiny==1.0 {hashes}\nother==1 ; sys_platform == 'win32' --hash=sha256:{'0' * 64}\n".replace(
                " --hash", " \\\n    --hash"
            ),
            "package-lock.json": json.dumps({"packages": locked}),
        }
        treemaker.write(self.recipe, texts)
        args = {
            "TOOL_URL": "https://f.invalid/tool-1.tar.gz",
            "TOOL_SHA256": digest or sha256(self.files["tool-1.tar.gz"]),
        }
        source = {"git": "https://g.invalid/outer", "commit": self.commit, "ref": "v1", "lock": "tool.lock", "apt": "x"}
        package = treemaker.package("tool", path=self.recipe, source=source, build_args=args)
        return [
            Stage(
                package="tool", kind=StageKind.LAYER, key="sha256:1", parent=None, base="b", image="i", depends=(),
                layers=1, definition=package,
            )
        ]  # fmt: skip


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    """The origins, under hosts that do not exist."""
    return Origin(tmp_path)


@pytest.fixture
def found(origin: Origin, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The setting that leads to the origins."""
    with context.serve(origin.served) as address:
        prefixes = {"https://f.invalid/": address, "https://n.invalid/": address}
        yield {"git": {"https://g.invalid/": f"file://{tmp_path}/"}, "files": prefixes, "python": f"{address}simple"}


def fill(origin: Origin, root: Path, found: dict[str, Any], **more: str) -> Filled:
    filler = Filler(root, Console(err=io.StringIO(), out=io.StringIO()), found=found)
    return filler.fill(needs.of(origin.stages(**more), PC), PC)


def read(url: str) -> bytes:
    with urllib.request.urlopen(url) as answer:
        data: bytes = answer.read()
        return data


def test_mirror_is_filled_once_and_serves_what_the_origins_had(
    origin: Origin, found: dict[str, Any], tmp_path: Path
) -> None:
    """Commits with submodules, files, npm's and Python's are there by hash; only what the target can install is."""
    root = tmp_path / "mirror"
    filled = fill(origin, root, found)
    assert (filled.failed, filled.fetched) == ({}, 5)
    assert filled.git == ["https://g.invalid/outer", "https://g.invalid/inner"]
    assert filled.python == ["tiny==1.0"]
    assert [path.name for path in (root / "python/files").iterdir()] == [WHEEL]
    assert fill(origin, root, found).fetched == 0
    with serving(root) as settings:
        assert read(settings["files"]["https://f.invalid/"] + "tool-1.tar.gz") == origin.files["tool-1.tar.gz"]
        assert read(settings["npm"] + "left-1.0.0.tgz") == b"npm"
        assert f"#sha256={sha256(origin.files[WHEEL])}".encode() in read(settings["python"] + "/tiny/")
        clone = tmp_path / "clone"
        clone.mkdir()
        git(clone, "init")
        place = settings["git"]["https://g.invalid/"]
        git(clone, "fetch", "--quiet", "--depth=1", f"{place}outer", origin.commit)
        assert git(clone, "show", "FETCH_HEAD:README") == "here"
        git(clone, "fetch", "--quiet", "--depth=1", f"{place}inner.git", origin.inner)
        assert git(clone, "ls-remote", "--tags", f"{place}outer").endswith("refs/tags/v1")


def test_mirror_says_what_it_leaves_out(origin: Origin) -> None:
    """What apt installs cannot be had by a hash."""
    assert needs.of(origin.stages(), PC).left_out == ("tool: `apt` of its source has no single file with a hash",)


def test_mirror_continues_a_partial_file_and_replaces_a_wrong_one(
    origin: Origin, found: dict[str, Any], tmp_path: Path
) -> None:
    """A file that rotted is fetched anew; a partial one that is wrong is dropped and not taken for the file."""
    root = tmp_path / "mirror"
    fill(origin, root, found)
    file = root / "files/https/f.invalid/tool-1.tar.gz"
    file.write_bytes(b"rotten")
    file.with_name(f"{file.name}.partial").write_bytes(b"archive" * 10)
    first = fill(origin, root, found)
    assert (first.fetched, file.read_bytes()) == (1, origin.files["tool-1.tar.gz"])
    assert not list(root.rglob("*.partial"))


def test_mirror_list_adds_up_over_fills(origin: Origin, found: dict[str, Any], tmp_path: Path) -> None:
    """The list names what each fill brought, once; one that is damaged is begun anew."""
    root = tmp_path / "mirror"
    fill(origin, root, found)
    first = json.loads((root / "mirror.json").read_text())
    other = {kind: [f"{kind}-of-another-image", *first[kind][:1]] for kind in ("git", "files", "python", "npm")}
    (root / "mirror.json").write_text(json.dumps({"schema": 1, **other}))
    fill(origin, root, found)
    both = json.loads((root / "mirror.json").read_text())
    assert both == {"schema": 1, **{kind: sorted({*first[kind], f"{kind}-of-another-image"}) for kind in other}}
    for damage in ("", "{", "[]", '{"git": {"a": 1}, "files": [1, null], "python": "x"}'):
        (root / "mirror.json").write_text(damage)
        fill(origin, root, found)
        assert json.loads((root / "mirror.json").read_text()) == first


def test_mirror_refuses_another_content(origin: Origin, found: dict[str, Any], tmp_path: Path) -> None:
    """A file without the recipe's hash is not kept, and the rest is filled."""
    filled = fill(origin, tmp_path / "mirror", found, digest="0" * 64)
    assert list(filled.failed) == ["https://f.invalid/tool-1.tar.gz"]
    assert "another content" in filled.failed["https://f.invalid/tool-1.tar.gz"]
    assert filled.python == ["tiny==1.0"]
    assert not list((tmp_path / "mirror/files").rglob("tool-1*"))


def test_mirror_notes_what_does_not_answer(origin: Origin, tmp_path: Path) -> None:
    """Each thing that cannot be had has its reason."""
    nowhere = {"https://f.invalid/": "http://127.0.0.1:1/", "https://n.invalid/": "http://127.0.0.1:1/"}
    found = {"git": {"https://g.invalid/": "file:///nowhere/"}, "files": nowhere, "python": "http://127.0.0.1:1/s"}
    filled = fill(origin, tmp_path / "mirror", found)
    assert len(filled.failed) == 4
    assert "fetch of git failed" in filled.failed["https://g.invalid/outer"]
    assert "127.0.0.1:1 cannot be reached" in filled.failed["tiny==1.0"]


def test_mirror_folder_of_something_else_is_not_served(tmp_path: Path) -> None:
    """A folder that was not filled says how one is."""
    with pytest.raises(ConfigError, match="not a filled mirror"), serving(tmp_path):
        pass


DATA = b"archive" * 500
PLAIN = {"Content-Length": str(len(DATA))}


class Faulty:
    """A server that gives its answers in turn, the last one for ever; `asked` are the ranges."""

    def __init__(self, *answers: tuple[int, dict[str, str], bytes]) -> None:
        self.asked: list[str] = []
        faulty, left = self, list(answers)

        class Handler(QuietHandler):
            def do_any(self) -> None:
                faulty.asked.append(self.headers.get("Range", ""))
                status, headers, body = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = True

            do_GET = do_any  # noqa: N815 - http.server's name

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def plain(root: Path, address: str, digest: str = f"sha256:{sha256(DATA)}") -> Filled:
    filler = Filler(
        root, Console(err=io.StringIO(), out=io.StringIO()), found={"files": {"https://f.invalid/": address}}
    )
    wanted = needs.PlainFile(url="https://f.invalid/tool.tar.gz", digest=digest)
    return filler.fill(needs.Needs(repositories=(), files=(wanted,), python=(), npm=(), left_out=()), PC)


def part(start: int, data: bytes = DATA) -> tuple[int, dict[str, str], bytes]:
    body = data[start:]
    return 206, {"Content-Length": str(len(body)), "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, body


@pytest.mark.parametrize(
    ("answers", "asked"),
    [
        pytest.param([(200, PLAIN, DATA[:1000]), part(1000)], ["", "bytes=1000-"], id="cut"),
        pytest.param([(500, {}, b""), (200, PLAIN, DATA)], ["", ""], id="500 once"),
        pytest.param(
            [(200, {"Transfer-Encoding": "chunked"}, b"9\r\nabc"), (200, PLAIN, DATA)], ["", ""], id="bad chunk"
        ),
        pytest.param([(200, PLAIN, DATA[:1000]), (200, PLAIN, DATA)], ["", "bytes=1000-"], id="no ranges"),
        pytest.param([(200, PLAIN, DATA[:1000]), part(0)], ["", "bytes=1000-"], id="another range"),
        pytest.param(
            [(200, PLAIN, b"x" * 1000), part(1000), (200, PLAIN, DATA)], ["", "bytes=1000-", ""], id="changed"
        ),
        pytest.param(
            [(200, PLAIN | {"Content-Length": "9999"}, DATA), (416, {}, b"no")], ["", "bytes=3500-"], id="416"
        ),
    ],
)
def test_mirror_gets_a_file_whole_from_a_server_with_faults(
    tmp_path: Path, answers: list[tuple[int, dict[str, str], bytes]], asked: list[str]
) -> None:
    """A broken transfer goes on in the same call; what does not belong together is begun anew."""
    faulty = Faulty(*answers)
    with faulty as address:
        filled = plain(tmp_path, address)
    assert (filled.failed, filled.fetched) == ({}, 1)
    assert (tmp_path / "files/https/f.invalid/tool.tar.gz").read_bytes() == DATA
    assert faulty.asked == asked
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.parametrize(
    ("answer", "said", "tries"),
    [
        pytest.param((200, PLAIN, DATA[:1000]), "broke off after 1000 of 3500 bytes", 3, id="cut"),
        pytest.param((500, {}, b""), "answers 500", 3, id="500"),
        pytest.param((404, {}, b""), "answers 404", 1, id="404"),
        pytest.param((302, {"Location": "/again"}, b""), "answers 302", 0, id="redirects without end"),
        pytest.param((302, {"Location": "file:///etc/passwd"}, b""), "answers 302", 1, id="redirect to a file"),
        pytest.param((200, {"Transfer-Encoding": "chunked"}, b"zz\r\n"), "cannot be reached", 3, id="bad chunk"),
    ],
)
@pytest.mark.parametrize("digest", ["", f"sha256:{sha256(DATA)}"], ids=["no hash", "hash"])
def test_mirror_takes_nothing_for_whole_that_is_not(
    tmp_path: Path, answer: tuple[int, dict[str, str], bytes], said: str, tries: int, digest: str
) -> None:
    """Without a hash too: a file that ended early is none. What is wrong for good is not asked for again."""
    faulty = Faulty(answer)
    with faulty as address:
        filled = plain(tmp_path, address, digest)
    assert said in filled.failed["https://f.invalid/tool.tar.gz"]
    assert len(faulty.asked) == tries or not tries
    assert not (tmp_path / "files/https/f.invalid/tool.tar.gz").exists()


def test_mirror_does_not_take_a_page_for_the_file(tmp_path: Path) -> None:
    """The page of a login, with status 200, is another content."""
    faulty = Faulty((200, {"Content-Type": "text/html"}, b"<html>log in"))
    with faulty as address:
        filled = plain(tmp_path, address)
    assert "has another content" in filled.failed["https://f.invalid/tool.tar.gz"]
    assert (len(faulty.asked), [path for path in tmp_path.rglob("tool*") if path.is_file()]) == (1, [])


def test_mirror_on_a_full_disk_does_not_blame_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails ends the fill as any other: the error says which file, not which server."""

    def full(*_: object, **__: object) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device", "tool.tar.gz.partial")

    monkeypatch.setattr(Path, "open", full)
    with Faulty((200, PLAIN, DATA)) as address, pytest.raises(OSError, match="No space left"):
        plain(tmp_path, address)


@pytest.mark.parametrize("url", ["ext::reboot", "file:///home/user/secret", "--upload-pack=reboot", "/etc"])
def test_mirror_takes_no_submodule_of_this_machine(
    origin: Origin, found: dict[str, Any], tmp_path: Path, url: str
) -> None:
    """A repository of others names neither a program nor a folder nor an option of git by a submodule."""
    outer = tmp_path / "outer"
    (outer / ".gitmodules").write_text(f'[submodule "a"]\n\tpath = deep/inner\n\turl = {url}\n')
    git(outer, "add", ".")
    git(outer, "commit", "-m", "second")
    origin.commit = git(outer, "rev-parse", "HEAD")
    filled = fill(origin, tmp_path / "mirror", found)
    assert "is not at an address of the network" in filled.failed["https://g.invalid/outer"]


def test_mirror_reads_a_page_of_links_that_never_end() -> None:
    """Each character of a hostile index is looked at once: a page of 64 MB of this would take years otherwise."""
    assert _rows_html("<a " * 500_000) == []
    assert _rows_html("<a <a href='x/y.whl#sha256=ab'>") == [("y.whl", "x/y.whl", "sha256:ab")]
