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
from jetson_containers.cli import main as main_module
from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NothingMatchedError, NotReadyError, UsageError
from jetson_containers.hub.describe import weight_bytes
from jetson_containers.hub.transfer import command
from jetson_containers.hub.transfer.model import Entry
from jetson_containers.platforms import detect as platforms
from jetson_containers.recipes import catalog as catalog_module
from jetson_containers.recipes import shared as shared_files
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
    done = main_module.main(["download", *argv])
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


def test_paths_come_one_a_line_in_the_order_asked(download: Any, data: Path, server: HubServer, tmp_path: Path) -> None:
    server.add("org/other", {"b.gguf": b"GGUF" * 500})
    out, err = download("org/other/b.gguf", "org/tiny", str(tmp_path), "--location-file", "where")
    paths = out.splitlines()
    assert Path(paths[0]).read_bytes() == b"GGUF" * 500
    assert sorted(path.name for path in Path(paths[1]).iterdir()) == sorted(FILES)
    assert paths[2] == str(tmp_path)
    assert Path("where").read_text() == out
    assert Path(paths[1]).is_relative_to(data / "models/huggingface/models--org--tiny")
    assert "org/tiny: 2 files, 5.0 kB to download" in err


def test_a_failure_leaves_the_location_file_as_it_was(download: Any) -> None:
    Path("where").write_text("before\n")
    out, _ = download("org/tiny", "org/absent", "--location-file", "where", code=3)
    assert out == ""
    assert Path("where").read_text() == "before\n"


def test_json_names_commit_files_and_checksums(download: Any, server: HubServer) -> None:
    commit = server.repos["model", "org/tiny"].refs["main"]
    (item,) = json.loads(download("org/tiny@main", "--json")[0])
    assert (item["repo"], item["revision"], item["commit"], item["bytes"]) == ("org/tiny", "main", commit, 5042)
    assert item["path"].endswith(commit)
    config, weights = item["files"]
    assert config == {"name": "config.json", "size": 42, "sha256": None, "state": "downloaded"}
    assert weights["sha256"] == server.repos["model", "org/tiny"].commits[commit]["model.safetensors"].sha256


def test_a_dry_run_lists_files_bytes_and_the_sum(download: Any, data: Path, server: HubServer) -> None:
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
def test_upstreams_options_choose_files(download: Any, argv: list[str], names: list[str]) -> None:
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
def test_each_failure_has_its_exit_code(
    download: Any, server: HubServer, argv: list[str], code: int, words: str
) -> None:
    server.add("org/gated", FILES, gated="manual")
    server.add("org/wrong", {"model.bin": WEIGHTS})
    server.fail("org/wrong/resolve/model.bin", times=0, flip=True)
    out, err = download(*argv, code=code)
    assert out == ""
    assert words in err
    assert "Traceback" not in err


def test_a_token_on_the_command_line_works_and_is_warned_about(download: Any, server: HubServer) -> None:
    server.tokens.add(SECRET)
    server.add("org/gated", FILES, gated="auto").readers.add(SECRET)
    _, err = download("org/gated", "--token", SECRET)
    assert "prefer HF_TOKEN" in err


@pytest.mark.parametrize("variable", ["HF_TOKEN", "HUGGINGFACE_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
def test_every_spelling_of_the_token_variable_works(
    download: Any, server: HubServer, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add("org/gated", FILES, gated="auto")
    monkeypatch.setenv(variable, "good")
    assert download("org/gated")[0]


def test_quiet_says_nothing_but_paths(download: Any) -> None:
    out, err = download("org/tiny", "-q")
    assert out.count("\n") == 1
    assert err == ""


def test_the_host_needs_no_engine(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert run(capsys, "org/tiny")[0]


@pytest.mark.parametrize("option", [["--dry-run"], ["--json"], ["--token", "x"], ["--cache-dir", "x"]])
def test_what_an_image_cannot_do_is_said(data: Path, capsys: pytest.CaptureFixture[str], option: list[str]) -> None:
    _, err = run(capsys, "org/tiny", "--image", "hub:test", *option, code=2)
    assert "--image do not go together" in err


@pytest.mark.parametrize(
    ("path", "inside"),
    [("{data}/models/huggingface/x", "/data/models/huggingface/x"), ("{data}", "/data"), ("/elsewhere", None)],
)
def test_where_containers_find_it(tmp_path: Path, path: str, inside: str | None) -> None:
    assert hub.container_path(Path(path.format(data=tmp_path)), tmp_path) == inside


# describing


def describe(reference: str, **given: Any) -> hub.ModelInfo:
    return hub.describe(reference, settings.load(), Console(), **given)


def test_a_model_is_described_without_its_weights(data: Path, server: HubServer) -> None:
    info = describe("org/tiny@main")
    assert (info.id, info.revision, info.commit) == ("org/tiny", "main", server.repos["model", "org/tiny"].refs["main"])
    assert info.config == {"model_type": "llama", "hidden_size": 64}
    assert (info.weights, info.is_gguf, info.gated, info.path) == ({"safetensors": 5000}, False, False, None)
    assert set(server.sent) == {"config.json"}
    assert [file.name for file in info.files] == sorted(FILES)


def test_a_described_model_that_is_here_has_a_path(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (path,) = run(capsys, "org/tiny")[0].splitlines()
    online, offline = describe("org/tiny"), describe("org/tiny", offline=True)
    assert str(online.path) == path
    assert offline == online


def test_describing_does_not_take_the_model_from_offline_users(
    data: Path, server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "org/tiny")
    server.repos["model", "org/tiny"].commit({**FILES, "model.safetensors": b"new" * 1000})
    assert describe("org/tiny").path is None
    assert run(capsys, "org/tiny", "--offline")[0]


def test_a_gated_model_is_described_as_far_as_it_may_be(data: Path, server: HubServer) -> None:
    server.add("org/gated", FILES, gated="manual")
    info = describe("org/gated")
    assert (info.gated, info.config, info.weights) == ("manual", None, {"safetensors": 5000})
    assert "gated and no token was given" in info.config_missing
    assert describe("org/gated", token="good").config


def test_gguf_repositories_have_no_config(data: Path, server: HubServer) -> None:
    server.add("org/x-GGUF", {"x-Q4_K_M.gguf": b"GGUF" * 600, "x-Q8_0.gguf": b"GGUF" * 900, "README.md": b"#"})
    info = describe("org/x-GGUF")
    assert info.is_gguf
    assert (info.weights, info.config, info.config_missing) == ({"gguf": 6000}, None, "there is no config.json")


def test_describing_what_is_not_there(data: Path) -> None:
    with pytest.raises(NothingMatchedError):
        describe("org/absent")
    with pytest.raises(NotReadyError):
        describe("org/tiny", offline=True)
    with pytest.raises(UsageError):
        describe("no name")


def test_weights_are_counted_once() -> None:
    sizes = {
        "model-00001-of-00002.safetensors": 10, "model-00002-of-00002.safetensors": 5, "consolidated.safetensors": 15,
        "pytorch_model.bin": 15, "training_args.bin": 1, "original/consolidated.00.pth": 15, "optimizer.pt": 30,
        "tokenizer.json": 3,
    }  # fmt: skip
    entries = [Entry(name, size, "") for name, size in sizes.items()]
    assert weight_bytes(entries) == {"safetensors": 15, "bin": 15}


# listing and removing


def test_the_cache_is_listed_and_removed(data: Path, server: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
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


def test_nothing_is_cached_where_nothing_is(tmp_path: Path) -> None:
    assert hub.cached(tmp_path) == []
    with pytest.raises(NothingMatchedError, match="not in"):
        hub.remove(tmp_path, "org/tiny")


@pytest.mark.parametrize("name", ["../../etc", "org/../../x", "", "a/b/../c"])
def test_only_repositories_can_be_removed(data: Path, name: str) -> None:
    with pytest.raises(UsageError):
        hub.remove(data, name)


def test_what_is_being_downloaded_is_not_removed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "org/tiny")
    lock = next(hub.cache_of(data).glob(".locks/*/*.lock"))
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NotReadyError, match="is being downloaded"):
            hub.remove(data, "org/tiny")
    assert hub.remove(data, "org/tiny") > 5000


# the same code in the images


def test_images_run_the_same_code(tmp_path: Path) -> None:
    """The recipe has no copy of the modules: it shares them, and the program in the image starts with them alone."""
    catalog = catalog_module.load([ROOT / "packages"], platforms.parse_target("x86_64,cpu"))
    place = ".jetson/shared/jetson_containers/hub/transfer"
    shared = shared_files.files(catalog.find("huggingface_hub"))
    assert shared == {f"{place}/{path.name}": path for path in OURS.glob("*.py")}
    assert f"\nCOPY {place} /usr/local/lib/huggingface-downloader/hub_transfer\n" in (RECIPE / "Dockerfile").read_text()
    for name, path in shared.items():
        target = tmp_path / "hub_transfer" / name.removeprefix(f"{place}/")
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    text = (
        (RECIPE / "huggingface-downloader").read_text().replace("/usr/local/lib/huggingface-downloader", str(tmp_path))
    )
    done = subprocess.run(
        [sys.executable, "-I", "-", "--help"], input=text, capture_output=True, text=True, check=False
    )
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
def test_it_is_written_for_the_python_of_jetpack_5(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    used = {node.attr for node in attributes if not (isinstance(node.value, ast.Name) and node.value.id == "os")}
    keywords = {word.arg for node in ast.walk(tree) if isinstance(node, ast.Call) for word in node.keywords}
    assert used & TOO_NEW == set()
    assert "strict" not in keywords


def test_looking_at_the_command_imports_no_client() -> None:
    import subprocess
    import sys

    code = "import sys, jetson_containers.hub, jetson_containers.cli.download; print('huggingface_hub' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
