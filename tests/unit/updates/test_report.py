"""Pins beside upstream: behind, current, unknown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jetson_containers.registry.http import Transport
from jetson_containers.updates.index import SIMPLE, PackageIndex
from jetson_containers.updates.pins import GIT, PYPI, UpstreamPin
from jetson_containers.updates.report import Upstream
from tests.unit.fakeregistry import Clock, FakeRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = UpstreamPin(kind=PYPI, name="a", version="1.0"), UpstreamPin(kind=PYPI, name="a", version="2.0")


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    with FakeRegistry() as started:
        files = {"files": [{"filename": f"a-{version}.tar.gz", "yanked": False} for version in ("1.0", "2.0")]}
        started.routes["/simple/a/"] = lambda request: started.send(
            request, 200, json.dumps(files).encode(), kind=SIMPLE
        )
        started.routes["/pypi/a/1.0/json"] = lambda request: started.send(
            request, 200, b'{"vulnerabilities": [{"id": "PYSEC-7"}]}'
        )
        yield started


def upstream(server: FakeRegistry, clock: Clock, seconds: float = 60) -> Upstream:
    index = PackageIndex(Transport(timeout=5, env={}, what="package index"), f"{server.url}/simple")
    return Upstream(index, clock() + seconds, timeout=5, clock=clock)


def test_upstream_tells_what_is_behind_and_what_is_vulnerable(server: FakeRegistry) -> None:
    """An old pin is behind and has its vulnerabilities; of the new one these are unknown, with the reason."""
    old, new = upstream(server, Clock()).statuses({OLD: ["x:1"], NEW: ["y:1", "z:1"]})
    assert (old.state, old.newest, old.vulnerabilities, old.unknown) == ("behind", "2.0", ("PYSEC-7",), ())
    assert (new.state, new.newest, new.vulnerabilities) == ("current", "2.0", None)
    assert new.to_json() == {
        "kind": "pypi",
        "name": "a",
        "version": "2.0",
        "packages": ["y:1", "z:1"],
        "state": "current",
        "newest": "2.0",
        "vulnerabilities": None,
        "unknown": ["the index tells no vulnerabilities of it (404)"],
    }


def test_upstream_leaves_the_rest_unknown_when_time_is_up(server: FakeRegistry) -> None:
    """After the deadline nobody is asked, and nothing counts as current."""
    (status,) = upstream(server, Clock(), seconds=0).statuses({OLD: ["x:1"]})
    assert (status.state, status.vulnerabilities) == ("unknown", None)
    assert status.unknown == ("the time was up before it was asked",)
    assert server.seen == []


@pytest.mark.parametrize(
    ("pin", "why"),
    [
        (UpstreamPin(kind=PYPI, name="missing", version="1"), "the index has no final version of it"),
        (UpstreamPin(kind=PYPI, name="a", version="odd"), "`odd` is not a version"),
        (UpstreamPin(kind=GIT, name="https://git.invalid/a", version=""), "pinned by a commit without a tag"),
        (UpstreamPin(kind=GIT, name="ext::false", version="v1"), "the repository cannot be reached"),
    ],
)
def test_upstream_says_why_a_pin_is_unknown(server: FakeRegistry, pin: UpstreamPin, why: str) -> None:
    """What cannot be compared is unknown, with the reason."""
    (status,) = upstream(server, Clock()).statuses({pin: ["x:1"]})
    assert (status.state, status.newest) == ("unknown", None)
    assert why in status.unknown[0]
