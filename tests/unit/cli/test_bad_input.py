"""Bad input to the command line: one message that names the thing and the way out, the right code, nothing on stdout.

What needs an engine or a real process is in tests/real/test_bad_input.py. Each tree in trees_bad/ has one mistake.
"""

from __future__ import annotations

import errno
import io
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jetson_containers.cli import main
from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import BuildError, ConfigError, OutputError, ReaderGoneError
from tests.paths import ROOT_DIR, UNIT_DIR

TREES = UNIT_DIR / "trees_bad"


@pytest.fixture(autouse=True)
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, and no engine: a plan needs none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "20")  # a narrow terminal breaks no message


def test_download_of_a_file_beside_its_repository_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """`REPO FILE` is the form of another program: the one word that names the file is said, before any is asked."""
    words = ("`m-Q4_K_M.gguf` is a file", "`jetson-containers download someone/m-GGUF/m-Q4_K_M.gguf`")
    refused(capsys, ("download", "someone/m-GGUF", "m-Q4_K_M.gguf"), 2, *words)


def test_llm_with_two_quantizations_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A quantization in the name and another one as option cannot be combined."""
    argv = ("llm", "chat", "a/b-GGUF:Q8_0", "--quantization", "Q4_0", "--dry-run", "--target", "r36.4.3")
    refused(capsys, argv, 2, "names Q8_0")
    refused(capsys, ("llm", "fit", "a/b-GGUF:Q8_0", "--quantization", "Q4_0"), 2, "names Q8_0")


def refused(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], code: int, *words: str) -> str:
    """Run a command that must be refused; what it said."""
    assert main.main(list(argv)) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert sum(line.startswith("error: ") for line in err.splitlines()) == 1
    assert "\nhint: " in err
    for word in words:
        assert word in err, err
    return err


def build(*words: str, tree: str = "good") -> tuple[str, ...]:
    return ("build", "--dry-run", "--target", "cpu", "--base", "base:1", "--packages", str(TREES / tree), *words)


@pytest.mark.parametrize(
    ("tree", "request_", "words"),
    [
        ("good", "ome", ["there is no package `ome`", "did you mean `one`?"]),
        ("good", "one:9", ["`one:9`", "there is `one`"]),
        ("good", "../one", ["`../one`", "did you mean `one`?"]),
        ("good", "", ["``", "a variable may be empty"]),
        ("broken_header", "torn", ["torn/Dockerfile:4: broken YAML", "correct that line"]),
        ("broken_config", "torn", ["torn/config.yaml:4: broken YAML", "correct that line"]),
        ("unknown_key", "typo", ["typo/Dockerfile:3: unknown key `dependz`", "did you mean `depends`?"]),
        ("two_defaults", "twice", ["twice/config.yaml:5: two default versions", "`1` (line 3) and `2`"]),
        ("missing_dependency", "asker", ["no package `wheelz`, which `asker` asks for", "did you mean `wheels`?"]),
        ("cycle", "a", ["a -> b -> c -> a", "cycle/b/Dockerfile:2", "remove one of these `depends`"]),
        ("cycle", "b", ["b -> c -> a -> b"]),
        (
            "conflict",
            "old new",
            ["`new` wants `lib>=2`", "`old` wants `lib<2`", "`./build.sh old` and `./build.sh new`"],
        ),
        ("conflict", "old lib:2.0", ["the request wants `lib:2.0`", "`old` wants `lib<2`", "leave the version open"]),
        ("absent", "cudaonly", ["`cudaonly` is not available", "`>=cu124`", "jetson-containers why cudaonly"]),
        ("absent", "above", ["`cudaonly`, which `above` asks for", "`>=cu124`"]),
    ],
)
def test_build_of_a_request_that_cannot_be_planned_is_one_error(
    capsys: pytest.CaptureFixture[str], tree: str, request_: str, words: list[str]
) -> None:
    """A request that cannot be planned is one error."""
    refused(capsys, build(*request_.split(" "), tree=tree), 2, *words)


@pytest.mark.parametrize("tree", ["broken_header", "broken_config", "unknown_key"])
def test_broken_recipe_disables_itself_only(capsys: pytest.CaptureFixture[str], tree: str) -> None:
    """A broken recipe disables itself only."""
    added = ("--packages", str(TREES / "good"), "--package-dirs", str(TREES / tree))
    assert main.main(["build", "--dry-run", "--target", "cpu", *added, "one"]) == 0
    out, err = capsys.readouterr()
    assert "one:x86_64-cpu" in out
    assert err.count("warning: recipe left out: ") == 1
    assert f"{tree}/t" in err  # the file
    refused(capsys, ("build", "--dry-run", "--target", "cpu", *added, "typo" if tree == "unknown_key" else "torn"), 2)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (build("one", "--build-args", "foo"), ["--build-args: `foo`", "KEY:VALUE"]),
        (build("one", "--build-args", "BASE_IMAGE:x"), ["--build-args", "BASE_IMAGE", "use --base IMAGE"]),
        (build("one", "--build-flags", "--label 'x"), ["--build-flags", "No closing quotation"]),
        (build("one", "--base", "Bad Name:::"), ["--base: invalid image reference `Bad Name:::`", "lower case"]),
        (build("one", "--name", "Bad Name!!"), ["--name `Bad Name!!`", "lower case"]),
        (build("one", "--push", "ghcr.io/Me"), ["`ghcr.io/Me`", "in lower case"]),
        (build("one", "--ca-bundle", "/no/bundle.pem"), ["CA bundle `/no/bundle.pem`"]),
        (build("one", "--wheelhouse", "/dev/null"), ["wheelhouse `/dev/null`"]),
        (build("one", "--jobs", "-3"), ["--jobs", "-3", "build --help"]),
        (build("one", "--jobs", "many"), ["--jobs", "many", "build --help"]),
        (build("one", "--wat"), ["--wat", "build --help"]),
        (build("one", "--engine", "warp"), ["warp", "buildkit", "build --help"]),
        (build("one", "--engine", "buildx", "--no-buildkit"), ["--no-buildkit", "--engine"]),
        (build("one", "--packages", "/no/tree"), ["`/no/tree`", "--package-dirs"]),
        (build("one", "--package-dirs", "/dev/null"), ["`/dev/null`"]),
        (build("one", "--target", "nonsense"), ["`nonsense`", "jp6.2"]),
        (build("one", "--target", "r99.1"), ["L4T 99.1", "36.x", "--target r39"]),
        (build("one", "--target", "cu128,cu126"), ["`cu128`", "`cu126`", "leave one of them out"]),
        (("autotag",), ["PACKAGES", "autotag --help"]),
        (("autotag", "--offline", "Bad Name"), ["`Bad Name`"]),
        (("autotag", "--offline", "--prefer", "moon", "one"), ["`moon`", "local, registry, build"]),
        (("biuld",), ["biuld", "build"]),
        (("fit", "tiny"), ["`jetson-containers llm fit`"]),
        (("bundle", "numpy", "--model", "tiny", "-o", "x"), ["`tiny` is made, not downloaded", "llm chat tiny"]),
        (("download", "tiny"), ["`tiny` is made, not downloaded", "llm chat tiny"]),
        (("new", "x", "--kind", "node", "--of", "y"), ["takes no --of", "`package.json`"]),
        (("new", "x", "--kind", "source", "--of", "y"), ["takes no --of", "a clone of a commit"]),
        (("new", "My Tool"), ["`My Tool`", "for example `my-tool`"]),
        (("new", "a" * 300), ["cannot be a package's name", "at most 100"]),
        (("llm", "download", "x"), ["It is a command of its own: `jetson-containers download`"]),
        (("farm", "images"), ["It is a command of its own: `jetson-containers images`"]),
        (("install", "pytorch"), ["`./build.sh PACKAGE`", "`jetson-containers pull PACKAGE`"]),
        (("log", "x"), ["`jetson-containers llm logs MODEL`"]),
        (("setup", "swpa"), ["unknown step `swpa`", "did you mean `swap`?"]),
        (("completion",), ["Choose from: bash, zsh, fish"]),
        (build("one=2.7"), ["`=2.7`", "did you mean `one:2.7`?"]),
        (build("one@v2.7"), ["`one@v2.7`", "did you mean `one:2.7`?"]),
        (build("one 2.7"), ["`one 2.7`", "did you mean `one:2.7`?"]),
        (build("one,two"), ["`one,two`", "several names are separate words", "`one two`"]),
        (build(str(ROOT_DIR / "packages/ml/numpy")), ["packages/ml/numpy`", "did you mean `numpy`?"]),
    ],
)
def test_command_line_with_a_wrong_word_is_one_error(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], words: list[str]
) -> None:
    """A wrong word on the command line is one error that names it."""
    refused(capsys, argv, 2, *words)


@pytest.mark.parametrize("client", ["#!/bin/sh\necho Segmentation fault >&2\nkill -SEGV $$\n", "no program"])
def test_docker_client_that_does_not_work_is_one_error(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, client: str
) -> None:
    """A docker client that does not work is one error."""
    (tmp_path / "docker").write_text(client)
    (tmp_path / "docker").chmod(0o755)
    refused(capsys, ("images",), 4, f"`{tmp_path}/docker` does not work", "--reinstall docker.io")


def test_autotag_offers_no_build_of_what_no_recipe_makes(capsys: pytest.CaptureFixture[str]) -> None:
    """No build is offered of what no recipe makes."""
    err = refused(capsys, ("autotag", "--offline", "--target", "cpu", "lama_cpp"), 127, "did you mean `llama_cpp`")
    assert "./build.sh" not in err


@pytest.mark.parametrize(
    ("asked", "image"),
    [
        ("Comfy-UI", "dustynv/comfyui:"),
        ("Stable_Diffusion_WebUI", "dustynv/stable-diffusion-webui:"),
        ("dustynv/NanoOWL", "dustynv/nanoowl:"),
        ("nano_owl", "dustynv/nanoowl:"),
        ("L4T.PyTorch", "dustynv/l4t-pytorch:"),
    ],
)
def test_autotag_finds_published_names_by_letters_and_digits(
    capsys: pytest.CaptureFixture[str], asked: str, image: str
) -> None:
    """Whether a name is written with `-`, `_` or neither makes no difference, also where no recipe has it."""
    options = ("--offline", "--disable", "local", "--target", "r36.4.3")
    assert main.main(["autotag", *options, asked]) == 0
    assert capsys.readouterr().out.startswith(image)


@pytest.mark.parametrize(("asked", "near"), [("nanoowls", "`nanoowl`"), ("jetson-inferense", "`jetson-inference`")])
def test_autotag_names_published_images_that_resemble(
    capsys: pytest.CaptureFixture[str], asked: str, near: str
) -> None:
    """A name that nothing has is answered with those that are near it; one far from all with none."""
    line = ("autotag", "--offline", "--disable", "local", "--target", "r36.4.3")
    refused(capsys, (*line, asked), 127, f"there are images of {near}")
    assert "there are images" not in refused(capsys, (*line, "zzyzx"), 127)


# Settings.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"jobs: many\n", ["`many`", "`jobs`"]),
        (b"jobs: -1\n", ["`-1`", "`jobs`"]),
        (b"jobs: [1]\n", ["`[1]`", "`jobs`"]),
        (b"jbos: 1\n", ["unknown setting `jbos`", "did you mean `jobs`?"]),
        (b"1: 2\n", ["unknown setting `1`"]),
        (b"[1, 2]\n", ["must be a mapping"]),
        (b"a: b: c\n", ["cannot be read as YAML", "line 1"]),
        (b"\xff\xfe\x00", ["cannot be read as YAML"]),
        (b"registries: {a: 1}\n", ["`registries`"]),
        (b"package_dirs: 5\n", ["`package_dirs`"]),
        (b"base: 'Bad Name'\n", ["invalid image reference `Bad Name`"]),
    ],
)
def test_settings_file_with_a_wrong_value_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, words: list[str]
) -> None:
    """A wrong file of settings is named."""
    file = tmp_path / "wrong.yaml"
    file.write_bytes(text)
    monkeypatch.setenv("JETSON_CONTAINERS_CONFIG", str(file))
    argv = ("build", "--dry-run", "--target", "cpu", "--packages", str(TREES / "good"), "one")
    refused(capsys, argv, 2, "wrong.yaml", *words)


@pytest.mark.parametrize(
    ("name", "value"),
    [("OFFLINE", "maybe"), ("JOBS", "lots"), ("JOBS", "-2"), ("CONFIG", "/no/such/file"), ("STOP_TIMEOUT", "soon")],
)
def test_settings_variable_with_a_wrong_value_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A wrong variable is named."""
    monkeypatch.setenv(f"JETSON_CONTAINERS_{name}", value)
    refused(capsys, build("one"), 2, f"$JETSON_CONTAINERS_{name}", f"`{value}`")


def load(root: Path, env: dict[str, str]) -> settings.Settings:
    return settings.load(env={"HOME": str(root), **env}, root=root)


def test_dotenv_with_garbage_is_neither_run_nor_fatal(tmp_path: Path) -> None:
    """Garbage in a .env is neither run nor fatal."""
    text = b'\xff\xfe\x00 garbage\n=novalue\nnot a line\nA=$(touch pwned)\nB=`touch pwned`\nC="open\nOK=1\n'
    (tmp_path / ".env").write_bytes(text)
    values = load(tmp_path, {}).env
    assert values["A"] == "$(touch pwned)"
    assert values["OK"] == "1"
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_dotenv_with_a_wrong_value_is_named(tmp_path: Path) -> None:
    """A wrong value in a .env says where it stands."""
    (tmp_path / ".env").write_text("JETSON_CONTAINERS_JOBS=lots\n")
    with pytest.raises(ConfigError, match=r"\.env \$JETSON_CONTAINERS_JOBS: `lots`"):
        load(tmp_path, {})


def test_dotenv_that_is_a_directory_is_ignored(tmp_path: Path) -> None:
    """A directory called .env is ignored."""
    (tmp_path / ".env").mkdir()
    assert load(tmp_path, {})["jobs"] == 0


def test_dotenv_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .env that cannot be read is named."""

    def denied(self: Path, **_kwargs: Any) -> str:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "read_text", denied)
    with pytest.raises(ConfigError, match=r"\.env: cannot be read: Permission denied"):
        load(tmp_path, {})


def test_working_directory_that_is_gone_does_not_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory that is gone does not fail."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert settings.load(root=tmp_path)["jobs"] == 0


# Streams.


class Torn(io.StringIO):
    """A stream that cannot be written to."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


def test_console_result_that_cannot_be_written_is_an_error() -> None:
    """A result that cannot be written is a failure."""
    with pytest.raises(OutputError, match="No space left"):
        Console(out=Torn(errno.ENOSPC), env={}).result("x")


def test_console_result_whose_reader_has_gone_ends_quietly() -> None:
    """A reader that has gone is told apart from a failure."""
    with pytest.raises(ReaderGoneError) as caught:
        Console(out=Torn(errno.EPIPE), env={}).result("x")
    assert caught.value.exit_code == 141


def test_console_message_that_cannot_be_written_stops_nothing() -> None:
    """A message that cannot be written stops nothing."""
    console = Console(err=Torn(errno.ENOSPC), env={})
    console.info("x")
    console.error(BuildError("y", hint="z"))
    assert not console.confirm("?")


def test_console_works_with_closed_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closed streams do not fail."""
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    console = Console(env={})
    console.info("x")
    assert not console.interactive
    with pytest.raises(OutputError, match="closed"):
        console.result("x")


def test_main_reports_a_full_disk_but_shows_other_system_errors_as_bugs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is a message; other errors of the system are bugs."""

    def fails(number: int) -> None:
        def end(**_kwargs: Any) -> None:
            raise OSError(number, os.strerror(number), "/some/file")

        monkeypatch.setattr(main.cli, "main", end)

    fails(errno.ENOSPC)
    refused(capsys, (), 4, "/some/file", "No space left")
    fails(errno.EBADF)
    with pytest.raises(OSError, match="Bad file"):
        main.main([])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["install.sh", "--wat"], "unknown option: --wat"),
        (["quickstart.sh", "--wat"], "unknown option: --wat"),
        (["quickstart.sh", "--model"], "--model needs a value"),
        (["quickstart.sh", "--prompt", ""], "--prompt needs a value"),
    ],
)
def test_scripts_with_a_wrong_word_change_nothing(words: list[str], said: str) -> None:
    """A wrong word to a script changes nothing."""
    root = ROOT_DIR
    env = {"PATH": os.defpath}
    done = subprocess.run([root / words[0], *words[1:]], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1] == f"error: {said}"
    assert "usage: ./" in done.stderr
