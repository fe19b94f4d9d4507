"""What the cache holds: listed and removed."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import NothingMatchedError, NotReadyError, UsageError
from jetson_containers.hub.cache import cached, remove
from jetson_containers.hub.downloads import cache_of
from tests.unit.hub.helpers import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hubserver import HubServer


def test_cached_lists_repositories_and_remove_deletes_one(
    data: Path, server: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cached repositories are listed, and one is removed."""
    server.add("org/set", {"a.csv": b"1,2"}, kind="dataset")
    run(capsys, "org/tiny")
    run(capsys, "org/set", "--type", "dataset")
    model, dataset = cached(data)
    assert (model.id, model.kind, model.refs, model.partial) == ("org/tiny", "model", ("main",), False)
    assert model.commits == (server.repos["model", "org/tiny"].refs["main"],)
    assert 5042 <= model.bytes <= 5042 + 1000  # our own notes are counted
    assert (dataset.id, dataset.kind) == ("org/set", "dataset")
    interrupted = cache_of(data) / ".locks/.removed-0a1b2c3d"
    interrupted.mkdir()
    assert remove(data, "org/tiny") == model.bytes
    assert [repo.id for repo in cached(data)] == ["org/set"]
    cache = cache_of(data)
    assert sorted(path.name for path in cache.iterdir()) == [".locks", "datasets--org--set"]
    assert [path.name for path in (cache / ".locks").iterdir()] == ["datasets--org--set"]


def test_cached_of_an_empty_directory_is_empty(tmp_path: Path) -> None:
    """Where nothing is cached, the list is empty and removing is an error."""
    assert cached(tmp_path) == []
    with pytest.raises(NothingMatchedError, match="not in"):
        remove(tmp_path, "org/tiny")


@pytest.mark.parametrize("name", ["../../etc", "org/../../x", "", "a/b/../c"])
def test_remove_refuses_names_that_are_not_repositories(data: Path, name: str) -> None:
    """Only names of repositories can be removed."""
    with pytest.raises(UsageError):
        remove(data, name)


def test_remove_refuses_a_repository_being_downloaded(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A repository that is being downloaded is not removed."""
    run(capsys, "org/tiny")
    lock = next(cache_of(data).glob(".locks/*/*.lock"))
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(NotReadyError, match="is being downloaded"):
            remove(data, "org/tiny")
    assert remove(data, "org/tiny") > 5000
