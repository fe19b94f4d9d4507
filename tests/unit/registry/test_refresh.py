"""The shipped list made anew: from Docker Hub, from registries that list what they have, and from the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli import main
from jetson_containers.images import labels
from jetson_containers.registry import snapshot
from jetson_containers.registry.http import Transport
from jetson_containers.registry.listing import Listings
from jetson_containers.registry.refresh import Refreshed, refresh
from jetson_containers.registry.types import ImageRepository
from tests.unit.fakeregistry import FakeRegistry, Fault
from tests.unit.registry.helpers import client, hub_row

if TYPE_CHECKING:
    from pathlib import Path


def old(*repositories: str) -> dict[str, Any]:
    rows = [{"repository": name, "tags": [{"tag": "old", "arch": "arm64"}]} for name in repositories]
    return {"schema": 1, "fetched": "2025-05-06", "namespaces": ["acme"], "repositories": rows}


def renewed(tmp_path: Path, place: ImageRepository, before: dict[str, Any], hub: str = "") -> Refreshed:
    return refresh([place], Listings(tmp_path, client, hub=hub), before, "2026-11-29")


def by_name(made: Refreshed) -> dict[str, Any]:
    return {entry["repository"]: entry for entry in made.data["repositories"]}


def serve_hub(registry: FakeRegistry, namespace: str, pulls: dict[str, int]) -> None:
    """Docker Hub's list of a namespace, in two pages."""
    rows = [{"name": name, "pull_count": count} for name, count in pulls.items()]
    path = f"/v2/namespaces/{namespace}/repositories"

    def answer(request: Any) -> None:
        second = "page=2" in request.path
        page = {"results": rows[2:] if second else rows[:2], "next": None}
        if not second and len(rows) > 2:
            page["next"] = f"https://hub.docker.com{path}?page=2"
        registry.send(request, 200, json.dumps(page).encode())

    registry.routes[path] = answer


def test_refresh_of_a_docker_hub_namespace_takes_what_is_there_now(tmp_path: Path, registry: FakeRegistry) -> None:
    """All repositories of all pages, with pulls and dates; one that is gone is dropped, other namespaces stay."""
    serve_hub(registry, "acme", {"one": 5, "two": 0, "three": 7})
    for name in ("one", "two", "three"):
        registry.hub[f"acme/{name}"] = [hub_row("1.0-r36.4.0"), hub_row("0.9-r36.3.0")]
    made = renewed(tmp_path, ImageRepository("docker.io", "acme"), old("acme/gone", "other/kept"), registry.url)
    found = by_name(made)
    assert list(found) == ["acme/one", "acme/three", "acme/two", "other/kept"]
    assert (found["acme/three"]["pulls"], found["acme/three"]["fetched"]) == (7, "2026-11-29")
    assert [tag["tag"] for tag in found["acme/one"]["tags"]] == ["0.9-r36.3.0", "1.0-r36.4.0"]
    assert all(tag["digest"] and tag["pushed"] and tag["bytes"] for tag in found["acme/one"]["tags"])
    assert (made.data["fetched"], made.failed) == ("2026-11-29", {})


def test_refresh_of_a_registry_with_a_catalog_reads_the_images(tmp_path: Path, registry: FakeRegistry) -> None:
    """A registry that lists its repositories is read whole, with architecture, digest and labels of each tag."""
    key = {labels.KEY: "sha256:1"}
    digest = registry.add_image("acme/mlc", "1.0-r36.4-cu126-22.04", labels=key, size=77)
    registry.add_image("elsewhere/mlc", "2.0")
    made = renewed(tmp_path, ImageRepository(registry.host, "acme"), old())
    (entry,) = made.data["repositories"]
    assert entry["repository"] == f"{registry.host}/acme/mlc"
    (tag,) = entry["tags"]
    assert (tag["tag"], tag["arch"], tag["digest"]) == ("1.0-r36.4-cu126-22.04", "arm64", digest)
    assert (tag["labels"], tag["pushed"]) == (key, "2026-10-01")
    assert f"{registry.host}/acme" in made.data["namespaces"]


def test_refresh_without_a_catalog_asks_for_what_is_known(tmp_path: Path, registry: FakeRegistry) -> None:
    """Where nobody tells what there is, the known repositories are asked, and nothing is said of others."""
    registry.add_image("acme/mlc", "1.0")
    registry.routes["/v2/_catalog"] = lambda request: registry.send(request, 401, b"{}")
    place = ImageRepository(registry.host, "acme")
    made = renewed(tmp_path, place, old(f"{registry.host}/acme/mlc"))
    assert [tag["tag"] for tag in by_name(made)[f"{registry.host}/acme/mlc"]["tags"]] == ["1.0"]
    assert made.data["namespaces"] == ["acme"]
    nothing = renewed(tmp_path, place, old())
    assert "does not tell which repositories" in nothing.failed[str(place)].message


def test_refresh_keeps_what_cannot_be_asked(tmp_path: Path, registry: FakeRegistry) -> None:
    """A repository that fails keeps its entry and is named; so does a whole registry."""
    for name in ("bad", "good"):
        registry.add_image(f"acme/{name}", "2.0")
    before = old(f"{registry.host}/acme/bad", f"{registry.host}/acme/good")
    registry.routes["/v2/acme/bad/tags/list"] = lambda request: registry.send(request, 403, b"{}")
    made = renewed(tmp_path, ImageRepository(registry.host, "acme"), before)
    found = by_name(made)
    assert [tag["tag"] for tag in found[f"{registry.host}/acme/bad"]["tags"]] == ["old"]
    assert [tag["tag"] for tag in found[f"{registry.host}/acme/good"]["tags"]] == ["2.0"]
    assert list(made.failed) == [f"{registry.host}/acme/bad"]
    with FakeRegistry() as gone:
        hub = gone.url
    lost = renewed(tmp_path, ImageRepository("docker.io", "acme"), old("acme/one"), hub)
    assert (list(by_name(lost)), lost.asked, list(lost.failed)) == (["acme/one"], (), ["acme"])
    assert lost.data["fetched"] == "2025-05-06"


def test_refreshed_list_reads_back_as_it_was_written(tmp_path: Path, registry: FakeRegistry) -> None:
    """What is written has the format that is read; the shipped list is written as it stands."""
    registry.add_image("acme/mlc", "1.0")
    made = renewed(tmp_path, ImageRepository(registry.host, "acme"), old("dustynv/mlc"))
    path = tmp_path / "list.json"
    path.write_text(snapshot.text(made.data), encoding="utf-8")
    read = snapshot.read(path)
    assert set(map(str, read.listings)) == {"docker.io/dustynv/mlc", f"{registry.host}/acme/mlc"}
    shipped = snapshot.SNAPSHOT.read_text(encoding="utf-8")
    assert snapshot.text(json.loads(shipped)) == shipped


@pytest.fixture
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.mark.usefixtures("_world")
def test_registry_refresh_writes_the_file(
    tmp_path: Path, registry: FakeRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command writes the list and says what it asked; a registry that fails makes the code 1."""
    registry.add_image("acme/mlc", "1.0")
    file = tmp_path / "new.json"
    argv = ["registry", "refresh", f"{registry.host}/acme", "--output", str(file)]
    assert main.main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["asked"] == [f"{registry.host}/acme/mlc"]
    assert ImageRepository(registry.host, "acme/mlc") in snapshot.read(file).listings
    registry.add_image("acme/other", "1.0")
    registry.routes["/v2/acme/other/tags/list"] = lambda request: registry.send(request, 403, b"{}")
    assert main.main(argv) == 1
    assert f"{registry.host}/acme/other stays as it was" in capsys.readouterr().err


@pytest.mark.usefixtures("_world")
def test_registry_refresh_without_an_answer_writes_nothing(
    tmp_path: Path, registry: FakeRegistry, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer at all is an error, and needs a network connection."""
    monkeypatch.setitem(Transport.__init__.__kwdefaults__, "sleep", lambda _: None)  # it waits before it asks again
    file = tmp_path / "new.json"
    argv = ["registry", "refresh", f"{registry.host}/acme", "--output", str(file)]
    registry.faults = [Fault(503)] * 20
    assert main.main(argv) != 0
    assert main.main([*argv, "--offline"]) == 2
    assert "needs a network connection" in capsys.readouterr().err
    assert not file.exists()
