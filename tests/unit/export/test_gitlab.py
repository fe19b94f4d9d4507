"""Pipelines of GitLab, judged by the schema of their format."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.export import gitlab
from jetson_containers.export.jobs import CiOptions, TargetPlans, jobs
from tests.unit.builder.helpers import plan, stage
from tests.unit.export.helpers import OPTIONS, check
from tests.unit.export.test_jobs import diamond


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
