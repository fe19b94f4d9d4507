"""Estimates in words: what is not known is said."""

from __future__ import annotations

from jetson_containers.plan.estimate import Estimate


def test_estimate_says_what_earlier_builds_took() -> None:
    """With all stages known, the amounts are about right."""
    assert Estimate(stages=2, seconds=90, bytes=5_000_000).lines() == [
        "time    about 1m30s for 2 stages, from earlier builds",
        "disk    about 5.0 MB for 2 stages, from earlier builds",
    ]


def test_estimate_is_a_lower_bound_where_stages_are_unknown() -> None:
    """Unknown stages are counted and named, some of them where there are many."""
    known = Estimate(stages=7, seconds=3, bytes=1, untimed=tuple("abcdef"), unsized=("a",), stated=1)
    time, disk = known.lines()
    said = "time    at least 3.0s: 6 of 7 stages were never built here (a, b, c, d and 2 more)"
    assert time == f"{said}; the time of 1 stage is what the recipe says"
    assert disk == "disk    at least 1 B: 1 of 7 stages were never built here (a)"


def test_estimate_says_that_nothing_is_known() -> None:
    """Without any record there is no number at all."""
    assert Estimate(stages=1, seconds=0, bytes=0, untimed=("a",), unsized=("a",)).lines() == [
        "time    not known: the stage was not built here before",
        "disk    not known: the stage was not built here before",
    ]
    assert Estimate(stages=2, seconds=0, bytes=0, untimed=("a", "b")).lines()[0] == (
        "time    not known: none of the 2 stages was built here before"
    )
