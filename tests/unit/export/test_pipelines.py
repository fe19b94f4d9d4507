"""Pipelines of GitHub and GitLab, each judged by its own schema (check-jsonschema holds SchemaStore's and GitLab's)."""

from __future__ import annotations

import importlib.resources
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from jetson_containers.core.errors import UsageError
from jetson_containers.export import github, gitlab
from jetson_containers.export.jobs import CiOptions, Job, TargetPlans, jobs
from tests.unit.builder.helpers import chain, plan, stage
from tests.unit.export.test_jobs import diamond

if TYPE_CHECKING:
    from jetson_containers.plan.plan import BuildPlan

OPTIONS = CiOptions(stage_registry="registry.example:5000/team")


def check(name: str, text: str) -> Any:
    """Read a pipeline and judge it by the schema of its format."""
    folder = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    data = yaml.safe_load(text)
    jsonschema.validators.validator_for(schema)(schema).validate(json.loads(json.dumps(data)))
    return data


def wide(count: int) -> list[Job]:
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


def test_pipeline_waits_for_exactly_what_a_job_needs() -> None:
    """Each job names its needs; one without starts at once."""
    made = jobs([diamond()])
    data = check("gitlab-ci", gitlab.pipeline(made, CiOptions(stage_registry="r.example/s", runners=gitlab.RUNNERS)))
    assert data["stages"] == ["level-0", "level-1", "level-2", "images"]
    for job in made:
        assert data[job.name]["needs"] == list(job.needs)
        assert data[job.name]["tags"] == ["saas-linux-small-amd64"]


def test_pipeline_refuses_more_needs_than_gitlab_takes() -> None:
    """GitLab allows 50 needs of a job."""
    parts = [stage(f"part-{number}") for number in range(gitlab.MOST_NEEDS + 1)]
    made = jobs([TargetPlans(target="", plans=(plan(*parts, stage("top", *parts)),))])
    with pytest.raises(UsageError, match="GitLab allows 50"):
        gitlab.pipeline(made, OPTIONS)


@pytest.mark.parametrize(
    ("namespace", "host"), [("ghcr.io/me", "ghcr.io"), ("localhost/x", "localhost"), ("me/stages", ""), ("me", "")]
)
def test_registry_host_of_docker_hub_is_empty(namespace: str, host: str) -> None:
    """`docker login` without a host is Docker Hub."""
    assert github.registry_host(namespace) == host
