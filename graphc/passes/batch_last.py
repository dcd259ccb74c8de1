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
from graphc.ir.layouts import blocked_axes, features
from graphc.ir.node import Node, remake
from graphc.ir.types import Batch, DType, TensorType
from graphc.ops.op import family_of, op_of
from graphc.ops.views import relayout, transpose
from graphc.passes.base import Pass
from graphc.passes.layout_costs import CONVOLUTIONS, MOVED, lost_at_ends, products, weights_of

FEW_TERMS = 16
FEW_LANES = 16
WORTH = 1.25
GIVEN = ("input", "elementwise", "view", "create")


@dataclass(frozen=True)
class BatchLast(Pass):
    """Stores everything that has a batch, and no channels in blocks, with the batch innermost;
    inputs and outputs keep their layout.

    y = relu(x)  ->  y = relayout(relu(relayout(x) {layout='batch_last'})) {layout='batch_first'}
    """

    name = "batch_last"

    def run(self, graph: Graph) -> Graph:
        in_blocks = {n for n in graph.nodes if _in_blocks(n)}
        if not in_blocks and _rows_pay(graph):
            return graph
        given: set[Node] = set()
        new: dict[Node, Node] = {}
        for node in graph.nodes:
            if family_of(node) in GIVEN and all(i in given for i in node.inputs):
                given.add(node)
            with written_at(node.location, node.origin):
                if node.op.name == "input":
                    new[node] = _stored(node, "batch_last")
                elif node in in_blocks:
                    inputs = tuple(_as_before(i, given, new) for i in node.inputs)
                    new[node] = _beside_blocks(remake(node, inputs))
                else:
                    new[node] = _short_sum(remake(node, tuple(new[i] for i in node.inputs)))
        outputs = []
        for output in graph.outputs:
            with written_at(output.location, output.origin):
                outputs.append(_stored(new[output], "batch_first"))
        return Graph(graph.name, graph.inputs, outputs, graph.donations)


def _in_blocks(node: Node) -> bool:
    """Whether `node` reads or writes channels in blocks, or features in the order of such images,
    or reads pairs of bf16 in rows.
    """
    types = [n.type for n in (node, *node.inputs) if isinstance(n.type, TensorType)]
    blocks = any(blocked_axes(t.layout) or features(t.layout) for t in types)
    return blocks or any(t.dtype is DType.bf16 for t in types)


def _as_before(read: Node, given: set[Node], new: dict[Node, Node]) -> Node:
    """`read` in the layout that it had: what is given itself, else a copy of what was made of it;
    of what is repeated where it is read, a copy of what it repeats.
    """
    if read in given or not isinstance(read.type, TensorType):
        return read if read in given else new[read]
    if read.op.name == "broadcast":
        return remake(read, (_as_before(read.inputs[0], given, new),))
    return _stored(new[read], read.tensor.layout)


def _beside_blocks(node: Node) -> Node:
    """A result of what runs in blocks, with samples side by side if it is in no blocks itself."""
    if not isinstance(node.type, TensorType) or node.tensor.layout != "batch_first":
        return node
    return _stored(node, "batch_last")


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
    contractions = [n for n in graph.nodes if family_of(n) == "contraction"]
    if others or not convolutions or len(contractions) > len(convolutions):
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
    lost = sum(products(n) * lost_at_ends(n) for n in convolutions)
    along_rows = lost + MOVED * sum(t.count(1) for t in padded)
    return MOVED * sum(t.count(1) for t in ends) > WORTH * along_rows


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
