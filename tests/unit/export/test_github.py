"""Workflows of GitHub, judged by the schema of their format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.export import github
from jetson_containers.export.jobs import CiJob, TargetPlans, jobs
from tests.unit.builder.helpers import chain, plan, stage
from tests.unit.export.helpers import OPTIONS, check
from tests.unit.export.test_jobs import diamond

if TYPE_CHECKING:
    from jetson_containers.plan.plan import BuildPlan


def wide(count: int) -> list[CiJob]:
    """Many images on one stage: each is a job of level 1."""
    below = stage("low")
    plans: list[BuildPlan] = [plan(below, stage(f"leaf-{number}", parent=below)) for number in range(count)]
    return jobs([TargetPlans(target="", plans=tuple(plans))])


def test_workflow_has_a_matrix_for_each_level() -> None:
    """Levels wait for those below, images for the level of their top."""
    data = check("github-workflows", github.workflow(jobs([diamond()]), OPTIONS))
    assert {name: job.get("needs") for name, job in data["jobs"].items()} == {
        "level-0": None,
        "level-1": ["level-0"],
        "level-2": ["level-1"],
        "images": ["level-2"],
    }
    rows = data["jobs"]["level-1"]["strategy"]["matrix"]["include"]
    assert [row["command"].split()[-2] for row in rows] == ["'--stage=lib#3'", "'--stage=python#4'"]
    assert {row["runner"] for row in rows} == {"ubuntu-24.04"}
    assert data["env"] == {"REGISTRY_HOST": "registry.example:5000"}


def test_workflow_has_at_most_256_rows_in_a_matrix() -> None:
    """A larger level is split, and every row is there once."""
    data = check("github-workflows", github.workflow(wide(300), OPTIONS))
    rows = {name: len(job["strategy"]["matrix"]["include"]) for name, job in data["jobs"].items()}
    assert rows == {"level-0": 1, "level-1-1": 256, "level-1-2": 44, "images-1": 256, "images-2": 44}
    assert data["jobs"]["images-1"]["needs"] == ["level-1-1"]
    assert data["jobs"]["images-2"]["needs"] == ["level-1-2"]


def test_workflow_refuses_what_would_be_an_expression() -> None:
    """A name that GitHub would evaluate is refused."""
    made = jobs([TargetPlans(target="${{ secrets.X }}", plans=(chain("a"),))])
    with pytest.raises(UsageError, match="expression"):
        github.workflow(made, OPTIONS)


@pytest.mark.parametrize(
    ("namespace", "host"), [("ghcr.io/me", "ghcr.io"), ("localhost/x", "localhost"), ("me/stages", ""), ("me", "")]
)
def test_registry_host_of_docker_hub_is_empty(namespace: str, host: str) -> None:
    """`docker login` without a host is Docker Hub."""
    assert github.registry_host(namespace) == host
