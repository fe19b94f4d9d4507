"""JSON of others: everything that cannot be used is a ValueError."""

from __future__ import annotations

import pytest

from jetson_containers.core import json_text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "nope",
        "[" * 100_000,
        '{"a":' * 50_000,
        "NaN",
        '{"a": Infinity}',
        "-Infinity",
        "1" * 21,
        "9" * 5000,
        "-1e999",
        b"\xff\xfe\xfa",
        '"\ud800'.encode("utf-8", "surrogatepass"),
    ],
)
def test_parse_raises_value_error_alone(text: str | bytes) -> None:
    """Broken, deep, not a number, longer than 64 bits, beyond doubles, not UTF-8."""
    with pytest.raises(ValueError):  # noqa: PT011 - one kind for all is what is tested
        json_text.parse(text)


@pytest.mark.parametrize(
    ("text", "value"), [("9223372036854775807", 2**63 - 1), ("-5", -5), ("1e300", 1e300), ('["a"]', ["a"])]
)
def test_parse_reads_what_is_json(text: str, value: object) -> None:
    """Numbers of 64 bits and doubles among it."""
    assert json_text.parse(text) == value


def test_parse_reads_pythons_constants_as_nothing_where_asked() -> None:
    """`config.json` of hybrid models holds Infinity."""
    assert json_text.parse('{"time_step_limit": [0.0, Infinity], "x": NaN}', python=True) == {
        "time_step_limit": [0.0, None],
        "x": None,
    }
