"""A graph as a layered SVG, read from top to bottom; nothing but this process is needed for it.

Every node is a box with its name and type. What is only used, not computed, is written into the
boxes that use it instead: parameters, states, constants. So is the end of an edge that would run
over many layers, such as one from the forward to the backward part: an arrow with a name.
Colours follow the reader's system, dark or light.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from graphc.inspect.layered import Edge, Layout, Point, lay_out, longest_paths
from graphc.inspect.theme import STYLE
from graphc.ir.graph import Graph
from graphc.ir.node import Node
from graphc.ir.text import node_text
from graphc.ops.op import family_of

CHANGES = ("added", "removed", "changed")
LONGEST_EDGE = 8  # layers
MOST_EDGES = 6  # to boxes near a box
FAR = "\u2190"
LONGEST_LINE = 36  # characters
CHARACTER = 6.7
LINE = 14.0
PADDING = 8.0
CORNER = 5.0


@dataclass(frozen=True)
class Line:
    """A line of text in a box, and the node that it is about."""

    text: str
    node: Node

    @property
    def shown(self) -> str:
        """The text, shortened if it is long."""
        whole = self.text
        return whole if len(whole) <= LONGEST_LINE else f"{whole[: LONGEST_LINE - 1]}\u2026"


@dataclass(frozen=True)
class Sketch:
    """A graph as boxes with lines of text, and where they are. nodes: those that have a box."""

    nodes: tuple[Node, ...]
    boxes: tuple[tuple[Line, ...], ...]
    layout: Layout


def draw(
    graph: Graph,
    *,
    changed: Mapping[Node, str] | None = None,
    names: Mapping[Node, str] | None = None,
    embedded: bool = False,
) -> str:
    """`graph` as SVG text.

    changed: "added", "removed" or "changed" for nodes that are to be coloured so. names: of the
    nodes, instead of ``graph.names``. embedded: for a page that has styles and tips of its own;
    every box then carries its node's place in ``graph.nodes`` as ``data-n``.
    """
    names = graph.names if names is None else names
    marks = {} if changed is None else changed
    sketch = sketched(graph, names)
    places = {node: k for k, node in enumerate(graph.nodes)}
    width, height = sketch.layout.width, sketch.layout.height
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graphc" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">'
    ]
    if not embedded:
        parts.append(f"<style>{STYLE}</style>")
    for (source, target), points in sketch.layout.routes.items():
        ends = f' data-e="{places[sketch.nodes[source]]} {places[sketch.nodes[target]]}"'
        parts.append(f'<path{ends if embedded else ""} d="{_curve(points)}"/>')
    for k, node in enumerate(sketch.nodes):
        tip = None if embedded else node_text(node, names).partition("\n")[0]
        parts.append(_box(sketch, k, marks, places, tip))
    return "\n".join([*parts, "</svg>"])


def sketched(graph: Graph, names: Mapping[Node, str]) -> Sketch:
    """What `draw` draws: boxes and where they are."""
    held = _held(graph)
    nodes = tuple(node for node in graph.nodes if node not in held)
    number = {node: k for k, node in enumerate(nodes)}
    edges = [
        (number[source], number[node])
        for node in nodes
        for source in dict.fromkeys(node.inputs)
        if source not in held
    ]
    layers, near = _layered(len(nodes), edges)
    results = _results(graph, names)
    boxes = []
    for k, node in enumerate(nodes):
        lines = [Line(names[node], node), Line(str(node.type), node)]
        for source in dict.fromkeys(node.inputs):
            if source in held:
                lines.append(Line(_held_text(source, names), source))
            elif (number[source], k) not in near:
                lines.append(Line(f"{FAR} {names[source]}", source))
        boxes.append((*lines, *(Line(text, node) for text in results.get(node, ()))))
    sizes = [(_width(lines), LINE * len(lines) + PADDING) for lines in boxes]
    return Sketch(nodes, tuple(boxes), lay_out(sizes, layers, near))


def _layered(count: int, edges: list[Edge]) -> tuple[list[int], set[Edge]]:
    """(layer of each box, the edges that are drawn): not those that leave one box for very many,
    nor those that are long.

    A box whose readers all are far away, or that no drawn edge leads to, goes down to the first of
    its readers.
    """
    layers = longest_paths(count, edges)
    spread = Counter(s for s, t in edges if layers[t] - layers[s] <= LONGEST_EDGE)
    kept = [(s, t) for s, t in edges if spread[s] <= MOST_EDGES]
    layers = longest_paths(count, kept)
    readers: list[list[int]] = [[] for _ in range(count)]
    for source, target in kept:
        readers[source].append(target)
    fed = {target for _, target in kept}
    for v in reversed(range(count)):
        if readers[v]:
            nearest = min(layers[r] for r in readers[v])
            if v not in fed or nearest - layers[v] > LONGEST_EDGE:
                layers[v] = nearest - 1
    return layers, {(s, t) for s, t in kept if layers[t] - layers[s] <= LONGEST_EDGE}


def _held(graph: Graph) -> set[Node]:
    """The nodes that are written into their readers' boxes: what is only used, and views of it."""
    outputs, found = set(graph.outputs), set[Node]()
    for node in graph.nodes:
        if node in outputs:
            continue
        if node.op.name == "input":
            is_held = node.attrs["kind"] != "data"
        elif node.inputs:
            is_held = family_of(node) in ("view", "alias") and all(i in found for i in node.inputs)
        else:
            is_held = "value" in node.attrs
        if is_held:
            found.add(node)
    return found


def _held_text(node: Node, names: Mapping[Node, str]) -> str:
    views = []
    while node.inputs:
        views.append(f"{names[node]} of ")
        node = node.inputs[0]
    is_input = node.op.name == "input"
    source = f" {node.type}" if is_input else f" = {node.attrs['value']!r}"
    return "".join((*views, names[node], source))


def _results(graph: Graph, names: Mapping[Node, str]) -> dict[Node, list[str]]:
    """For every output, which it is, or what it overwrites."""
    into = dict(graph.donations)
    found: dict[Node, list[str]] = {}
    for k, node in enumerate(graph.outputs):
        text = f"into {names[graph.inputs[into[k]]]}" if k in into else f"output {k}"
        found.setdefault(node, []).append(text)
    return found


def _width(lines: tuple[Line, ...]) -> float:
    return max(len(line.shown) for line in lines) * CHARACTER + 2 * PADDING


def _box(
    sketch: Sketch,
    k: int,
    marks: Mapping[Node, str],
    places: Mapping[Node, int],
    tip: str | None,
) -> str:
    """A box with its lines. tip: None for a page that shows more of a node itself."""
    node, lines = sketch.nodes[k], sketch.boxes[k]
    x, y = sketch.layout.corners[k]
    width, height = _width(lines), LINE * len(lines) + PADDING
    classes = " ".join(filter(None, ("node", family_of(node), marks.get(node))))
    place = f' data-n="{places[node]}"' if tip is None else ""
    parts = [
        f'<g class="{classes}"{place} transform="translate({x:.0f} {y:.0f})">',
        "" if tip is None else f"<title>{escape(tip)}</title>",
        f'<rect class="box" width="{width:.0f}" height="{height:.0f}" rx="{CORNER:.0f}"/>',
        f'<rect class="family" width="3" height="{height - 8:.0f}" y="4"/>',
    ]
    for row, line in enumerate(lines):
        other = line.node is not node
        kind = "name" if row == 0 else marks.get(line.node, "") if other else ""
        kind = f' class="{kind}"' if kind else ""
        link = f' data-to="{places[line.node]}"' if other and tip is None else ""
        at = f'x="{PADDING:.0f}" y="{LINE * (row + 1):.0f}"'
        parts.append(f"<text{kind}{link} {at}>{escape(line.shown)}</text>")
    return "".join([*parts, "</g>"])


def _curve(points: tuple[Point, ...]) -> str:
    """Straight beside boxes, and an S where it goes sideways between two layers."""
    (x, y), *rest = points
    parts = [f"M{x:.0f} {y:.0f}"]
    for to_x, to_y in rest:
        if abs(to_x - x) < 1:
            parts.append(f"V{to_y:.0f}")
        else:
            middle = (y + to_y) / 2
            parts.append(f"C{x:.0f} {middle:.0f} {to_x:.0f} {middle:.0f} {to_x:.0f} {to_y:.0f}")
            x = to_x
        y = to_y
    return "".join(parts)
