"""What changed between two builds of the same request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from jetson_containers.pages import changes
from tests.unit.pages.made_builds import build, request, span, stage

if TYPE_CHECKING:
    from jetson_containers.builder.records import Record, RecordedStage


def found(before: Record, now: Record) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.what, each.reasons) for each in changes.between(before, now)]


def built(number: int, name: str, *needs: int, seconds: float = 10.0, **more: object) -> RecordedStage:
    made: RecordedStage = stage(number, name, *needs, spans=(span("build", 0, seconds),), **more)
    return made


def test_equal_builds_have_no_changes() -> None:
    """A build that only took its time a little differently has not changed."""
    before = build(built(1, "a", tests="passed", added=10))
    now = build(stage(1, "a", tests="cached", added=10), id="20260102_030406")
    assert found(before, now) == []


def test_changed_stage_says_why() -> None:
    """The reason is the file or argument that differs, and what stands above says that it follows from it."""
    before = build(
        built(1, "a", key="k1", inputs={"Dockerfile": "1", "file x.py": "1", "argument V": "1"}),
        built(2, "b", 1, key="k2"),
    )
    now = build(
        built(1, "a", key="n1", inputs={"Dockerfile": "2", "file y.py": "1", "argument V": "2"}),
        replace(built(2, "b", key="n2"), needs=("n1",)),
    )
    assert found(before, now) == [
        ("`a` changed", ("Dockerfile was edited", "x.py is gone", "V: 1 → 2", "y.py is new")),
        ("`b` changed", ("a stage that it stands on changed",)),
    ]


def test_versions_and_stages_that_come_and_go_are_said() -> None:
    """Another version is told from a package that is new or gone."""
    before = build(built(1, "torch:2.7", key="o"), built(2, "old"))
    now = build(built(1, "torch:2.8", key="n"), built(3, "new"))
    assert [what for what, _ in found(before, now)] == [
        "`torch:2.7` became `torch:2.8`",
        "`new` is new",
        "`old` is gone",
    ]


@pytest.mark.parametrize(
    ("old", "new", "reasons"),
    [
        ({"tests": "passed"}, {"tests": "failed"}, ("tests: passed → failed",)),
        ({"added": 5_000_000}, {"added": 2_000_000}, ("size: −3.0 MB",)),
        ({"added": 5_000_000}, {"added": 5_000_001}, None),
        ({"seconds": 100.0}, {"seconds": 110.0}, None),
        ({"seconds": 100.0}, {"seconds": 190.0}, ("time: 1m40s → 3m10s",)),
        ({"seconds": 100.0}, {"seconds": 1.0, "reused": 3}, None),
        ({"added": None}, {"added": 9_000_000}, None),
    ],
    ids=["tests", "smaller", "same-size", "same-time", "slower", "from-cache", "unknown"],
)
def test_effects_are_said_where_they_count(
    old: dict[str, object], new: dict[str, object], reasons: tuple[str, ...] | None
) -> None:
    """Tests, sizes and times are compared; what chance or a cache explains is left out."""
    before, now = build(replace(built(1, "a"), **old)), build(replace(built(1, "a"), **new))  # type: ignore[arg-type]
    assert found(before, now) == ([("`a`", reasons)] if reasons else [])


def test_surroundings_are_compared() -> None:
    """Result, environment, platform and base image are compared; without logs nothing is known of an environment."""
    before = build(environment={"engine": "27", "old": "1"}, log_dir="/x", requests=(request("vllm", cuda="12.4"),))
    now = build(environment={"engine": "28", "new": "2"}, log_dir="/y", result="failed", requests=(request("vllm"),))
    assert found(before, now) == [
        ("The build before was `ok`, this one is `failed`", ()),
        ("The environment changed", ("engine: 27 → 28", "old: 1 (gone)", "new: 2 (new)")),
        ("The platform changed", ("cuda: 12.4 → 12.6",)),
    ]
    assert ("The environment changed", ()) not in found(replace(before, log_dir=""), now)


def test_builds_of_different_requests_can_be_compared() -> None:
    """What one of them does not ask for is left out of the comparison of platforms."""
    before = build(built(1, "a"), requests=(request("a", cuda="12.4"), request("b", cuda="12.4")))
    now = build(built(1, "a"), requests=(request("b"), request("c")))
    assert found(before, now) == [("The platform changed", ("cuda: 12.4 → 12.6",))]
