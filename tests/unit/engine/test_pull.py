"""Missing images are called missing, with what to do."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from jetson_containers.core.errors import NotReadyError, RegistryError
from jetson_containers.engine.messages import translate
from jetson_containers.engine.pull import pull_missing
from tests.fakes import FakeEngine


@pytest.mark.parametrize("down", [False, True])
def test_pull_missing_says_that_the_image_is_missing_first(down: bool) -> None:
    """Whether the registry answers or not, the message begins with the image."""
    with pytest.raises(RegistryError) as caught:
        pull_missing(FakeEngine(registry_down=down), "nope:1", print, offline=False, hint="do this")
    assert caught.value.message.startswith("no image `nope:1` is here")
    assert caught.value.hint == "do this; `jetson-containers images` lists those that are here"


def test_pull_missing_blames_the_network_where_no_registry_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is doubted only where somebody answered."""
    said = 'Get "https://registry-1.docker.io/v2/": dial tcp: lookup registry-1.docker.io: no such host'
    down = FakeEngine()
    monkeypatch.setattr(down, "pull", Mock(side_effect=translate(said, "pulling `a/b:1`")))
    with pytest.raises(RegistryError) as caught:
        pull_missing(down, "a/b:1", print, offline=False, hint="check the name")
    assert caught.value.hint == "check the network; `jetson-containers images` lists those that are here"


def test_pull_missing_asks_nobody_offline() -> None:
    """Offline the registry is not asked."""
    engine = FakeEngine()
    with pytest.raises(NotReadyError, match="offline") as caught:
        pull_missing(engine, "nope:1", print, offline=True, hint="do this")
    assert not isinstance(caught.value, RegistryError)
    assert engine.calls == []


def test_pull_missing_pulls() -> None:
    """What the registry has is here afterwards."""
    engine = FakeEngine()
    engine.registry["acme/there:1"] = FakeEngine().add_image("acme/there:1")
    pull_missing(engine, "acme/there:1", print, offline=False, hint="")
    assert engine.image("acme/there:1") is not None
