"""Pipeline: a finished step is never repeated, an interrupted one resumes, nothing half-done counts as done."""

from __future__ import annotations

import errno
import io
import json
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.console import Console
from jetson_containers.core.errors import NotReadyError, StepError, UsageError
from jetson_containers.llm.pipeline import manifest as manifests
from jetson_containers.llm.pipeline.steps import Pipeline
from jetson_containers.llm.pipeline.types import CommandStep, DownloadStep, LinkStep, Origin, Selection
from jetson_containers.llm.runtimes import calibration
from jetson_containers.llm.runtimes.interface import Job, Target
from jetson_containers.platforms import detect as platforms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Recorder:
    """Writes the output that a command names last, and remembers the commands."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.commands: list[str] = []
        self.fail: str | None = None
        self.crash: str | None = None
        self.said = "line 1\nit broke"

    def run(self, step: CommandStep, argv: Sequence[str], *, show: bool) -> tuple[int, str]:
        self.commands.append(argv[0])
        target = self.data / argv[-1].removeprefix("/data/")
        if step.merge or step.result:
            target = target / (step.result or f"{step.name}.json")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(f"made by {argv[0]}")
        if argv[0] == self.crash:
            raise KeyboardInterrupt
        return (1, self.said) if argv[0] == self.fail else (0, "")


CONVERT = CommandStep(
    name="convert", argv=("convert", "{output}"), inputs=(), output="/data/m/a.gguf", intermediate=True
)
QUANTIZE = CommandStep(
    name="quantize",
    argv=("quantize", "/data/m/a.gguf", "{output}"),
    inputs=("/data/m/a.gguf",),
    output="/data/m/b.gguf",
)
STEPS = (CONVERT, QUANTIZE)


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def pipeline(recorder: Recorder, **options: object) -> Pipeline:
    console = Console(out=io.StringIO(), err=io.StringIO())
    return Pipeline(data=recorder.data, runner=recorder, console=console, **options)  # type: ignore[arg-type]


def run(recorder: Recorder, steps: Sequence[CommandStep] = STEPS, **selection: object) -> list[str]:
    results = pipeline(recorder).run(steps, Selection(**selection))  # type: ignore[arg-type]
    return [result.state for result in results]


def test_a_second_run_does_nothing(recorder: Recorder) -> None:
    assert run(recorder) == ["done", "done"]
    assert run(recorder) == ["cached", "cached"]
    assert recorder.commands == ["convert", "quantize"]


def test_an_intermediate_output_is_made_only_when_something_is_made_from_it(recorder: Recorder) -> None:
    run(recorder)
    (recorder.data / "m" / "a.gguf").unlink()
    assert run(recorder) == ["unneeded", "cached"]
    (recorder.data / "m" / "b.gguf").unlink()
    assert run(recorder) == ["done", "done"]


def test_a_failed_step_leaves_nothing_and_is_the_one_that_resumes(recorder: Recorder) -> None:
    recorder.fail = "quantize"
    with pytest.raises(StepError) as caught:
        run(recorder)
    assert "it broke" in caught.value.details
    assert sorted(path.name for path in (recorder.data / "m").iterdir()) == ["a.gguf", "a.gguf.manifest.json"]
    recorder.fail = None
    assert run(recorder) == ["cached", "done"]


def test_a_failure_names_the_likely_cause(recorder: Recorder) -> None:
    recorder.fail, recorder.said = "convert", "std::bad_alloc"
    with pytest.raises(StepError, match="memory ran out"):
        run(recorder)
    recorder.said = "OSError: [Errno 28] No space left on device"
    with pytest.raises(StepError, match="the disk that holds the data directory is full") as caught:
        run(recorder)
    assert "llm rm" in (caught.value.hint or "")


def test_a_killed_step_does_not_count_as_done(recorder: Recorder) -> None:
    recorder.crash = "convert"
    with pytest.raises(KeyboardInterrupt):
        run(recorder)
    assert list((recorder.data / "m").iterdir()) == []
    recorder.crash = None
    assert run(recorder) == ["done", "done"]


def test_what_a_power_cut_left_behind_is_no_output(recorder: Recorder) -> None:
    (recorder.data / "m").mkdir()
    (recorder.data / "m" / "a.gguf.part").write_text("half")
    (recorder.data / "m" / "a.gguf").write_text("without a manifest")
    assert run(recorder) == ["done", "done"]
    assert not (recorder.data / "m" / "a.gguf.part").exists()
    assert (recorder.data / "m" / "a.gguf").read_text() == "made by convert"


@pytest.mark.parametrize("harm", ["truncate", "remove", "manifest", "garbage"])
def test_an_output_that_was_harmed_is_made_again(recorder: Recorder, harm: str) -> None:
    run(recorder)
    output = recorder.data / "m" / "b.gguf"
    if harm == "truncate":
        output.write_text("x")
    elif harm == "remove":
        output.unlink()
    elif harm == "manifest":
        manifests.path_for(output).unlink()
    else:
        manifests.path_for(output).write_text("{")
    assert run(recorder) == ["cached", "done"]


def test_same_size_but_other_bytes_is_found_by_reading(recorder: Recorder) -> None:
    run(recorder)
    output = recorder.data / "m" / "b.gguf"
    output.write_text("M" + output.read_text()[1:])
    manifest = manifests.read(manifests.path_for(output))
    assert manifest is not None
    assert manifest.is_whole()
    assert manifest.corrupt() == ["b.gguf"]


@pytest.mark.parametrize(
    "changed",
    [
        replace(QUANTIZE, argv=("quantize", "--pure", "{output}")),
        replace(QUANTIZE, options={"sm": "87"}),
    ],
)
def test_a_changed_command_or_option_is_done_again(recorder: Recorder, changed: CommandStep) -> None:
    run(recorder)
    assert run(recorder, (CONVERT, changed)) == ["cached", "done"]


def test_a_change_upstream_changes_every_key_after_it(recorder: Recorder) -> None:
    first = pipeline(recorder).keys(STEPS)
    second = pipeline(recorder).keys((replace(CONVERT, argv=("convert", "--outtype", "f32", "{output}")), QUANTIZE))
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_keys_do_not_depend_on_where_the_source_lies(recorder: Recorder) -> None:
    def keys(path: str) -> list[str]:
        step = CommandStep(name="convert", argv=("convert", path, "{output}"), inputs=(path,), output="/data/m/a.gguf")
        return pipeline(recorder, origin=Origin(path=path, identity="hub:org/model")).keys([step])

    assert keys("/data/models/x/snapshots/1") == keys("/data/models/x/snapshots/2")


def test_an_artefact_is_used_where_its_source_never_was(recorder: Recorder, tmp_path: Path) -> None:
    source = "/data/models/checkpoint"
    convert = replace(CONVERT, argv=("convert", source, "{output}"), inputs=(source,))
    origin = Origin(path=source, identity="hub:org/model")
    asked: list[str] = []
    download = DownloadStep(
        argv=("huggingface-downloader", "org/model"),
        output=source,
        is_done=lambda: False,
        fetch=lambda: asked.append("download"),
    )
    made = pipeline(recorder, origin=origin)
    assert [r.state for r in made.run((download, convert, QUANTIZE))] == ["done", "done", "done"]
    # Only the finished file travels to the small machine.
    (recorder.data / "m" / "a.gguf").unlink()
    again = pipeline(recorder, origin=origin)
    assert [r.state for r in again.run((download, convert, QUANTIZE))] == ["unneeded", "unneeded", "cached"]
    assert asked == ["download"]


def test_force_redoes_the_step_and_what_is_made_from_it(recorder: Recorder) -> None:
    run(recorder)
    assert run(recorder, force=("convert",)) == ["done", "done"]
    assert run(recorder, force=("quantize",)) == ["cached", "done"]


def test_from_redoes_all_after_it_and_until_leaves_them(recorder: Recorder) -> None:
    run(recorder)
    assert run(recorder, start="convert") == ["done", "done"]
    recorder.commands.clear()
    assert run(recorder, start="convert", until="convert") == ["done"]
    assert recorder.commands == ["convert"]


def test_until_makes_an_intermediate_output_that_is_asked_for(recorder: Recorder) -> None:
    assert run(recorder, until="convert") == ["done"]


@pytest.mark.parametrize("selection", [{"force": ("bake",)}, {"start": "bake"}, {"until": "bake"}])
def test_a_step_there_is_not_lists_those_there_are(recorder: Recorder, selection: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="no step `bake`") as caught:
        run(recorder, **selection)
    assert "convert, quantize" in (caught.value.hint or "")


def test_several_steps_fill_one_directory(recorder: Recorder) -> None:
    weights = CommandStep(
        name="convert", argv=("weights", "-o", "{output}"), inputs=(), output="/data/d/x-MLC", merge=True
    )
    config = CommandStep(
        name="config", argv=("config", "-o", "{output}"), inputs=(), output="/data/d/x-MLC", merge=True
    )
    library = CommandStep(
        name="compile", argv=("compile", "{output}"), inputs=("/data/d/x-MLC/config.json",), output="/data/d/libs/x.so"
    )
    steps = (weights, config, library)
    assert run(recorder, steps) == ["done", "done", "done"]
    assert sorted(p.name for p in (recorder.data / "d" / "x-MLC").iterdir()) == ["config.json", "convert.json"]
    assert run(recorder, steps) == ["cached", "cached", "cached"]
    (recorder.data / "d" / "x-MLC" / "convert.json").unlink()
    assert run(recorder, steps) == ["done", "cached", "cached"]
    assert run(recorder, steps, force=("config",)) == ["cached", "done", "done"]


def test_a_tool_that_names_its_own_folder_is_followed(recorder: Recorder) -> None:
    build = CommandStep(
        name="build", argv=("build", "{output}"), inputs=(), output="/data/dist/m-q4", result="m-q4/params"
    )
    assert run(recorder, (build,)) == ["done"]
    assert (recorder.data / "dist" / "m-q4").read_text() == "made by build"
    assert sorted(p.name for p in (recorder.data / "dist").iterdir()) == ["m-q4", "m-q4.manifest.json"]


def linked(target: str, output: str = "/data/dist/models/m") -> tuple[CommandStep, CommandStep]:
    """A link, and a step that reads through it."""
    link = LinkStep(name="link", target=target, output=output)
    return link, CommandStep(
        name="build", argv=("build", output, "{output}"), inputs=(output,), output="/data/dist/m-q4"
    )


def test_links_are_made_relative_and_replaced(recorder: Recorder) -> None:
    for target in ("one", "two"):
        (recorder.data / "hub" / target).mkdir(parents=True)
        assert run(recorder, linked(f"/data/hub/{target}")) == ["done", "done"]
        assert run(recorder, linked(f"/data/hub/{target}")) == ["cached", "cached"]
        assert (recorder.data / "dist" / "models" / "m").readlink().as_posix() == f"../../hub/{target}"


def test_no_link_is_made_for_what_is_finished(recorder: Recorder) -> None:
    (recorder.data / "hub").mkdir()
    run(recorder, linked("/data/hub"))
    (recorder.data / "hub").rmdir()
    (recorder.data / "dist" / "models" / "m").unlink()
    assert run(recorder, linked("/data/hub")) == ["unneeded", "cached"]


def test_a_directory_of_the_users_is_not_replaced_by_a_link(recorder: Recorder) -> None:
    (recorder.data / "hub").mkdir()
    (recorder.data / "dist" / "m").mkdir(parents=True)
    with pytest.raises(UsageError, match="in the way"):
        run(recorder, linked("/data/hub", "/data/dist/m"))


def test_the_manifest_says_how_the_output_was_made(recorder: Recorder) -> None:
    facts = {"model": "org/m", "revision": "abc", "versions": {"llama_cpp": "1"}}
    pipeline(recorder, facts=facts).run(STEPS)
    manifest = json.loads(manifests.path_for(recorder.data / "m" / "b.gguf").read_text())
    assert manifest["command"] == ["quantize", "/data/m/a.gguf", "{output}"]
    assert manifest["files"][""]["size"] == len("made by quantize")
    assert len(manifest["files"][""]["sha256"]) == 64
    assert (manifest["model"], manifest["revision"], manifest["versions"]) == ("org/m", "abc", {"llama_cpp": "1"})


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..", ".", "a//b", "a\x00b", "n" * 300, "\\\\host\\x"]
)
def test_a_manifest_that_names_files_elsewhere_is_not_believed(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.manifest.json"
    path.write_text(json.dumps({"step": "x", "key": "k", "files": {name: {"size": 1, "sha256": ""}}}))
    assert manifests.read(path) is None
    assert list(manifests.below(tmp_path, broken=True)) == []


@pytest.mark.parametrize("file", ["...manifest.json", "...x.manifest.json"])
def test_a_manifest_of_the_directory_above_is_not_believed(tmp_path: Path, file: str) -> None:
    """A repository of the hub may hold a file of that name; its output would be the other files of the cache."""
    path = tmp_path / "snapshot" / file
    path.parent.mkdir()
    manifest = {"step": "x", "merge": "x" in file, "key": "k", "files": {"precious": {"size": 1, "sha256": ""}}}
    path.write_text(json.dumps(manifest))
    (tmp_path / "precious").write_text("1")
    assert manifests.read(path) is None


@pytest.mark.parametrize("size", ["Infinity", "1" + "0" * 400 + ".0", "NaN", '"x"', "[[]]"])
def test_a_manifest_with_an_impossible_size_is_not_believed(tmp_path: Path, size: str) -> None:
    path = tmp_path / "m.manifest.json"
    path.write_text('{"step": "x", "key": "k", "files": {"": {"size": SIZE, "sha256": ""}}}'.replace("SIZE", size))
    assert manifests.read(path) is None


def test_two_runs_of_the_same_step_take_turns(recorder: Recorder) -> None:
    """The second waits for the first and then finds the work done."""
    inside, go_on = threading.Event(), threading.Event()
    original = recorder.run

    def slow(step: CommandStep, argv: Sequence[str], *, show: bool) -> tuple[int, str]:
        inside.set()
        go_on.wait(120)
        return original(step, argv, show=show)

    recorder.run = slow  # type: ignore[method-assign]
    states: dict[str, list[str]] = {}
    said = io.StringIO()

    def work(name: str, console: Console) -> None:
        states[name] = [
            r.state
            for r in Pipeline(data=recorder.data, runner=recorder, console=console).run(
                (CONVERT,), Selection(until="convert")
            )
        ]

    first = threading.Thread(target=work, args=("first", Console(out=io.StringIO(), err=io.StringIO())))
    first.start()
    assert inside.wait(120)

    class Told(io.StringIO):
        def write(self, text: str) -> int:
            if "waiting for another run" in text:
                go_on.set()
            return said.write(text)

    second = threading.Thread(target=work, args=("second", Console(out=io.StringIO(), err=Told())))
    second.start()
    first.join(120)
    second.join(120)
    assert states == {"first": ["done"], "second": ["cached"]}
    assert recorder.commands == ["convert"]


def test_a_new_commit_upstream_costs_nothing(recorder: Recorder) -> None:
    """The words that fetch name a commit nobody asked for; what counts is the origin's identity."""

    def keys(commit: str, identity: str = "hub:org/m") -> list[str]:
        place = f"/data/snapshots/{commit}"
        download = DownloadStep(
            argv=("huggingface-downloader", f"org/m@{commit}"),
            output=place,
            is_done=lambda: False,
            fetch=lambda: None,
        )
        convert = replace(CONVERT, argv=("convert", place, "{output}"), inputs=(place,))
        made = pipeline(recorder, origin=Origin(path=place, identity=identity))
        return made.keys((download, convert, QUANTIZE))[1:]

    assert keys("1" * 40) == keys("2" * 40)
    assert keys("1" * 40, "hub:org/m@1") != keys("1" * 40)


def test_what_another_run_made_since_the_plan_is_not_made_again(recorder: Recorder) -> None:
    """Planned while another run is busy, and come to the step when that run has gone on already."""
    first = pipeline(recorder)
    planned = first.plan((CONVERT,), Selection(until="convert"))
    run(recorder, (CONVERT,), until="convert")
    assert [first._run(each).state for each in planned] == ["cached"]
    forced = first.plan((CONVERT,), Selection(force=("convert",)))
    assert [first._run(each).state for each in forced] == ["done"]


def test_the_previous_output_stays_until_the_new_one_is_read(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recorder)

    def stop(_path: Path) -> manifests.ManifestEntry:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifests, "measure", stop)
    with pytest.raises(KeyboardInterrupt):
        run(recorder, force=("quantize",))
    assert run(recorder) == ["cached", "cached"]


def test_a_shard_of_the_previous_output_does_not_stay_in_a_shared_directory(recorder: Recorder) -> None:
    weights = CommandStep(
        name="convert", argv=("weights", "-o", "{output}"), inputs=(), output="/data/d/x-MLC", merge=True
    )
    run(recorder, (weights,))
    place = recorder.data / "d" / "x-MLC"
    (place / "mine").write_text("of somebody else")
    record = manifests.path_for(place, "convert")
    known = json.loads(record.read_text())
    (place / "shard_9").write_text("old")
    known["files"]["shard_9"] = {"size": 3, "sha256": ""}
    record.write_text(json.dumps(known))
    assert run(recorder, (weights,), force=("convert",)) == ["done"]
    assert sorted(path.name for path in place.iterdir()) == ["convert.json", "mine"]


def test_taking_the_place_of_another_organisations_model_is_said(recorder: Recorder) -> None:
    err = io.StringIO()
    console = Console(out=io.StringIO(), err=err)
    for model in ("one/m", "one/m", "two/m"):
        Pipeline(
            data=recorder.data,
            runner=recorder,
            console=console,
            origin=Origin(path="", identity=model),
            facts={"model": model},
        ).run((QUANTIZE,), Selection(force=("quantize",)))
    assert err.getvalue().count("was made of one/m and is now of two/m") == 1


def test_what_belongs_to_another_user_is_said_and_is_no_bug(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(step: CommandStep, argv: Sequence[str], *, show: bool) -> tuple[int, str]:
        raise PermissionError(errno.EACCES, "Permission denied", "/data/m")

    monkeypatch.setattr(recorder, "run", refuse)
    with pytest.raises(NotReadyError, match="cannot write /data/m: Permission denied") as caught:
        run(recorder)
    assert "chown" in (caught.value.hint or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_belongs_to_the_owner_of_the_data(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETSON_CONTAINERS_OWNER", "12345:12346")
    weights = CommandStep(
        name="convert", argv=("weights", "-o", "{output}"), inputs=(), output="/data/d/x-MLC", merge=True
    )
    run(recorder, (*STEPS, weights))
    strangers = [path for path in recorder.data.rglob("*") if path.stat().st_uid != 12345]
    assert strangers == []


def test_a_step_that_leaves_nothing_is_not_called_a_failure_with_status_0(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "run", lambda *_given, **_show: (0, ""))
    with pytest.raises(StepError, match="step `convert` left nothing behind"):
        run(recorder)


def test_a_calibration_text_that_changed_is_another_input(recorder: Recorder) -> None:
    text = recorder.data / "text.txt"
    job = Job(
        source="/data/m",
        name="m",
        config=None,
        quantization="4bit",
        target=Target(platform=platforms.parse_target("cpu")),
        calibration="/data/text.txt",
    )
    step = calibration.step(job, ("quantize", *calibration.arguments(job)), "/data/q", gpu=False)

    def keys(words: str, when: int) -> list[str]:
        text.write_text(words)
        os.utime(text, (when, when))
        return pipeline(recorder, origin=Origin(path="/data/m", identity="hub:org/m")).keys([step])

    assert keys("one", 1) == keys("one", 2)  # a copy on another machine has another time
    assert keys("one", 1) != keys("two", 1)


def test_one_data_directory_by_two_paths_has_one_lock(recorder: Recorder, tmp_path: Path) -> None:
    run(recorder)
    before = sorted((recorder.data / ".locks").iterdir())
    (tmp_path / "link").symlink_to(recorder.data)
    Pipeline(data=tmp_path / "link", runner=recorder, console=Console(out=io.StringIO(), err=io.StringIO())).run(
        STEPS, Selection(force=("convert",))
    )
    assert sorted((recorder.data / ".locks").iterdir()) == before
