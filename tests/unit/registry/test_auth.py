"""Challenges of registries."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from jetson_containers.registry.auth import Challenge, parse_challenge
from jetson_containers.registry.http import _retry_after


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull"',
            Challenge(
                scheme="bearer",
                realm="https://auth.docker.io/token",
                service="registry.docker.io",
                scope="repository:a/b:pull",
            ),
        ),
        ('Basic realm="Registry Realm"', Challenge(scheme="basic", realm="Registry Realm")),
        ('Basic realm="x", Bearer realm="https://r/t"', Challenge(scheme="bearer", realm="https://r/t")),
        (
            'bearer realm="https://r/t",scope="repository:a/b:pull,push"',
            Challenge(scheme="bearer", realm="https://r/t", service="", scope="repository:a/b:pull,push"),
        ),
        ("Negotiate", None),
        ("", None),
    ],
)
def test_parse_challenge_reads_www_authenticate(header: str, expected: Challenge | None) -> None:
    """The header WWW-Authenticate is read."""
    assert parse_challenge(header) == expected


@given(st.text())
@example("0\x1f")
def test_parse_challenge_and_retry_after_accept_any_text(text: str) -> None:
    """No text in a header raises an error."""
    parse_challenge(text)
    pause = _retry_after(text)
    assert pause is None or pause >= 0
