"""A package index: versions by the Simple API, vulnerabilities by PyPI's JSON API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from packaging.version import Version

from jetson_containers.registry.http import Transport
from jetson_containers.updates.index import (
    GIVEN_UP_AFTER,
    SIMPLE,
    PackageIndex,
    UnknownError,
    final_versions,
    known_vulnerabilities,
)
from tests.unit.fakeregistry import FakeRegistry, Fault

if TYPE_CHECKING:
    from collections.abc import Iterator


def simple(*names: str, **more: Any) -> bytes:
    return json.dumps({"files": [{"filename": name, "yanked": False, **more} for name in names]}).encode()


@pytest.fixture
def server() -> Iterator[FakeRegistry]:
    with FakeRegistry() as started:
        yield started


def serve(server: FakeRegistry, path: str, body: bytes, kind: str = "application/json") -> None:
    server.routes[path] = lambda request: server.send(request, 200, body, kind=kind)


def index(server: FakeRegistry, address: str = "/simple", timeout: float = 5.0) -> PackageIndex:
    return PackageIndex(Transport(timeout=timeout, env={}, what="package index"), server.url + address)


def test_final_versions_leave_out_what_pip_would() -> None:
    """Wheels and archives count; previews, withdrawn files and names of other kinds do not."""
    body = simple("a-1.2-py3-none-any.whl", "a-1.10.tar.gz", "a-2.0rc1.tar.gz", "a-1.0-py2.4-linux.egg", "a.txt")
    assert final_versions(body) == {Version("1.2"), Version("1.10")}
    assert final_versions(simple("a-3.tar.gz", yanked="broken")) == set()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"files": 3}', b'{"files": [{"filename": 3}]}'])
def test_final_versions_refuse_nonsense(body: bytes) -> None:
    """What is no answer of the Simple API is said."""
    with pytest.raises(ValueError, match=r".|^$"):
        final_versions(body)


def test_known_vulnerabilities_leave_out_withdrawn_ones() -> None:
    """Each identifier once, without reports that were withdrawn."""
    rows = [
        {"id": "PYSEC-2"},
        {"id": "PYSEC-1", "withdrawn": None},
        {"id": "PYSEC-2"},
        {"id": "X", "withdrawn": "2026"},
    ]
    assert known_vulnerabilities(json.dumps({"vulnerabilities": rows}).encode()) == ("PYSEC-1", "PYSEC-2")
    for body in (b"{}", b'{"vulnerabilities": [3]}', b'{"vulnerabilities": [{"id": 3}]}'):
        with pytest.raises(ValueError, match=r"."):
            known_vulnerabilities(body)


def test_index_answers_both_questions(server: FakeRegistry) -> None:
    """The newest version comes from the Simple API, vulnerabilities from the API beside it."""
    serve(server, "/simple/a/", simple("a-1.0.tar.gz", "a-2.0.tar.gz"), SIMPLE)
    serve(server, "/pypi/a/1.0/json", b'{"vulnerabilities": [{"id": "PYSEC-7"}]}')
    assert index(server).newest("a") == Version("2.0")
    assert index(server).vulnerabilities("a", "1.0") == ("PYSEC-7",)
    assert index(server).newest("missing") is None


def test_index_without_vulnerabilities_says_unknown(server: FakeRegistry) -> None:
    """An index that has no such API leaves the question open: that is not "none"."""
    with pytest.raises(UnknownError, match=r"tells no vulnerabilities of it \(404\)"):
        index(server).vulnerabilities("a", "1.0")
    with pytest.raises(UnknownError, match="the index tells no vulnerabilities"):
        index(server, "/root/pypi").vulnerabilities("a", "1.0")


def test_index_in_html_is_unknown(server: FakeRegistry) -> None:
    """An index that only speaks HTML is not guessed at."""
    serve(server, "/simple/a/", b"<a href='a-1.0.tar.gz'>a-1.0.tar.gz</a>", "text/html")
    with pytest.raises(UnknownError, match="does not answer in JSON"):
        index(server).newest("a")


def test_index_that_does_not_answer_is_asked_no_more(server: FakeRegistry) -> None:
    """After a few questions without an answer the others are unknown at once."""
    server.faults = [Fault(drop=True)] * 100
    asked = index(server, timeout=0.2)
    for _ in range(GIVEN_UP_AFTER):
        with pytest.raises(UnknownError, match="package index"):
            asked.newest("a")
    seen = len(server.seen)
    with pytest.raises(UnknownError, match="not reachable"):
        asked.newest("a")
    assert len(server.seen) == seen
