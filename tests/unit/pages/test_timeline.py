"""Where the bars of a timeline stand."""

from __future__ import annotations

from jetson_containers.pages import timeline
from tests.unit.pages.made_builds import build, span, stage, usual


def test_timeline_has_a_row_for_each_stage_that_ran() -> None:
    """Stages stand in the order in which they began; those that were there have no row."""
    made = timeline.of(usual())
    assert [row.name for row in made.rows] == ["python", "torch:2.8 (artifact)", "torch:2.8", "vllm"]
    assert [(bar.left, bar.width) for bar in made.rows[0].bars] == [(0.0, 20.0), (20.0, 5.0)]
    assert [row.failed for row in made.rows] == [False, False, False, True]
    assert made.rows[2].spent == "build 10.0s, test 10.0s"


def test_timeline_marks_the_critical_path_and_links_its_stages() -> None:
    """The longest chain is marked, a link leads from each of its stages to the next, and both sums are said."""
    made = timeline.of(usual())
    assert [row.name for row in made.rows if row.critical] == ["torch:2.8 (artifact)", "torch:2.8", "vllm"]
    assert [link.x for link in made.links] == [60.0, 80.0]
    assert all(link.top < link.bottom < made.height for link in made.links)
    assert (made.waited, made.worked) == (95.0, 120.0)


def test_timeline_of_a_build_in_which_nothing_ran_is_empty() -> None:
    """Without a time there is no row, no link and no division by nothing."""
    made = timeline.of(build(stage(1, "a"), seconds=0.0))
    assert (made.rows, made.links, made.waited) == ((), (), 0)


def test_bars_stay_within_the_drawing() -> None:
    """A bar of no time is visible, and none is wider than what is left."""
    made = timeline.of(
        build(stage(1, "a", spans=(span("build", 99.99, 0.0),)), stage(2, "b", spans=(span("build", 50, 900),)))
    )
    for row in made.rows:
        for bar in row.bars:
            assert bar.width > 0
            assert bar.left + bar.width <= 100 + timeline.THINNEST


def test_axis_has_few_round_times() -> None:
    """An axis of any length has a few ticks at round times, the first at its beginning."""
    for end in (0.001, 0.7, 3.0, 59.0, 61.0, 3600.0, 90000.0, 10_000_000.0):
        ticks = timeline.ticks(end)
        assert 1 <= len(ticks) <= timeline.MOST_TICKS + 1
        assert ticks[0] == (0.0, "0 s")
    assert timeline.ticks(7200.0)[1] == (25.0, "30 min")
    assert timeline.ticks(40_000.0)[1][1] == "2:00 h"
