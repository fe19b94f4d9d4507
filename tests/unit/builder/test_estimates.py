"""Estimates of runs: from records of honest builds, else from recipes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder import decide, estimates
from jetson_containers.builder.graph import merge
from jetson_containers.builder.state import BuildState
from jetson_containers.builder.types import BuildOptions
from jetson_containers.core.errors import BuildError, DiskSpaceError, InterruptedByUserError, JetsonError
from jetson_containers.plan.stage import StageKind
from tests.unit.builder.helpers import GIB, Site, chain, plan, stage

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.plan.estimate import Estimate
    from jetson_containers.plan.plan import BuildPlan


def estimate(directory: Path, *plans: BuildPlan, here: tuple[str, ...] = (), **changes: Any) -> Estimate | None:
    """What is estimated when the stages `here` are there already."""
    graph = merge(plans)
    options = BuildOptions(**{"log_dir": directory, "cores": 4, "memory": 8 * GIB, **changes})
    build = frozenset(key for key, node in graph.nodes.items() if node.stage.package not in here)
    decision = decide.BuildDecision(
        build=build, pull=frozenset(), test=frozenset(), used=frozenset(), together={}, tested=frozenset()
    )
    return estimates.of(graph, decision, options)


def record(directory: Path, **times: tuple[float, int]) -> None:
    state = BuildState(directory / ".state")
    for name, (seconds, size) in times.items():
        state.record(name, seconds=seconds, size=size)


def test_estimate_counts_what_is_built(tmp_path: Path) -> None:
    """A chain takes the sum of its stages; what is there already takes nothing."""
    record(tmp_path, a=(10, 1000), b=(20, 500), c=(40, 1))
    found = estimate(tmp_path, chain("a", "b", "c"), here=("a",))
    assert found is not None
    assert (found.stages, found.seconds, found.bytes, found.untimed, found.unsized) == (2, 60, 501, (), ())
    assert estimate(tmp_path, chain("a", "b"), here=("a", "b")) is None


def test_estimate_is_the_longest_chain_or_the_work_of_all_slots(tmp_path: Path) -> None:
    """Siblings run side by side, as many as there are slots."""
    low = stage("low")
    sides = [stage(name, parent=low) for name in ("a", "b", "c")]
    wide = plan(low, *sides, stage("top", *sides[1:], parent=sides[0]))
    record(tmp_path, low=(10, 0), a=(30, 0), b=(30, 0), c=(30, 0), top=(5, 0))
    assert [estimate(tmp_path, wide, jobs=jobs).seconds for jobs in (1, 2, 3)] == [105, 52.5, 45]


def test_estimate_names_what_was_never_built(tmp_path: Path) -> None:
    """A stage without a record adds nothing, and is named."""
    record(tmp_path, a=(10, 1000))
    found = estimate(tmp_path, chain("a", "b"))
    assert found is not None
    assert (found.seconds, found.untimed, found.unsized) == (10, ("b",), ("b",))


def test_estimate_takes_what_a_recipe_states(tmp_path: Path) -> None:
    """The time stated is that of the compile part, the size that of the layer; a record goes before both."""
    stated = {"package": {"build_time": 700, "build_size": 5000, "artifacts": ("Dockerfile.build",)}}
    compiled = stage("lib", kind=StageKind.ARTIFACT, key="made", **stated)
    one = plan(compiled, stage("lib", compiled, **stated))
    found = estimate(tmp_path, one)
    assert found is not None
    assert (found.seconds, found.bytes, found.stated) == (700, 5000, 1)
    assert (found.untimed, found.unsized) == (("lib",), ("lib (artifact)",))
    BuildState(tmp_path / ".state").record("lib (artifact)", seconds=60, size=1)
    again = estimate(tmp_path, one)
    assert again is not None
    assert (again.seconds, again.stated) == (60, 0)


def test_run_says_what_it_is_expected_to_take(site: Site) -> None:
    """The second build of a package knows what the first took."""
    site.run(chain("a"))
    assert "time    not known" in site.said()
    site.run(chain("a"), rebuild=True)
    assert "time    about" in site.said()


@pytest.mark.parametrize("error", [BuildError("broken"), InterruptedByUserError("stopped")])
def test_run_records_no_time_of_a_build_that_did_not_end(site: Site, error: JetsonError) -> None:
    """A build that fails or is interrupted is no measure of anything."""

    def fails(_request: Any) -> None:
        raise error

    site.engine.on_build = fails
    with pytest.raises(JetsonError):
        site.run(chain("a"))
    assert BuildState(site.directory / "logs" / ".state").seconds() == {}


def test_run_checks_the_disk_with_what_recipes_state(site: Site) -> None:
    """A stage that was never built counts with what its recipe says it adds."""
    site.engine.capabilities_ = replace(site.engine.capabilities, data_root=str(site.directory))
    small, large = ({"package": {"build_size": size}} for size in (1000, 1 << 60))
    site.run(plan(stage("a", **small)), disk_per_stage=1 << 60)
    with pytest.raises(DiskSpaceError):
        site.run(plan(stage("b", **large)), disk_per_stage=1)
