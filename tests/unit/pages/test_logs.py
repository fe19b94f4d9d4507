"""What a report takes out of logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.core.secrets import Redactor
from jetson_containers.pages import logs
from tests.unit.pages.made_builds import build, span, stage, usual

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

BUILDKIT = """$ docker build
#5 [1/3] RUN apt-get update
#5 DONE 12.4s
#6 [builder 2/3] RUN make
#6 3.1 #5 DONE 99.0s
#6 DONE 340.0s
#7 [internal] load build context
#7 DONE 500.0s
#8 [3/3] COPY a b
#8 CACHED
"""


def folder(place: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = place / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name + ".log").write_text(text)
    return place


def test_logs_of_failed_stages_come_first_with_the_lines_that_matter(tmp_path: Path) -> None:
    """A failed stage's log comes first, with its relevant lines; others follow in build order."""
    folder(tmp_path, build__01_python="fine\n", build__04_vllm="$ docker\nfine\nERROR: broken\n")
    (tmp_path / "build" / "notes.log").write_text("not one of ours")
    (tmp_path / "build" / "09_link.log").symlink_to("/etc/passwd")
    found = logs.collect(build(*usual().stages, log_dir=str(tmp_path)), str)
    assert [(each.name, each.failed) for each in found] == [("build/04_vllm.log", True), ("build/01_python.log", False)]
    assert "ERROR: broken" in found[0].relevant
    assert found[1].relevant == ()


def test_logs_are_bounded_and_hold_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long log the beginning and the end are kept; all of them have a limit; secrets are taken out."""
    monkeypatch.setattr(logs, "HEAD", 21)
    monkeypatch.setattr(logs, "TAIL", 30)
    monkeypatch.setattr(logs, "ROOM", 100)
    long = "begins hunter2-token\n" + "x" * 1000 + "\nends\n"
    folder(tmp_path, build__01_python=long, build__02_b="short\n", build__03_c=long)
    found = logs.collect(build(log_dir=str(tmp_path)), Redactor({"HF_TOKEN": "hunter2-token"}))
    assert [each.name for each in found] == ["build/01_python.log", "build/02_b.log"]
    assert found[0].text.startswith("begins ***\n\n...\n")
    assert found[0].text.endswith("ends")
    assert found[0].left_out == len(long) - 51


def test_logs_that_are_gone_are_none(tmp_path: Path) -> None:
    """Without a folder there are no logs."""
    assert logs.collect(build(log_dir=str(tmp_path / "gone")), str) == []
    assert logs.collect(build(), str) == []


def test_slowest_commands_are_those_of_buildkit(tmp_path: Path) -> None:
    """Commands are sorted by their time; what a command prints, preparations and cached commands do not count."""
    folder(tmp_path, build__01_a=BUILDKIT, test__01_a="#5 [1/3] RUN x\n#5 DONE 9.0s\n")
    made = build(stage(1, "a", spans=(span("build", 0, 1),)), log_dir=str(tmp_path))
    found = logs.slow_commands(made, logs.collect(made, str))
    assert [(each.stage, each.command, each.seconds) for each in found] == [
        ("a", "RUN make", 340.0),
        ("a", "RUN apt-get update", 12.4),
    ]


def test_logs_in_a_folder_that_cannot_be_are_none() -> None:
    """A record of another machine may name a folder that no file system has."""
    for name in ("x" * 5000, "a\0b", "../" * 2000):
        assert logs.collect(build(log_dir=name), str) == []
