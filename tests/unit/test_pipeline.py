"""Pipeline: a finished step is never repeated, an interrupted one resumes, nothing half-done counts as done."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from jetson_containers.console import Console
from jetson_containers.errors import StepError
from jetson_containers.pipeline import Pipeline, manifest_path, read_manifest
from jetson_containers.runtimes.base import StepCommand

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Recorder:
    """Writes the output that a command names, and remembers the commands."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.commands: list[tuple[str, ...]] = []
        self.fail: str | None = None
        self.crash: str | None = None

    def run(self, command: Sequence[str], *, network: bool, token: bool, show: bool) -> tuple[int, str]:
        self.commands.append(tuple(command))
        target = self.data / command[-1].removeprefix("/data/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"made by {command[0]}")
        if command[0] == self.crash:
            raise KeyboardInterrupt
        return (1, "line 1\nit broke") if command[0] == self.fail else (0, "")


STEPS = (
    StepCommand("convert", ("convert", "{output}"), (), "/data/m/a.gguf"),
    StepCommand("quantize", ("quantize", "/data/m/a.gguf", "{output}"), ("/data/m/a.gguf",), "/data/m/b.gguf"),
)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def run(recorder: Recorder, steps: Sequence[StepCommand] = STEPS, **options: Sequence[str]) -> list[str]:
    pipeline = Pipeline(recorder.data, recorder, Console(out=io.StringIO(), err=io.StringIO()))
    return [result.state for result in pipeline.run(steps, **options)]


def test_a_second_run_does_nothing(recorder: Recorder) -> None:
    assert run(recorder) == ["done", "done"]
    assert run(recorder) == ["cached", "cached"]
    assert len(recorder.commands) == 2


def test_a_failed_step_leaves_nothing_and_is_the_one_that_resumes(recorder: Recorder) -> None:
    recorder.fail = "quantize"
    with pytest.raises(StepError) as caught:
        run(recorder)
    assert "it broke" in caught.value.details
    assert sorted(path.name for path in (recorder.data / "m").iterdir()) == ["a.gguf", "a.gguf.manifest.json"]
    recorder.fail = None
    assert run(recorder) == ["cached", "done"]


def test_a_killed_step_does_not_count_as_done(recorder: Recorder) -> None:
    recorder.crash = "convert"
    with pytest.raises(KeyboardInterrupt):
        run(recorder)
    assert read_manifest(recorder.data / "m" / "a.gguf") is None
    recorder.crash = None
    assert run(recorder) == ["done", "done"]
    assert not (recorder.data / "m" / "a.gguf.part").exists()


@pytest.mark.parametrize("harm", ["truncate", "remove", "manifest", "garbage"])
def test_an_output_that_was_harmed_is_made_again(recorder: Recorder, harm: str) -> None:
    run(recorder)
    output = recorder.data / "m" / "b.gguf"
    if harm == "truncate":
        output.write_text("x")
    elif harm == "remove":
        output.unlink()
    elif harm == "manifest":
        manifest_path(output).unlink()
    else:
        manifest_path(output).write_text("{")
    assert run(recorder) == ["cached", "done"]


def test_a_changed_command_or_input_is_done_again(recorder: Recorder) -> None:
    run(recorder)
    changed = StepCommand("quantize", ("quantize", "--pure", "{output}"), ("/data/m/a.gguf",), "/data/m/b.gguf")
    assert run(recorder, (STEPS[0], changed)) == ["cached", "done"]


def test_force_redoes_the_step_and_what_follows(recorder: Recorder) -> None:
    run(recorder)
    assert run(recorder, force=["convert"]) == ["done", "done"]


def test_the_manifest_says_how_the_output_was_made(recorder: Recorder) -> None:
    run(recorder)
    manifest = json.loads(manifest_path(recorder.data / "m" / "b.gguf").read_text())
    assert manifest["command"] == ["quantize", "/data/m/a.gguf", "{output}"]
    assert manifest["size"] == len("made by quantize")
    assert len(manifest["sha256"]) == 64
