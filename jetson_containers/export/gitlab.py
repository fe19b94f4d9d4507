"""A pipeline of GitLab CI: a stage for each level, and in it a job for each job of ours that waits only for its own."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import UsageError
from jetson_containers.export.github import HEADER, dump, registry_host

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.export.jobs import CiJob, CiOptions

MOST_NEEDS = 50  # of a job, by GitLab

RUNNERS = {"amd64": "saas-linux-small-amd64", "arm64": "saas-linux-small-arm64"}  # tags of GitLab's own machines
_LOG_IN = (
    'if [ -n "$REGISTRY_USER" ]; then printf "%s" "$REGISTRY_PASSWORD" | '
    'docker login --username "$REGISTRY_USER" --password-stdin "$REGISTRY_HOST"; fi'
)


def pipeline(jobs: Sequence[CiJob], options: CiOptions) -> str:
    """Write the pipeline. Raises UsageError where no runner is known for a job, or one waits for too many."""
    data: dict[str, Any] = {
        "stages": list(dict.fromkeys(map(_stage, jobs))),
        "variables": {"REGISTRY_HOST": registry_host(options.stage_registry)},
        "default": {
            "image": "docker:27",
            "services": ["docker:27-dind"],
            "before_script": ["apk add --no-cache bash git python3 py3-pip", _LOG_IN],
        },
        **{job.name: _job(job, options) for job in jobs},
    }
    return HEADER.format("the variables REGISTRY_USER and REGISTRY_PASSWORD") + dump(data)


def _stage(job: CiJob) -> str:
    return f"level-{job.level}" if job.stage else "images"


def _job(job: CiJob, options: CiOptions) -> dict[str, Any]:
    if len(job.needs) > MOST_NEEDS:
        raise UsageError(f"job `{job.name}` waits for {len(job.needs)} others, and GitLab allows {MOST_NEEDS}")
    return {
        "stage": _stage(job),
        "tags": [options.runner(job)],
        "needs": list(job.needs),
        "script": [shlex.join(options.command(job))],
    }
