"""Layer ops become the primitives that they mean. It knows no layer: each says what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ir.node import Node, remake
from graphc.ops.op import Op, op_of
from graphc.passes.base import Pass

Meaning = Node | tuple[Node, ...]


def meaning(node: Node, inputs: tuple[Node, ...]) -> Meaning:
    """What a layer node means on `inputs`: one node, or one for each of its results.

    The nodes are said to be written where the layer was.
    """
    op = op_of(node)
    assert op.decompose is not None
    with written_at(node.location, node.origin):
        found: Meaning = op.decompose(*inputs, **node.attrs)
    return found


def decomposed(node: Node) -> Node:
    """What a layer node with a single result means on its own inputs."""
    found = meaning(node, node.inputs)
    assert isinstance(found, Node)
    return found


@dataclass(frozen=True)
class Decompose(Pass):
    """Every layer op, as long as there is one, becomes primitives.

    softmax(x)  ->  e = exp(x - max(x)); e / sum(e)
    """

    name: ClassVar[str] = "decompose"
    required = True

    def run(self, graph: Graph) -> Graph:
        new = _once(graph)
        while new is not graph:
            graph, new = new, _once(new)
        return graph


def _once(graph: Graph) -> Graph:
    """Every layer op replaced by its meaning, which may hold layers again."""
    single: dict[Node, Node] = {}
    several: dict[Node, tuple[Node, ...]] = {}
    for node in graph.nodes:
        if node.op.name == "get" and node.inputs[0] in several:
            single[node] = several[node.inputs[0]][node.attrs["index"]]
            continue
        inputs = tuple(single[i] for i in node.inputs)
        if not isinstance(node.op, Op) or node.op.decompose is None:
            single[node] = remake(node, inputs)
            continue
        found = meaning(node, inputs)
        if isinstance(found, tuple):
            several[node] = found
        else:
            single[node] = found
    outputs = [single[o] for o in graph.outputs]
    return Graph(graph.name, graph.inputs, outputs, graph.donations)
