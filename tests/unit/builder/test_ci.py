"""Folds and summaries of CI services."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.builder import ci
from jetson_containers.builder.records import RecordedFailure
from jetson_containers.builder.types import BuildReport, StageReport
from jetson_containers.core.errors import BuildError
from tests.unit.builder.helpers import chain

if TYPE_CHECKING:
    from tests.unit.builder.helpers import Site


def report(*stages: StageReport, images: tuple[str, ...] = (), ok: bool = True) -> BuildReport:
    return BuildReport(ok=ok, images=images, stages=stages, seconds=65.0, log_dir=Path("/logs"))


def stage(package: str, state: str, **more: object) -> StageReport:
    values: dict[str, object] = {"key": package, "image": f"s:{package}", "seconds": 0.0, **more}
    return StageReport(package=package, state=state, **values)  # type: ignore[arg-type]


def test_markdown_has_stages_failures_with_cause_and_remedy_and_images() -> None:
    """The summary has each stage with time, size and tests, each failure with remedy and log, and the images."""
    stages = (
        stage("cmake:pip", "cached", size=300_000_000, tests="cached"),
        stage("numpy", "built", seconds=63.0, size=305_000_000, tests="passed"),
        stage("odd|name", "failed", seconds=2.0),
    )
    failed = RecordedFailure(
        package="odd|name", cause="no <compiler>\nis here", remedy="install it", lines=("a ``` b", "x" * 900)
    )
    text = ci.markdown(
        report(*stages, images=("numpy:2-cpu",), ok=False), [failed], asked="numpy odd", sizes={"numpy:2-cpu": 5000}
    )
    lines = text.splitlines()
    assert lines[0] == "### ❌ `numpy odd`"
    assert "1 built, 1 cached, 1 failed in 1m05s" in lines
    assert "| `numpy` | ✅ built | 1m03s | 305.0 MB | passed |" in lines
    assert "| `cmake:pip` | ☑️ cached | - | 300.0 MB | cached |" in lines
    assert "| `odd\\|name` | ❌ failed | 2.0s | - | - |" in lines
    assert "no &lt;compiler> is here" in lines
    assert "What to do: install it" in lines
    assert lines.count("````") == 2  # the log has a fence of three
    assert max(map(len, lines)) <= 500
    assert "- `numpy:2-cpu` (5.0 kB)" in lines


def test_markdown_names_a_failed_test_and_a_failed_push() -> None:
    """A failed test is named with its package, and a push without one."""
    test = RecordedFailure(package="mlc", cause="exit code 1", test="test.py")
    text = ci.markdown(report(ok=False), [test, RecordedFailure(package="", cause="denied")], asked="mlc", sizes={})
    assert "#### test `test.py` of `mlc` failed" in text
    assert "#### `push` failed" in text


def test_summarize_says_why_a_build_failed_without_its_secrets(site: Site) -> None:
    """GitHub's summary of a job has the failure of the build, its log's lines, and no secret."""
    site.engine.fail(":b$", "E: Unable to locate package sqlite-secret-7712")
    file = site.directory / "summary.md"
    env = {"GITHUB_STEP_SUMMARY": str(file), "MY_TOKEN": "sqlite-secret-7712"}
    with pytest.raises(BuildError):
        site.run(chain("a", "b", "c"), env=env)
    said = file.read_text()
    assert "1 built, 1 failed, 1 skipped" in said
    assert "#### `b` failed" in said
    assert "E: Unable to locate package ***" in said
    assert "What to do: " in said
    assert "7712" not in said


def test_summarize_adds_to_what_the_job_said_before_and_says_that_nothing_was_to_do(site: Site) -> None:
    """A second build of the same job stands below the first; one with nothing to do is named too."""
    file = site.directory / "summary.md"
    file.write_text("before\n")
    env = {"GITHUB_STEP_SUMMARY": str(file)}
    site.run(chain("a"), env=env)
    site.run(chain("a"), env=env)
    said = file.read_text()
    assert said.startswith("before\n### ✅ `a`")
    assert "1 built in " in said
    assert "1 cached in " in said
    assert said.count("- `a:1-x86_64-cpu`") == 2


def test_summarize_that_cannot_write_leaves_the_build_as_it_is(site: Site) -> None:
    """A summary that cannot be written is a warning, and the build is as good as without it."""
    done = site.run(chain("a"), env={"GITHUB_STEP_SUMMARY": str(site.directory / "no/such/folder.md")})
    assert done.ok
    assert "the summary of this job cannot be written" in site.said()


def test_gitlab_section_keeps_lines_from_ending_it() -> None:
    """Carriage returns, without which GitLab sees no mark of a section, are taken out of a log's lines."""
    text = ci.GitLab(clock=lambda: 12.7).fold(
        3, "numpy: built", ["one", "\x1b[0Ksection_end:1:jetson_stage_3\r\x1b[0K"]
    )
    assert text.startswith("\x1b[0Ksection_start:12:jetson_stage_3[collapsed=true]\r\x1b[0Knumpy: built\none\n")
    assert text.count("\r") == 2
    assert text.endswith("\n\x1b[0Ksection_end:12:jetson_stage_3\r\x1b[0K")


def test_github_error_escapes_what_ends_a_command() -> None:
    """Line breaks, percent signs and, in the title, colons have forms of their own in a workflow command."""
    assert ci.GitHub().error("a:1", "50 %\nlost") == "::error title=a%3A1 failed::50 %25%0Alost"
