"""The folder of logs of a run, without secrets."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jetson_containers.builder.logs import RunLogs
from jetson_containers.core.errors import (
    BuildError,
)
from jetson_containers.core.secrets import Redactor
from tests.unit.builder.helpers import Site, chain

if TYPE_CHECKING:
    from pathlib import Path


def test_log_folder_that_cannot_be_written_is_an_error_with_a_remedy(site: Site) -> None:
    """A log folder that cannot be written is an error with a remedy."""
    (site.directory / "logs").write_text("a file")
    with pytest.raises(Exception, match="cannot write logs") as caught:
        site.run(chain("a"))
    assert "--log-dir" in caught.value.hint  # type: ignore[attr-defined]


def test_log_folder_holds_plan_stages_tests_and_summary(site: Site) -> None:
    """The log folder holds a file for each stage and test."""
    report = site.run(chain("a:1", "b", tests=("test.sh x", "test.py")))
    files = sorted(str(path.relative_to(report.log_dir)) for path in report.log_dir.rglob("*.log"))
    assert files == [
        "build/01_a_1.log",
        "build/02_b.log",
        "test/01-1_a_1_test.sh.log",
        "test/01-2_a_1_test.py.log",
        "test/02-1_b_test.sh.log",
        "test/02-2_b_test.py.log",
    ]
    assert site.logs() == report.log_dir.resolve()
    assert (report.log_dir / "build" / "02_b.log").read_text().startswith("$ docker build --tag")
    data = json.loads((report.log_dir / "build.json").read_text())
    assert (data["schema"], data["ok"], data["images"]) == (1, True, ["b:1-x86_64-cpu"])
    assert [entry["package"] for entry in data["stages"]] == ["a:1", "b"]


def test_log_folders_of_runs_of_one_second_differ(tmp_path: Path) -> None:
    """Runs of one second do not share a folder."""
    made = {RunLogs(tmp_path, Redactor()).directory for _ in range(5)}
    assert len(made) == 5


def test_secrets_reach_no_log_and_no_message(site: Site) -> None:
    """No secret reaches a log or a message."""
    site.engine.fail(":a$", "login with hunter2-token", "proxy http://bob:pw@proxy:3128/ refused")
    with pytest.raises(BuildError) as caught:
        site.run(
            chain("a"), env={"HF_TOKEN": "hunter2-token", "SHORT_KEY": "ab"}, build_args={"NEXUS_PASS": "letmein99"}
        )
    shown = "\n".join([caught.value.message, *caught.value.details, site.said()])
    logged = "\n".join(path.read_text() for path in site.logs().rglob("*") if path.is_file())
    for text in (shown, logged):
        assert "hunter2" not in text
        assert "bob:pw" not in text
        assert "letmein99" not in text
    assert "login with ***" in shown
    assert "http://***@proxy:3128/" in shown
