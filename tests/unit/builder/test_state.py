"""What a run remembers for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder.state import BuildState
from tests.unit.builder.helpers import BUILDKIT_CACHED, BUILDKIT_HALF, BUILDKIT_NEW, LEGACY_CACHED, Site, chain

if TYPE_CHECKING:
    from pathlib import Path


def test_state_keeps_times_for_the_next_run(site: Site) -> None:
    """Recorded times are used by the next run."""
    site.run(chain("a", "b"))
    assert set(BuildState(site.directory / "logs" / ".state").seconds()) == {"a", "b"}


@pytest.mark.parametrize("content", ["", "not json", "[]", '{"seconds": 3}', '{"seconds": {"a": "x"}}'])
def test_state_that_is_damaged_is_ignored(site: Site, content: str) -> None:
    """A damaged record is ignored."""
    file = BuildState(site.directory / "logs" / ".state").file
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert site.run(chain("a")).ok


@pytest.mark.parametrize(
    ("output", "recorded", "cause"),
    [
        (BUILDKIT_NEW, True, ""),
        (BUILDKIT_HALF, False, ""),
        (BUILDKIT_CACHED, False, "every command came from the engine's layer cache"),
        (LEGACY_CACHED, False, "every command came from the engine's layer cache"),
    ],
)
def test_state_keeps_no_time_of_a_build_from_the_cache(site: Site, output: str, recorded: bool, cause: str) -> None:
    """The time of a build from the cache is not recorded as an estimate."""
    site.run(chain("a"))
    state = BuildState(site.directory / "logs" / ".state")
    state.record("a", seconds=1800.0)
    right = site.engine.build

    def build(request: Any, on_line: Any) -> None:
        for line in output.splitlines():
            on_line(line)
        right(request, on_line)

    site.engine.build = build  # type: ignore[method-assign]
    report = site.run(chain("a"), rebuild=True)
    assert (state.seconds()["a"] != 1800.0) == recorded
    assert [(entry.state, entry.cause) for entry in report.stages] == [("built", cause)]
    assert "a" in state.sizes()


def test_state_tells_a_lock_that_is_held(tmp_path: Path) -> None:
    """A lock is held while somebody has it, and not after that; asking makes no file."""
    state = BuildState(tmp_path)
    assert not state.is_held("a")
    assert list(tmp_path.iterdir()) == []
    with state.lock("a"):
        assert state.is_held("a")
    assert not state.is_held("a")
