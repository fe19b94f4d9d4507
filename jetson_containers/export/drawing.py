"""The graph of some plans as text for Graphviz or Mermaid, or as SVG; the same plans give the same bytes.

The SVG is drawn in layers: a stage stands above all that it needs, and each layer is put in order by where its needs
stand (the barycenter heuristic of K. Sugiyama et al., 1981), down and up a few times.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from jetson_containers.builder import graph
from jetson_containers.plan.stage import StageKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from jetson_containers.builder.graph import Graph, Node
    from jetson_containers.plan.plan import BuildPlan

SWEEPS = 4  # over all layers; further ones change next to nothing
LETTER, LINE = 7, 40  # pixels: of a letter at 12 px, and the height of a box with the space below it
GAP = 16  # pixels between boxes
HEIGHT = 24  # pixels of a box
_FILLS = {StageKind.LAYER: "#ffffff", StageKind.ARTIFACT: "#ffe8c2", StageKind.META: "#eeeeee"}


def dot(plans: Sequence[BuildPlan]) -> str:
    """The graph for Graphviz: an edge goes from a stage to what needs it."""
    merged = graph.merge(plans)
    names = _names(merged)
    lines = ["digraph plan {", "  rankdir=BT;", '  node [shape=box, style=filled, fontname="sans-serif"];']
    for key, node in merged.nodes.items():
        shape = ", peripheries=2" if node.last else ""
        lines.append(f'  {names[key]} [label="{_quoted(_label(node))}", fillcolor="{_FILLS[node.stage.kind]}"{shape}];')
    lines += [f"  {names[below]} -> {names[key]};" for key, below in _edges(merged)]
    return "\n".join([*lines, "}", ""])


def mermaid(plans: Sequence[BuildPlan]) -> str:
    """The graph for Mermaid, as GitHub and GitLab show it in Markdown."""
    merged = graph.merge(plans)
    names = _names(merged)
    lines = ["flowchart BT"]
    for key, node in merged.nodes.items():
        text = escape(_label(node))
        lines.append(f'  {names[key]}[["{text}"]]' if node.last else f'  {names[key]}["{text}"]')
    lines += [f"  {names[below]} --> {names[key]}" for key, below in _edges(merged)]
    for kind, fill in _FILLS.items():
        members = ",".join(names[key] for key, node in merged.nodes.items() if node.stage.kind is kind)
        lines += [f"  style {name} fill:{fill},color:#000" for name in filter(None, members.split(","))]
    return "\n".join([*lines, ""])


def svg(plans: Sequence[BuildPlan]) -> str:
    """The graph as a drawing for browsers; what is built first stands at the bottom."""
    merged = graph.merge(plans)
    layers = _layers(merged)
    places = _places(layers, merged)
    width = max((x + wide for x, _, wide in places.values()), default=0) + GAP
    height = len(layers) * LINE * 2 + GAP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"',
        'font-family="sans-serif" font-size="12" text-anchor="middle">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
    ]
    parts += [_line(places[below], places[key]) for key, below in _edges(merged)]
    parts += [_box(merged.nodes[key], *places[key]) for key in merged.nodes]
    return "\n".join([*parts, "</svg>", ""])


DRAWINGS = {"dot": dot, "mermaid": mermaid, "svg": svg}


def _names(merged: Graph) -> dict[str, str]:
    return {key: f"s{node.number}" for key, node in merged.nodes.items()}


def _label(node: Node) -> str:
    kind = "" if node.stage.kind is StageKind.LAYER else f" ({node.stage.kind.value})"
    return f"{node.stage.package}{kind}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _edges(merged: Graph) -> Iterable[tuple[str, str]]:
    return ((key, below) for key, needs in merged.needs.items() for below in needs)


def _layers(merged: Graph) -> list[list[str]]:
    """The stages by the length of the longest way to them, each layer in order."""
    level: dict[str, int] = {}
    for key in merged.nodes:
        level[key] = max((level[below] + 1 for below in merged.needs[key]), default=0)
    layers: list[list[str]] = [[] for _ in range(max(level.values(), default=-1) + 1)]
    for key, number in level.items():
        layers[number].append(key)
    for sweep in range(SWEEPS):
        down = sweep % 2 == 1
        neighbors = merged.dependents if down else merged.needs
        for layer in reversed(layers) if down else layers:
            _sort(layer, neighbors, layers)
    return layers


def _sort(layer: list[str], neighbors: Mapping[str, Sequence[str]], layers: Sequence[Sequence[str]]) -> None:
    """Put a layer in the order of the mean place of each stage's neighbors; one without any keeps its own."""
    place = {key: index / max(len(row), 1) for row in layers for index, key in enumerate(row)}

    def mean(key: str) -> float:
        found = [place[name] for name in neighbors[key]]
        return sum(found) / len(found) if found else place[key]

    layer.sort(key=mean)


def _places(layers: Sequence[Sequence[str]], merged: Graph) -> dict[str, tuple[int, int, int]]:
    """Left, top and width of each box in pixels; layers are centered."""
    widths = {key: LETTER * len(_label(node)) + GAP for key, node in merged.nodes.items()}
    totals = [sum(widths[key] + GAP for key in layer) for layer in layers]
    places = {}
    for number, layer in enumerate(layers):
        left = GAP + (max(totals) - totals[number]) // 2
        top = GAP + (len(layers) - 1 - number) * LINE * 2
        for key in layer:
            places[key] = (left, top, widths[key])
            left += widths[key] + GAP
    return places


def _line(below: tuple[int, int, int], above: tuple[int, int, int]) -> str:
    start, end = (below[0] + below[2] // 2, below[1]), (above[0] + above[2] // 2, above[1] + HEIGHT)
    middle = (start[1] + end[1]) // 2
    path = f"M{start[0]} {start[1]}C{start[0]} {middle} {end[0]} {middle} {end[0]} {end[1]}"
    return f'<path d="{path}" fill="none" stroke="#888888"/>'


def _box(node: Node, left: int, top: int, wide: int) -> str:
    stroke = 2 if node.last else 1
    return (
        f'<rect x="{left}" y="{top}" width="{wide}" height="{HEIGHT}" rx="3" fill="{_FILLS[node.stage.kind]}" '
        f'stroke="#333333" stroke-width="{stroke}"/>'
        f'<text x="{left + wide // 2}" y="{top + 16}">{escape(_label(node))}</text>'
    )
