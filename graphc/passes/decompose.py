"""Layer ops become the primitives that they mean."""

from __future__ import annotations

from dataclasses import dataclass

from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ir.node import Node, remake
from graphc.ops.op import op_of
from graphc.passes.base import Pass


def decomposed(node: Node) -> Node:
    """The primitives that a layer node with one result means."""
    decompose = op_of(node).decompose
    assert decompose is not None
    with written_at(node.location, node.origin):
        result: Node = decompose(*node.inputs, **node.attrs)
    return result


@dataclass(frozen=True)
class Decompose(Pass):
    """Every layer op, as long as there is one, becomes primitives.

    softmax(x)  ->  e = exp(x - max(x)); e / sum(e)
    """

    name = "decompose"

    def run(self, graph: Graph) -> Graph:
        while True:
            new = _once(graph)
            if new is graph:
                return graph
            graph = new


def _once(graph: Graph) -> Graph:
    new: dict[Node, Node | tuple[Node, ...]] = {}

    def single(node: Node) -> Node:
        found = new[node]
        assert isinstance(found, Node)
        return found

    for node in graph.nodes:
        if node.op.name == "input":
            new[node] = node
            continue
        if node.op.name == "get" and isinstance(new[node.inputs[0]], tuple):
            new[node] = new[node.inputs[0]][node.attrs["index"]]  # type: ignore[index]
            continue
        inputs = tuple(single(i) for i in node.inputs)
        op = op_of(node)
        if op.decompose is None:
            new[node] = remake(node, inputs)
            continue
        with written_at(node.location, node.origin):
            new[node] = op.decompose(*inputs, **node.attrs)
    return Graph(graph.name, graph.inputs, [single(o) for o in graph.outputs], graph.donations)
