"""Images of stages: by name without a search, by key where only a final image is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.builder.graph import merge
from jetson_containers.builder.store import Store
from jetson_containers.images import labels
from tests.fakes import FakeEngine
from tests.unit.builder.helpers import PLATFORM, Site, chain

if TYPE_CHECKING:
    from jetson_containers.engine.interface import LocalImage


class Searched(FakeEngine):
    """An engine that counts searches through all of its images."""

    searches = 0

    def images(self, labels: Any = None) -> list[LocalImage]:
        self.searches += 1
        return super().images(labels)


def labeled(name: str, key: str) -> dict[str, str]:
    return labels.make(role=labels.STAGE, name=name, key=key, packages=("a",), platform=PLATFORM)


NODES = list(merge([chain("a", "b")]).nodes.values())
KEY, NAME = NODES[0].stage.key, NODES[0].stage.image


@pytest.fixture
def engine() -> Searched:
    return Searched()


def test_store_finds_a_stage_by_its_name_without_a_search(engine: Searched) -> None:
    """A stage under its own name costs one question, however many images there are."""
    made = engine.add_image(NAME, labeled(NAME, KEY))
    assert Store(engine).find(NODES[0]) == made
    assert engine.searches == 0


def test_store_finds_a_stage_by_key_where_a_final_image_is_left(engine: Searched) -> None:
    """After a prune the final image is found, with a search."""
    final = engine.add_image("a:1", labeled("a:1", KEY))
    assert Store(engine).find(NODES[0]) == final


def test_store_searches_not_for_what_was_absent(engine: Searched) -> None:
    """What a look at the whole store did not find is there only when somebody built it since: under its name."""
    store = Store(engine)
    store.absent = frozenset({KEY})
    assert store.find(NODES[0]) is None
    assert engine.searches == 0
    made = engine.add_image(NAME, labeled(NAME, KEY))
    assert store.find(NODES[0]) == made


def test_store_believes_no_name_with_another_key(engine: Searched) -> None:
    """A name alone proves nothing."""
    engine.add_image(NAME, labeled(NAME, "sha256:other"))
    assert Store(engine).find_all(NODES) == {}


class Asked(FakeEngine):
    """An engine that counts questions for one name."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def image(self, reference: str) -> LocalImage | None:
        self.asked.append(reference)
        return super().image(reference)


def test_store_asks_not_again_for_a_name_that_was_free() -> None:
    """`replacing` believes `find` once; a name that was taken, or that nobody looked for, is asked for."""
    asking = Asked()
    store = Store(asking)
    assert store.find(NODES[0]) is None
    asking.asked.clear()
    with store.replacing(NAME):
        asking.add_image(NAME, labeled(NAME, KEY))
    assert asking.asked == []
    with store.replacing(NAME):
        assert f"{NAME}.old" in asking.store
    assert NAME in asking.asked
    assert f"{NAME}.old" not in asking.store


def test_store_drops_what_a_killed_process_kept(engine: Searched) -> None:
    """Whoever waited for the stage finds it made, and removes the name of the image before it; no other name."""
    store = Store(engine)
    engine.add_image(NAME, labeled(NAME, KEY))
    engine.add_image("b:1.old", labeled("b:1", KEY))
    store.find(NODES[0])
    store.drop_replaced(NAME)
    assert set(engine.store) == {NAME, "b:1.old"}
    engine.add_image(f"{NAME}.old", labeled(NAME, KEY))
    store.find(NODES[0])
    store.drop_replaced(NAME)
    assert set(engine.store) == {NAME, "b:1.old"}


def test_run_of_a_chain_searches_the_store_once(site: Site) -> None:
    """However long a chain is, all images are listed once, and not at all where every stage is under its name."""
    engine = Searched()
    engine.add_image("base:1")
    site.engine = engine
    for expected in (1, 0):
        engine.searches = 0
        site.run(chain("a", "b", "c", "d"))
        assert engine.searches == expected
