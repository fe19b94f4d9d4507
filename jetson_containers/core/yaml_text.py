"""YAML that others wrote, where nothing but values is wanted: settings, specifications of devices.

Recipes have a reader of their own, with lines and bounds: `recipes.yaml_lines`.
"""

from __future__ import annotations

from typing import Any


def parse(text: str) -> Any:
    """Read one document. Raises ValueError, with the lines of PyYAML's message, for what it cannot read.

    Besides its own errors PyYAML passes on those of a tag that does not fit its value (`!!int x`, `!!timestamp x`) and
    of nesting that is too deep.
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError) as error:
        raise ValueError(str(error) or type(error).__name__) from error
