"""Graphs: what they refuse, their order and views, and that a chain of 100,000 nodes is nothing
special.
"""

from __future__ import annotations

import copy
import pickle
import time

import networkx
import numpy as np
import pytest

from graphc.base.errors import GraphcError, InternalError
from graphc.ir.graph import Graph, make_input, topological_order
from graphc.ir.node import Node, make
from graphc.ir.text import graph_text, parse, verify
from graphc.ir.types import parse_type
from graphc.ops.elementwise import add, mul, neg, relu
from graphc.ops.interpret import interpret
from graphc.ops.reductions import sum as sum_of
from graphc.ops.structure import fused
from graphc.passes.autodiff import grad

X = make_input("x", parse_type("f32[N,3]"))
W = make_input("w", parse_type("f32[3]"), "parameter")
CHAIN = 100_000


def _graph() -> Graph:
    hidden = relu(mul(X, W))
    return Graph("net", (X, W), (add(hidden, 1.0), sum_of(hidden)))


def test_the_same_graph_is_the_same_object() -> None:
    assert _graph() is _graph()
    assert Graph("other", (X,), (relu(X),)) is not Graph("net", (X,), (relu(X),))


def test_nodes_come_after_their_inputs_and_inputs_first() -> None:
    graph = _graph()
    position = {node: k for k, node in enumerate(graph.nodes)}
    assert graph.nodes[:2] == (X, W)
    assert all(position[i] < position[n] for n in graph for i in n.inputs)
    assert len(graph) == len(set(graph.nodes))


def test_names_are_stable_and_distinct() -> None:
    names = _graph().names
    assert sorted(names.values()) == sorted(set(names.values()))
    assert names[X] == "x"
    taken = make_input("relu", parse_type("f32[N,3]"))
    assert Graph("g", (taken,), (relu(taken),)).names[relu(taken)] == "relu_1"


def test_users_are_listed_once_for_each_use() -> None:
    square = mul(X, X)
    assert Graph("g", (X,), (square,)).users()[X] == [square, square]


@pytest.mark.parametrize(
    ("inputs", "outputs", "donations", "message"),
    [
        ((X, X), (relu(X),), (), "appears twice"),
        ((X, make_input("x", parse_type("f32[2]"))), (relu(X),), (), "appears twice"),
        ((X,), (mul(X, W),), (), "reads 'w', which is not among its inputs"),
        ((X, relu(X)), (relu(X),), (), "is no input node"),
        ((X,), (), (), "no output"),
        ((X, W), (relu(X),), ((0, 1),), "cannot overwrite 'w'"),
        ((X, W), (relu(X), neg(X)), ((0, 0), (1, 0)), "two outputs overwrite one input"),
    ],
)
def test_graphs_that_are_refused(
    inputs: tuple[Node, ...],
    outputs: tuple[Node, ...],
    donations: tuple[tuple[int, int], ...],
    message: str,
) -> None:
    with pytest.raises(GraphcError, match=message) as caught:
        Graph("bad", inputs, outputs, donations)
    assert caught.value.remedy


def test_an_input_that_does_not_exist_is_named_with_those_that_do() -> None:
    assert _graph().input_named("w") is W
    with pytest.raises(GraphcError, match="no input 'v'") as caught:
        _graph().input_named("v")
    assert "x, w" in str(caught.value)


def test_an_input_has_one_of_three_kinds() -> None:
    with pytest.raises(GraphcError, match="kind 'weight'"):
        make_input("w", parse_type("f32[2]"), "weight")


def test_graphs_are_immutable() -> None:
    graph = _graph()
    with pytest.raises(GraphcError, match="immutable"):
        graph.name = "other"
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="not pickled"):
            attempt(graph)


def test_the_networkx_view_has_every_use_as_an_edge() -> None:
    graph = Graph("g", (X,), (mul(relu(X), X),))
    view = graph.to_networkx()
    found = {key: view.nodes["relu"][key] for key in ("op", "type", "attrs")}
    assert found == {"op": "relu", "type": "f32[N,3]", "attrs": {}}
    edges = sorted(view.edges(data="position"))
    assert edges == [("relu", "mul", 0), ("x", "mul", 1), ("x", "relu", 0)]
    assert networkx.is_directed_acyclic_graph(view)


def test_the_verifier_finds_a_type_that_its_rule_does_not_give() -> None:
    node = relu(add(X, 0.25))
    graph = Graph("g", (X,), (node,))
    verify(graph)
    right = node.type
    object.__setattr__(node, "type", parse_type("f32[N,4]"))
    try:
        with pytest.raises(InternalError, match=r"relu has the type f32\[N,4\] but its rule says"):
            verify(graph)
    finally:
        object.__setattr__(node, "type", right)


def test_the_verifier_looks_into_fused_bodies() -> None:
    inner = make_input("a", parse_type("f32[N,3]"))
    node = add(inner, 0.375)
    outer = Graph("g", (X,), (fused(Graph("body", (inner,), (relu(node),)), X),))
    verify(outer)
    right = node.type
    object.__setattr__(node, "type", parse_type("f32[N,5]"))
    try:
        with pytest.raises(InternalError, match="add has the type"):
            verify(outer)
    finally:
        object.__setattr__(node, "type", right)


def test_a_chain_of_100_000_nodes_is_made_printed_parsed_verified_run_and_differentiated() -> None:
    begin = time.perf_counter()
    x = make_input("x", parse_type("f64[2]"))
    node = x
    for _ in range(CHAIN // 2):
        node = neg(add(node, 1.0))
    graph = Graph("chain", (x,), (sum_of(node),))
    assert len(graph) > CHAIN
    assert parse(str(graph)) is graph
    verify(graph)
    assert interpret(graph, {"x": np.array([1.0, 2.0])})[0] == 3.0
    slope = grad(graph)
    assert interpret(slope, {"x": np.array([1.0, 2.0])})[0].tolist() == [1.0, 1.0]
    assert graph.to_networkx().number_of_nodes() == len(graph)
    assert time.perf_counter() - begin < 30


def test_deep_diamonds_are_visited_once() -> None:
    """2^200 paths, 200 nodes."""
    node = X
    for _ in range(200):
        node = add(node, node)
    assert len(topological_order([node])) == 201


def test_the_difference_of_two_graphs_is_a_diff_of_their_text() -> None:
    before, after = Graph("g", (X,), (relu(X),)), Graph("g", (X,), (neg(X),))
    assert before.diff(before) == ""
    changed = [line for line in before.diff(after).splitlines() if line[:1] in "+-"]
    assert any("relu(%x)" in line for line in changed)
    assert any("neg(%x)" in line for line in changed)


def test_donations_are_printed_and_read_back() -> None:
    graph = Graph("g", (X, W), (relu(W), neg(X)), ((0, 1),))
    assert "return %relu into %w, %neg" in graph_text(graph)
    assert parse(str(graph)) is graph
    assert graph is not Graph("g", (X, W), (relu(W), neg(X)))


def test_make_finds_the_users_line() -> None:
    node = make("relu", (make_input("fresh name", parse_type("f32[2]")),))
    assert node.location is not None and node.location.file == __file__
