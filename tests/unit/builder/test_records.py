"""The record that each build leaves."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder import records
from jetson_containers.builder.state import BuildState
from jetson_containers.core.errors import BuildError, ConfigError, InterruptedByUserError, NothingMatchedError
from jetson_containers.engine.interface import HistoryEntry, RunResult
from jetson_containers.plan.stage import StageKind
from tests.unit.builder.helpers import Site, chain, plan, stage

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes import RunCall

EMPTY = records.Record(
    id="20260101_000000",
    tool="1",
    command="",
    began="2026-01-01T00:00:00Z",
    seconds=1.0,
    result="ok",
    requests=(),
    stages=(),
)


def left_by(site: Site) -> list[records.Record]:
    """The records of a site, newest first."""
    return [records.read(path) for path in records.listed(site.directory / "logs" / ".state" / "records")]


def of_stage(number: int, *needs: str, seconds: float, key: str = "") -> records.RecordedStage:
    span = records.Span(action="build", began=0.0, seconds=seconds)
    return records.RecordedStage(
        number=number, package=f"p{number}", kind="layer", key=key or f"k{number}", image="i", needs=needs,
        state="built", seconds=seconds, spans=(span,),
    )  # fmt: skip


def test_record_of_a_build_says_what_became_of_each_stage(site: Site) -> None:
    """A record holds request, stages with times, tests and what they need, images, and where the logs are."""
    site.engine.answer = lambda call: RunResult(exit_code=77 if "test.py" in call.command[-1] else 0, output="no GPU")
    report = site.run(chain("a:1", "b", tests=("test.sh x", "test.py")))
    (made,) = left_by(site)
    assert (made.result, made.id, made.log_dir) == ("ok", report.log_dir.name, str(report.log_dir))
    (request,) = made.requests
    assert (request.packages, request.final) == (("b",), "b:1-x86_64-cpu")
    assert request.platform["arch"] == "x86_64"
    a, b = made.stages
    assert (a.package, a.number, a.state, a.tests, a.needs, b.needs) == ("a:1", 1, "built", "passed", (), (a.key,))
    assert [(each.command, each.status, each.reason) for each in a.results] == [
        ("test.sh x", "passed", ""),
        ("test.py", "skipped", "no GPU"),
    ]
    assert [span.action for span in b.spans] == ["build", "test"]
    assert a.spans[0].began <= b.spans[0].began
    assert request.stages == (a.key, b.key)
    assert list(made.images) == ["b:1-x86_64-cpu"]
    assert made.environment["engine"].startswith("20.10.24 ")


def test_record_of_a_build_with_nothing_to_do_says_so(site: Site) -> None:
    """A build that had nothing to do leaves a record too, with the tests that the images remember."""
    site.run(chain("a", tests=("test.sh",)))
    site.run(chain("a", tests=("test.sh",)))
    newest, first = left_by(site)
    assert (newest.log_dir, newest.result, newest.stages[0].state) == ("", "ok", "cached")
    assert [test.status for test in newest.stages[0].results] == ["passed"]
    assert newest.identity == first.identity
    place = site.directory / "logs" / ".state" / "records"
    assert records.before(place, newest) == first
    assert records.before(place, first) is None


def test_record_of_a_failure_holds_the_cause_and_the_lines(site: Site) -> None:
    """Of a build that failed the record holds the cause, the remedy and the relevant lines of the log."""
    site.engine.fail(":b$", "E: Unable to locate package nonsense")
    with pytest.raises(BuildError):
        site.run(chain("a", "b", "c"))
    (made,) = left_by(site)
    (failure,) = made.failures
    assert (made.result, failure.package) == ("failed", "b")
    assert "E: Unable to locate package nonsense" in failure.lines
    assert failure.log.endswith("build/02_b.log")
    assert failure.remedy
    assert [stage.state for stage in made.stages] == ["built", "failed", "skipped"]


def test_record_of_a_build_that_was_stopped_says_so(site: Site) -> None:
    """Ctrl-C leaves a record as well."""

    def interrupt(_call: RunCall) -> RunResult:
        raise InterruptedByUserError("interrupted")

    site.engine.answer = interrupt
    with pytest.raises(InterruptedByUserError):
        site.run(chain("a", tests=("test.sh",)))
    (made,) = left_by(site)
    assert (made.result, made.images) == ("stopped", {})


def test_record_holds_no_secret(site: Site) -> None:
    """Neither the command nor an argument, a failure or an instruction brings a secret into the record."""
    site.engine.histories["jetson-containers/stage:a"] = (HistoryEntry(command="RUN |1 KEY=letmein99 make", size=7),)
    site.engine.fail(":b$", "login with hunter2-token")
    with pytest.raises(BuildError):
        site.run(
            chain("a", "b"), env={"HF_TOKEN": "hunter2-token"}, build_args={"NEXUS_PASS": "letmein99"},
            command="./build.sh --build-args NEXUS_PASS:letmein99 b",
        )  # fmt: skip
    (path,) = records.listed(site.directory / "logs" / ".state" / "records")
    text = path.read_text()
    assert "hunter2" not in text
    assert "letmein99" not in text
    assert '"RUN |1 KEY=*** make"' in text
    assert path.stat().st_mode & 0o777 == 0o600


def test_layers_of_a_stage_are_those_that_it_adds(site: Site) -> None:
    """The instructions of a stage are those its image has beyond the one below it, without those that add nothing."""
    base = (HistoryEntry(command="ADD rootfs", size=1000),)
    one = (HistoryEntry(command="ENV X=1", size=0), HistoryEntry(command="RUN one", size=20), *base)
    two = (HistoryEntry(command="COPY two", size=30), *one)
    names = ("base:1", "jetson-containers/stage:a", "jetson-containers/stage:b")
    site.engine.histories.update(zip(names, (base, one, two), strict=True))
    site.run(chain("a", "b"))
    (made,) = left_by(site)
    layers = {each.package: [(layer.command, layer.size) for layer in each.layers] for each in made.stages}
    assert layers == {"a": [("RUN one", 20)], "b": [("COPY two", 30)]}


def test_record_that_cannot_be_written_is_no_failure_of_the_build(site: Site) -> None:
    """A build whose record cannot be written says so, and is complete."""
    (site.directory / "logs" / ".state").mkdir(parents=True)
    (site.directory / "logs" / ".state" / "records").write_text("a file")
    assert site.run(chain("a")).ok
    assert "leaves no record" in site.said()


def test_records_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest records stay, by number and by size; the one that was just written always does."""
    monkeypatch.setattr(records, "MOST", 3)
    state = BuildState(tmp_path)
    for day in range(1, 6):
        records.write(state, replace(EMPTY, id=f"202601{day:02}_000000"), str)
    again = records.write(state, replace(EMPTY, id="20260105_000000"), str)
    names = [path.stem for path in records.listed(records.folder(tmp_path))]
    assert names == ["20260105_000000_2", "20260105_000000", "20260104_000000"]
    assert records.read(again).id == "20260105_000000_2"
    monkeypatch.setattr(records, "ROOM", 10)
    records.write(state, replace(EMPTY, id="20260106_000000"), str)
    assert [path.stem for path in records.listed(records.folder(tmp_path))] == ["20260106_000000"]


def test_record_is_found_by_its_name(tmp_path: Path) -> None:
    """A record is found by its name or as the newest; of a name that is none the newest are said."""
    place = records.folder(tmp_path)
    with pytest.raises(NothingMatchedError, match="no build has left a record"):
        records.find(place, records.NEWEST)
    for name in ("20260101_000000", "20260102_000000"):
        records.write(BuildState(tmp_path), replace(EMPTY, id=name), str)
    assert records.find(place, records.NEWEST).stem == "20260102_000000"
    assert records.find(place, "20260101_000000").stem == "20260101_000000"
    with pytest.raises(NothingMatchedError) as caught:
        records.find(place, "../x")
    assert caught.value.hint == "the newest are `20260102_000000`, `20260101_000000`"


def test_record_of_the_future_is_not_the_newest_for_ever(tmp_path: Path) -> None:
    """What was built while the clock was wrong counts as the oldest, and goes first."""
    for name in ("20260101_000000", "20991231_000000", "20260102_000000"):
        records.write(BuildState(tmp_path), replace(EMPTY, id=name), str)
    names = [path.stem for path in records.listed(records.folder(tmp_path))]
    assert names == ["20260102_000000", "20260101_000000", "20991231_000000"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "is not a record of this format"),
        ({"seconds": "long"}, "no number where one is expected"),
        ({"seconds": -1}, "no number where one is expected"),
        ({"stages": [{"package": 1}]}, "no text where one is expected"),
        ({"images": {"a": -1}}, "no whole number"),
        ({"requests": "b"}, "no list where one is expected"),
    ],
    ids=["schema", "seconds", "negative", "stage", "size", "requests"],
)
def test_damaged_record_is_an_error(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """A record of another form is one error that names the file."""
    path = tmp_path / "r.json"
    path.write_text(json.dumps({**EMPTY.to_json(), **changes}))
    with pytest.raises(ConfigError, match=message) as caught:
        records.read(path)
    assert str(path) in caught.value.message


def test_file_that_is_no_record_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that is no JSON, a file that is too large, and none at all are errors."""
    path = tmp_path / "r.json"
    with pytest.raises(ConfigError, match="cannot be read"):
        records.read(path)
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        records.read(path)
    monkeypatch.setattr(records, "LARGEST", 10)
    with pytest.raises(ConfigError, match="too large"):
        records.read(path)


def test_critical_path_is_the_chain_that_took_longest() -> None:
    """The critical path goes through what stands on each other, not through what took longest alone."""
    stages = [
        of_stage(1, seconds=5),
        of_stage(2, seconds=9),
        of_stage(3, "k1", seconds=6),
        of_stage(4, "k3", "k2", seconds=1),
        of_stage(5, "k4", "unknown", seconds=0),
    ]
    assert records.critical_path(stages) == ("k1", "k3", "k4")
    assert records.critical_path([]) == ()


def test_stage_that_changed_says_by_what(site: Site) -> None:
    """The inputs of a stage name its Dockerfile and arguments, without the names of other images."""
    changed = stage("a", build_args={"BASE_IMAGE": "base:1", "MAX_JOBS": "3", "FLAVOR": "plain"})
    site.run(plan(changed))
    (made,) = left_by(site)
    assert made.stages[0].inputs["argument FLAVOR"] == "plain"
    assert made.stages[0].inputs["Dockerfile"].startswith("sha256:")
    assert "argument BASE_IMAGE" not in made.stages[0].inputs


def test_record_is_named_by_the_time_of_the_build() -> None:
    """A record without a log folder has a name of the same form."""
    assert time.strptime(records.stamp(), "%Y%m%d_%H%M%S")


def test_artifact_adds_all_that_it_holds(site: Site) -> None:
    """An artifact stands on nothing, whatever it was compiled on: what it adds is its size."""
    made = stage("a", kind=StageKind.ARTIFACT, key="a-art")
    site.run(plan(made, stage("a", made)))
    (found,) = left_by(site)
    artifact = next(each for each in found.stages if each.kind == "artifact")
    assert artifact.size
    assert artifact.added == artifact.size
