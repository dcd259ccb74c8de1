"""What a prediction computes from parameters alone, apart from the rest: done once, not each time.

Two passes cut a lowered graph in two; whoever runs them hands the results of the one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node, remake
from graphc.ir.types import TensorType, TupleType
from graphc.passes.base import Pass
from graphc.passes.plan_memory import is_kernel, source_of

PREFIX = "constant."


@dataclass(frozen=True)
class Constants(Pass):
    """What depends on parameters alone and is read by the rest; the whole graph if nothing does,
    or if parameters change while it runs.

    y = conv2d(x, relayout(w))  ->  c = relayout(w)
    """

    name = "constants"
    changes_values = True  # other outputs
    required = True

    def run(self, graph: Graph) -> Graph:
        found = _split(graph)
        return graph if found is None else found[0]


@dataclass(frozen=True)
class WithoutConstants(Pass):
    """The rest of the graph, with what `constants` computes as further inputs, "constant.0" and
    so on.

    y = conv2d(x, relayout(w))  ->  y = conv2d(x, c)
    """

    name = "without_constants"
    changes_values = True  # other inputs
    required = True

    def run(self, graph: Graph) -> Graph:
        found = _split(graph)
        return graph if found is None else found[1]


def _split(graph: Graph) -> tuple[Graph, Graph] | None:
    """(constants, rest) of a lowered graph; None if nothing depends on parameters alone, or if
    parameters change while it runs.

    constants: from the inputs that are no data to what the rest reads of them. rest: the graph with
    these as further inputs, named "constant.0" and so on, in the order of the first's outputs.
    """
    if graph.donations:
        return None
    fixed: set[Node] = set()
    for node in graph.nodes:
        if node.op.name == "input":
            if node.attrs["kind"] != "data":
                fixed.add(node)
        elif all(i in fixed for i in node.inputs) and not _knows_batch(node):
            fixed.add(node)
    own = {source_of(o)[0] for o in graph.outputs}
    users = graph.users()

    def is_read_outside(node: Node) -> bool:
        renamed = [u for u in users[node] if u in fixed and not is_kernel(u)]
        return any(u not in fixed for u in users[node]) or any(map(is_read_outside, renamed))

    cut = [
        node
        for node in graph.nodes
        if node in fixed
        and source_of(node)[0] not in own
        and isinstance(node.type, TensorType)
        and (is_kernel(node) or node.op.name == "get")
        and is_read_outside(node)
    ]
    if not cut:
        return None
    stand_ins = {node: make_input(f"{PREFIX}{k}", node.tensor) for k, node in enumerate(cut)}
    held = [i for i in graph.inputs if i.attrs["kind"] != "data"]
    new: dict[Node, Node] = {i: i for i in graph.inputs} | stand_ins
    needed = _needed(graph, set(stand_ins))
    for node in graph.nodes:
        if node not in new and node in needed:
            new[node] = remake(node, tuple(new[i] for i in node.inputs))
    outputs = [new[o] for o in graph.outputs]
    constants = Graph(f"{graph.name}_constants", held, cut)
    return constants, Graph(graph.name, [*graph.inputs, *stand_ins.values()], outputs)


def _knows_batch(node: Node) -> bool:
    """Whether the batch size matters to a node, or to one inside it."""
    if node.op.name == "fused":
        body: Graph = node.attrs["body"]
        return any(map(_knows_batch, body.nodes))
    types = node.type.elements if isinstance(node.type, TupleType) else (node.type,)
    return node.op.name == "batch_size" or any(t.batch_axis is not None for t in types)


def _needed(graph: Graph, known: set[Node]) -> set[Node]:
    """What the outputs need beyond `known`."""
    stack, found = [o for o in graph.outputs if o not in known], set()
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(i for i in node.inputs if i not in known)
    return found
