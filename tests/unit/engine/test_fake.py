"""The fake engine behaves as the protocol says, so that other modules' tests mean something."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import BuildError, InterruptedByUserError, NotReadyError, RegistryError
from jetson_containers.engine.interface import BuildRequest, BuildTimeoutError, OutOfMemoryError
from tests.fakes import FakeEngine

if TYPE_CHECKING:
    from jetson_containers.engine.interface import Engine


def request(tag: str, **more: object) -> BuildRequest:
    return BuildRequest(context=Path("/nowhere"), dockerfile="FROM scratch\n", tag=tag, **more)  # type: ignore[arg-type]


def silent(_line: str) -> None:
    pass


def test_fake_engine_is_an_engine() -> None:
    """The fake satisfies the protocol of an engine."""
    engine: Engine = FakeEngine()
    assert engine.capabilities.mounts


def test_fake_engine_records_a_build_and_keeps_an_image_with_labels() -> None:
    """A build is recorded and leaves an image with labels."""
    engine = FakeEngine()
    engine.build(request("a:1", labels={"k": "v"}), silent)
    assert engine.tags_built == ["a:1"]
    assert engine.images({"k": "v"})[0].references == ("a:1",)
    assert engine.images({"k": "other"}) == []


@pytest.mark.parametrize(
    ("method", "error"), [("fail", BuildError), ("oom", OutOfMemoryError), ("time_out", BuildTimeoutError)]
)
def test_fake_engine_fails_a_build_told_to_fail(method: str, error: type[BuildError]) -> None:
    """A build told to fail fails and leaves no image."""
    engine = FakeEngine()
    getattr(engine, method)("^bad")
    with pytest.raises(error):
        engine.build(request("bad:1"), silent)
    assert engine.image("bad:1") is None
    engine.build(request("good:1"), silent)
    engine.heal()
    engine.build(request("bad:1"), silent)
    assert engine.image("bad:1") is not None


def test_fake_engine_ends_a_hanging_build_with_stop() -> None:
    """A hanging build ends with stop."""
    engine = FakeEngine()
    engine.hang("slow")
    caught: list[BaseException] = []

    def build() -> None:
        try:
            engine.build(request("slow:1"), silent)
        except InterruptedByUserError as error:
            caught.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    assert engine.hanging.wait(120)
    assert engine.running == 1
    engine.stop()
    thread.join(120)
    assert len(caught) == 1
    assert engine.images() == []


def test_fake_engine_moves_names_as_docker_does() -> None:
    """Names move as docker moves them."""
    engine = FakeEngine()
    first = engine.add_image("a:1")
    engine.tag("a:1", "b")
    assert engine.image("b:latest") is not None
    engine.label("a:1", "a:1", {"x": "y"})
    relabeled = engine.image("a:1")
    assert relabeled is not None
    assert relabeled.labels == {"x": "y"}
    assert relabeled.id != first.id
    assert engine.image("b").references == ("b:latest",)  # type: ignore[union-attr]
    engine.untag("b")
    assert engine.image(first.id) is None
    with pytest.raises(NotReadyError):
        engine.untag("b")


def test_fake_engine_pulls_and_pushes_by_its_registry() -> None:
    """Pulling and pushing use the registry of the fake."""
    engine = FakeEngine()
    engine.add_image("localhost:5000/a:1", {"k": "v"})
    engine.push("localhost:5000/a:1", silent)
    engine.untag("localhost:5000/a:1")
    engine.pull("localhost:5000/a:1", silent)
    assert engine.image("localhost:5000/a:1").labels == {"k": "v"}  # type: ignore[union-attr]
    with pytest.raises(RegistryError):
        engine.pull("localhost:5000/b:1", silent)
