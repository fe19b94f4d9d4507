"""Docker Hub's own list of tags."""

from __future__ import annotations

from jetson_containers.registry import dockerhub
from jetson_containers.registry.types import ImageRepository, Tag
from tests.unit.fakeregistry import FakeRegistry, digest_of
from tests.unit.registry.helpers import hub_row, transport


def test_docker_hub_lists_date_size_and_architecture() -> None:
    """Docker Hub tells date, size and architecture of a tag."""
    with FakeRegistry(page=2) as registry:
        registry.hub["dustynv/mlc"] = [hub_row("1", "arm64"), hub_row("2", "amd64", "arm64", "unknown"), hub_row("3")]
        answer = dockerhub.list_tags(transport(), ImageRepository("docker.io", "dustynv/mlc"), base=registry.url)
    assert answer is not None
    assert answer[0] == (
        Tag(tag="1", pushed="2025-05-02", bytes=50, arch="arm64", digest=digest_of(b"1")),
        Tag(tag="2", pushed="2025-05-02", bytes=50, arch="amd64", digest=digest_of(b"2")),
        Tag(tag="2", pushed="2025-05-02", bytes=50, arch="arm64", digest=digest_of(b"2")),
        Tag(tag="3", pushed="2025-05-02", bytes=99, arch=None, digest=digest_of(b"3")),
    )


def test_docker_hub_says_when_nothing_changed() -> None:
    """Docker Hub answers that nothing changed."""
    with FakeRegistry() as registry:
        registry.hub["dustynv/mlc"] = [hub_row("1", "arm64")]
        repository = ImageRepository("docker.io", "dustynv/mlc")
        first = dockerhub.list_tags(transport(), repository, base=registry.url)
        assert first is not None
        assert dockerhub.list_tags(transport(), repository, etag=first[1], base=registry.url) is None
        registry.hub["dustynv/mlc"].append(hub_row("2", "arm64"))
        again = dockerhub.list_tags(transport(), repository, etag=first[1], base=registry.url)
        assert again is not None
        assert len(again[0]) == 2


def test_docker_hub_without_the_repository_lists_no_tags(registry: FakeRegistry) -> None:
    """Docker Hub lists no tags for an absent repository."""
    assert dockerhub.list_tags(transport(), ImageRepository("docker.io", "a/b"), base=registry.url) == ((), "")
