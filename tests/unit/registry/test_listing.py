"""Lists of tags: kept, offline, and what is used when nothing answers."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import RegistryError
from jetson_containers.registry import snapshot
from jetson_containers.registry.listing import Listings
from jetson_containers.registry.snapshot import Snapshot, shipped
from jetson_containers.registry.types import ImageRepository, Tag, TagListing, UnreachableError
from tests.unit.fakeregistry import FakeRegistry, Fault
from tests.unit.registry.helpers import client, hub_row

if TYPE_CHECKING:
    from pathlib import Path


class Today:
    """A clock on the wall, for ages."""

    def __init__(self, text: str = "2026-11-21T00:00:00+00:00") -> None:
        self.now = datetime.fromisoformat(text).timestamp()

    def __call__(self) -> float:
        return self.now


def listings(tmp_path: Path, *, offline: bool = False, today: Today | None = None, hub: str = "") -> Listings:
    return Listings(tmp_path, client, offline=offline, now=today or Today(), hub=hub)


def test_listing_is_asked_for_once_in_ten_minutes(tmp_path: Path, registry: FakeRegistry) -> None:
    """A listing is asked for once in ten minutes."""
    registry.tags["ns/mlc"] = ["1"]
    repository, today = ImageRepository(registry.host, "ns/mlc"), Today()
    first = listings(tmp_path, today=today).get(repository)
    assert (first.origin, first.tags) == ("live", (Tag(tag="1"),))
    registry.tags["ns/mlc"] = ["1", "2"]
    today.now += 599
    again = listings(tmp_path, today=today).get(repository)
    assert (again.origin, len(again.tags), again.notice) == ("cache", 1, "")
    today.now += 2
    assert len(listings(tmp_path, today=today).get(repository).tags) == 2
    assert len(registry.seen) == 2


def test_listing_of_an_unreachable_registry_is_the_kept_one_with_its_age(tmp_path: Path) -> None:
    """For an unreachable registry the kept list is used and its age is said."""
    today = Today("2026-11-01T12:00:00+00:00")
    with FakeRegistry() as registry:
        registry.tags["ns/mlc"] = ["1"]
        repository = ImageRepository(registry.host, "ns/mlc")
        listings(tmp_path, today=today).get(repository)
    today.now += 20 * 86400 + 60
    after = listings(tmp_path, today=today)
    listing = after.get(repository)
    assert listing.tags == (Tag(tag="1"),)
    assert listing.notice == f"registry {registry.host} not reachable; using the list of 2026-11-01, 20 days old"
    assert "connection refused" in after.notes[0]


def test_listing_of_an_unreachable_registry_without_a_kept_one_is_an_error(tmp_path: Path) -> None:
    """An unreachable registry without a kept list is an error."""
    with FakeRegistry() as gone:
        repository = ImageRepository(gone.host, "ns/mlc")
    with pytest.raises(UnreachableError, match="connection refused"):
        listings(tmp_path).get(repository)


def test_listing_refused_by_the_registry_is_an_error_despite_a_kept_one(tmp_path: Path, registry: FakeRegistry) -> None:
    """A refusal is an error also where an old list is kept."""
    registry.tags["ns/mlc"] = ["1"]
    repository, today = ImageRepository(registry.host, "ns/mlc"), Today()
    listings(tmp_path, today=today).get(repository)
    today.now += 700
    registry.faults = [Fault(403)]
    with pytest.raises(RegistryError, match="403"):
        listings(tmp_path, today=today).get(repository)


def test_listing_of_docker_hub_falls_back_to_the_shipped_one(tmp_path: Path) -> None:
    """Where Docker Hub is down, the shipped list is used."""
    with FakeRegistry() as gone:
        hub = gone.url
    listing = listings(tmp_path, hub=hub).get(ImageRepository("docker.io", "dustynv/mlc"))
    assert listing.origin == "snapshot"
    assert "0.20.0-r36.4.0" in {tag.tag for tag in listing.tags}
    assert listing.notice == "registry docker.io not reachable; using the list of 2025-05-06, 564 days old"


def test_listing_offline_sends_no_request(tmp_path: Path, registry: FakeRegistry) -> None:
    """Offline, no registry is asked."""
    offline = listings(tmp_path, offline=True)
    hub = offline.get(ImageRepository("docker.io", "dustynv/mlc"))
    assert len(hub.tags) == 29
    assert hub.notice == "offline; using the list of docker.io of 2025-05-06, 564 days old"
    unknown = offline.get(ImageRepository(registry.host, "ns/mlc"))
    assert unknown.tags == ()
    assert unknown.notice == f"offline: nothing is known of {registry.host}/ns/mlc"
    assert registry.seen == []


def test_listing_of_docker_hub_unchanged_costs_one_short_answer(tmp_path: Path, registry: FakeRegistry) -> None:
    """An unchanged list of Docker Hub costs one short answer."""
    registry.hub["dustynv/mlc"] = [hub_row("1", "arm64")]
    today, repository = Today(), ImageRepository("docker.io", "dustynv/mlc")
    listings(tmp_path, today=today, hub=registry.url).get(repository)
    today.now += 700
    again = listings(tmp_path, today=today, hub=registry.url).get(repository)
    assert [tag.tag for tag in again.tags] == ["1"]
    today.now += 500  # fresh again since the answer "unchanged"
    assert listings(tmp_path, today=today, hub=registry.url).get(repository).origin == "cache"
    assert len(registry.seen) == 2


def test_listings_of_several_registries_survive_one_that_is_down(tmp_path: Path, registry: FakeRegistry) -> None:
    """Several registries are asked at once, and one may be down."""
    registry.tags = {"ns/a": ["1"], "ns/b": ["2"]}
    with FakeRegistry() as gone:
        host = gone.host
    wanted = [
        ImageRepository(registry.host, "ns/a"),
        ImageRepository(host, "ns/a"),
        ImageRepository(registry.host, "ns/b"),
    ]
    first, second, third = listings(tmp_path).get_all(wanted)
    assert isinstance(first, TagListing)
    assert isinstance(second, UnreachableError)
    assert isinstance(third, TagListing)
    assert (first.tags, third.tags) == ((Tag(tag="1"),), (Tag(tag="2"),))


def test_labels_are_read_once_and_kept(tmp_path: Path, registry: FakeRegistry) -> None:
    """Labels are read once and kept."""
    labels = {"io.jetson-containers.packages": '["mlc:1"]', "maintainer": "x"}
    digest = registry.add_image("ns/mlc", "1.0", labels=labels)
    registry.add_image("ns/mlc", "2.0")
    repository = ImageRepository(registry.host, "ns/mlc")
    one = listings(tmp_path)
    full = one.described(one.get(repository), ["1.0"], "arm64")
    (row,) = [tag for tag in full.tags if tag.tag == "1.0"]
    assert row.labels == {"io.jetson-containers.packages": '["mlc:1"]'}
    assert (row.arch, row.digest, row.pushed) == ("arm64", digest, "2026-10-01")
    asked = len(registry.seen)
    two = listings(tmp_path)
    assert two.described(two.get(repository), ["1.0"], "arm64").tags == full.tags
    assert len(registry.seen) == asked


def test_labels_of_a_multi_platform_tag_are_read_for_each_target(tmp_path: Path, registry: FakeRegistry) -> None:
    """A multi-platform tag is read for each target."""
    images = {
        arch: registry.add_image("ns/x", arch, arch=arch, labels={"io.jetson-containers.key": arch})
        for arch in ("amd64", "arm64")
    }
    registry.add_index("ns/x", "1.0", images)
    repository = ImageRepository(registry.host, "ns/x")
    for arch in ("amd64", "arm64"):
        one = listings(tmp_path)
        full = one.described(one.get(repository), ["1.0"], arch)
        rows = {tag.arch: tag.labels for tag in full.tags if tag.tag == "1.0"}
        assert rows[arch] == {"io.jetson-containers.key": arch}
        assert set(rows) == {"amd64", "arm64"}


def test_labels_that_cannot_be_read_stay_unknown_with_a_note(tmp_path: Path, registry: FakeRegistry) -> None:
    """A tag that cannot be read stays unknown, with a note."""
    registry.add_image("ns/mlc", "1.0")
    registry.blobs.clear()
    one = listings(tmp_path)
    full = one.described(one.get(ImageRepository(registry.host, "ns/mlc")), ["1.0"], "arm64")
    assert full.tags == (Tag(tag="1.0"),)
    assert "ns/mlc:1.0" in one.notes[0]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 9}', '{"schema": 1, "repository": "other/x"}'])
def test_cache_that_is_damaged_is_made_again(tmp_path: Path, registry: FakeRegistry, text: str) -> None:
    """A damaged cache is made again."""
    registry.tags["ns/mlc"] = ["1"]
    repository = ImageRepository(registry.host, "ns/mlc")
    listings(tmp_path).get(repository)
    (file,) = (tmp_path / "registry").rglob("*.json")
    file.write_text(text)
    assert listings(tmp_path).get(repository).origin == "live"
    assert json.loads(file.read_text())["tags"] == [{"tag": "1"}]


def test_cache_from_the_future_is_not_trusted(tmp_path: Path, registry: FakeRegistry) -> None:
    """A listing from the future is not trusted."""
    registry.tags["ns/mlc"] = ["1"]
    repository, today = ImageRepository(registry.host, "ns/mlc"), Today()
    listings(tmp_path, today=today).get(repository)
    today.now -= 86400
    assert listings(tmp_path, today=today).get(repository).origin == "live"


def test_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, registry: FakeRegistry) -> None:
    """A cache that cannot be written costs only time."""
    (tmp_path / "registry").write_text("a file where the folder should be")
    registry.tags["ns/mlc"] = ["1"]
    one = listings(tmp_path)
    assert one.get(ImageRepository(registry.host, "ns/mlc")).tags == (Tag(tag="1"),)
    assert any("not kept" in note for note in one.notes)


def test_cache_path_stays_below_the_cache(tmp_path: Path) -> None:
    """No name of a repository leads outside the cache."""
    path = listings(tmp_path)._path(ImageRepository("..", "../../etc/passwd"))
    assert path.parent.parent == tmp_path / "registry" or path.is_relative_to(tmp_path / "registry")
    assert ".." not in path.name.split("/")


def test_shipped_listing_has_every_published_image() -> None:
    """The shipped list has every image under `dustynv`."""
    found = {at: one for at, one in shipped().listings.items() if str(at).startswith("docker.io/dustynv/")}
    tags = [tag for one in found.values() for tag in one.tags]
    assert {one.fetched for one in found.values()} == {"2025-05-06"}
    assert (len(found), len(tags)) == (132, 752)
    assert all((tag.digest or "").startswith("sha256:") and tag.bytes and tag.pushed for tag in tags)
    assert snapshot.listing(ImageRepository("docker.io", "dustynv/nothing")).tags == ()


def test_shipped_listing_has_images_of_several_registries() -> None:
    """Other registries are in it too, each with its own date; what it does not cover is not guessed."""
    nvidia = ImageRepository("ghcr.io", "nvidia-ai-iot/vllm")
    assert snapshot.has(nvidia)
    assert snapshot.listing(nvidia).fetched > "2026"
    assert {at.host for at in shipped().listings} == {"docker.io", "ghcr.io", "nvcr.io"}
    covered = {"nvidia-ai-iot/other": True, "somebody/vllm": False}
    assert {path: snapshot.covers(ImageRepository("ghcr.io", path)) for path in covered} == covered


def test_listing_refused_where_nothing_is_known_to_be_is_empty(
    tmp_path: Path, registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitHub's registry refuses what it does not have; for a repository that is known, a refusal stays one."""
    place = ImageRepository(registry.host, "vendor")
    known = place.child("vllm")
    listed = Snapshot(
        namespaces=(place,),
        listings={known: TagListing(repository=known, tags=(Tag(tag="1"),), fetched="2026-11-01", origin="snapshot")},
        fetched="2026-11-01",
    )
    monkeypatch.setattr(snapshot, "shipped", lambda: listed)
    registry.faults = [Fault(403), Fault(403), Fault(403)]
    one = listings(tmp_path)
    assert one.get(place.child("other")).tags == ()
    assert "403" in one.notes[0]
    with pytest.raises(RegistryError, match="403"):
        one.get(known)
    with pytest.raises(RegistryError, match="403"):
        one.get(ImageRepository(registry.host, "somebody/vllm"))
