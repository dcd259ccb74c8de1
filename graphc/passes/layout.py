"""Layouts: where the batch lies in memory, and padding made explicit where loops would stumble
over it.

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

from graphc.ir.graph import Graph
from graphc.ir.index import Variable, index
from graphc.ir.node import Node, remake
from graphc.ir.rewrite import rebuild
from graphc.ir.types import Batch
from graphc.ops.contractions import conv2d
from graphc.ops.op import op_of
from graphc.ops.views import pad, relayout, reshape, reverse, transpose
from graphc.passes.base import Pass

FEW_TERMS = 16
FEW_LANES = 16


@dataclass(frozen=True)
class BatchLast(Pass):
    """Stores everything that has a batch with the batch innermost; inputs and outputs keep their
    layout.

    y = relu(x)  ->  y = relayout(relu(relayout(x) {layout='batch_last'})) {layout='batch_first'}
    """

    name = "batch_last"

    def run(self, graph: Graph) -> Graph:
        new: dict[Node, Node] = {}
        for node in graph.nodes:
            if node.op.name == "input":
                has_batch = node.tensor.batch_axis is not None
                new[node] = relayout(node, layout="batch_last") if has_batch else node
                continue
            new[node] = _short_sum(remake(node, tuple(new[i] for i in node.inputs)))
        outputs = []
        for output in graph.outputs:
            found = new[output]
            has_batch = found.tensor.batch_axis is not None
            outputs.append(relayout(found, layout="batch_first") if has_batch else found)
        return Graph(graph.name, graph.inputs, outputs, graph.donations)


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


@dataclass(frozen=True)
class PadWindows(Pass):
    """Convolutions that lanes along a row cannot run at its ends read a padded copy instead.

    conv2d(x, w) {padding=1}  ->  conv2d(pad(x), w) {padding=0}
    conv2d_input_grad(g, w)   ->  conv2d(pad(g), transpose(reverse(w)))
    """

    name = "pad_windows"

    def run(self, graph: Graph) -> Graph:
        return rebuild(graph, _padded)


def _padded(node: Node, inputs: tuple[Node, ...]) -> Node:
    attrs = dict(node.attrs)
    if node.op.name == "conv2d_input_grad":
        strided = max(attrs["stride"]) > 1 and max(attrs["dilation"]) > 1
        if strided or inputs[0].tensor.layout == "batch_first":
            return _as_convolution(*inputs, **attrs)
    needs_padding = node.op.name == "conv2d_weight_grad" or (
        node.op.name == "conv2d" and inputs[0].tensor.layout == "batch_first"
    )
    if not needs_padding or not any(attrs["padding"]):
        return remake(node, inputs)
    top, bottom, left, right = attrs["padding"]
    x = pad(inputs[0], low=(0, 0, top, left), high=(0, 0, bottom, right))
    return remake(node, (x, inputs[1]), attrs | {"padding": (0, 0, 0, 0)})


def _as_convolution(
    g: Node,
    w: Node,
    *,
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Node:
    """The gradient of a convolution's input as a convolution: spread by the stride, padded,
    weights turned round.
    """
    reach = [d * (int(s) - 1) for d, s in zip(dilation, w.tensor.shape[2:], strict=True)]  # type: ignore[arg-type]
    low = [reach[a] - padding[2 * a] for a in range(2)]
    spread = [(int(e) - 1) * s + 1 for e, s in zip(g.tensor.shape[2:], stride, strict=True)]  # type: ignore[arg-type]
    high = [size[a] + reach[a] - low[a] - spread[a] for a in range(2)]
    wide = pad(
        g, low=(0, 0, *low), high=(0, 0, *high), interior=(0, 0, stride[0] - 1, stride[1] - 1)
    )
    maps, channels, *window = w.tensor.shape
    turned = reverse(w, axes=(2, 3))
    if groups == 1:
        return conv2d(wide, transpose(turned, axes=(1, 0, 2, 3)), dilation=dilation)
    each = int(maps) // groups  # type: ignore[arg-type]
    split = reshape(turned, shape=(groups, each, channels, *window))
    exchanged = transpose(split, axes=(0, 2, 1, 3, 4))
    joined = reshape(exchanged, shape=(groups * int(channels), each, *window))  # type: ignore[arg-type]
    return conv2d(wide, joined, dilation=dilation, groups=groups)
