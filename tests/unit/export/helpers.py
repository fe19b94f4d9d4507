"""What the tests of pipelines share: the schemas, which check-jsonschema holds (SchemaStore's and GitLab's own)."""

from __future__ import annotations

import importlib.resources
import json
from typing import Any

import jsonschema
import yaml

from jetson_containers.export.jobs import CiOptions

OPTIONS = CiOptions(stage_registry="registry.example:5000/team")


def check(name: str, text: str) -> Any:
    """Read a pipeline and judge it by the schema of its format."""
    folder = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    data = yaml.safe_load(text)
    jsonschema.validators.validator_for(schema)(schema).validate(json.loads(json.dumps(data)))
    return data
