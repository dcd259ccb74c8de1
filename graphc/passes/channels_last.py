"""The layout of graphics processors: channels innermost.

Neighbouring threads then read neighbouring channels, whatever the window, the stride or the size of
an image, sixteen bytes at a time; and what a convolution sums over lies side by side in images and
weights alike, as tensor cores want it. Convolutions read and write images so; whatever else reads
one follows, but for `reshape`, which is about the row-major order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ir.layouts import CHANNELS_LAST, ROW_MAJOR
from graphc.ir.node import Node, remake
from graphc.ir.types import TensorType
from graphc.ops.op import family_of
from graphc.ops.views import relayout
from graphc.passes.base import Pass

CONVOLUTIONS = (
    "conv2d", "conv2d_input_grad", "conv2d_weight_grad", "conv2d_weight_grad_pieces"
)  # fmt: skip
FOLLOWING = ("elementwise", "reduction", "view")


@dataclass(frozen=True)
class ChannelsLast(Pass):
    """Stores images and the weights of convolutions with their channels innermost; inputs and
    outputs of the graph keep their layout. A network without convolutions stays as it is.

    y = conv2d(x, w)  ->  y = conv2d(relayout(x) {layout='channels_last'}, relayout(w) {...})
    """

    name: ClassVar[str] = "channels_last"

    def run(self, graph: Graph) -> Graph:
        if all(node.op.name not in CONVOLUTIONS for node in graph.nodes):
            return graph
        new: dict[Node, Node] = {}
        for node in graph.nodes:
            if node.op.name == "input":
                new[node] = node
                continue
            with written_at(node.location, node.origin):
                new[node] = remake(node, _operands(node, tuple(new[i] for i in node.inputs)))
        outputs = []
        for output in graph.outputs:
            with written_at(output.location, output.origin):
                outputs.append(_stored(new[output], output.tensor.layout))
        return Graph(graph.name, graph.inputs, outputs, graph.donations)


def _operands(node: Node, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
    """What `node` reads, stored as it likes to read it."""
    if node.op.name in CONVOLUTIONS:
        return tuple(_stored(i, CHANNELS_LAST) for i in inputs)
    follows = family_of(node) in FOLLOWING and node.op.name != "reshape"
    if follows and any(_is_image(i) for i in inputs):
        return tuple(i if _has_no_memory(i) else _stored(i, CHANNELS_LAST) for i in inputs)
    return tuple(_stored(i, ROW_MAJOR) for i in inputs)


def _is_image(node: Node) -> bool:
    return isinstance(node.type, TensorType) and node.type.layout == CHANNELS_LAST


def _has_no_memory(node: Node) -> bool:
    """Whether `node` is computed where it is read: numbers made up, or a vector repeated."""
    return family_of(node) == "create" or node.op.name == "broadcast"


def _stored(node: Node, layout: str) -> Node:
    """`node` stored in `layout`, row-major if its shape has no such thing."""
    if not isinstance(node.type, TensorType):
        return node
    return relayout(node, layout=node.type.with_layout(layout).layout)
