"""Graphs for other tools: a networkx view, and DOT read back by its grammar."""

from __future__ import annotations

import re

import networkx
import numpy as np
import pytest

import graphc as gc
from graphc.ir.graph import Graph, make_input
from graphc.ir.types import parse_type
from graphc.ops.elementwise import mul, neg
from graphc.passes.base import Pipeline
from graphc.testing import random_graph

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|->|[\w.]+|[{}\[\];=,])')


def read_dot(text: str) -> networkx.MultiDiGraph:
    """The vertices and edges of a DOT file, each with its attributes; statements as we write them:
    a vertex or an edge, with attributes in brackets, ended by a semicolon.
    """
    tokens = [unquoted(t) for t in TOKEN.findall(text)]
    assert "".join(TOKEN.findall(text)) == re.sub(r'\s+(?=(?:[^"]|"(?:[^"\\]|\\.)*")*$)', "", text)
    assert tokens[0] == "digraph" and tokens[2] == "{" and tokens[-1] == "}"
    view = networkx.MultiDiGraph(name=tokens[1])
    statement: list[str] = []
    for token in tokens[3:-1]:
        if token != ";":
            statement.append(token)
            continue
        opened = statement.index("[")
        head, inside = statement[:opened], statement[opened + 1 : -1]
        attributes = dict(zip(inside[::4], inside[2::4], strict=True))
        if "->" in head:
            view.add_edge(head[0], head[2], **attributes)
        elif head != ["node"]:
            view.add_node(head[0], **attributes)
        statement = []
    assert not statement
    return view


def unquoted(token: str) -> str:
    if not token.startswith('"'):
        return token
    return re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), token[1:-1])


def test_the_view_says_what_each_node_is_and_where_it_was_written() -> None:
    x = make_input("x", parse_type("f32[N,81]"))
    view = Graph("g", (x,), (mul(neg(x), x),)).to_networkx()
    assert view.graph == {"name": "g", "outputs": ["mul"]}
    assert view.nodes["neg"]["op"] == "neg" and view.nodes["neg"]["type"] == "f32[N,81]"
    assert view.nodes["neg"]["location"].startswith("test_export.py:")
    assert view.nodes["x"]["attrs"]["kind"] == "data"


def test_the_view_says_what_a_gradient_is_of() -> None:
    net = gc.nn.Sequential(gc.nn.Dense(3), gc.nn.Tanh())
    model = gc.Model(net, "f32[N,82]", "mse", gc.optim.SGD(0.1), "numpy", target_type="f32[N,3]")
    origins = {origin for _, origin in model.graphs["train"].to_networkx().nodes(data="origin")}
    assert {"gradient of %tanh", "gradient of %matmul", "optimizer", ""} <= origins


@pytest.mark.parametrize("seed", range(20))
def test_dot_holds_every_node_and_every_use(seed: int) -> None:
    drawn = random_graph(np.random.default_rng(seed))
    for graph in (drawn, Pipeline.parse("decompose,simplify,fuse")(drawn)):
        found, view = read_dot(graph.to_dot()), graph.to_networkx()
        assert found.name == graph.name
        assert list(found.nodes) == list(view.nodes)
        assert [(a, b, int(k)) for a, b, k in found.edges(data="headlabel")] == list(
            view.edges(data="position")
        )
        for name, label in found.nodes(data="label"):
            assert label.startswith(f"%{name}\n") and view.nodes[name]["type"] in label


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "new\nline", "0.weight", "ünï"])
def test_any_name_is_quoted_for_dot(name: str) -> None:
    x = make_input(name, parse_type("f32[2]"))
    found = read_dot(Graph(name, (x,), (neg(x),)).to_dot())
    assert found.name == name and list(found.edges()) == [(name, "neg")]


def test_a_kernel_lists_the_ops_inside_it() -> None:
    graph = gc.trace(lambda x: -(x * x) + 1.0, "f32[N,83]")
    labels = dict(read_dot(Pipeline.parse("fuse")(graph).to_dot()).nodes(data="label"))
    assert any("mul neg" in label and "add" in label for label in labels.values())
