"""The host's side of `download`, and that images run the same code."""

from __future__ import annotations

import ast
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.hub import downloads
from jetson_containers.platforms import detect
from jetson_containers.recipes.catalog import load
from jetson_containers.recipes.shared import files_of
from tests.paths import ROOT_DIR
from tests.unit.hub.helpers import FILES, SECRET, WEIGHTS, run

if TYPE_CHECKING:
    from tests.hubserver import HubServer


ROOT = ROOT_DIR


OURS = ROOT / "jetson_containers/hub/transfer"


RECIPE = ROOT / "packages/llm/huggingface_hub"


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


def test_downloader_says_nothing_of_a_mirrors_login() -> None:
    """The address of a mirror may hold a login; messages name its host alone, also where no scheme stands before it."""
    err = io.StringIO()
    loaded = settings.load(env={"HF_ENDPOINT": "http://me:secret-word@127.0.0.1:9"}, files=())
    reporter = downloads.downloader(loaded, Console(err=err)).reporter
    reporter.say("me:secret-word@127.0.0.1:9: refused")
    reporter.warn("http://me:secret-word@127.0.0.1:9 cannot be reached")
    assert err.getvalue() == "***@127.0.0.1:9: refused\nwarning: http://***@127.0.0.1:9 cannot be reached\n"


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
        (["no name"], 2, "invalid repository name"),
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
    assert "--image cannot be combined" in err


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
