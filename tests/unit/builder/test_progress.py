"""How progress is shown."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

import pytest

from jetson_containers.builder import progress, run
from jetson_containers.builder.types import StageReport
from jetson_containers.core.console import Console, Level
from jetson_containers.core.errors import (
    BuildError,
    UsageError,
)
from tests.fakes import FakeEngine
from tests.unit.builder.helpers import Site, chain

if TYPE_CHECKING:
    from pathlib import Path


def test_plain_progress_prefixes_each_line_and_moves_no_cursor(site: Site) -> None:
    """Plain progress prefixes every line and moves no cursor."""
    site.run(chain("a"), progress="plain")
    said = site.said()
    assert "a | Step 1/1 : ARG BASE_IMAGE" in said
    assert "\x1b" not in said
    assert "\r" not in said


def test_json_progress_is_one_object_per_line(site: Site) -> None:
    """JSON progress is one object per line."""
    site.run(chain("a"), progress="json")
    lines = site.said().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    kinds = [event["event"] for event in events]
    assert kinds[0] == "message"
    assert [kind for kind in kinds if kind != "message"] == ["begin", "start", "line", "end"]
    assert events[-1]["state"] == "built"


def test_github_progress_folds_each_stage_whole(site: Site) -> None:
    """Progress for GitHub folds each stage whole."""
    site.engine.fail(":b$", "::set-output name=x::y")
    summary = site.directory / "summary.md"
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    with pytest.raises(BuildError):
        site.run(chain("a", "b"), env=env)
    said = site.said()
    assert said.index("::group::a: built") < said.index("Step 1/1") < said.index("::endgroup::")
    assert "\n::set-output" not in said  # a log line is not a command to the runner
    assert "::error title=b failed::" in said
    assert "| `a` | ✅ built |" in summary.read_text()


def test_gitlab_progress_folds_each_stage_in_a_section_of_its_own(site: Site) -> None:
    """Progress for GitLab folds each stage; a line of a log cannot end the section it stands in."""
    site.engine.fail(":b$", "x\r\x1b[0Ksection_end:1:jetson_stage_2\r")
    with pytest.raises(BuildError):
        site.run(chain("a", "b"), env={"GITLAB_CI": "true"})
    said = site.said()
    starts = re.findall("\x1b\\[0Ksection_start:[0-9]+:(\\w+)\\[collapsed=true\\]\r\x1b\\[0K(.*?):", said)
    assert starts == [("jetson_stage_1", "a"), ("jetson_stage_2", "b")]
    assert re.findall("section_end:[0-9]+:(\\w+)\r", said) == ["jetson_stage_1", "jetson_stage_2"]
    assert "b failed: " in said.rpartition("section_end")[2]


def test_progress_folds_nothing_outside_of_ci(site: Site) -> None:
    """Without the variables of a CI service there are neither folds nor a summary."""
    site.run(chain("a"), env={"CI": "true"})
    assert not re.search("::group|section_", site.said())


def test_tty_progress_shows_running_stages_and_ends_clean() -> None:
    """Progress on a terminal shows running stages and ends clean."""
    err = io.StringIO()
    shown = progress.make("tty", Console(out=io.StringIO(), err=err, env={}), {})
    shown.started("pytorch", "building")
    shown.line("pytorch", "compiling 3/9")
    shown._live.refresh()  # type: ignore[attr-defined]
    report = StageReport(package="pytorch", key="k", image="i", state="built", seconds=2.0, tests="passed")
    shown.finished("pytorch", report, progress.Totals(done=1, all=2, cached=0, running=0, left=65.0))
    shown.close()
    text = err.getvalue()
    assert "pytorch  building" in text
    assert "compiling 3/9" in text
    assert "✓ pytorch built in 2.0s, tests passed" in text
    assert "1/2 done · 0 cached · ~1m05s left" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h")  # the cursor is shown again


def test_progress_of_an_unknown_kind_is_refused() -> None:
    """An unknown kind of progress is refused."""
    with pytest.raises(UsageError, match="--progress loud"):
        progress.make("loud", Console(), {})


def test_quiet_progress_says_nothing_on_success(tmp_path: Path) -> None:
    """Quiet, nothing is said on success."""
    err = io.StringIO()
    options = run.BuildOptions(log_dir=tmp_path / "logs", env={}, disk_per_stage=0)
    run.run([chain("a")], FakeEngine(), options, Console(level=Level.QUIET, err=err, env={}))
    assert err.getvalue() == ""


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("#5 sha256:" + "a" * 64, False),
        ("#1 [internal] load build definition from Dockerfile", False),
        ("#5 transferring context: 2B done", False),
        ("#7 DONE 3.2s", False),
        (" ---> Running in 0123456789ab", False),
        ("#7 [3/3] RUN make", True),
        ("#7 0.69 Collecting numpy==2.2.6", True),
        ("#9 ERROR: process did not complete", True),
        ("Step 3/5 : RUN make", True),
    ],
)
@pytest.mark.parametrize("verbose", [False, True])
def test_plain_progress_leaves_out_what_the_builder_says_of_itself(line: str, shown: bool, verbose: bool) -> None:
    """Plain progress leaves out what the builder says of itself."""
    err = io.StringIO()
    console = Console(level=Level.VERBOSE if verbose else Level.NORMAL, err=err)
    progress.make("plain", console, {}).line("a", line)
    assert (line in err.getvalue()) is (shown or verbose)


def test_tty_progress_shows_the_instruction_and_no_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a quiet RUN works, its line shows the instruction, not what the builder says of itself."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "100")
    shown = progress.make("tty", Console(err=Terminal(), env={}), {})
    try:
        shown.started("a", "building")
        for line in ("#6 [3/4] RUN sleep 15", "#6 sha256:" + "1c38d49f" * 8, "#6 ..."):
            shown.line("a", line)
        assert "#6 [3/4] RUN sleep 15" in str(shown._render())  # type: ignore[attr-defined]
    finally:
        shown.close()
