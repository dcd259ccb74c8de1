"""Drawings: every node is there, layers read from top to bottom, nothing overlaps."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from xml.etree import ElementTree

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphc as gc
from graphc.inspect.drawing import CHANGES, draw, sketched
from graphc.inspect.layered import Layout, lay_out, longest_paths, spaced
from graphc.ir.graph import Graph
from graphc.passes.pipelines import LARGE

SVG = "{http://www.w3.org/2000/svg}"
LENET5 = gc.trace(gc.zoo.lenet5(), "f32[N,1,32,32]")
STEP = gc.Model(
    gc.zoo.lenet5(), "f32[N,1,32,32]", loss="cross_entropy", optimizer=gc.optim.SGD(0.1)
).graphs["train"]
GRAPHS = {
    "lenet5": LENET5,
    "lenet5 in training": STEP,
    "fused": LARGE(STEP),
    "googlenet": gc.trace(gc.zoo.googlenet(), "f32[N,3,224,224]"),
}


@st.composite
def drawings(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    """Sizes of up to 14 boxes, and edges between them."""
    count = draw(st.integers(1, 14))
    sizes = draw(st.lists(st.tuples(st.floats(20, 200), st.floats(20, 80)),
                          min_size=count, max_size=count))  # fmt: skip
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    return sizes, chosen


def assert_nothing_overlaps(sizes: Sequence[tuple[float, float]], layout: Layout) -> None:
    boxes = sorted(
        (x, y, x + w, y + h) for (x, y), (w, h) in zip(layout.corners, sizes, strict=True)
    )
    for k, (_, y, right, bottom) in enumerate(boxes):
        for other_x, other_y, _, other_bottom in boxes[k + 1 :]:
            if other_x >= right:
                break
            assert bottom <= other_y or other_bottom <= y


def assert_edges_lead_down_and_around(sizes: Sequence[tuple[float, float]], layout: Layout) -> None:
    boxes = [(x, y, w, h) for (x, y), (w, h) in zip(layout.corners, sizes, strict=True)]
    for (source, target), points in layout.routes.items():
        (x, y), (w, h) = layout.corners[source], sizes[source]
        assert x <= points[0][0] <= x + w and points[0][1] == pytest.approx(y + h)
        (x, y), (w, _) = layout.corners[target], sizes[target]
        assert x <= points[-1][0] <= x + w and points[-1][1] == pytest.approx(y)
        assert all(lower[1] >= upper[1] for upper, lower in itertools.pairwise(points))
        for (from_x, from_y), (to_x, to_y) in itertools.pairwise(points):
            left, right = sorted((from_x, to_x))
            for box, (x, y, w, h) in enumerate(boxes):
                beside = right <= x or x + w <= left or to_y <= y + 1e-6 or y + h <= from_y + 1e-6
                assert beside or box in (source, target)


@given(drawings())
def test_boxes_never_overlap_and_edges_lead_down_around_them(
    drawn: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = drawn
    layout = lay_out(sizes, longest_paths(len(sizes), edges), edges)
    assert set(layout.routes) == set(edges)
    assert_nothing_overlaps(sizes, layout)
    assert_edges_lead_down_and_around(sizes, layout)
    assert all(
        x >= 0 and x + w <= layout.width
        for (x, _), (w, _) in zip(layout.corners, sizes, strict=True)
    )


@given(drawings())
def test_there_are_as_many_layers_as_the_longest_path_has_nodes(
    drawn: tuple[list[tuple[float, float]], list[tuple[int, int]]],
) -> None:
    sizes, edges = drawn
    view = networkx.DiGraph(edges)
    expected = networkx.dag_longest_path_length(view) if edges else 0
    layers = longest_paths(len(sizes), edges)
    assert max(layers) == expected
    assert all(layers[source] < layers[target] for source, target in edges)


def test_a_tree_is_drawn_without_crossings_and_a_chain_straight() -> None:
    tree = [(k, child) for k in range(15) for child in (2 * k + 1, 2 * k + 2)]
    shuffled = np.random.default_rng(0).permutation(len(tree))
    layout = lay_out([(40.0, 20.0)] * 31, longest_paths(31, tree), [tree[k] for k in shuffled])
    for first, second in itertools.combinations(layout.routes.values(), 2):
        if first[0][1] == second[0][1]:  # of one layer
            assert (first[0][0] - second[0][0]) * (first[-1][0] - second[-1][0]) >= 0
    chain = [(k, k + 1) for k in range(50)]
    layout = lay_out(
        [(30.0 + k % 7 * 10, 20.0) for k in range(51)], longest_paths(51, chain), chain
    )
    middles = {round(x, 3) for points in layout.routes.values() for x, _ in points}
    assert len(middles) == 1


@given(st.integers(0, 2**32 - 1))
def test_places_are_the_nearest_that_keep_their_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted, weights, gaps = rng.normal(0, 5, 6), rng.uniform(0.1, 3, 6), rng.uniform(0, 4, 5)
    found = np.array(spaced(wanted.tolist(), weights.tolist(), gaps.tolist()))
    assert (np.diff(found) >= gaps - 1e-9).all()
    cost = float((weights * (found - wanted) ** 2).sum())
    for _ in range(50):  # no other place that is allowed is nearer
        steps = gaps + np.abs(rng.normal(0, 2, 5))
        other = np.concatenate([[0], np.cumsum(steps)]) + rng.normal(0, 5)
        assert cost <= (weights * (other - wanted) ** 2).sum() + 1e-9


@pytest.mark.parametrize("name", GRAPHS)
def test_every_node_of_a_network_is_drawn(name: str) -> None:
    graph = GRAPHS[name]
    sketch = sketched(graph, graph.names)
    sizes = [(float(r.get("width", 0)), float(r.get("height", 0))) for r in boxes_of(draw(graph))]
    assert_nothing_overlaps(sizes, sketch.layout)
    words = " ".join(line.text for box in sketch.boxes for line in box).split()
    assert set(graph.names.values()) - set(words) == unused_inputs(graph)


def unused_inputs(graph: Graph) -> set[str]:
    """Names of inputs that nothing reads, which have no box to be written into."""
    read = {i for node in graph.nodes for i in node.inputs} | {*graph.outputs}
    held = (i for i in graph.inputs if i not in read and i.attrs["kind"] != "data")
    return {graph.names[i] for i in held}


def boxes_of(svg: str) -> list[ElementTree.Element]:
    """The rectangles of the nodes, in order."""
    return [r for r in ElementTree.fromstring(svg).iter(f"{SVG}rect") if r.get("class") == "box"]


def test_every_use_is_an_edge_or_a_line_that_names_its_source() -> None:
    sketch = sketched(STEP, STEP.names)
    number = {node: k for k, node in enumerate(sketch.nodes)}
    for k, node in enumerate(sketch.nodes):
        lines = {line.node for line in sketch.boxes[k]}
        for source in node.inputs:
            assert (number.get(source), k) in sketch.layout.routes or source in lines


def test_a_drawing_is_xml_of_its_own_with_both_themes() -> None:
    graph = gc.parse('graph g(%"a<b": f32[3]) { %y = neg(%"a<b") : f32[3] return %y }')
    svg = draw(graph)
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert "prefers-color-scheme: dark" in svg
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert texts[:3] == ["a<b", "f32[3]", "neg"]
    assert "output 0" in texts
    assert re.findall(r"https?://[^\"]+", svg) == ["http://www.w3.org/2000/svg"]


def test_what_changed_is_marked() -> None:
    add, tanh = (next(n for n in LENET5.nodes if n.op.name == name) for name in ("add", "tanh"))
    weight = LENET5.input_named("0.weight")
    svg = draw(LENET5, changed={add: "added", tanh: "removed", weight: "changed"})
    groups = {g.get("class"): g for g in ElementTree.fromstring(svg).iter(f"{SVG}g")}
    assert "node elementwise added" in groups and "node elementwise removed" in groups
    marked = [
        t.text for t in ElementTree.fromstring(svg).iter(f"{SVG}text") if t.get("class") in CHANGES
    ]
    assert marked == ["0.weight f32[6,1,5,5]"]


def test_nothing_recurses_over_a_deep_graph() -> None:
    def deep(x):  # type: ignore[no-untyped-def]
        for _ in range(2000):
            x = gc.nn.tanh(x) + x
        return x

    graph = gc.trace(deep, "f32[N]")
    sketch = sketched(graph, graph.names)
    assert len(sketch.boxes) == len(graph.nodes) == 4001
