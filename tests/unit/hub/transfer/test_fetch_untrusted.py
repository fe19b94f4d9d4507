"""A hub, mirror or cache that says what no hub says: nothing outside a repository's own directory is touched."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.hub.transfer.credentials import Token
from jetson_containers.hub.transfer.entries import checked_entries, checked_entry
from jetson_containers.hub.transfer.errors import USAGE, DownloadError
from jetson_containers.hub.transfer.fetch import Downloader, Options
from jetson_containers.hub.transfer.model import Entry, Listing
from jetson_containers.hub.transfer.progress import Reporter
from jetson_containers.hub.transfer.reference import Reference, is_safe, parse
from jetson_containers.hub.transfer.store import Repository
from tests.hubserver import HubServer, git_sha1

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.hub.transfer.model import Result

COMMIT = "c0ffee" * 6 + "c0ff"
PRECIOUS = b"the only copy\n"
EVIL = b"alias ls='rm -rf'\n"
SHA1 = git_sha1(EVIL)
SHA256 = hashlib.sha256(EVIL).hexdigest()


class Home:
    """A user's home with a cache in it, and a file nothing may touch; `tree` is all of it, to compare."""

    def __init__(self, path: Path, hub: HubServer) -> None:
        self.path = path
        self.cache = path / "data/models/huggingface"
        self.precious = path / "precious"
        self.hub = hub
        path.mkdir()
        self.precious.write_bytes(PRECIOUS)
        (path / ".bashrc").write_bytes(b"# mine\n")
        self.said = ""

    def download(self, reference: str = "org/m", **options: Any) -> list[Result]:
        err = io.StringIO()
        given = {"endpoint": self.hub.url, "cache": self.cache, **options}
        downloader = Downloader(Options(**given), Token(), Reporter(stream=err), env={}, sleep=lambda _: None)
        try:
            return list(downloader.download([reference]))
        finally:
            self.said = err.getvalue()

    def refused(self, reference: str = "org/m", **options: Any) -> DownloadError:
        with pytest.raises(DownloadError) as caught:
            self.download(reference, **options)
        return caught.value

    def lists(self, *siblings: dict[str, Any], sha: object = COMMIT) -> None:
        body = {"id": "org/m", "sha": sha, "siblings": list(siblings)}
        self.hub.fail("/api/models/org/m", times=0, body=json.dumps(body).encode())
        self.hub.fail("/resolve/", times=0, body=EVIL)

    def tree(self) -> dict[str, str]:
        found = {}
        for path in sorted(self.path.rglob("*")):
            content = (
                f"-> {path.readlink()}" if path.is_symlink() else "" if path.is_dir() else path.read_text("latin-1")
            )
            found[path.relative_to(self.path).as_posix()] = content
        return found


def sibling(name: object = ".bashrc", **changes: Any) -> dict[str, Any]:
    return {"rfilename": name, "size": len(EVIL), "blobId": SHA1, **changes}


def lfs(sha256: object, size: object = len(EVIL), name: str = "model.bin") -> dict[str, Any]:
    return sibling(name, lfs={"sha256": sha256, "size": size, "pointerSize": 130})


@pytest.fixture
def home(hub_server: HubServer, tmp_path: Path) -> Home:
    return Home(tmp_path / "home", hub_server)


# what a hub says of a repository


def test_fetch_takes_a_correct_answer(home: Home) -> None:
    """A correct answer passes all the checks."""
    home.lists(sibling("a.txt"), lfs(SHA256))
    (result,) = home.download()
    assert Path(result.path).name == COMMIT
    assert {path.name: path.read_bytes() for path in Path(result.path).iterdir()} == {"a.txt": EVIL, "model.bin": EVIL}


@pytest.mark.parametrize(
    "sha",
    [
        "../../../../..", "../../../..", "/", "", ".", "..", "main", COMMIT.upper(), COMMIT[:-1], COMMIT + "0",
        COMMIT + "\n", f"../{COMMIT}", f"{COMMIT}/..", None, 7, ["a"], "\uff10" * 40, "\x00" * 40,
    ],
)  # fmt: skip
def test_commit_must_be_40_hex_digits(home: Home, sha: object) -> None:
    """A commit is 40 hex digits; anything else is refused and writes nothing."""
    home.lists(sibling(), sha=sha)
    before = home.tree()
    error = home.refused()
    assert error.status == 1
    assert "the commit" in error.message
    assert "is not 40 hexadecimal digits" in error.message
    assert "HF_ENDPOINT" in error.hint
    assert home.tree() == before


def test_commit_that_is_an_absolute_path_is_refused(home: Home) -> None:
    """A commit that is an absolute path is refused and writes nothing."""
    home.lists(sibling(), sha=str(home.path))
    before = home.tree()
    assert repr(str(home.path))[:40] in home.refused().message
    assert home.tree() == before


@pytest.mark.parametrize("size", [4, len(PRECIOUS), 10_000])
@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("in_lfs", [False, True])
def test_checksum_that_is_a_path_is_refused(home: Home, size: int, relative: bool, in_lfs: bool) -> None:
    """A checksum that is a path leads to no other file."""
    target = "../../../../../precious" if relative else str(home.precious)
    home.lists(lfs(target, size) if in_lfs else sibling("a", blobId=target, size=size))
    before = home.tree()
    error = home.refused()
    assert error.status == 1
    assert ("the sha256 of 'model.bin'" if in_lfs else "the blob ID of 'a'") in error.message
    assert home.tree() == before


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (lfs(None), "the sha256 of 'model.bin', '', is not 64"),
        (lfs(SHA1), "is not 64"),
        (lfs(SHA256.upper()), "is not 64"),
        (lfs(5), "is not 64"),
        (lfs(SHA256, -5), "the size -5 of 'model.bin'"),
        (lfs(SHA256, 10**30), "is not a number of bytes"),
        (lfs(SHA256, None), "the size None"),
        (sibling("a", size=-1), "the size -1 of 'a'"),
        (sibling("a", size="x"), "the size 'x' of 'a'"),
        (sibling("a", size="4"), "the size '4'"),
        (sibling("a", size=1.5), "the size 1.5"),
        (sibling("a", size=True), "the size True"),
        (sibling("a", blobId="None"), "the blob ID of 'a', 'None'"),
        (sibling("a", blobId=SHA256), "is not 40"),
        (sibling("a", blobId="x" * 5000), "...,"),
        (sibling("a\x00b"), r"'a\x00b'"),
        (sibling("a\x1b]0;x\x07"), r"'a\x1b]0;x\x07'"),
        (sibling("line\nbreak"), r"'line\nbreak'"),
        (sibling("n" * 256), "is not a relative path"),
        (sibling("\u00fc" * 128), "is not a relative path"),
        (sibling("/".join("d" * 1100)), "is not a relative path"),
        (sibling("\ud800"), "is not a relative path"),
        (sibling("a/../../b"), "is not a relative path"),
        (sibling("/etc/cron.d/x"), "is not a relative path"),
        (sibling("a//b"), "is not a relative path"),
        (sibling(""), "is not a relative path"),
        (sibling(7), "the file name 7"),
    ],
)
def test_file_list_values_are_each_checked(home: Home, row: dict[str, Any], words: str) -> None:
    """Each value of a list of files is checked."""
    home.lists(sibling("fine.txt"), row)
    before = home.tree()
    error = home.refused()
    assert error.status == 1
    assert words in error.message
    assert error.message.isprintable()
    assert home.tree() == before


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b/c", "a"), ("d/a/b", "x", "d/a")])
def test_file_list_refuses_a_file_that_is_also_a_directory(home: Home, names: tuple[str, ...]) -> None:
    """A name cannot be a file and the directory of another file."""
    home.lists(*(sibling(name) for name in names))
    error = home.refused()
    assert "is a file and the directory of" in error.message
    assert not home.cache.exists()


@pytest.mark.parametrize("rows", [[sibling("a"), sibling("a")], [sibling("a"), sibling("b"), sibling("a", size=0)]])
def test_file_list_refuses_a_name_twice(home: Home, rows: list[dict[str, Any]]) -> None:
    """A list that names a file twice is refused."""
    home.lists(*rows)
    error = home.refused()
    assert error.status == 1
    assert "the file 'a' is listed twice" in error.message
    assert not home.cache.exists()


def test_fetch_ends_when_a_name_comes_twice(home: Home) -> None:
    """The downloader ends, and does not wait for itself, when a name comes twice."""
    home.lists(sibling("a"))
    downloader = Downloader(
        Options(home.cache, endpoint=home.hub.url),
        Token(),
        Reporter(stream=io.StringIO()),
        env={},
        sleep=lambda _: None,
    )
    twice = (checked_entry("a", len(EVIL), SHA1),) * 2
    plan = downloader.plan_listing(Listing(Reference("org/m"), COMMIT, twice))
    assert Path(downloader.fetch(plan).path, "a").read_bytes() == EVIL


def test_file_list_accepts_names_with_a_common_beginning() -> None:
    """Names that begin alike are different files."""
    names = ("a", "a.b", "a-b/c", "ab/a", "a b", "..a", "a..", "ü/\u4e2d", "x" * 255)
    entries = [checked_entry(name, 0, SHA1) for name in names]
    assert checked_entries(entries) == tuple(entries)


@pytest.mark.parametrize(
    "body",
    [
        b"[]", b"null", b"7", b'{"siblings": 7}', b'{"siblings": [7]}', b'{"siblings": [{"size": 1}]}',
        b'{"siblings": [{"rfilename": "a", "size": 1, "blobId": "b", "lfs": {"size": 1}}]}',
        b'{"siblings": [{"rfilename": "a", "size": 1, "blobId": "b", "lfs": 5}]}',
        b'{"id": "org/m", "lastModified": "yesterday", "siblings": []}', b"[" * 200_000, b'{"a": "\xff"}',
    ],
)  # fmt: skip
def test_hub_answer_of_another_form_is_refused(home: Home, body: bytes) -> None:
    """An answer of another form is refused with a message."""
    home.hub.fail("/api/models/org/m", times=0, body=body)
    error = home.refused()
    assert error.status == 4
    assert "does not answer as a hub does" in error.message


# what the user writes


@pytest.mark.parametrize(
    "text",
    [
        "org/m@..", "org/m@.", "https://huggingface.co/org/m/tree/..", "hf.co/org/m/resolve/main/../../x",
        "https://huggingface.co/org/m/blob/main/a%00b", "hf.co/org/m/tree/refs%2Fpr%2F..", "org/m/a/../b",
    ],
)  # fmt: skip
def test_parse_refuses_a_revision_or_file_outside_the_repository(text: str) -> None:
    """A revision or file that leads outside the repository is refused."""
    with pytest.raises(DownloadError) as caught:
        parse(text)
    assert caught.value.status == USAGE


@pytest.mark.parametrize("name", ["model.gguf", "onnx/a b.onnx", ".gitattributes", "a..b", "\u00e9/\u4e2d.txt"])
def test_is_safe_accepts_usual_names(name: str) -> None:
    """Usual file names are safe."""
    assert is_safe(name)


# what lies in the cache


def keep(home: Home, tree: object, ref: str = COMMIT) -> Path:
    """A cache with a kept list, a branch, and a directory of the snapshot."""
    repo = home.cache / "models--org--m"
    (repo / "snapshots" / COMMIT).mkdir(parents=True)
    (repo / "blobs").mkdir()
    for path, text in ((repo / "trees" / f"{COMMIT}.json", json.dumps(tree)), (repo / "refs/main", ref)):
        path.parent.mkdir()
        path.write_text(text)
    return repo


@pytest.mark.parametrize(
    "files",
    [
        {"../../../../../.bashrc": {"size": 4, "blob_id": SHA1}},
        {"a": {"size": 4, "blob_id": "../../../../../precious"}},
        {"a": {"size": 4, "blob_id": SHA1, "lfs_sha256": "../../../../../precious", "lfs_size": 4}},
        {"a": {"size": -4, "blob_id": SHA1}},
        {"a": {"size": "4", "blob_id": SHA1}},
        {"a": {"size": 4, "blob_id": SHA1}, "a/b": {"size": 4, "blob_id": SHA1}},
        {"a": 5},
        [],
    ],
)
def test_kept_list_is_checked_like_an_answer_of_the_hub(home: Home, files: object) -> None:
    """A list kept in the cache is checked like an answer of the hub."""
    keep(home, {"format_version": 1, "files": files})
    before = home.tree()
    for options in ({"offline": True}, {"endpoint": "http://127.0.0.1:1"}):
        assert home.refused(**options).status == 4
    assert home.tree() == before


def test_kept_list_nested_too_deep_counts_as_absent(home: Home) -> None:
    """A kept list nested too deep for the reader counts as absent."""
    repo = keep(home, {})
    (repo / "trees" / f"{COMMIT}.json").write_text("[" * 200_000)
    assert "not in the cache" in home.refused(offline=True).message


def test_kept_list_that_is_wrong_is_replaced(home: Home) -> None:
    """A wrong kept list is replaced by the hub's."""
    repo = keep(home, {"format_version": 1, "files": {"a": {"size": 4, "blob_id": "../x"}}})
    home.lists(sibling("a.txt"))
    home.download()
    kept = json.loads((repo / "trees" / f"{COMMIT}.json").read_text())
    assert kept["files"] == {"a.txt": {"size": len(EVIL), "blob_id": SHA1}}
    assert home.download(offline=True)[0].path == str(repo / "snapshots" / COMMIT)


@pytest.mark.parametrize("ref", ["../../../..", "/etc", COMMIT.upper(), "", COMMIT + "x", "\x00"])
def test_kept_branch_without_a_commit_counts_as_absent(home: Home, ref: str) -> None:
    """A kept branch that names anything but a commit counts as absent."""
    keep(home, {"format_version": 1, "files": {"a": {"size": 4, "blob_id": SHA1}}}, ref)
    assert "not in the cache" in home.refused(offline=True).message


def test_snapshot_link_without_a_checksum_is_refused(home: Home) -> None:
    """A link in a snapshot whose target is not named by a checksum is refused."""
    repo = keep(home, {})
    (repo / "snapshots" / COMMIT / "a").symlink_to("../../../../../../../precious")
    error = home.refused(offline=True)
    assert error.status == 4
    assert "precious', which is not a file of this cache" in error.message
    assert home.precious.read_bytes() == PRECIOUS


# the store itself, whatever it is told


def entry(etag: str = SHA1, name: str = "a", size: int = 4) -> Entry:
    return Entry(name, size, etag)


USES: dict[str, Callable[[Repository, str, Entry], object]] = {
    "location": lambda repository, commit, e: repository.location(commit, e),
    "check": lambda repository, commit, e: repository.check(commit, e, rehash=True, write=True),
    "open_part": lambda repository, commit, e: repository.open_part(commit, e),
    "link": lambda repository, commit, e: repository.link(commit, e),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("commit", "etag", "name"),
    [
        ("../../../../..", SHA1, "precious"),
        ("HOME", SHA1, "precious"),
        (COMMIT, "../../../../../precious", "a"),
        (COMMIT, "HOME/precious", "a"),
        (COMMIT, SHA1, "../../../../../../../precious"),
        (COMMIT, SHA1, "HOME/precious"),
        (COMMIT, "../refs/main", "../../a"),
        (COMMIT, "a\x00", "a\x00"),
    ],
)
def test_store_writes_only_below_its_directory(home: Home, use: str, commit: str, etag: str, name: str) -> None:
    """No commit, checksum or name makes the store leave its directory."""
    keep(home, {})
    commit, etag, name = (text.replace("HOME", str(home.path)) for text in (commit, etag, name))
    before = home.tree()
    with pytest.raises(DownloadError):
        USES[use](Repository(home.cache, Reference("org/m")), commit, entry(etag, name))
    assert home.tree() == before


@pytest.mark.parametrize(
    "folder", ["blobs", "snapshots", f"snapshots/{COMMIT}", f"snapshots/{COMMIT}/sub", "trees", "refs"]
)
def test_store_does_not_follow_links_to_directories(home: Home, folder: str) -> None:
    """A directory of the cache that is a link is not followed."""
    repo = keep(home, {})
    shutil.rmtree(repo / folder, ignore_errors=True)
    outside = home.path / "outside"
    outside.mkdir()
    (outside / "mine").write_bytes(PRECIOUS)
    (repo / folder).symlink_to(outside)
    home.lists(sibling("sub/mine"))
    error = home.refused()
    assert f"is not below {repo}" in error.message
    assert "a link is allowed for the repository's directory as a whole" in error.hint
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"mine": PRECIOUS}


def test_store_accepts_a_repository_linked_to_another_disk(home: Home) -> None:
    """The directory of a repository may be a link to another disk."""
    elsewhere = home.path / "big-disk"
    elsewhere.mkdir()
    home.cache.mkdir(parents=True)
    (home.cache / "models--org--m").symlink_to(elsewhere)
    home.lists(sibling("sub/a.txt"))
    (result,) = home.download()
    assert (elsewhere / "snapshots" / COMMIT / "sub/a.txt").read_bytes() == EVIL
    assert Path(result.path) == home.cache / "models--org--m/snapshots" / COMMIT


@pytest.mark.parametrize("name", [SHA1, f"{SHA1}.incomplete", f"{SHA1}.0123.incomplete"])
@pytest.mark.parametrize("content", [b"", EVIL[:5], b"longer than the file that is wanted"])
def test_store_does_not_write_through_a_link_among_the_blobs(home: Home, name: str, content: bytes) -> None:
    """The target of a link among the blobs is never written."""
    repo = keep(home, {})
    home.precious.write_bytes(content)
    (repo / "blobs" / name).symlink_to(home.precious)
    home.lists(sibling("a.txt"))
    (result,) = home.download()
    assert Path(result.path, "a.txt").read_bytes() == EVIL
    assert home.precious.read_bytes() == content
    assert not (repo / "blobs" / SHA1).is_symlink()
    assert not os.path.lexists(repo / "blobs" / f"{SHA1}.incomplete")
