"""What the page of a build says."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from jetson_containers.builder.records import Record, write
from jetson_containers.builder.state import BuildState
from jetson_containers.cli import main
from jetson_containers.pages import build_report
from tests.unit.pages.made_builds import build, request, stage, usual

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def words(record: Record, before: Record | None = None) -> str:
    """The text of the page without its tags and styles."""
    page = re.sub(r"(?s)<(style|script).*?</\1>", "", build_report.text(record, before, {}))
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_report_says_what_became_of_the_build() -> None:
    """Outcome, time, caches, tests, image and command stand at the top."""
    said = words(usual())
    assert "Build of vllm failed" in said
    assert "1 of 5 stages were there already" in said
    assert "1 of 4 commands from the engine's layer cache" in said
    assert "1 of 2 tests passed" in said
    assert "Image vllm:r36.4 , 1.0 GB" in said
    assert "./build.sh vllm" in said


def test_report_shows_failures_first() -> None:
    """Cause, remedy and lines of what failed come before the timeline; its text is escaped."""
    page = build_report.text(usual(), None, {})
    assert page.index("What failed") < page.index(">Timeline<")
    assert "run <code>pip list</code>" in page
    assert "ERROR: &lt;b&gt;none&lt;/b&gt;" in page
    assert "<b>none" not in page


def test_report_shows_sizes_by_package_and_layer() -> None:
    """What each package adds is listed, the largest first, and its layers are below it; artifacts are in no image."""
    said = words(usual())
    assert said.index("torch:2.8 900.0 MB") < said.index("python 50.0 MB")
    assert "Layers of torch:2.8 (1)" in said
    assert "900.0 MB RUN pip install torch" in said


def test_report_says_what_changed() -> None:
    """Beside the record before, the page says what is different; without one it says that there is none."""
    assert "There is no earlier record" in words(usual())
    assert "Nothing that counts" in words(usual(), usual())
    assert "The build before was ok , this one is failed" in words(usual(), replace(usual(), result="ok"))


def test_report_fetches_nothing() -> None:
    """No address of another place stands in what a browser loads, and a policy forbids it."""
    page = build_report.text(usual(), None, {})
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)
    assert "url(" not in page


def test_report_of_a_build_with_nothing_to_do_has_no_timeline() -> None:
    """Where nothing ran, neither a timeline nor logs are shown."""
    page = build_report.text(build(stage(1, "a")), None, {})
    assert "<svg" not in page
    assert "Nothing ran" in page


def test_report_of_many_requests_names_the_first() -> None:
    """A build of everything has a short title."""
    made = build(requests=tuple(request(f"p{number}") for number in range(9)))
    assert build_report.asked(made) == "p0, p1, p2, p3, p4 and 4 more"


def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *records: Record) -> None:
    monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for each in records:
        write(BuildState(tmp_path / "cache" / "build"), each, str)


def test_report_command_writes_the_page_of_the_last_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a name the last build is meant; the path is printed."""
    stored(tmp_path, monkeypatch, replace(usual(), id="20260101_000000", result="ok"), usual())
    assert main.main(["report"]) == 0
    assert capsys.readouterr().out == "report-20260102_030405.html\n"
    assert "this one is <code>failed</code>" in (tmp_path / "report-20260102_030405.html").read_text()


def test_report_command_takes_a_name_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A build is found by its name; a record of another machine is read from its file."""
    stored(tmp_path, monkeypatch, replace(usual(), id="20260101_000000"), usual())
    assert main.main(["report", "20260101_000000", "-o", "a/b.html"]) == 0
    assert "20260101_000000" in (tmp_path / "a" / "b.html").read_text()
    file = tmp_path / "cache" / "build" / "records" / "20260101_000000.json"
    assert main.main(["report", str(file), "--json"]) == 0
    assert '"result": "failed"' in capsys.readouterr().out
    assert main.main(["report", "20250101_000000"]) == 3
    assert "there is no record of a build `20250101_000000`" in capsys.readouterr().err


def test_report_command_lists_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list names each build with its result and request, and passes over a damaged record with a warning."""
    stored(tmp_path, monkeypatch, usual())
    (tmp_path / "cache" / "build" / "records" / "20260103_000000.json").write_text("{")
    assert main.main(["report", "--list"]) == 0
    captured = capsys.readouterr()
    assert "20260102_030405" in captured.out
    assert "vllm" in captured.out
    assert "is not a record of a build" in captured.err


def test_report_command_says_where_it_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A place that cannot be written is an error with a remedy."""
    stored(tmp_path, monkeypatch, usual())
    (tmp_path / "file").write_text("")
    assert main.main(["report", "-o", "file/x.html"]) == 4
    assert "name another with -o FILE" in capsys.readouterr().err
