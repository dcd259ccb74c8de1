"""The layout of narrow networks: the batch innermost.

`batch_last` puts the samples side by side: every kernel then runs in lanes of samples, with unit
strides whatever the window, stride or number of channels; small nets reach the machine's peak so.
It pays as soon as a batch fills a vector. With few samples `batch_first` runs in lanes along a row
of pixels or features.

The gradient of a dense layer's weights sums over samples and nothing else: lanes of samples would
end in a sum across lanes for every weight. There one operand goes back to `batch_first` and the
lanes run along features, if there are enough to fill a vector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ir.index import Variable, index
from graphc.ir.layouts import BATCH_PADDING, blocked_axes
from graphc.ir.node import Node, remake
from graphc.ir.types import Batch, TensorType
from graphc.ops.op import family_of, op_of
from graphc.ops.views import relayout, transpose
from graphc.passes.base import Pass
from graphc.passes.block_channels import CONVOLUTIONS, results_of, weights_of

FEW_TERMS = 16
FEW_LANES = 16
MOVED = 20  # multiply-adds in the time in which a number is read and written elsewhere
WORTH = 1.25


@dataclass(frozen=True)
class BatchLast(Pass):
    """Stores everything that has a batch with the batch innermost; inputs and outputs keep their
    layout. A network with channels in blocks stays as it is.

    y = relu(x)  ->  y = relayout(relu(relayout(x) {layout='batch_last'})) {layout='batch_first'}
    """

    name = "batch_last"

    def run(self, graph: Graph) -> Graph:
        if any(
            isinstance(n.type, TensorType) and blocked_axes(n.tensor.layout) for n in graph.nodes
        ) or _rows_pay(graph):
            return graph
        new: dict[Node, Node] = {}
        for node in graph.nodes:
            if node.op.name == "input":
                new[node] = _stored(node, "batch_last")
            else:
                with written_at(node.location, node.origin):
                    new[node] = _short_sum(remake(node, tuple(new[i] for i in node.inputs)))
        outputs = [_stored(new[o], "batch_first") for o in graph.outputs]
        return Graph(graph.name, graph.inputs, outputs, graph.donations)


def _stored(node: Node, layout: str) -> Node:
    """`node` in another layout, if it has a batch."""
    if node.tensor.batch_axis is None:
        return node
    with written_at(node.location, node.origin):
        return relayout(node, layout=layout)


def _rows_pay(graph: Graph) -> bool:
    """Whether lanes along rows of pixels lose less at the ends of rows, and by copies to pad
    images, than it costs to put samples side by side and back: a narrow convolution on its own.
    """
    convolutions = [n for n in graph.nodes if n.op.name in CONVOLUTIONS]
    others = {family_of(n) for n in graph.nodes} - {"input", "elementwise", "create", "contraction"}
    products = [n for n in graph.nodes if family_of(n) == "contraction"]
    if others or not convolutions or len(products) > len(convolutions):
        return False
    if any(
        n.attrs["stride"] != (1, 1) or weights_of(n).tensor.shape[2:] == (1, 1)
        for n in convolutions
    ):
        return False
    ends = [n.tensor for n in (*graph.inputs, *graph.outputs) if n.tensor.batch_axis is not None]
    padded = [
        n.inputs[0].tensor
        for n in convolutions
        if any(n.attrs["padding"]) or n.op.name == "conv2d_input_grad"
    ]
    lost = sum(map(_lost_at_ends, convolutions))
    along_rows = lost + MOVED * sum(t.count(1) for t in padded)
    return MOVED * sum(t.count(1) for t in ends) > WORTH * along_rows


def _lost_at_ends(convolution: Node) -> float:
    """Multiply-adds of a sample that lanes beyond the ends of rows do for nothing."""
    weights, images = weights_of(convolution).tensor, results_of(convolution).tensor
    row = (images if convolution.op.name == "conv2d_weight_grad" else convolution.tensor).shape[3]
    assert isinstance(row, int)
    work = images.count(1) * math.prod(d for d in weights.shape[1:] if isinstance(d, int))
    return work * (-(-row // BATCH_PADDING) * BATCH_PADDING / row - 1)


def _short_sum(node: Node) -> Node:
    """A contraction that sums over the batch and little else reads one operand `batch_first`.

    It is the operand that moves along the output's last axis: lanes run there, if it is long.
    """
    op = op_of(node)
    if op.family != "contraction":
        return node
    assert op.contraction is not None
    spec = op.contraction(tuple(i.tensor for i in node.inputs), node.attrs)
    over_batch = any(isinstance(d, Batch) for _, d in spec.reduced)
    others = math.prod(d for _, d in spec.reduced if isinstance(d, int))
    if not over_batch or others >= FEW_TERMS:
        return node
    at = {name: index(Variable(name)) for name, _ in (*spec.axes, *spec.reduced)}
    out, _, right = spec.access(at)
    last = [extent for name, extent in spec.axes if Variable(name) in out[-1].variables]
    if math.prod(d for d in last if isinstance(d, int)) < FEW_LANES:
        return node
    chosen = int(any(out[-1].variables & i.variables for i in right))
    inputs = [_through_views(i) if k == chosen else i for k, i in enumerate(node.inputs)]
    return remake(node, tuple(inputs))


def _through_views(node: Node) -> Node:
    """`node` stored `batch_first`: its source is, if it is only a transposed view of one."""
    if node.op.name == "transpose":
        return transpose(_through_views(node.inputs[0]), axes=node.attrs["axes"])
    return relayout(node, layout="batch_first")
