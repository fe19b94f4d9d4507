"""The host's side: `download`, describing a model, listing and removing; and that images run the same code."""

from __future__ import annotations

import ast
import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers import hub
from jetson_containers.cli import main
from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NothingMatchedError, NotReadyError, UsageError
from jetson_containers.hub.describe import weight_bytes
from jetson_containers.hub.transfer import command
from jetson_containers.hub.transfer.model import Entry
from jetson_containers.platforms import detect
from jetson_containers.recipes.catalog import load
from jetson_containers.recipes.shared import files_of
from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from tests.hubserver import HubServer

ROOT = ROOT_DIR
OURS = ROOT / "jetson_containers/hub/transfer"
RECIPE = ROOT / "packages/llm/huggingface_hub"
WEIGHTS = b"\x07" * 5000
FILES = {"config.json": b'{"model_type": "llama", "hidden_size": 64}', "model.safetensors": WEIGHTS}
SECRET = "hf_" + "x" * 34


@pytest.fixture
def server(hub_server: HubServer) -> HubServer:
    hub_server.add("org/tiny", FILES)
    return hub_server


@pytest.fixture
def data(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_TOKEN_PATH", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "data/models/huggingface"))
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    monkeypatch.setenv("JETSON_CONTAINERS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data"


def run(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> tuple[str, str]:
    done = main.main(["download", *argv])
    captured = capsys.readouterr()
    assert done == code, captured
    assert SECRET not in captured.out + captured.err
    return captured.out, captured.err


def in_image(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> tuple[str, str]:
    done = command.main(argv)
    captured = capsys.readouterr()
    assert done == code, captured
    assert SECRET not in captured.out + captured.err
    return captured.out, captured.err


@pytest.fixture(params=["host", "image"])
def download(request: pytest.FixtureRequest, data: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Both command lines: what follows holds for each."""
    called = run if request.param == "host" else in_image
    return lambda *argv, code=0: called(capsys, *argv, code=code)


def test_download_prints_one_path_per_line_in_the_order_asked(
    download: Any, data: Path, server: HubServer, tmp_path: Path
) -> None:
    """Paths come one a line in the order asked."""
    server.add("org/other", {"b.gguf": b"GGUF" * 500})
    out, err = download("org/other/b.gguf", "org/tiny", str(tmp_path), "--location-file", "where")
    paths = out.splitlines()
    assert Path(paths[0]).read_bytes() == b"GGUF" * 500
    assert sorted(path.name for path in Path(paths[1]).iterdir()) == sorted(FILES)
    assert paths[2] == str(tmp_path)
    assert Path("where").read_text() == out
    assert Path(paths[1]).is_relative_to(data / "models/huggingface/models--org--tiny")
    assert "org/tiny: 2 files, 5.0 kB to download" in err


def test_download_failure_keeps_the_location_file(download: Any) -> None:
    """A failed download leaves the location file as it was."""
    Path("where").write_text("before\n")
    out, _ = download("org/tiny", "org/absent", "--location-file", "where", code=3)
    assert out == ""
    assert Path("where").read_text() == "before\n"


def test_download_json_names_commit_files_and_checksums(download: Any, server: HubServer) -> None:
    """The JSON names the commit, the files and their checksums."""
    commit = server.repos["model", "org/tiny"].refs["main"]
    (item,) = json.loads(download("org/tiny@main", "--json")[0])
    assert (item["repo"], item["revision"], item["commit"], item["bytes"]) == ("org/tiny", "main", commit, 5042)
    assert item["path"].endswith(commit)
    config, weights = item["files"]
    assert config == {"name": "config.json", "size": 42, "sha256": None, "state": "downloaded"}
    assert weights["sha256"] == server.repos["model", "org/tiny"].commits[commit]["model.safetensors"].sha256


def test_download_dry_run_lists_files_bytes_and_the_sum(download: Any, data: Path, server: HubServer) -> None:
    """A dry run lists the files with their bytes and the sum."""
    download("org/tiny/config.json")
    commit = server.repos["model", "org/tiny"].refs["main"]
    assert download("org/tiny", "--dry-run")[0].splitlines() == [
        f"org/tiny@{commit}",
        "    42  cached   config.json",
        "  5000  missing  model.safetensors",
        "2 files, 5042 bytes (5.0 kB); to download: 5000 bytes (5.0 kB)",
    ]


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["--skip-safetensors"], ["config.json"]),
        (["--allow-patterns", "*.json,*.txt"], ["config.json"]),
        (["--ignore-patterns", "*.json", "--include", "*"], ["model.safetensors"]),
    ],
)
def test_download_options_of_upstream_choose_files(download: Any, argv: list[str], names: list[str]) -> None:
    """Upstream's options for leaving files out work as they did."""
    (path,) = download("org/tiny", *argv)[0].splitlines()
    assert sorted(item.name for item in Path(path).iterdir()) == names


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["org/absent"], 3, "no model `org/absent`"),
        (["org/tiny@nope"], 3, "no such revision"),
        (["org/tiny/nope"], 3, "no such file"),
        (["org/tiny", "--include", "*.gguf"], 3, "no file of `org/tiny` passes the patterns"),
        (["org/gated"], 4, "gated and no token was given"),
        (["org/gated", "--token", SECRET], 4, "refuses the token of --token"),
        (["org/tiny", "--offline"], 4, "not in the cache"),
        (["no name"], 2, "no repository name"),
        (["org/wrong"], 1, "wrong sha256"),
    ],
)
def test_download_failures_have_their_exit_codes(
    download: Any, server: HubServer, argv: list[str], code: int, words: str
) -> None:
    """Each kind of failure has its exit code."""
    server.add("org/gated", FILES, gated="manual")
    server.add("org/wrong", {"model.bin": WEIGHTS})
    server.fail("org/wrong/resolve/model.bin", times=0, flip=True)
    out, err = download(*argv, code=code)
    assert out == ""
    assert words in err
    assert "Traceback" not in err


def test_download_token_on_the_command_line_works_with_a_warning(download: Any, server: HubServer) -> None:
    """A token on the command line works, with a warning."""
    server.tokens.add(SECRET)
    server.add("org/gated", FILES, gated="auto").readers.add(SECRET)
    _, err = download("org/gated", "--token", SECRET)
    assert "prefer HF_TOKEN" in err


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGINGFACE_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
def test_download_reads_each_spelling_of_the_token_variable(
    download: Any, server: HubServer, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each spelling of the token variable works."""
    server.add("org/gated", FILES, gated="auto")
    monkeypatch.setenv(variable, "good")
    assert download("org/gated")[0]


def test_download_quiet_prints_only_paths(download: Any) -> None:
    """With `--quiet` nothing but the paths is printed."""
    out, err = download("org/tiny", "-q")
    assert out.count("\n") == 1
    assert err == ""


def test_download_on_the_host_needs_no_engine(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download by the host works without an engine."""
    monkeypatch.setenv("PATH", "/nonexistent")
    assert run(capsys, "org/tiny")[0]


@pytest.mark.parametrize("option", [["--dry-run"], ["--json"], ["--token", "x"], ["--cache-dir", "x"]])
def test_download_in_an_image_refuses_options_it_lacks(
    data: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    """Options that a download in an image lacks are refused."""
    _, err = run(capsys, "org/tiny", "--image", "hub:test", *option, code=2)
    assert "--image do not go together" in err


# describing


def describe(reference: str, **given: Any) -> hub.ModelInfo:
    return hub.describe(reference, settings.load(), Console(), **given)


def test_describe_reads_a_model_without_its_weights(data: Path, server: HubServer) -> None:
    """Describing a model fetches its config and not its weights."""
    info = describe("org/tiny@main")
    assert (info.id, info.revision, info.commit) == ("org/tiny", "main", server.repos["model", "org/tiny"].refs["main"])
    assert info.config == {"model_type": "llama", "hidden_size": 64}
    assert (info.weights, info.is_gguf, info.gated, info.path) == ({"safetensors": 5000}, False, False, None)
    assert set(server.sent) == {"config.json"}
    assert [file.name for file in info.files] == sorted(FILES)


def test_describe_names_the_path_of_a_cached_model(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A described model that is in the cache has a path, online and offline."""
    (path,) = run(capsys, "org/tiny")[0].splitlines()
    online, offline = describe("org/tiny"), describe("org/tiny", offline=True)
    assert str(online.path) == path
    assert offline == online


def test_describe_keeps_the_older_commit_for_offline_use(
    data: Path, server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Describing a newer commit leaves the cached one to offline users."""
    run(capsys, "org/tiny")
    server.repos["model", "org/tiny"].commit({**FILES, "model.safetensors": b"new" * 1000})
    assert describe("org/tiny").path is None
    assert run(capsys, "org/tiny", "--offline")[0]


def test_describe_gated_model_without_a_token_has_weights_but_no_config(data: Path, server: HubServer) -> None:
    """Without a token a gated model is described by its list of files alone."""
    server.add("org/gated", FILES, gated="manual")
    info = describe("org/gated")
    assert (info.gated, info.config, info.weights) == ("manual", None, {"safetensors": 5000})
    assert "gated and no token was given" in info.config_missing
    assert describe("org/gated", token="good").config


def test_describe_gguf_repository_says_that_it_has_no_config(data: Path, server: HubServer) -> None:
    """A GGUF repository has weights and no config, and this is said."""
    server.add("org/x-GGUF", {"x-Q4_K_M.gguf": b"GGUF" * 600, "x-Q8_0.gguf": b"GGUF" * 900, "README.md": b"#"})
    info = describe("org/x-GGUF")
    assert info.is_gguf
    assert (info.weights, info.config, info.config_missing) == ({"gguf": 6000}, None, "there is no config.json")


def test_describe_errors_for_absent_uncached_and_wrong_names(data: Path) -> None:
    """An absent, an uncached and a wrong name are three errors."""
    with pytest.raises(NothingMatchedError):
        describe("org/absent")
    with pytest.raises(NotReadyError):
        describe("org/tiny", offline=True)
    with pytest.raises(UsageError):
        describe("no name")


def test_weights_are_counted_once_per_format() -> None:
    """Copies of the weights, shards and training files are not counted twice."""
    sizes = {
        "model-00001-of-00002.safetensors": 10, "model-00002-of-00002.safetensors": 5, "consolidated.safetensors": 15,
        "pytorch_model.bin": 15, "training_args.bin": 1, "original/consolidated.00.pth": 15, "optimizer.pt": 30,
        "tokenizer.json": 3,
    }  # fmt: skip
    entries = [Entry(name, size, "") for name, size in sizes.items()]
    assert weight_bytes(entries) == {"safetensors": 15, "bin": 15}


# listing and removing


def test_cached_lists_repositories_and_remove_deletes_one(
    data: Path, server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cached repositories are listed, and one is removed."""
    server.add("org/set", {"a.csv": b"1,2"}, kind="dataset")
    run(capsys, "org/tiny")
    run(capsys, "org/set", "--type", "dataset")
    model, dataset = hub.cached(data)
    assert (model.id, model.kind, model.refs, model.partial) == ("org/tiny", "model", ("main",), False)
    assert model.commits == (server.repos["model", "org/tiny"].refs["main"],)
    assert 5042 <= model.bytes <= 5042 + 1000  # our own notes are counted
    assert (dataset.id, dataset.kind) == ("org/set", "dataset")
    interrupted = hub.cache_of(data) / ".locks/.removed-0a1b2c3d"
    interrupted.mkdir()
    assert hub.remove(data, "org/tiny") == model.bytes
    assert [repo.id for repo in hub.cached(data)] == ["org/set"]
    cache = hub.cache_of(data)
    assert sorted(path.name for path in cache.iterdir()) == [".locks", "datasets--org--set"]
    assert [path.name for path in (cache / ".locks").iterdir()] == ["datasets--org--set"]


def test_cached_of_an_empty_directory_is_empty(tmp_path: Path) -> None:
    """Where nothing is cached, the list is empty and removing is an error."""
    assert hub.cached(tmp_path) == []
    with pytest.raises(NothingMatchedError, match="not in"):
        hub.remove(tmp_path, "org/tiny")


@pytest.mark.parametrize("name", ["../../etc", "org/../../x", "", "a/b/../c"])
def test_remove_refuses_names_that_are_not_repositories(data: Path, name: str) -> None:
    """Only names of repositories can be removed."""
    with pytest.raises(UsageError):
        hub.remove(data, name)


def test_remove_refuses_a_repository_being_downloaded(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A repository that is being downloaded is not removed."""
    run(capsys, "org/tiny")
    lock = next(hub.cache_of(data).glob(".locks/*/*.lock"))
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NotReadyError, match="is being downloaded"):
            hub.remove(data, "org/tiny")
    assert hub.remove(data, "org/tiny") > 5000


# the same code in the images


def test_transfer_modules_are_shared_with_images(tmp_path: Path) -> None:
    """The recipe has no copy of the modules: it shares them, and the program in the image starts with them alone."""
    packages = load([ROOT / "packages"], detect.parse_target("x86_64,cpu"))
    place = ".jetson/shared/jetson_containers/hub/transfer"
    shared = files_of(packages.find("huggingface_hub"))
    assert shared == {f"{place}/{path.name}": path for path in OURS.glob("*.py")}
    installed = "/usr/local/lib/huggingface-downloader"
    assert f"\nCOPY {place} {installed}/hub_transfer\n" in (RECIPE / "Dockerfile").read_text()
    for name, path in shared.items():
        target = tmp_path / "hub_transfer" / name.removeprefix(f"{place}/")
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    program = (RECIPE / "huggingface-downloader").read_text().replace(installed, str(tmp_path))
    argv = [sys.executable, "-I", "-c", program, "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")


# What Python 3.8 lacks and a hand writes without thinking; annotations are never evaluated there.
TOO_NEW = {
    "removeprefix",
    "removesuffix",
    "is_relative_to",
    "readlink",
    "with_stem",
    "batched",
    "pairwise",
    "to_thread",
}


@pytest.mark.parametrize("path", sorted(OURS.glob("*.py")), ids=lambda path: path.name)
def test_transfer_is_written_for_python_3_8(path: Path) -> None:
    """The transfer uses nothing newer than the Python of JetPack 5."""
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in attributes if not (isinstance(node.value, ast.Name) and node.value.id == "os")}
    keywords = {word.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords}
    assert used & TOO_NEW == set()
    assert "strict" not in keywords


def test_download_command_imports_the_client_late() -> None:
    """Importing the command does not import huggingface_hub."""
    import subprocess
    import sys

    code = "import sys, jetson_containers.hub, jetson_containers.cli.download; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
