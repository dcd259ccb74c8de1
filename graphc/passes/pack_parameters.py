"""What stays between training steps lies as the kernels read it.

`block_channels` copies weights into blocks and gradients back in every step (`channels_last`, to
channels innermost). Here the weights themselves, and what the optimiser keeps of the same shape,
lie so from one step to the next: no copy of a weight is left where a kernel reads it in that
layout, and the update runs where the gradient is computed. Whoever runs such a graph asks
`packed_layouts` of it, and keeps arrays so.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.graph import Graph, make_input
from graphc.ir.layouts import ROW_MAJOR, features
from graphc.ir.node import Node, remake
from graphc.ir.types import TensorType
from graphc.ops.op import family_of
from graphc.ops.views import relayout
from graphc.passes.base import Pass


@dataclass(frozen=True)
class PackParameters(Pass):
    """Parameters that a training step copies into a layout, and the optimiser's states of the same
    shape, become inputs and outputs in that layout. In a graph that overwrites nothing, only those
    in the order of features do: whatever else it copies is computed once for many runs.

    g = conv2d_weight_grad(x, d); return sub(w, relayout(g)) into w  ->  return sub(w, g) into w
    """

    name = "pack_parameters"

    def run(self, graph: Graph) -> Graph:
        layouts = _layouts(graph) if graph.donations else _in_order_of_features(graph)
        if not layouts:
            return graph
        packed = {
            node: make_input(
                node.attrs["name"], node.tensor.with_layout(layout), node.attrs["kind"]
            )
            for node, layout in layouts.items()
        }
        new = {i: relayout(packed.get(i, i), layout=ROW_MAJOR) for i in graph.inputs}
        for node in graph.nodes:
            if node in new:
                continue
            if node.op.name == "relayout" and node.inputs[0] in packed:
                new[node] = relayout(packed[node.inputs[0]], layout=node.tensor.layout)
            else:
                new[node] = remake(node, tuple(new[i] for i in node.inputs))
        outputs = [new[o] for o in graph.outputs]
        position = {node: k for k, node in enumerate(graph.nodes)}
        for output, source in graph.donations:
            layout = layouts.get(graph.inputs[source])
            if layout is not None:
                outputs[output] = _stored(graph.outputs[output], layout, new, position)
        inputs = [packed.get(i, i) for i in graph.inputs]
        return Graph(graph.name, inputs, outputs, graph.donations)


def packed_layouts(graph: Graph) -> dict[str, str]:
    """By name the layout of every input that is kept between runs and is not row-major."""
    kept = [i for i in graph.inputs if i.attrs["kind"] != "data"]
    return {i.attrs["name"]: i.tensor.layout for i in kept if i.tensor.layout != ROW_MAJOR}


def _layouts(graph: Graph) -> dict[Node, str]:
    """The layouts in which inputs are to lie: of a parameter, that in which it is read first; of a
    state, that of the parameter with which it is updated.
    """
    users = graph.users()
    found: dict[Node, str] = {}
    for node in graph.inputs:
        copies = [u.tensor.layout for u in users[node] if u.op.name == "relayout"]
        layout = next((c for c in copies if c != ROW_MAJOR), None)
        if node.attrs["kind"] != "data" and layout is not None:
            found[node] = layout
    return with_states(graph, found)


def with_states(graph: Graph, layouts: dict[Node, str]) -> dict[Node, str]:
    """`layouts` of parameters, and of the states with which they are updated."""
    found = dict(layouts)
    together = [_updated_together(graph.inputs[s], graph.outputs[o]) for o, s in graph.donations]
    count = -1
    while count != len(found):  # a state may be reached by way of another
        count = len(found)
        for inputs in together:
            layout = next((found[i] for i in inputs if i in found), None)
            if layout is not None:
                found |= {i: layout for i in inputs if i not in found}
    return found


def _in_order_of_features(graph: Graph) -> dict[Node, str]:
    """The inputs that are read in the order of features and in no other, with their layouts."""
    users = graph.users()
    found: dict[Node, str] = {}
    for node in graph.inputs:
        layouts = {u.type.layout for u in users[node] if isinstance(u.type, TensorType)}
        if len(layouts) == 1 and node.attrs["kind"] != "data" and features(min(layouts)):
            found[node] = layouts.pop()
    return found


def _updated_together(before: Node, after: Node) -> list[Node]:
    """What is kept and of one shape: an input, and those from which its new value is computed
    element by element.
    """
    read = [i for node in _elementwise(after) for i in node.inputs]
    kept = [
        i
        for i in (before, after, *read)
        if i.op.name == "input"
        and i.attrs["kind"] != "data"
        and i.tensor.shape == before.tensor.shape
    ]
    return list(dict.fromkeys(kept))


def _elementwise(after: Node) -> list[Node]:
    """The elementwise nodes of its shape, itself included, that `after` is computed by."""
    found: dict[Node, None] = {}
    stack = [after]
    while stack:
        node = stack.pop()
        if node in found or family_of(node) != "elementwise":
            continue
        if node.tensor.shape == after.tensor.shape and node.tensor.layout == ROW_MAJOR:
            found[node] = None
            stack.extend(node.inputs)
    return list(found)


def _stored(after: Node, layout: str, new: dict[Node, Node], position: dict[Node, int]) -> Node:
    """`after` stored in `layout`: the elementwise code behind it runs there."""
    stored: dict[Node, Node] = {}

    def operand(node: Node) -> Node:
        if node in stored:
            return stored[node]
        has_memory = family_of(node) != "create" and node.op.name != "broadcast"
        if has_memory and node.tensor.shape == after.tensor.shape:
            return relayout(new[node], layout=layout)
        return new[node]

    for node in sorted(_elementwise(after), key=position.__getitem__):
        made = remake(node, tuple(map(operand, node.inputs)))
        stored[node] = relayout(made, layout=layout)
    return stored.get(after) or relayout(new[after], layout=layout)
