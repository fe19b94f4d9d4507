"""Fetching from a hub: what arrives, what goes wrong and how it is said. The client is the real one."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import pytest

from jetson_containers.hub.transfer import onefile, remote
from jetson_containers.hub.transfer.credentials import Token
from jetson_containers.hub.transfer.errors import DownloadError
from jetson_containers.hub.transfer.explain import explain
from jetson_containers.hub.transfer.fetch import Downloader, DownloadOptions
from jetson_containers.hub.transfer.progress import Reporter
from jetson_containers.hub.transfer.reference import Reference
from jetson_containers.hub.transfer.remote import Patience
from tests.hubserver import HubServer, git_sha1

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.hub.transfer.types import DownloadResult

CONFIG = b'{"model_type": "llama"}'
WEIGHTS = bytes(range(256)) * 4000  # 1,024,000 bytes
FILES = {"config.json": CONFIG, "model.safetensors": WEIGHTS, "onnx/model.bin": b"\x01" * 2000, "empty.txt": b""}
SECRET = "hf_" + "x" * 34


@pytest.fixture
def hub(hub_server: HubServer) -> HubServer:
    hub_server.add("org/tiny", FILES)
    return hub_server


class Run:
    """Downloads into one cache, and remembers what was said and how long was waited."""

    def __init__(self, hub: HubServer, cache: Path) -> None:
        self.hub = hub
        self.cache = cache
        self.said = ""
        self.slept: list[float] = []

    def __call__(
        self,
        *references: str,
        token: str = "",
        sleep: Callable[[float], object] | None = None,
        free: int = 10**12,
        env: dict[str, str] | None = None,
        **options: Any,
    ) -> list[DownloadResult]:
        err = io.StringIO()
        given = {"endpoint": self.hub.url, "cache": self.cache, **options}
        downloader = Downloader(
            DownloadOptions(**given),
            Token(token, "HF_TOKEN" if token else ""),
            Reporter(stream=err),
            env=env or {},
            sleep=sleep or self.slept.append,
            free_space=lambda _: free,
        )
        try:
            return list(downloader.download(references or ("org/tiny",)))
        finally:
            self.said = err.getvalue()

    def states(self, result: DownloadResult) -> dict[str, str]:
        return {file["name"]: file["state"] for file in result.as_json()["files"]}

    def blob(self, data: bytes) -> Path:
        return next(path for path in self.cache.glob("models--*/blobs/*") if path.read_bytes() == data)


@pytest.fixture
def run(hub: HubServer, tmp_path: Path) -> Run:
    return Run(hub, tmp_path / "hub")


def refused(run: Run, *references: str, **options: Any) -> DownloadError:
    with pytest.raises(DownloadError) as caught:
        run(*references, **options)
    return caught.value


# what arrives


def test_fetch_stores_a_repository_as_the_library_does(hub: HubServer, run: Run) -> None:
    """A repository arrives in the cache as huggingface_hub keeps it."""
    (result,) = run()
    path = Path(result.path)
    assert {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()} == FILES
    assert path == run.cache / "models--org--tiny/snapshots" / hub.repos["model", "org/tiny"].refs["main"]
    assert huggingface_hub.snapshot_download("org/tiny", cache_dir=run.cache, local_files_only=True) == str(path)
    (scanned,) = huggingface_hub.scan_cache_dir(run.cache).repos
    assert (scanned.repo_id, scanned.nb_files, scanned.size_on_disk) == ("org/tiny", 4, sum(map(len, FILES.values())))
    assert not list(run.cache.rglob("*.incomplete"))
    assert result.as_json()["bytes"] == sum(map(len, FILES.values()))


def test_fetch_again_asks_only_for_the_list(hub: HubServer, run: Run) -> None:
    """A second run asks for the list of files alone."""
    first = run()
    hub.forget()
    (second,) = run()
    assert second.path == first[0].path
    assert set(run.states(second).values()) == {"cached"}
    assert [seen.path for seen in hub.seen] == ["/api/models/org/tiny"]


def test_fetch_checks_files_of_the_library_once(hub: HubServer, run: Run) -> None:
    """Files that the library fetched are checked once and not fetched again."""
    huggingface_hub.snapshot_download("org/tiny", cache_dir=run.cache, endpoint=hub.url, token=False)
    hub.forget()
    assert set(run.states(run()[0]).values()) == {"cached"}
    assert hub.file_requests() == []
    assert "download" not in run.said
    assert len(list(run.cache.glob("models--org--tiny/verified/*"))) == len(FILES)


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ("org/tiny@v1", ["old.txt"]),
        ("org/tiny@refs/pr/1", ["new.txt"]),
        ("org/tiny@{commit}", ["old.txt"]),
        ("{url}/org/tiny/tree/v1", ["old.txt"]),
    ],
)
def test_fetch_takes_a_branch_a_tag_or_a_commit(hub: HubServer, run: Run, reference: str, names: list[str]) -> None:
    """A revision is a branch, a tag or a commit."""
    repo = hub.repos["model", "org/tiny"]
    commit = repo.commit({"old.txt": b"old"}, "v1")
    repo.commit({"new.txt": b"new"}, "refs/pr/1")
    (result,) = run(reference.format(commit=commit, url=hub.url))
    assert sorted(path.name for path in Path(result.path).iterdir()) == names
    kept = {path.name for path in run.cache.glob("*/refs/**/*") if path.is_file()}
    assert kept == ({"v1"} if "v1" in reference else {"1"} if "pr" in reference else set())


@pytest.mark.parametrize("name", ["tiny2", "elsewhere/tiny"])
def test_fetch_follows_a_renamed_repository(hub: HubServer, run: Run, name: str) -> None:
    """A renamed repository is followed, also offline."""
    hub.renamed[name] = "org/tiny"
    (result,) = run(name)
    assert Path(result.path, "model.safetensors").read_bytes() == WEIGHTS
    assert Path(result.path, "config.json").read_bytes() == CONFIG
    assert run(name, offline=True)[0].path == result.path


def test_fetch_takes_one_file_of_a_dataset(hub: HubServer, run: Run) -> None:
    """One file of a dataset can be fetched."""
    hub.add("org/set", {"data/train.parquet": b"rows" * 500, "README.md": b"#"}, kind="dataset")
    (result,) = run("org/set/data/train.parquet", kind="dataset")
    assert Path(result.path).read_bytes() == b"rows" * 500
    assert result.path.endswith("/data/train.parquet")
    assert sorted(hub.sent) == ["data/train.parquet"]


@pytest.mark.parametrize(
    ("include", "exclude", "names"),
    [
        (["*.json"], [], ["config.json"]),
        ([], ["*.safetensors", "onnx/*"], ["config.json", "empty.txt"]),
        (["*.json", "*.bin"], ["onnx/*"], ["config.json"]),
    ],
)
def test_fetch_takes_the_files_that_patterns_choose(
    run: Run, include: list[str], exclude: list[str], names: list[str]
) -> None:
    """Patterns choose which files are fetched."""
    (result,) = run(include=tuple(include), exclude=tuple(exclude))
    assert sorted(run.states(result)) == names


def test_fetch_downloads_files_at_the_same_time(hub: HubServer, run: Run) -> None:
    """Files are downloaded at the same time."""
    together = threading.Barrier(3)
    hub.add("org/three", {f"{name}.bin": name.encode() * 2000 for name in "abc"})
    hub.fail("/storage/", times=3, hang=together)
    run("org/three")
    assert not together.broken


def test_fetch_downloads_equal_contents_once(hub: HubServer, run: Run) -> None:
    """Two files of equal contents are downloaded once."""
    hub.add("org/twins", {"a.bin": WEIGHTS, "b.bin": WEIGHTS})
    (result,) = run("org/twins")
    assert sum(hub.sent.values()) == len(WEIGHTS)
    assert [Path(result.path, name).stat().st_size for name in ("a.bin", "b.bin")] == [len(WEIGHTS)] * 2


def test_fetch_hands_back_a_path_that_exists(run: Run, tmp_path: Path) -> None:
    """A path that exists is handed back."""
    assert run(str(tmp_path), "org/tiny/config.json")[0].path == str(tmp_path)


def test_fetch_stores_the_files_themselves_on_a_disk_without_links(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without symbolic links holds the files themselves."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links on FAT")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    (result,) = run()
    assert Path(result.path, "model.safetensors").read_bytes() == WEIGHTS
    assert not any(path.is_symlink() for path in run.cache.rglob("*"))
    assert set(run.states(run()[0]).values()) == {"cached"}


# interrupted, slow and refusing hubs


def test_resume_after_a_dropped_connection(hub: HubServer, run: Run) -> None:
    """A dropped connection goes on where it broke."""
    hub.fail("/storage/", drop_after=600_000)
    run("org/tiny/model.safetensors")
    ranges = [seen.range for seen in hub.file_requests("/storage/")]
    assert ranges[0] == ""
    resumed = int(ranges[1].removeprefix("bytes=").rstrip("-"))
    assert 0 < resumed <= 600_000
    assert hub.sent["model.safetensors"] == 600_000 + len(WEIGHTS) - resumed
    assert run.slept == [1.0]


def test_resume_from_a_part_of_an_earlier_run(hub: HubServer, run: Run) -> None:
    """A part left by an earlier run is not fetched again."""
    blobs = run.cache / "models--org--tiny/blobs"
    blobs.mkdir(parents=True)
    etag = hub.repos["model", "org/tiny"].commits[hub.repos["model", "org/tiny"].refs["main"]]["model.safetensors"].etag
    # as huggingface_hub 1.x and 2.x leave it when they are killed; they would begin again
    (blobs / f"{etag}.0a1b2c3d.incomplete").write_bytes(WEIGHTS[:700_000])
    (blobs / f"{etag}.ffffffff.incomplete").write_bytes(WEIGHTS[:10])
    (result,) = run("org/tiny/model.safetensors")
    assert run.states(result) == {"model.safetensors": "resumed"}
    assert {seen.headers["accept-encoding"] for seen in hub.file_requests()} == {"identity"}  # gzip cannot be resumed
    assert hub.file_requests("/storage/")[0].range == "bytes=700000-"
    assert hub.sent["model.safetensors"] == len(WEIGHTS) - 700_000
    assert sorted(path.name for path in blobs.iterdir()) == [etag]


def test_resume_from_a_wrong_part_is_noticed_by_the_checksum(hub: HubServer, run: Run) -> None:
    """A part of another file is noticed by the checksum and fetched again."""
    blobs = run.cache / "models--org--tiny/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{git_sha1(CONFIG)}.incomplete").write_bytes(b"something else")
    (result,) = run("org/tiny/config.json")
    assert Path(result.path).read_bytes() == CONFIG
    assert "once more from the start" in run.said


def test_resume_begins_again_with_a_server_without_ranges(hub: HubServer, run: Run) -> None:
    """With a server without ranges the file begins again."""
    hub.fail("/storage/", drop_after=600_000)
    hub.fail("/storage/", no_ranges=True)
    (result,) = run("org/tiny/model.safetensors")
    assert Path(result.path).read_bytes() == WEIGHTS


def test_fetch_splits_a_large_file_into_ranges(hub: HubServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file too large for one answer comes in ranges."""
    monkeypatch.setattr(remote, "LONGEST_ANSWER", 300_000)
    (result,) = run("org/tiny/model.safetensors")
    assert Path(result.path).read_bytes() == WEIGHTS
    assert [seen.range for seen in hub.file_requests("/storage/")] == [
        "bytes=0-299999", "bytes=300000-599999", "bytes=600000-899999", "bytes=900000-",
    ]  # fmt: skip
    assert run.slept == []


@pytest.mark.parametrize(
    ("faults", "slept"),
    [
        ([{"status": 503}, {"status": 502}], [1.0, 2.0]),
        ([{"status": 429, "headers": {"Retry-After": "7"}}], [7.0]),
        ([{"status": 429, "headers": {"RateLimit": '"resolvers";r=0;t=55'}}], [55.0]),
        ([{"drop_after": 0}], [1.0]),
        ([{"status": 503}, {"drop_after": 100_000}, {"status": 503}], [1.0, 1.0, 2.0]),  # progress counts anew
    ],
)
def test_retry_after_errors_of_the_hub(
    hub: HubServer, run: Run, faults: list[dict[str, Any]], slept: list[float]
) -> None:
    """A hub that answers with a passing error is asked again."""
    for fault in faults:
        hub.fail("/storage/", **fault)
    assert Path(run("org/tiny/model.safetensors")[0].path).read_bytes() == WEIGHTS
    assert run.slept == slept
    host = hub.url.partition("://")[2]
    assert f"{host}: " in run.said
    assert "asking again in 1 s (attempt 2 of " in run.said or slept[0] != 1.0


def test_retry_after_a_silent_connection(hub: HubServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that has gone silent is opened again and resumed."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.fail("/storage/", hang=threading.Event(), hang_at=7 * 65536)
    assert Path(run("org/tiny/model.safetensors")[0].path).read_bytes() == WEIGHTS
    assert [seen.range for seen in hub.file_requests("/storage/")] == ["", f"bytes={7 * 65536}-"]


def test_fetch_waits_for_a_slow_hub(hub: HubServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow hub is waited for as long as bytes arrive."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.fail("/storage/", trickle=0.03, block=100_000)  # longer than the limit in all, never without a byte
    assert Path(run("org/tiny/model.safetensors")[0].path).read_bytes() == WEIGHTS
    assert len(hub.file_requests("/storage/")) == 1


def test_retry_covers_the_list_of_files(hub: HubServer, run: Run) -> None:
    """The list of files is asked for again too."""
    hub.fail("/api/", status=504)
    run()
    assert run.slept == [1.0]


@pytest.mark.parametrize(
    ("fault", "status", "words", "slept"),
    [
        ({"status": 503}, 1, "HTTP 503", [1.0, 2.0, 4.0, 8.0, 16.0]),
        ({"status": 429, "headers": {"Retry-After": "3600"}}, 4, "limits how often", []),
        ({"status": 500}, 1, "HTTP 500", [1.0, 2.0, 4.0, 8.0, 16.0]),
        ({"drop_after": 0}, 4, "cannot be reached", [1.0, 2.0, 4.0, 8.0, 16.0]),
        ({"status": 416}, 1, "shorter than the hub says", []),
    ],
)
def test_retry_ends_after_some_tries(
    hub: HubServer, run: Run, fault: dict[str, Any], status: int, words: str, slept: list[float]
) -> None:
    """Asking again ends after some tries."""
    hub.fail("/storage/", times=0, **fault)
    error = refused(run, "org/tiny/model.safetensors")
    assert (error.status, run.slept) == (status, slept)
    assert words in error.message
    assert "signature" not in run.said + error.message + error.hint


# wrong bytes


def test_checksum_mismatch_is_an_error(hub: HubServer, run: Run) -> None:
    """Wrong bytes are never taken for a file."""
    hub.fail("/resolve/model.safetensors", times=0, flip=True)
    error = refused(run)
    assert error.status == 1
    assert "`model.safetensors` of `org/tiny`" in error.message
    assert "wrong sha256" in error.message
    assert not [path for path in run.cache.rglob("*") if path.is_file() and path.stat().st_size == len(WEIGHTS)]
    assert not list(run.cache.glob("models--*/refs/*"))
    hub.faults.clear()
    assert run.states(run()[0])["model.safetensors"] == "downloaded"


def test_checksum_mismatch_is_fetched_once_more(hub: HubServer, run: Run) -> None:
    """Bytes that are wrong once are fetched once more."""
    hub.fail("/storage/", flip=True)
    assert Path(run("org/tiny/model.safetensors")[0].path).read_bytes() == WEIGHTS
    assert "wrong checksum" in run.said


def test_resume_after_a_shortened_answer(hub: HubServer, run: Run) -> None:
    """A shortened answer is continued."""
    hub.fail("/storage/", truncate=500_000)
    assert Path(run("org/tiny/model.safetensors")[0].path).read_bytes() == WEIGHTS
    assert hub.sent["model.safetensors"] == len(WEIGHTS)


@pytest.mark.parametrize("keep_time", [False, True])
def test_cached_file_that_is_damaged_is_fetched_again(hub: HubServer, run: Run, keep_time: bool) -> None:
    """A damaged file in the cache is found and fetched again."""
    run()
    blob = run.blob(WEIGHTS)
    times = blob.stat()
    with blob.open("r+b") as file:
        file.write(b"damage")
    os.utime(blob, ns=(times.st_atime_ns, times.st_mtime_ns if keep_time else times.st_mtime_ns + 1))
    hub.forget()
    if keep_time:  # size and time vouch for it, until it is looked at
        assert set(run.states(run()[0]).values()) == {"cached"}
    (result,) = run(verify=keep_time)
    assert run.states(result)["model.safetensors"] == "repaired"
    assert Path(result.path, "model.safetensors").read_bytes() == WEIGHTS
    assert "model.safetensors in the cache is damaged" in run.said
    assert sorted(hub.sent) == ["model.safetensors"]


def test_cached_file_that_is_cut_off_is_completed(hub: HubServer, run: Run) -> None:
    """A cut-off file in the cache is completed."""
    run()
    os.truncate(run.blob(WEIGHTS), 900_000)
    hub.forget()
    (result,) = run()
    assert Path(result.path, "model.safetensors").read_bytes() == WEIGHTS
    assert hub.sent == {"model.safetensors": len(WEIGHTS) - 900_000}


def test_fetch_refuses_a_name_outside_the_cache(hub: HubServer, run: Run) -> None:
    """A hub cannot name a file outside the cache."""
    hub.add("org/evil", {"../../../../evil.txt": b"x"})
    error = refused(run, "org/evil")
    assert error.status == 1
    assert "the file name '../../../../evil.txt' is not a relative path below the repository" in error.message
    assert not run.cache.exists()


# no room


def test_dry_run_shows_parts_and_damaged_files(hub: HubServer, run: Run) -> None:
    """A dry run shows parts, damaged and missing files."""
    run()
    os.truncate(run.blob(WEIGHTS), 900_000)
    run.blob(CONFIG).unlink()
    (result,) = run(dry_run=True)
    assert run.states(result) == {
        "config.json": "missing", "empty.txt": "cached", "model.safetensors": "corrupt", "onnx/model.bin": "cached",
    }  # fmt: skip
    assert result.plan
    assert result.plan.missing == len(CONFIG) + len(WEIGHTS) - 900_000


def test_disk_space_is_checked_before_the_first_byte(hub: HubServer, run: Run) -> None:
    """The free space is checked before the first byte."""
    error = refused(run, free=1_000_000)
    assert error.status == 4
    assert "1.0 MB are to be downloaded" in error.message
    assert hub.file_requests() == []


def test_disk_space_must_hold_all_references_together(hub: HubServer, run: Run) -> None:
    """All references of one command have to fit together."""
    hub.add("org/other", {"model.safetensors": WEIGHTS[::-1]})
    run("org/tiny", free=1_500_000)
    assert refused(run, "org/tiny", "org/other", free=1_000_000).status == 4
    hub.forget()
    refused(Run(hub, run.cache.parent / "second"), "org/tiny", "org/other", free=1_500_000)
    assert hub.file_requests() == []


def test_disk_space_counts_only_missing_bytes(hub: HubServer, run: Run) -> None:
    """Only the missing bytes need space."""
    blobs = run.cache / "models--org--tiny/blobs"
    blobs.mkdir(parents=True)
    etag = hub.repos["model", "org/tiny"].commits[hub.repos["model", "org/tiny"].refs["main"]]["model.safetensors"].etag
    (blobs / f"{etag}.incomplete").write_bytes(WEIGHTS[:1_000_000])
    run(free=30_000)
    with run.blob(WEIGHTS).open("r+b") as file:  # and a damaged file makes its own room
        file.write(b"damage")
    run(free=0)


def test_disk_that_fills_up_keeps_the_part(hub: HubServer, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up on the way keeps the part."""
    real, written = onefile._write_all, [0]

    def write(descriptor: int, block: bytes) -> None:
        if written[0] + len(block) > 500_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        written[0] += len(block)
        real(descriptor, block)

    monkeypatch.setattr(onefile, "_write_all", write)
    error = refused(run, "org/tiny/model.safetensors")
    assert error.status == 4
    assert "disk is full" in error.message
    monkeypatch.undo()
    hub.forget()
    run("org/tiny/model.safetensors")
    assert hub.sent["model.safetensors"] == len(WEIGHTS) - written[0]


# who may


@pytest.mark.parametrize(
    ("reference", "token", "status", "words", "hint"),
    [
        ("org/gated", "", 4, "`org/gated` is gated and no token was given", "accept its license at {url}/org/gated"),
        ("org/gated", "stranger", 4, "gated and the account of HF_TOKEN has no access", "{url}/org/gated"),
        ("org/gated", SECRET, 4, "refuses the token of HF_TOKEN", "{url}/settings/tokens"),
        ("org/tiny", SECRET, 4, "refuses the token of HF_TOKEN", "for a public repository none is needed"),
        ("org/private", "", 3, "it is private and no token was given", "HF_TOKEN"),
        ("org/private", "stranger", 3, "private and the token of HF_TOKEN may not read it", "{url}/org/private"),
        ("org/absent", "", 3, "no model `org/absent`", "--type dataset"),
        ("org/tiny@nope", "", 3, "`org/tiny@nope` has no such revision", "{url}/org/tiny/refs"),
        ("org/tiny/nope.safetensors", "", 3, "there is no such file", "model.safetensors"),
        ("org/tiny/onnx", "", 3, "is not a file", "--include 'onnx/*'"),
        ("not a name", "", 2, "invalid repository name", "ORGANIZATION/NAME"),
    ],
)
def test_hub_refusals_are_told_apart(
    hub: HubServer, run: Run, reference: str, token: str, status: int, words: str, hint: str
) -> None:
    """Gated, private, absent and refused have their own messages and hints."""
    hub.add("org/gated", FILES, gated="manual")
    hub.add("org/private", FILES, private=True)
    error = refused(run, reference, token=token)
    assert error.status == status
    assert words in error.message
    assert hint.format(url=hub.url) in error.hint
    assert SECRET not in run.said + error.message + error.hint
    assert run.slept == []
    assert not [path for path in run.cache.glob("*/blobs/*") if path.stat().st_size]


def test_token_opens_gated_and_private_repositories_and_stays_with_the_hub(hub: HubServer, run: Run) -> None:
    """A token opens gated and private repositories and is sent only to the hub."""
    hub.add("org/gated", FILES, gated="auto")
    hub.add("org/private", FILES, private=True)
    run("org/gated", "org/private", token="good")
    by_host = {seen.host: {s.token for s in hub.seen if s.host == seen.host} for seen in hub.seen}
    assert by_host == {hub.url.removeprefix("http://"): {"good"}, hub.storage.removeprefix("http://"): {""}}
    assert not [path for path in run.cache.rglob("*") if path.is_file() and b"good" in path.read_bytes()]


def test_hub_that_cannot_be_reached_is_an_error(hub: HubServer, run: Run) -> None:
    """A hub that cannot be reached is an error after some tries."""
    error = refused(run, endpoint="http://127.0.0.1:1")
    assert (error.status, run.slept) == (4, [1.0, 2.0])
    assert "http://127.0.0.1:1 cannot be reached" in error.message


def test_hub_address_without_a_scheme_is_refused(run: Run) -> None:
    """An address that is not a URL is refused at once."""
    error = refused(run, endpoint="hub.example")
    assert (error.status, run.slept) == (2, [])
    assert "`hub.example` is not an address of a hub" in error.message


def test_hub_answer_that_is_a_login_page_is_refused(hub: HubServer, run: Run) -> None:
    """A login page in place of an answer is refused."""
    hub.fail("/api/", body=b"<html>Please log in</html>")
    error = refused(run)
    assert error.status == 4
    assert "does not answer as a hub does" in error.message


def test_hub_answer_without_sizes_is_refused(hub: HubServer, run: Run) -> None:
    """An answer without sizes and checksums is refused."""
    hub.fail("/api/", body=b'{"id": "org/tiny", "sha": "%s", "siblings": [{"rfilename": "a"}]}' % (b"0" * 40))
    error = refused(run)
    assert error.status == 1
    assert "gives no sizes and checksums" in error.message


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OSError(errno.EACCES, "Permission denied", "/data/models/x"), 4, "`/data/models/x` cannot be written"),
        (OSError(errno.EROFS, "Read-only file system", "/data/x"), 4, "Read-only file system"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 4, "the disk is full"),
        (ConnectionError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), 4, "certificate of https://hub cannot be"),
        (TimeoutError("timed out"), 4, "https://hub cannot be reached for `org/tiny`: timed out"),
    ],
)
def test_explain_tells_errors_without_an_answer_apart(error: Exception, status: int, words: str) -> None:
    """Errors without an answer of the hub have their own messages."""
    failure = explain(error, Reference("org/tiny"), Token(), "https://hub")
    assert failure
    assert failure.status == status
    assert words in failure.message


def test_explain_leaves_a_bug_alone() -> None:
    """An error of the program is not explained away."""
    assert explain(KeyError("sha"), Reference("org/tiny"), Token(), "https://hub") is None


# without the hub


def test_offline_answers_from_the_cache(hub: HubServer, run: Run) -> None:
    """Offline, the cache answers and the hub is not asked."""
    (online,) = run()
    hub.forget()
    both = run("org/tiny", "org/tiny/config.json", offline=True)
    assert [result.path for result in both] == [online.path, f"{online.path}/config.json"]
    assert hub.seen == []


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("org/other", "not in the cache"),
        ("org/tiny@v2", "not in the cache"),
        ("org/tiny/nope", "there is no such file"),
    ],
)
def test_offline_names_what_the_cache_lacks(run: Run, reference: str, words: str) -> None:
    """Offline, what the cache lacks is named."""
    run()
    error = refused(run, reference, offline=True)
    assert words in error.message


def test_offline_refuses_a_partial_model(run: Run) -> None:
    """Offline, half a model is not taken for a whole one."""
    run(include=("*.json",))
    error = refused(run, offline=True)
    assert error.status == 4
    assert "3 files of `org/tiny` are missing or damaged" in error.message
    assert run.states(run(include=("*.json",), offline=True)[0]) == {"config.json": "cached"}


def test_offline_uses_the_older_commit_after_an_interrupted_update(hub: HubServer, run: Run) -> None:
    """An interrupted update leaves the older commit for offline use."""
    (older,) = run()
    hub.repos["model", "org/tiny"].commit({**FILES, "model.safetensors": WEIGHTS[::-1]})
    hub.fail("/storage/", times=0, status=404)
    refused(run)
    assert run(offline=True)[0].path == older.path


def test_cache_answers_for_a_hub_that_is_down(run: Run) -> None:
    """The cache answers for a hub that is down."""
    (online,) = run()
    (result,) = run(endpoint="http://127.0.0.1:1")
    assert result.path == online.path
    assert "using what is in the cache" in run.said


# others at the same time


def test_lock_of_another_process_is_waited_for(hub: HubServer, run: Run) -> None:
    """A file that another process fetches is waited for."""
    etag = git_sha1(CONFIG)
    lock = run.cache / ".locks/models--org--tiny" / f"{etag}.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run("org/tiny/config.json", sleep=lambda _: fcntl.flock(held, fcntl.LOCK_UN))
    assert "another process downloads it" in run.said


# whose it is


@pytest.mark.skipif(os.geteuid() != 0, reason="cannot run here: only root can give files away")
@pytest.mark.parametrize(
    "env", [{}, {"JETSON_CONTAINERS_OWNER": "1234:1235"}, {"SUDO_UID": "1234", "SUDO_GID": "1235"}]
)
def test_owner_of_the_data_gets_what_root_fetches(hub: HubServer, run: Run, env: dict[str, str]) -> None:
    """What root fetches belongs to the owner of the data."""
    data = run.cache.parent / "data"
    leftover = data / "models--org--tiny/snapshots/old"
    leftover.mkdir(parents=True)
    if not env:
        os.chown(data, 1234, 1235)
    run("org/tiny", cache=data, env=env)
    paths = list(data.rglob("*"))
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in paths} == {(1234, 1235)}
    assert len(paths) > 20


# what is said


def test_dry_run_writes_nothing(hub: HubServer, run: Run) -> None:
    """A dry run tells what would be fetched and writes nothing."""
    (result,) = run(dry_run=True)
    assert set(run.states(result).values()) == {"missing"}
    assert not run.cache.exists()
    assert hub.file_requests() == []
    run(include=("*.json",))
    before = sorted(run.cache.rglob("*"))
    (result,) = run(dry_run=True)
    assert run.states(result)["config.json"] == "cached"
    assert sorted(run.cache.rglob("*")) == before


def test_progress_is_a_line_every_few_seconds() -> None:
    """Progress is a line every few seconds."""
    now, err = [0.0], io.StringIO()
    with Reporter(stream=err, clock=lambda: now[0]).progress("org/tiny", 100_000_000) as progress:
        for second in range(1, 12):
            now[0] = float(second)
            progress.move("model.safetensors", 5_000_000)
    assert err.getvalue().splitlines() == [
        "org/tiny: 25 %, 25.0 MB of 100.0 MB, 5.0 MB/s, 15s left",
        "org/tiny: 50 %, 50.0 MB of 100.0 MB, 5.0 MB/s, 10s left",
    ]


def test_progress_is_a_bar_on_a_terminal() -> None:
    """On a terminal the progress is a bar."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    err = Terminal()
    with Reporter(stream=err).progress("org/tiny", 30_000_000) as progress:
        progress.begin("model.safetensors", 30_000_000, 0)
        progress.move("model.safetensors", 15_000_000)
        progress.end("model.safetensors")
    assert "org/tiny:   0%" in err.getvalue()
    assert "model.safetensors:   0%" in err.getvalue()


def test_quiet_reporter_says_only_warnings() -> None:
    """Quiet, only warnings are said."""
    err = io.StringIO()
    reporter = Reporter(quiet=True, stream=err)
    reporter.say("hello")
    with reporter.progress("x", 1) as progress:
        progress.move("x", 1)
    reporter.warn("careful")
    assert err.getvalue() == "warning: careful\n"


def test_reporter_removes_the_token_from_any_text() -> None:
    """The token is cut out of whatever a library says."""
    err = io.StringIO()
    reporter = Reporter(stream=err)
    reporter.secret = SECRET
    reporter.say(f"curl -H 'authorization: Bearer {SECRET}'")
    assert err.getvalue() == "curl -H 'authorization: Bearer ***'\n"
    assert SECRET not in repr(Token(SECRET, "HF_TOKEN"))


def test_patience_doubles_up_to_a_limit() -> None:
    """Waits double up to a limit and end."""
    patience = Patience(tries=9)
    waits = [patience.wait(ConnectionError(), failures) for failures in range(1, 10)]
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, None]
    assert patience.wait(ValueError("a bug"), 1) is None
