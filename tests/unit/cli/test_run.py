"""`run`: an image that is not here is pulled before docker is started."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli.app import App
from jetson_containers.cli.main import main
from jetson_containers.cli.run import run
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NotReadyError, RegistryError, UsageError
from jetson_containers.launch import command
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.launch.command import Launch

IMAGE = "acme/robot:1"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Launch]:
    """What is started."""
    launches: list[Launch] = []
    monkeypatch.setattr(command, "become", lambda launch: launches.append(launch) or 0)
    return launches


@pytest.fixture
def engine() -> FakeEngine:
    """An engine whose registry has the image."""
    engine = FakeEngine()
    engine.registry[IMAGE] = FakeEngine().add_image(IMAGE)
    return engine


def call(engine: FakeEngine, tmp_path: Path, *words: str, **options: Any) -> str:
    app, err = App(), io.StringIO()
    app.options.update({"target": "r36.4.3", **options})
    app.__dict__["engine"] = engine
    app.__dict__["console"] = Console(out=io.StringIO(), err=err, env={})
    run.main(["--data", str(tmp_path), *words], standalone_mode=False, obj=app)
    return err.getvalue()


def test_run_pulls_what_is_not_here(engine: FakeEngine, started: list[Launch], tmp_path: Path) -> None:
    """The image is pulled with its progress, once, and then started."""
    assert f"pulling image `{IMAGE}`" in call(engine, tmp_path, IMAGE, "ls")
    assert "pulling" not in call(engine, tmp_path, IMAGE, "ls")
    assert [each[:2] for each in engine.calls if each[0] == "pull"] == [("pull", IMAGE)]
    assert [launch.image for launch in started] == [IMAGE, IMAGE]


@pytest.mark.parametrize("words", [("--pull", "never"), ("--pull=always",)])
def test_run_leaves_pulling_to_docker_where_the_line_says_how(
    engine: FakeEngine, started: list[Launch], tmp_path: Path, words: tuple[str, ...]
) -> None:
    """`--pull` is docker's option, and docker obeys it."""
    call(engine, tmp_path, *words, IMAGE, "ls")
    assert [each for each in engine.calls if each[0] == "pull"] == []
    assert len(started) == 1


def test_run_dry_run_pulls_nothing(engine: FakeEngine, started: list[Launch], tmp_path: Path) -> None:
    """A dry run shows the line."""
    call(engine, tmp_path, "--dry-run", IMAGE, "ls")
    assert [each for each in engine.calls if each[0] == "pull"] == []
    assert started == []


def test_run_says_that_there_is_no_such_image(engine: FakeEngine, started: list[Launch], tmp_path: Path) -> None:
    """What no registry has, and what may not be asked for offline, is named with what may be meant."""
    with pytest.raises(RegistryError, match="no image `acme/none:1` is here, and none can be pulled") as caught:
        call(engine, tmp_path, "acme/none:1", "ls")
    assert "`$(./autotag …)`" in (caught.value.hint or "")
    assert caught.value.exit_code == 125  # docker's
    with pytest.raises(NotReadyError, match="offline none is pulled"):
        call(engine, tmp_path, IMAGE, "ls", offline=True)
    assert started == []


@pytest.mark.parametrize("image", ["Ubuntu:24.04", "ubuntu:", "acme/Robot", "a..b", "ubuntu@sha256:12", "acme//robot"])
def test_run_refuses_what_docker_takes_for_no_image(
    engine: FakeEngine, started: list[Launch], tmp_path: Path, image: str
) -> None:
    """It is said before anything is asked of a registry, in a dry run too."""
    for more in ((), ("--dry-run",)):
        with pytest.raises(UsageError, match="invalid image reference"):
            call(engine, tmp_path, *more, image, "ls")
    assert started == []


@pytest.mark.parametrize(
    ("command", "warns"),
    [
        (("acme/arm:2",), True),
        (("registry.example:5000/acme/arm:2", "ls"), True),
        (("acme/arm@sha256:" + "0" * 64,), True),
        (("bin/tool:x", "-v"), True),
        (("/acme/arm:2",), False),
        (("sh", "-c", "acme/arm:2"), False),
        (("host:80",), False),
        ((), False),
    ],
)
def test_run_warns_of_a_second_image(
    engine: FakeEngine, started: list[Launch], tmp_path: Path, command: tuple[str, ...], warns: bool
) -> None:
    """Docker would take it for the program, and say that there is no such file."""
    assert ("a container has one image" in call(engine, tmp_path, IMAGE, *command)) is warns
    assert [launch.image for launch in started] == [IMAGE]


def test_run_of_a_package_says_how_to_find_its_image(engine: FakeEngine, started: list[Launch], tmp_path: Path) -> None:
    """The bare name of a package is no image of a registry."""
    assert "`./autotag faster-whisper` finds an image of the package" in call(
        engine, tmp_path, "--dry-run", "faster-whisper", "ls"
    )
    assert "`$(./autotag …)` found none" in call(engine, tmp_path, "--dry-run", "somewhat", "ls")
    assert started == []


def test_run_help_fits_the_terminal_and_leaves_commands_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its texts go on below themselves; what can be pasted has one line."""
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["run", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 60 and not line.startswith(("  ./", "Usage:"))] == []
    assert "  ./run.sh --detach --restart unless-stopped --env HF_TOKEN $(./autotag mlc) my-server" in lines
    assert "  --verify KEY     start only what the registry shows a" in lines
