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
from jetson_containers.llm.pipeline import manifest
from jetson_containers.llm.pipeline.steps import Pipeline
from jetson_containers.llm.pipeline.types import CommandStep, DownloadStep, LinkStep, Origin, Selection
from jetson_containers.llm.runtimes import calibration
from jetson_containers.llm.runtimes.interface import Job, Target
from jetson_containers.platforms import detect

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


def test_pipeline_second_run_does_nothing(recorder: Recorder) -> None:
    """A second run does nothing."""
    assert run(recorder) == ["done", "done"]
    assert run(recorder) == ["cached", "cached"]
    assert recorder.commands == ["convert", "quantize"]


def test_pipeline_makes_an_intermediate_output_only_when_needed(recorder: Recorder) -> None:
    """An intermediate output is made only when something is made from it."""
    run(recorder)
    (recorder.data / "m" / "a.gguf").unlink()
    assert run(recorder) == ["unneeded", "cached"]
    (recorder.data / "m" / "b.gguf").unlink()
    assert run(recorder) == ["done", "done"]


def test_pipeline_failed_step_leaves_nothing_and_resumes(recorder: Recorder) -> None:
    """A failed step leaves nothing and is the one that resumes."""
    recorder.fail = "quantize"
    with pytest.raises(StepError) as caught:
        run(recorder)
    assert "it broke" in caught.value.details
    assert sorted(path.name for path in (recorder.data / "m").iterdir()) == ["a.gguf", "a.gguf.manifest.json"]
    recorder.fail = None
    assert run(recorder) == ["cached", "done"]


def test_pipeline_failure_names_the_likely_cause(recorder: Recorder) -> None:
    """A failure names the likely cause."""
    recorder.fail, recorder.said = "convert", "std::bad_alloc"
    with pytest.raises(StepError, match="memory ran out"):
        run(recorder)
    recorder.said = "OSError: [Errno 28] No space left on device"
    with pytest.raises(StepError, match="the disk that holds the data directory is full") as caught:
        run(recorder)
    assert "llm rm" in (caught.value.hint or "")


def test_pipeline_killed_step_does_not_count_as_done(recorder: Recorder) -> None:
    """A killed step does not count as done."""
    recorder.crash = "convert"
    with pytest.raises(KeyboardInterrupt):
        run(recorder)
    assert list((recorder.data / "m").iterdir()) == []
    recorder.crash = None
    assert run(recorder) == ["done", "done"]


def test_pipeline_ignores_what_a_power_cut_left_behind(recorder: Recorder) -> None:
    """What a power cut left behind does not count as output."""
    (recorder.data / "m").mkdir()
    (recorder.data / "m" / "a.gguf.part").write_text("half")
    (recorder.data / "m" / "a.gguf").write_text("without a manifest")
    assert run(recorder) == ["done", "done"]
    assert not (recorder.data / "m" / "a.gguf.part").exists()
    assert (recorder.data / "m" / "a.gguf").read_text() == "made by convert"


@pytest.mark.parametrize("harm", ["truncate", "remove", "manifest", "garbage"])
def test_pipeline_makes_a_damaged_output_again(recorder: Recorder, harm: str) -> None:
    """An output that was damaged is made again."""
    run(recorder)
    output = recorder.data / "m" / "b.gguf"
    if harm == "truncate":
        output.write_text("x")
    elif harm == "remove":
        output.unlink()
    elif harm == "manifest":
        manifest.path_for(output).unlink()
    else:
        manifest.path_for(output).write_text("{")
    assert run(recorder) == ["cached", "done"]


def test_manifest_finds_changed_bytes_by_reading(recorder: Recorder) -> None:
    """Other bytes of the same size are found by reading."""
    run(recorder)
    output = recorder.data / "m" / "b.gguf"
    output.write_text("M" + output.read_text()[1:])
    written = manifest.read(manifest.path_for(output))
    assert written is not None
    assert written.is_complete()
    assert written.corrupt() == ["b.gguf"]


@pytest.mark.parametrize(
    "changed",
    [
        replace(QUANTIZE, argv=("quantize", "--pure", "{output}")),
        replace(QUANTIZE, options={"sm": "87"}),
    ],
)
def test_pipeline_does_a_changed_command_or_option_again(recorder: Recorder, changed: CommandStep) -> None:
    """A changed command or option is done again."""
    run(recorder)
    assert run(recorder, (CONVERT, changed)) == ["cached", "done"]


def test_pipeline_keys_change_with_every_step_before(recorder: Recorder) -> None:
    """A change of a step changes every key after it."""
    first = pipeline(recorder).keys(STEPS)
    second = pipeline(recorder).keys((replace(CONVERT, argv=("convert", "--outtype", "f32", "{output}")), QUANTIZE))
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_pipeline_keys_do_not_depend_on_the_path_of_the_source(recorder: Recorder) -> None:
    """Keys do not depend on where the source is."""

    def keys(path: str) -> list[str]:
        step = CommandStep(name="convert", argv=("convert", path, "{output}"), inputs=(path,), output="/data/m/a.gguf")
        return pipeline(recorder, origin=Origin(path=path, identity="hub:org/model")).keys([step])

    assert keys("/data/models/x/snapshots/1") == keys("/data/models/x/snapshots/2")


def test_pipeline_uses_an_artifact_where_its_source_never_was(recorder: Recorder, tmp_path: Path) -> None:
    """An artifact is used where its source never was."""
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


@pytest.mark.parametrize(("made_from_it", "served"), [(False, False), (True, True)])
def test_pipeline_download_that_is_served_is_fetched(recorder: Recorder, made_from_it: bool, served: bool) -> None:
    """Weights that nothing is made from, or that are loaded beside what is made from them, are fetched."""
    source = "/data/models/checkpoint"
    compiled = replace(CONVERT, argv=("compile", source, "{output}"), inputs=(source,), intermediate=False)
    download = DownloadStep(
        argv=("download", "org/model"), output=source, is_done=lambda: False, fetch=lambda: None, served=served
    )
    steps = (download, compiled) if made_from_it else (download,)
    made = pipeline(recorder, origin=Origin(path=source, identity="hub:org/model"))
    made.run(steps[1:])  # what is compiled is there already
    assert made.run(steps)[0].state == "done"


def test_pipeline_last_step_is_done_though_its_kind_is_intermediate(recorder: Recorder) -> None:
    """A checkpoint that is served as it is made has nothing made from it, and is made all the same."""
    (result,) = pipeline(recorder).run((replace(CONVERT, intermediate=True),))
    assert result.state == "done"


def test_pipeline_force_repeats_the_step_and_what_is_made_from_it(recorder: Recorder) -> None:
    """--force repeats the step and what is made from it."""
    run(recorder)
    assert run(recorder, force=("convert",)) == ["done", "done"]
    assert run(recorder, force=("quantize",)) == ["cached", "done"]


def test_pipeline_from_repeats_all_after_it_and_until_leaves_them(recorder: Recorder) -> None:
    """--from repeats all after it, and --until leaves them."""
    run(recorder)
    assert run(recorder, start="convert") == ["done", "done"]
    recorder.commands.clear()
    assert run(recorder, start="convert", until="convert") == ["done"]
    assert recorder.commands == ["convert"]


def test_pipeline_until_makes_an_intermediate_output_that_is_asked_for(recorder: Recorder) -> None:
    """--until makes an intermediate output that is asked for."""
    assert run(recorder, until="convert") == ["done"]


@pytest.mark.parametrize("selection", [{"force": ("bake",)}, {"start": "bake"}, {"until": "bake"}])
def test_pipeline_unknown_step_lists_the_known_ones(recorder: Recorder, selection: dict[str, object]) -> None:
    """The name of an unknown step lists the known ones."""
    with pytest.raises(UsageError, match="unknown step `bake`") as caught:
        run(recorder, **selection)
    assert "convert, quantize" in (caught.value.hint or "")


def test_pipeline_steps_fill_one_directory(recorder: Recorder) -> None:
    """Several steps fill one directory."""
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


def test_pipeline_takes_the_result_from_the_folder_a_tool_names(recorder: Recorder) -> None:
    """A tool that names its own folder is followed."""
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


def test_pipeline_links_are_relative_and_replaced(recorder: Recorder) -> None:
    """Links are made relative and replaced."""
    for target in ("one", "two"):
        (recorder.data / "hub" / target).mkdir(parents=True)
        assert run(recorder, linked(f"/data/hub/{target}")) == ["done", "done"]
        assert run(recorder, linked(f"/data/hub/{target}")) == ["cached", "cached"]
        assert (recorder.data / "dist" / "models" / "m").readlink().as_posix() == f"../../hub/{target}"


def test_pipeline_makes_no_link_for_what_is_finished(recorder: Recorder) -> None:
    """No link is made for what is finished."""
    (recorder.data / "hub").mkdir()
    run(recorder, linked("/data/hub"))
    (recorder.data / "hub").rmdir()
    (recorder.data / "dist" / "models" / "m").unlink()
    assert run(recorder, linked("/data/hub")) == ["unneeded", "cached"]


def test_pipeline_link_does_not_replace_a_directory_of_the_user(recorder: Recorder) -> None:
    """A directory of the user's is not replaced by a link."""
    (recorder.data / "hub").mkdir()
    (recorder.data / "dist" / "m").mkdir(parents=True)
    with pytest.raises(UsageError, match="but a link to"):
        run(recorder, linked("/data/hub", "/data/dist/m"))


def test_manifest_says_how_the_output_was_made(recorder: Recorder) -> None:
    """The manifest says how the output was made."""
    facts = {"model": "org/m", "revision": "abc", "versions": {"llama_cpp": "1"}}
    pipeline(recorder, facts=facts).run(STEPS)
    written = json.loads(manifest.path_for(recorder.data / "m" / "b.gguf").read_text())
    assert written["command"] == ["quantize", "/data/m/a.gguf", "{output}"]
    assert written["files"][""]["size"] == len("made by quantize")
    assert len(written["files"][""]["sha256"]) == 64
    assert (written["model"], written["revision"], written["versions"]) == ("org/m", "abc", {"llama_cpp": "1"})


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..", ".", "a//b", "a\x00b", "n" * 300, "\\\\host\\x"]
)
def test_manifest_that_names_files_elsewhere_is_ignored(tmp_path: Path, name: str) -> None:
    """A manifest that names files elsewhere is ignored."""
    path = tmp_path / "m.manifest.json"
    path.write_text(json.dumps({"step": "x", "key": "k", "files": {name: {"size": 1, "sha256": ""}}}))
    assert manifest.read(path) is None
    assert list(manifest.below(tmp_path, broken=True)) == []


@pytest.mark.parametrize("file", ["...manifest.json", "...x.manifest.json"])
def test_manifest_of_the_directory_above_is_ignored(tmp_path: Path, file: str) -> None:
    """A repository of the hub may hold a file of that name; its output would be the other files of the cache."""
    path = tmp_path / "snapshot" / file
    path.parent.mkdir()
    written = {"step": "x", "merge": "x" in file, "key": "k", "files": {"precious": {"size": 1, "sha256": ""}}}
    path.write_text(json.dumps(written))
    (tmp_path / "precious").write_text("1")
    assert manifest.read(path) is None


@pytest.mark.parametrize("size", ["Infinity", "1" + "0" * 400 + ".0", "NaN", '"x"', "[[]]"])
def test_manifest_with_an_impossible_size_is_ignored(tmp_path: Path, size: str) -> None:
    """A manifest with an impossible size is ignored."""
    path = tmp_path / "m.manifest.json"
    path.write_text('{"step": "x", "key": "k", "files": {"": {"size": SIZE, "sha256": ""}}}'.replace("SIZE", size))
    assert manifest.read(path) is None


def test_pipeline_runs_of_the_same_step_take_turns(recorder: Recorder) -> None:
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


def test_pipeline_keys_ignore_a_new_commit_of_the_same_model(recorder: Recorder) -> None:
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


def test_pipeline_does_not_repeat_what_another_run_made_since_the_plan(recorder: Recorder) -> None:
    """Planned while another run is busy, and come to the step when that run has gone on already."""
    first = pipeline(recorder)
    planned = first.plan((CONVERT,), Selection(until="convert"))
    run(recorder, (CONVERT,), until="convert")
    assert [first._run(each).state for each in planned] == ["cached"]
    forced = first.plan((CONVERT,), Selection(force=("convert",)))
    assert [first._run(each).state for each in forced] == ["done"]


def test_pipeline_keeps_the_previous_output_until_the_new_one_is_read(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The previous output stays until the new one is read."""
    run(recorder)

    def stop(_path: Path) -> manifest.ManifestEntry:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "measure", stop)
    with pytest.raises(KeyboardInterrupt):
        run(recorder, force=("quantize",))
    assert run(recorder) == ["cached", "cached"]


def test_pipeline_removes_old_shards_from_a_shared_directory(recorder: Recorder) -> None:
    """A shard of the previous output does not stay in a shared directory."""
    weights = CommandStep(
        name="convert", argv=("weights", "-o", "{output}"), inputs=(), output="/data/d/x-MLC", merge=True
    )
    run(recorder, (weights,))
    place = recorder.data / "d" / "x-MLC"
    (place / "mine").write_text("of somebody else")
    record = manifest.path_for(place, "convert")
    known = json.loads(record.read_text())
    (place / "shard_9").write_text("old")
    known["files"]["shard_9"] = {"size": 3, "sha256": ""}
    record.write_text(json.dumps(known))
    assert run(recorder, (weights,), force=("convert",)) == ["done"]
    assert sorted(path.name for path in place.iterdir()) == ["convert.json", "mine"]


def test_pipeline_warns_when_another_model_of_the_same_name_is_replaced(recorder: Recorder) -> None:
    """Replacing another organization's model of the same name is a warning."""
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


def test_pipeline_output_of_another_user_is_a_clear_error(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What belongs to another user is a clear error, not a bug."""

    def refuse(step: CommandStep, argv: Sequence[str], *, show: bool) -> tuple[int, str]:
        raise PermissionError(errno.EACCES, "Permission denied", "/data/m")

    monkeypatch.setattr(recorder, "run", refuse)
    with pytest.raises(NotReadyError, match="cannot write /data/m: Permission denied") as caught:
        run(recorder)
    assert "chown" in (caught.value.hint or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_pipeline_output_of_root_belongs_to_the_owner_of_the_data(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What root makes belongs to the owner of the data."""
    monkeypatch.setenv("JETSON_CONTAINERS_OWNER", "12345:12346")
    weights = CommandStep(
        name="convert", argv=("weights", "-o", "{output}"), inputs=(), output="/data/d/x-MLC", merge=True
    )
    run(recorder, (*STEPS, weights))
    strangers = [path for path in recorder.data.rglob("*") if path.stat().st_uid != 12345]
    assert strangers == []


def test_pipeline_step_without_output_is_not_a_failure_with_status_0(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that leaves nothing is not called a failure with status 0."""
    monkeypatch.setattr(recorder, "run", lambda *_given, **_show: (0, ""))
    with pytest.raises(StepError, match="step `convert` succeeded without any output"):
        run(recorder)


def test_pipeline_keys_change_with_the_calibration_text(recorder: Recorder) -> None:
    """A calibration text that changed is another input."""
    text = recorder.data / "text.txt"
    job = Job(
        source="/data/m",
        name="m",
        config=None,
        quantization="4bit",
        target=Target(platform=detect.parse_target("cpu")),
        calibration="/data/text.txt",
    )
    step = calibration.step(job, ("quantize", *calibration.arguments(job)), "/data/q")

    def keys(words: str, when: int) -> list[str]:
        text.write_text(words)
        os.utime(text, (when, when))
        return pipeline(recorder, origin=Origin(path="/data/m", identity="hub:org/m")).keys([step])

    assert keys("one", 1) == keys("one", 2)  # a copy on another machine has another time
    assert keys("one", 1) != keys("two", 1)


def test_pipeline_has_one_lock_for_two_paths_of_one_data_directory(recorder: Recorder, tmp_path: Path) -> None:
    """One data directory by two paths has one lock."""
    run(recorder)
    before = sorted((recorder.data / ".locks").iterdir())
    (tmp_path / "link").symlink_to(recorder.data)
    Pipeline(data=tmp_path / "link", runner=recorder, console=Console(out=io.StringIO(), err=io.StringIO())).run(
        STEPS, Selection(force=("convert",))
    )
    assert sorted((recorder.data / ".locks").iterdir()) == before
