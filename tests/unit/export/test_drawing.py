"""Graphs of plans: complete, deterministic, and readable by what draws them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from jetson_containers.export import drawing
from tests.unit.builder.helpers import chain, plan, stage
from tests.unit.export.test_jobs import diamond

(PLAN,) = diamond().plans
SVG = "{http://www.w3.org/2000/svg}"


def test_dot_has_each_stage_and_edge_once() -> None:
    """Nodes by number, edges from below to above, the image with a double border."""
    text = drawing.dot([PLAN, PLAN])
    assert re.findall(r"(s\d) -> (s\d)", text) == [
        ("s1", "s2"), ("s2", "s3"), ("s1", "s4"), ("s4", "s5"), ("s3", "s5"),
    ]  # fmt: skip
    assert re.findall(r'(s\d) \[label="([^"]+)"', text)[2] == ("s3", "lib (artifact)")
    assert re.findall(r"(s\d) .*peripheries=2", text) == ["s5"]


def test_dot_quotes_names() -> None:
    """A quote in a name does not end its label."""
    assert r'label="a\"b"' in drawing.dot([chain('a"b')])


def test_mermaid_marks_artifacts_and_images() -> None:
    """An artifact has a color of its own, an image another shape."""
    lines = drawing.mermaid([PLAN]).splitlines()
    assert lines[0] == "flowchart BT"
    assert '  s5[["lib"]]' in lines
    assert "  s3 --> s5" in lines
    assert [line for line in lines if "#ffe8c2" in line] == ["  style s3 fill:#ffe8c2,color:#000"]


def test_svg_draws_boxes_apart_and_above_what_they_need() -> None:
    """No two boxes overlap, and every stage stands higher than what it needs."""
    root = ElementTree.fromstring(drawing.svg([PLAN]))
    boxes = [tuple(int(box.get(name, "0")) for name in ("x", "y", "width")) for box in root.findall(f"{SVG}rect")[1:]]
    texts = [text.text for text in root.findall(f"{SVG}text")]
    assert texts == ["low", "tools", "lib (artifact)", "python", "lib"]
    assert len(root.findall(f"{SVG}path")) == 5
    for left, top, wide in boxes:
        for other, level, _ in boxes:
            assert (left, top) == (other, level) or level != top or other >= left + wide or other < left
    tops = dict(zip(texts, (top for _, top, _ in boxes), strict=True))
    assert tops["low"] > tops["tools"] > tops["lib (artifact)"] > tops["lib"]
    assert max(left + wide for left, _, wide in boxes) <= int(root.get("width", "0"))


def test_svg_puts_a_stage_over_what_it_needs() -> None:
    """Layers are sorted by their needs, so that parallel chains do not cross."""
    left, right = stage("left"), stage("right")
    on_right, on_left = stage("on-right", parent=right), stage("on-left", parent=left)
    crossed = plan(left, right, on_right, on_left, stage("top", on_right, on_left))
    found = ElementTree.fromstring(drawing.svg([crossed])).findall(f"{SVG}text")
    places = {text.text: int(text.get("x", "0")) for text in found}
    assert (places["left"] < places["right"]) == (places["on-left"] < places["on-right"])


@pytest.mark.parametrize("kind", sorted(drawing.DRAWINGS))
def test_drawings_are_the_same_for_the_same_plans(kind: str) -> None:
    """The same plans give the same text."""
    (again,) = diamond().plans
    assert drawing.DRAWINGS[kind]([PLAN]) == drawing.DRAWINGS[kind]([again])
