"""Mixed precision: the operands of contractions in bf16, all else, sums included, in f32.

A number of bf16 is the upper half of an f32: the same range, 8 bits of precision instead of 24. Two
such fit where one f32 did, so weights are read in half the time, and processors that have an
instruction for it multiply and add twice as many at once. Only products in which the numbers to be
summed lie side by side profit: convolutions whose channels run in blocks, the gradients of their
inputs, dense layers. What training must keep exactly, it keeps in f32: parameters, the optimiser's
state, normalisation, losses, and every gradient of a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.ir.graph import Graph
from graphc.ir.layouts import BATCH_PADDING, BLOCK, PAIR
from graphc.ir.node import Node, remake
from graphc.ir.rewrite import rebuild
from graphc.ir.types import DType, TensorType
from graphc.ops.elementwise import cast
from graphc.ops.op import family_of
from graphc.passes.base import Pass
from graphc.passes.choose_layouts import nodes_in_blocks
from graphc.passes.layout_costs import USUAL_BATCH


@dataclass(frozen=True)
class Bfloat16(Pass):
    """Operands of convolutions, of the gradients of their inputs, and of dense layers are rounded
    to bf16; products are summed in f32.

    batch: as for `block_channels`; of large ones, a network in which nothing is in blocks stays as
    it is. Where parameters change while the graph runs, a small batch's dense layers do too:
    rounding weights that are read once would cost more than it saves.

    y = conv2d(x, w)  ->  y = conv2d(cast(x) {dtype=bf16}, cast(w) {dtype=bf16})
    """

    batch: int = USUAL_BATCH
    name = "bfloat16"
    changes_values = True

    def run(self, graph: Graph) -> Graph:
        chosen = nodes_in_blocks(graph, self.batch, rate=2.0)
        convolutions = {n for n in chosen if n.op.name in ("conv2d", "conv2d_input_grad")}
        # Large batches of what is not in blocks run in lanes of samples: what is summed lies apart.
        large = self.batch >= BATCH_PADDING
        dense = bool(convolutions) if large else not graph.donations

        def pays(node: Node) -> bool:
            if node.op.name == "matmul":
                return dense and _rows_by_rows(node)
            return node in convolutions and _in_blocks(node)

        def rewritten(node: Node, inputs: tuple[Node, ...]) -> Node:
            if not isinstance(node.type, TensorType) or node.tensor.dtype is not DType.f32:
                return remake(node, inputs)
            if not pays(node):
                return remake(node, inputs)
            return remake(node, tuple(map(_rounded, inputs)))

        return rebuild(graph, rewritten)


@dataclass(frozen=True)
class RoundProducts(Pass):
    """For tensor cores: the operands of every product of f32 are rounded to bf16, gradients of
    weights included. Products are summed in f32; all else stays f32.

    y = conv2d(x, w)  ->  y = conv2d(cast(x) {dtype=bf16}, cast(w) {dtype=bf16})
    """

    name = "round_products"
    changes_values = True

    def run(self, graph: Graph) -> Graph:
        def rewritten(node: Node, inputs: tuple[Node, ...]) -> Node:
            if family_of(node) == "contraction" and node.tensor.dtype is DType.f32:
                inputs = tuple(map(_rounded, inputs))
            return remake(node, inputs)

        return rebuild(graph, rewritten)


def _rounded(operand: Node) -> Node:
    """`operand` in bf16; a transposed matrix is rounded as it lies."""
    if operand.op.name != "transpose":
        return cast(operand, dtype=DType.bf16)
    return remake(operand, (cast(operand.inputs[0], dtype=DType.bf16),))


def _rows_by_rows(node: Node) -> bool:
    """Whether a matrix product sums along the rows of both of its operands."""
    left, right = node.inputs
    summed = left.tensor.shape[1]
    in_rows = left.op.name != "transpose" and right.op.name == "transpose"
    return in_rows and isinstance(summed, int) and summed % PAIR == 0


def _in_blocks(node: Node) -> bool:
    """Whether a convolution has whole blocks of maps and of channels in each of its groups."""
    maps, channels = (int(d) for d in node.inputs[1].tensor.shape[:2])  # type: ignore[arg-type]
    return maps // node.attrs["groups"] % BLOCK == 0 and channels % BLOCK == 0
