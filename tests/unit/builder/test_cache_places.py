"""Where the layer cache of each stage goes, and where it is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.builder import cache_places
from jetson_containers.builder.graph import merge
from jetson_containers.plan.stage import StageKind
from tests.unit.builder.helpers import plan, stage

if TYPE_CHECKING:
    from pathlib import Path

LAYER = stage("torch:2.11")
MADE = stage("torch:2.11", kind=StageKind.ARTIFACT, key="made")
NODES = merge([plan(MADE, LAYER)]).nodes
OWN = "torch-2.11-x86_64-cp311-cpu-22.04"


@pytest.mark.parametrize(
    ("entry", "moved"),
    [
        ("type=registry,ref=reg:5000/team/cache,mode=max", f"type=registry,ref=reg:5000/team/cache:{OWN},mode=max"),
        ("type=registry,ref=team/cache:main", f"type=registry,ref=team/cache:main-{OWN}"),
        ("team/cache", f"team/cache:{OWN}"),
        ("type=local,dest=/cache", f"type=local,dest=/cache/{OWN}"),
        ("type=inline", "type=inline"),
        ("type=gha,scope=x", "type=gha,scope=x"),
    ],
)
def test_exports_have_a_place_for_each_stage(entry: str, moved: str) -> None:
    """A tag or a folder of the stage's own, whatever else the entry says; other kinds are left as they are."""
    assert cache_places.exports([entry], NODES[LAYER.key]) == (moved,)
    others = cache_places.exports([entry], NODES[MADE.key])
    assert (others == (moved,)) is (entry == moved)


def test_exports_to_a_long_tag_fit() -> None:
    """A tag has at most 128 characters, and its end tells the stages apart."""
    (entry,) = cache_places.exports([f"r/c:{'x' * 128}"], NODES[LAYER.key])
    tag = entry.rpartition(":")[2]
    assert len(tag) == 128
    assert tag.endswith(OWN)


def test_imports_name_the_stage_and_what_was_given(tmp_path: Path) -> None:
    """An image with an inline cache is looked for as it is named; a folder that is not there is left out."""
    node = NODES[LAYER.key]
    given = ("type=registry,ref=r/c", f"type=local,src={tmp_path}", "r/image:1")
    found = (f"type=registry,ref=r/c:{OWN}", "type=registry,ref=r/c", f"type=local,src={tmp_path}")
    assert cache_places.imports(given, node) == (*found, f"r/image:1-{OWN}", "r/image:1")
    (tmp_path / OWN).mkdir()
    (tmp_path / OWN / "index.json").write_text("{}")
    assert f"type=local,src={tmp_path}/{OWN}" in cache_places.imports(given, node)
