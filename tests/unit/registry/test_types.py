"""Names of repositories: what is read as docker reads it, and which hosts may be asked without encryption."""

from __future__ import annotations

import pytest

from jetson_containers.core.errors import UsageError
from jetson_containers.registry.listing import human_age
from jetson_containers.registry.types import ImageRepository, plain_http_allowed, split_host


@pytest.mark.parametrize(
    ("text", "host", "path", "reference"),
    [
        ("docker.io/dustynv", "docker.io", "dustynv", "dustynv"),
        ("dustynv/mlc", "docker.io", "dustynv/mlc", "dustynv/mlc"),
        ("index.docker.io/dustynv", "docker.io", "dustynv", "dustynv"),
        ("reg:5000/ns/mlc", "reg:5000", "ns/mlc", "reg:5000/ns/mlc"),
        ("localhost/mlc", "localhost", "mlc", "localhost/mlc"),
        ("[::1]:5000/ns", "[::1]:5000", "ns", "[::1]:5000/ns"),
        ("https://ghcr.io/nvidia-ai-iot/", "ghcr.io", "nvidia-ai-iot", "ghcr.io/nvidia-ai-iot"),
    ],
)
def test_repository_parse_splits_as_docker_does(text: str, host: str, path: str, reference: str) -> None:
    """A repository is read as docker reads it."""
    repository = ImageRepository.parse(text)
    assert (repository.host, repository.path, repository.reference) == (host, path, reference)


@pytest.mark.parametrize(
    "text", ["", "reg:5000/", "ns/mlc:1.0", "ns//mlc", "ns/mlc@sha256:0", "Bad Name", "NS/mlc", "a\\nb/c", "-x.y/z"]
)
def test_repository_parse_refuses_other_text(text: str) -> None:
    """Text that does not name a repository is an error."""
    with pytest.raises(UsageError, match="invalid repository"):
        ImageRepository.parse(text)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:5000", True), ("127.3.2.1", True), ("localhost:5000", True), ("[::1]:5000", True),
        ("listed.lan:5000", True), ("listed.lan", False), ("whole.lan:1", True), ("10.0.0.1:5000", False),
        ("docker.io", False), ("127.0.0.1.evil.com", False), ("localhost.evil.com", False),
    ],
)  # fmt: skip
def test_plain_http_is_allowed_to_loopback_and_listed_registries(host: str, allowed: bool) -> None:
    """Plain HTTP goes only to loopback and to listed registries."""
    assert plain_http_allowed(host, ["listed.lan:5000", "whole.lan"]) is allowed


def test_split_host_needs_a_dot_a_port_or_localhost() -> None:
    """A first part is a host if it has a dot or a port, or is localhost."""
    assert split_host("ns/mlc") == ("docker.io", "ns/mlc")
    assert split_host("mlc") == ("docker.io", "mlc")
    assert split_host("my.reg/mlc") == ("my.reg", "mlc")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "less than a minute"), (60, "1 minute"), (7300, "2 hours"), (86400, "1 day"), (48729600, "564 days")],
)
def test_human_age_of_seconds(seconds: float, text: str) -> None:
    """Ages are said in words."""
    assert human_age(seconds) == text
