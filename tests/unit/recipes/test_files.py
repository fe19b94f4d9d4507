"""Paths of recipes: what lies inside a package tree."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest

from jetson_containers.recipes.files import is_inside

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """A tree, another one beside it, and links of every kind between and within them."""
    (tmp_path / "tree/deep/er").mkdir(parents=True)
    (tmp_path / "tree2/other").mkdir(parents=True)
    (tmp_path / "tree/file").write_text("")
    (tmp_path / "linked").symlink_to("tree")
    (tmp_path / "tree/out").symlink_to(tmp_path / "tree2")
    (tmp_path / "tree/deep/up").symlink_to("..")
    (tmp_path / "tree/deep/in").symlink_to("er")
    (tmp_path / "tree/gone").symlink_to("nowhere")
    (tmp_path / "tree/gone-out").symlink_to("/nowhere")
    (tmp_path / "tree2/back").symlink_to(tmp_path / "tree/deep")
    (tmp_path / "tree/loop").symlink_to("loop")
    return tmp_path


def test_is_inside_follows_every_link(places: Path) -> None:
    """Whether a path lies inside is what the real paths say, for paths of up to two parts from any start."""
    parts = ("deep", "er", "up", "in", "out", "back", "file", "gone", "gone-out", "loop", "absent", "..", ".")
    starts = [places / name for name in ("tree", "linked", "tree2", "tree/deep")]
    judged = {True: 0, False: 0}
    for tree, start, count in itertools.product(starts, starts, range(3)):
        root = os.path.realpath(tree)
        for below in itertools.product(parts, repeat=count):
            path = start.joinpath(*below)
            real = os.path.realpath(path)
            inside = real == root or real.startswith(f"{root}/")
            assert is_inside(path, tree) is inside, (path, tree)
            judged[inside] += 1
    assert min(judged.values()) > 300


def test_is_inside_does_not_take_a_longer_name_for_a_place_below(places: Path) -> None:
    """`tree2` begins with `tree` and lies beside it; a name that no file can have is nowhere."""
    assert not is_inside(places / "tree2/other", places / "tree")
    assert not is_inside(places / "tree/a\0b", places / "tree")
