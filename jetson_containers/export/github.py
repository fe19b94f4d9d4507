"""A workflow of GitHub Actions: one matrix for each level of the graph, with a row for each job.

A matrix holds at most 256 rows, so a larger level becomes several. A matrix waits for those that hold something its own
rows need, and for no other. What a row builds is found by key in the stage registry when its turn comes: it then ends
at once.
"""

from __future__ import annotations

import shlex
from itertools import groupby
from typing import TYPE_CHECKING, Any

import yaml

from jetson_containers.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jetson_containers.export.jobs import CiJob, CiOptions

MOST_ROWS = 256  # of a matrix, by GitHub
MOST_MINUTES = 360  # that a job may take on GitHub's own machines

_LOG_IN = """[ -n "$REGISTRY_USER" ] || exit 0
printf '%s' "$REGISTRY_PASSWORD" | docker login --username "$REGISTRY_USER" --password-stdin "$REGISTRY_HOST"
"""


def workflow(jobs: Sequence[CiJob], options: CiOptions) -> str:
    """Write the workflow. Raises UsageError where no runner is known for a job, or a name would be an expression."""
    parts = _parts(jobs)
    part_of = {job.name: name for name, rows in parts.items() for job in rows}
    data: dict[str, Any] = {
        "name": "images",
        "on": {"workflow_dispatch": None},
        "permissions": {"contents": "read", "packages": "write"},
        "env": {"REGISTRY_HOST": registry_host(options.stage_registry)},
        "jobs": {name: _job(name, rows, part_of, options) for name, rows in parts.items()},
    }
    return HEADER.format("the secrets REGISTRY_USER and REGISTRY_PASSWORD") + dump(data)


HEADER = """# Made by `jetson-containers export`; after a change of packages, make it again.
# The registry of stages is written to: {} log in there.
"""


def dump(data: Any) -> str:
    """YAML in the order of the data; texts of several lines as blocks."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, width=120, default_flow_style=False)


def registry_host(namespace: str) -> str:
    """The host that one logs in to; Docker Hub has none in its names."""
    host, slash, _ = namespace.partition("/")
    return host if slash and (":" in host or "." in host or host == "localhost") else ""


def _parts(jobs: Sequence[CiJob]) -> dict[str, list[CiJob]]:
    """The rows of each matrix by its name."""
    parts: dict[str, list[CiJob]] = {}
    for level, members in groupby(jobs, key=lambda job: (job.level, bool(job.stage))):
        rows = list(members)
        name = f"level-{level[0]}" if level[1] else "images"
        pieces = [rows[start : start + MOST_ROWS] for start in range(0, len(rows), MOST_ROWS)]
        for number, piece in enumerate(pieces, 1):
            parts[name if len(pieces) == 1 else f"{name}-{number}"] = piece
    return parts


def _job(name: str, rows: Sequence[CiJob], part_of: dict[str, str], options: CiOptions) -> dict[str, Any]:
    needs = sorted({part_of[need] for job in rows for need in job.needs} - {name}, key=list(part_of.values()).index)
    return {
        "name": "${{ matrix.name }}",
        **({"needs": needs} if needs else {}),
        "runs-on": "${{ matrix.runner }}",
        "timeout-minutes": MOST_MINUTES,
        "strategy": {"fail-fast": False, "matrix": {"include": [_row(job, options) for job in rows]}},
        "steps": [
            {"uses": "actions/checkout@v4"},
            {
                "name": "Log in to the registry of stages",
                "env": {
                    "REGISTRY_USER": "${{ secrets.REGISTRY_USER }}",
                    "REGISTRY_PASSWORD": "${{ secrets.REGISTRY_PASSWORD }}",
                },
                "run": _LOG_IN,
            },
            {"name": "Build", "run": "${{ matrix.command }}"},
        ],
    }


def _row(job: CiJob, options: CiOptions) -> dict[str, str]:
    row = {"name": job.name, "runner": options.runner(job), "command": shlex.join(options.command(job))}
    for value in row.values():
        if "${{" in value:
            raise UsageError(f"`{value}` would be an expression in a workflow", hint="rename what holds `${{`")
    return row


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and none by reference."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
