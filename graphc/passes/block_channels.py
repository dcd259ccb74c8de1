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

import math
from dataclasses import dataclass

from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ir.index import Index, Variable, index
from graphc.ir.layouts import BLOCK, ROW_MAJOR
from graphc.ir.node import Node, remake
from graphc.ir.types import Batch, DType, TensorType
from graphc.ops.elementwise import cast
from graphc.ops.op import family_of, op_of
from graphc.ops.views import relayout
from graphc.passes.base import Pass
from graphc.passes.pad_windows import PadWindows

CONVOLUTIONS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
IMAGES = "blocked_1"


@dataclass(frozen=True)
class BlockChannels(Pass):
    """Stores images of wide networks with their channels in blocks, weights as they are read.

    maps: a convolution is wide if it has a multiple of 16 maps, and at least as many as this; a
    network, if at least half of its arithmetic is in such convolutions.

    y = conv2d(x, w)  ->  y = conv2d(relayout(x) {layout='blocked_1'}, relayout(w))
    """

    maps: int = BLOCK
    name = "block_channels"

    def run(self, graph: Graph) -> Graph:
        if not is_wide(graph, self.maps):
            return graph
        graph = PadWindows().run(graph)
        new: dict[Node, Node] = {}
        for node in graph.nodes:
            if node.op.name == "input":
                new[node] = node
            else:
                with written_at(node.location, node.origin):
                    new[node] = remake(node, _operands(node, tuple(new[i] for i in node.inputs)))
        outputs = []
        for output in graph.outputs:
            with written_at(output.location, output.origin):
                outputs.append(_stored(new[output], output.tensor.layout))
        return Graph(graph.name, graph.inputs, outputs, graph.donations)


def is_wide(graph: Graph, maps: int) -> bool:
    """Whether at least half of a network's convolutions, by their arithmetic, run in lanes of
    channels and have at least so many maps.
    """
    wide = total = 0
    for node in graph.nodes:
        if family_of(node) == "tile":
            return True
        if node.op.name not in CONVOLUTIONS:
            continue
        weights, results = weights_of(node).tensor, results_of(node).tensor
        work = results.count() * math.prod(weights.shape[1:])  # type: ignore[arg-type]
        total += work
        wide += work if _in_blocks(node) and int(weights.shape[0]) >= maps else 0  # type: ignore[arg-type]
    return total > 0 and 2 * wide >= total


def _in_blocks(node: Node) -> bool:
    """Whether a convolution, or a gradient of one, runs in lanes of maps or channels."""
    maps, channels = weights_of(node).tensor.shape[:2]
    groups = node.attrs["groups"]
    assert isinstance(maps, int) and isinstance(channels, int)
    if maps % BLOCK:
        return False
    if groups == 1:
        return node.op.name != "conv2d_input_grad" or channels % BLOCK == 0
    each = maps // groups
    return each == channels == 1 or (each % BLOCK == 0 and channels % BLOCK == 0)


def weights_of(node: Node) -> Node:
    """The weights of a convolution or of a gradient of one; their gradient has their type."""
    return node if node.op.name == "conv2d_weight_grad" else node.inputs[1]


def results_of(node: Node) -> Node:
    """The results of a convolution; their gradient has their type."""
    places = {"conv2d_input_grad": 0, "conv2d_weight_grad": 1}
    return node.inputs[places[node.op.name]] if node.op.name in places else node


def _operands(node: Node, inputs: tuple[Node, ...]) -> tuple[Node, ...]:
    """What `node` reads, stored as it likes to read it."""
    if node.op.name in CONVOLUTIONS and _in_blocks(node):
        if node.op.name == "conv2d_weight_grad":
            return _stored(inputs[0], IMAGES), _stored(inputs[1], IMAGES)
        weights = _stored(inputs[1], "blocked_1_0", "blocked_0")
        if node.op.name == "conv2d_input_grad":
            weights = _stored(weights, "blocked_0_1", "blocked_1")
        return _stored(inputs[0], IMAGES), weights
    if node.op.name in ("winograd_input", "winograd_output_grad"):
        return (_stored(inputs[0], IMAGES),)
    if node.op.name == "winograd_weights":
        return (_stored(_on_blocks(inputs[0]), "blocked_1_0"),)
    if family_of(node) == "tile" or node.op.name == "einsum":
        return inputs
    if any(i.tensor.layout == IMAGES for i in inputs) and _keeps_blocks(node, inputs):
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


def _keeps_blocks(node: Node, inputs: tuple[Node, ...]) -> bool:
    """Whether a node runs through whole blocks of channels: it reads channel c + 16 k where it
    writes channel c, or it sums over all of them.
    """
    family = family_of(node)
    if family == "elementwise":
        return True
    if family not in ("reduction", "view") or not isinstance(node.type, TensorType):
        return False
    op = op_of(node)
    assert op.access is not None
    types = tuple(i.tensor for i in inputs)
    at = _variables("i", node.tensor.shape)
    taps: tuple[Index, ...] = ()
    if family == "reduction":
        assert op.domain is not None
        taps = _variables("r", op.domain(types, node.attrs))
        access = op.access(at, taps, types, node.attrs)
    else:
        access = op.access(at, types, node.attrs)
    kept = at[1:2] if len(at) > 2 else at  # a vector or a matrix has no blocks of its own
    whole = [v for i in (*kept, *taps) for v in i.variables]
    return all(
        type.layout != IMAGES or _is_one_of(place[1], whole)
        for place, type in zip(access.indices, types, strict=True)
    )


def _variables(name: str, shape: tuple[object, ...]) -> tuple[Index, ...]:
    return tuple(
        index(Variable(f"{name}{k}", None if isinstance(d, Batch) else int(d)))  # type: ignore[call-overload]
        for k, d in enumerate(shape)
    )


def _is_one_of(place: Index, variables: list[Variable]) -> bool:
    """Whether an index is one of the variables, give or take whole blocks."""
    if len(place.terms) != 1 or place.constant % BLOCK:
        return False
    atom, factor = place.terms[0]
    return factor == 1 and atom in variables
