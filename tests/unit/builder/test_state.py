"""What a run remembers for the next."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder.state import BuildState
from jetson_containers.core import files
from tests.paths import ROOT_DIR
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


def test_state_tells_stages_that_a_run_stands_on(tmp_path: Path) -> None:
    """The stages of two runs are in use while they run; asking makes no file."""
    state = BuildState(tmp_path / "state")
    assert state.in_use() == frozenset()
    assert not (tmp_path / "state").exists()
    with state.claim(["sha256:a", "sha256:b"]):
        with BuildState(tmp_path / "state").claim(["sha256:c"]):
            assert state.in_use() == {"sha256:a", "sha256:b", "sha256:c"}
        assert state.in_use() == {"sha256:a", "sha256:b"}
    assert state.in_use() == frozenset()
    assert list((tmp_path / "state" / "runs").iterdir()) == []


def test_state_forgets_what_a_killed_run_stood_on(tmp_path: Path) -> None:
    """The claim of a run that was killed keeps nothing, and goes when somebody asks."""
    program = (
        "import sys, time; from pathlib import Path; from jetson_containers.builder.state import BuildState\n"
        "with BuildState(Path(sys.argv[1])).claim(['sha256:a']): print('claimed', flush=True); time.sleep(60)"
    )
    argv = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(argv, cwd=ROOT_DIR, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "claimed\n"
        assert BuildState(tmp_path).in_use() == {"sha256:a"}
        child.kill()
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert BuildState(tmp_path).in_use() == frozenset()
    assert list((tmp_path / "runs").iterdir()) == []


def test_state_claim_is_never_seen_before_it_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks between the making of a claim and its lock does not take it for one of a killed run."""
    state = BuildState(tmp_path)
    lock = files.try_lock

    def asked_meanwhile(descriptor: int) -> bool:
        with monkeypatch.context() as patch:
            patch.setattr(files, "try_lock", lock)
            assert BuildState(tmp_path).in_use() == frozenset()
        return lock(descriptor)

    monkeypatch.setattr(files, "try_lock", asked_meanwhile)
    with state.claim(["sha256:a"]):
        monkeypatch.undo()
        assert BuildState(tmp_path).in_use() == {"sha256:a"}
    assert list((tmp_path / "runs").iterdir()) == []


def test_state_that_cannot_be_written_claims_nothing(tmp_path: Path) -> None:
    """A claim is no reason to fail."""
    (tmp_path / "file").write_text("in the way")
    state = BuildState(tmp_path / "file" / "state")
    with state.claim(["sha256:a"]):
        assert state.in_use() == frozenset()


def test_state_tells_a_lock_that_is_held(tmp_path: Path) -> None:
    """A lock is held while somebody has it, and not after that; asking makes no file."""
    state = BuildState(tmp_path)
    assert not state.is_held("a")
    assert list(tmp_path.iterdir()) == []
    with state.lock("a"):
        assert state.is_held("a")
    assert not state.is_held("a")
