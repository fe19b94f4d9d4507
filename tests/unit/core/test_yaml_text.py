"""YAML of others: everything that cannot be read is a ValueError."""

from __future__ import annotations

import pytest

from jetson_containers.core import yaml_text


@pytest.mark.long
@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "!!int x",
        "a: !!timestamp x",
        "!!float x",
        "- *nowhere",
        "!!python/object:os.system x",
        "[" * 5000,
        "? [a]",
    ],
)
def test_parse_raises_value_error_alone(text: str) -> None:
    """Broken, with tags that do not fit or are not for data, deep, keys that cannot be."""
    with pytest.raises(ValueError):  # noqa: PT011 - one kind for all is what is tested
        yaml_text.parse(text)


def test_parse_reads_values() -> None:
    """A mapping, and nothing for an empty text."""
    assert yaml_text.parse("a: [1, true, x]") == {"a": [1, True, "x"]}
    assert yaml_text.parse("") is None
