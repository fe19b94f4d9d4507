"""The summary at the end of a run."""

from __future__ import annotations

from tests.unit.builder.helpers import Site, chain


def test_summary_shows_each_stage_the_image_and_the_logs(site: Site) -> None:
    """The end shows every stage, the image and the logs."""
    report = site.run(chain("a", "b", tests=("t.sh",)))
    said = site.said()
    table = [line.split() for line in said.splitlines()]
    assert ["stage", "state", "time", "size", "tests"] in table
    assert any(row[:2] == ["a", "built"] and row[-1] == "passed" for row in table)
    assert "✓ b:1-x86_64-cpu (1.0 kB)" in said
    assert f"logs: {report.log_dir}" in said
