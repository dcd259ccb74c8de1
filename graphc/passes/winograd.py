"""3x3 convolutions and their gradients by Winograd's minimal filtering, where it pays.

A tile of 4x4 results takes 36 products for each pair of channels instead of 144. The transforms of
images, weights and results cost memory traffic instead; a cost model of arithmetic and bytes
decides. Results differ from direct convolution in rounding: about 1e-5 of their size in f32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ir.node import Node, reformed, remake
from graphc.ir.rewrite import rebuild
from graphc.ir.types import Dim
from graphc.ops.einsum import einsum
from graphc.ops.views import reverse, transpose
from graphc.ops.winograd import (
    OUTPUT,
    cropped,
    winograd_input,
    winograd_output,
    winograd_output_grad,
    winograd_weights,
    winograd_weights_grad,
)
from graphc.passes.base import Pass
from graphc.passes.choose_layouts import nodes_in_blocks
from graphc.passes.layout_costs import CONVOLUTIONS, USUAL_BATCH, tiles_share


@dataclass(frozen=True)
class Winograd(Pass):
    """3x3 convolutions with stride 1 become products of tiles, where channels in blocks pay.

    batch, everywhere: as for `block_channels`. rate: how many times as fast as in f32 convolutions
    and gradients of images run in blocks otherwise; 2.0 in bf16.

    conv2d(x, w)  ->  winograd_output(einsum(winograd_input(x), winograd_weights(w)))
    """

    batch: int = USUAL_BATCH
    everywhere: bool = False
    rate: float = 1.0
    name = "winograd"

    def run(self, graph: Graph) -> Graph:
        chosen = nodes_in_blocks(
            graph, self.batch, everywhere=self.everywhere, rate=self.rate, tiles=True
        )

        def rewritten(node: Node, inputs: tuple[Node, ...]) -> Node:
            if node not in chosen or node.op.name not in CONVOLUTIONS:
                return remake(node, inputs)
            rate = 1.0 if node.op.name == "conv2d_weight_grad" else self.rate
            if tiles_share(node, rate) is None:
                return remake(node, inputs)
            with written_at(node.location, reformed(node.origin, f"{node.op.name} in tiles")):
                return _in_tiles(node, *inputs)

        return rebuild(graph, rewritten) if chosen else graph


def _in_tiles(node: Node, first: Node, second: Node) -> Node:
    top, _, left, _ = node.attrs["padding"]
    if node.op.name == "conv2d":
        return _convolved(first, second, (top, left), node.tensor.shape[2:])
    if node.op.name == "conv2d_input_grad":
        turned = transpose(reverse(second, axes=(2, 3)), axes=(1, 0, 2, 3))
        return _convolved(first, turned, (2 - top, 2 - left), node.tensor.shape[2:])
    tiles = _tiles(second.tensor.shape[2:])
    images = winograd_input(first, tiles=tiles, padding=(top, left))
    gradients = winograd_output_grad(second, tiles=tiles)
    return winograd_weights_grad(einsum(images, gradients, subscripts="nctyx,nktyx->tkc"))


def _convolved(x: Node, w: Node, padding: tuple[int, int], size: Sequence[Dim]) -> Node:
    tiles = _tiles(size)
    images = winograd_input(x, tiles=tiles, padding=padding)
    products = einsum(images, winograd_weights(w), subscripts="nctyx,tkc->nktyx")
    return cropped(winograd_output(products), size)


def _tiles(size: Sequence[Dim]) -> tuple[int, int]:
    rows, columns = (-(-int(s) // OUTPUT) for s in size)  # type: ignore[arg-type]
    return rows, columns
