"""The layout of wide networks: channels in blocks of sixteen.

With sixteen channels of a pixel side by side, a vector holds channels: the lanes of a convolution's
results are maps, its register block is maps x pixels, and any window, stride, image or batch is as
good as any other. Weights are stored in the order in which the kernels read them.

What a node reads is stored so if the node runs through whole blocks: convolutions with a multiple
of sixteen maps, elementwise code, pooling, sums over pixels. Others (a dense layer behind
`reshape`, sums over windows of channels) read a row-major copy. Images of a few channels, such as a
network's input, stay row-major: convolutions only broadcast them.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ir.layouts import BATCH_PADDING, IMAGES, ROW_MAJOR
from graphc.ir.node import Node, remake
from graphc.ir.types import DType, TensorType
from graphc.ops.elementwise import cast
from graphc.ops.op import family_of
from graphc.ops.views import relayout
from graphc.passes.base import Pass
from graphc.passes.choose_layouts import is_tiled, nodes_in_blocks
from graphc.passes.layout_costs import CONVOLUTIONS, USUAL_BATCH
from graphc.passes.pad_windows import padded_window


@dataclass(frozen=True)
class BlockChannels(Pass):
    """Stores images with their channels in blocks where that costs least, and weights as they are
    read.

    batch: how many samples the costs are of; from 16 on, samples run in lanes elsewhere.
    everywhere: in blocks is all that can be, whatever it costs.

    y = conv2d(x, w)  ->  y = conv2d(relayout(x) {layout='blocked_1'}, relayout(w))
    """

    batch: int = USUAL_BATCH
    everywhere: bool = False
    name = "block_channels"

    def run(self, graph: Graph) -> Graph:
        chosen = nodes_in_blocks(graph, self.batch, everywhere=self.everywhere)
        if not chosen:
            return graph
        new: dict[Node, Node] = {}
        for node in graph.nodes:
            inputs = tuple(new[i] for i in node.inputs)
            with written_at(node.location, node.origin):
                if node.op.name == "input":
                    new[node] = node
                elif node.op.name in CONVOLUTIONS and node in chosen:
                    new[node] = self._convolved(node, inputs)
                else:
                    new[node] = remake(node, _operands(node, inputs, node in chosen))
        outputs = []
        for output in graph.outputs:
            with written_at(output.location, output.origin):
                outputs.append(_stored(new[output], output.tensor.layout))
        return Graph(graph.name, graph.inputs, outputs, graph.donations)

    def _convolved(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        """A convolution, or a gradient of one, of padded images in blocks. Copies from rows put the
        zeros around on their way; those from lanes of samples do not.
        """
        images = (0, 1) if node.op.name == "conv2d_weight_grad" else (0,)
        if self.batch >= BATCH_PADDING:
            inputs = tuple(_in_blocks(i) if k in images else i for k, i in enumerate(inputs))
        padded = padded_window(node, inputs)
        first, second = padded.inputs
        if node.op.name == "conv2d_weight_grad":
            return remake(padded, (_stored(first, IMAGES), _stored(second, IMAGES)))
        weights = _stored(second, "blocked_1_0", "blocked_0")
        if padded.op.name == "conv2d_input_grad":
            weights = _stored(weights, "blocked_0_1", "blocked_1")
        return remake(padded, (_stored(first, IMAGES), weights))


def _in_blocks(image: Node) -> Node:
    return _stored(image, IMAGES)


def _operands(node: Node, inputs: tuple[Node, ...], chosen: bool) -> tuple[Node, ...]:
    """What `node`, which is no convolution in blocks, reads, stored as it likes to read it."""
    if node.op.name in ("winograd_input", "winograd_output_grad"):
        return (_stored(inputs[0], IMAGES),)
    if node.op.name == "winograd_weights":
        return (_stored(_on_blocks(inputs[0]), "blocked_1_0"),)
    if is_tiled(node):
        return inputs
    if chosen:
        return tuple(i if _has_no_memory(i) else _stored(i, IMAGES) for i in inputs)
    return tuple(_stored(i, ROW_MAJOR) for i in inputs)


def _has_no_memory(node: Node) -> bool:
    """Whether `node` is computed where it is read: numbers made up (as the mask of what is put side
    by side is), or a vector repeated.
    """
    if family_of(node) == "elementwise":
        return all(family_of(i) == "create" for i in node.inputs)
    return family_of(node) == "create" or node.op.name == "broadcast"


def _on_blocks(weights: Node) -> Node:
    """Turned and transposed weights as views of weights in blocks: of the copy there is anyway,
    and of one that goes from blocks to blocks through registers.
    """
    if weights.op.name not in ("transpose", "reverse"):
        return _stored(weights, "blocked_1_0")
    return remake(weights, (_on_blocks(weights.inputs[0]),))


def _stored(node: Node, *preferred: str) -> Node:
    """`node` stored in the first of the layouts that fits it, else row-major. Numbers are moved
    before they are rounded to bf16: then a vector moves whole registers.
    """
    if node.op.name == "cast" and node.tensor.dtype is DType.bf16:
        return cast(_stored(node.inputs[0], *preferred), dtype=DType.bf16)
    if not isinstance(node.type, TensorType) or node.tensor.layout == "batch_last":
        return node
    for layout in preferred:
        if node.tensor.with_layout(layout).layout == layout:
            return relayout(node, layout=layout)
    return relayout(node, layout=ROW_MAJOR)
