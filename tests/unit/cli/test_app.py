"""What commands have in common."""

from __future__ import annotations

from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner

from jetson_containers.cli import main
from jetson_containers.cli.app import App, collect, command


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the command below is asked for."""

    size: int
    name: str = "default"


def test_collect_gives_options_as_one_object_and_the_others_apart() -> None:
    """Options that are fields of the class come as one object, the others under their own names."""
    given: list[tuple[Wanted, bool]] = []

    @command("make")
    @click.option("--size", type=int, default=1)
    @click.option("--loud", is_flag=True)
    @collect(lambda: Wanted, "wanted")
    def make(app: App, *, wanted: Wanted, loud: bool) -> int:
        given.append((wanted, loud))
        return 0

    assert CliRunner().invoke(make, ["--size", "3", "--loud"], obj=App(), catch_exceptions=False).exit_code == 0
    assert given == [(Wanted(size=3), True)]


def test_collect_imports_the_class_only_when_the_command_runs() -> None:
    """Listing the options does not import the class."""
    loaded: list[str] = []

    def load() -> type[Wanted]:
        loaded.append("Wanted")
        return Wanted

    @command("make")
    @click.option("--size", type=int, default=1)
    @collect(load, "wanted")
    def make(app: App, *, wanted: Wanted) -> int:
        return 0

    assert "--size" in CliRunner().invoke(make, ["--help"], obj=App()).output
    assert loaded == []
    CliRunner().invoke(make, [], obj=App(), catch_exceptions=False)
    assert loaded == ["Wanted"]


@pytest.mark.parametrize(("setting", "source"), [("", "apt"), ("wheels", "wheels")])
def test_platform_takes_the_source_of_cuda_from_the_setting(
    monkeypatch: pytest.MonkeyPatch, setting: str, source: str
) -> None:
    """Every command that plans or builds sees it."""
    monkeypatch.setenv("JETSON_CONTAINERS_CUDA_SOURCE", setting)
    assert App(options={"target": "sbsa,cu130"}).platform.cuda_source == source


@pytest.mark.parametrize("value", ["nan", "inf", "-nan", "1e999", "-1", "many"])
@pytest.mark.parametrize(
    "words",
    [("llm", "fit", "tiny", "--swap"), ("llm", "suggest", "--least"), ("llm", "chat", "tiny", "--temperature")],
    ids=" ".join,
)
def test_number_that_is_none_is_one_error(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], value: str
) -> None:
    """What is no finite number within the bounds is a usage error of its option."""
    assert main.main([*words, value]) == 2
    assert words[-1] in capsys.readouterr().err
