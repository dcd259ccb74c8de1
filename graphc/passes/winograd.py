"""3x3 convolutions and their gradients by Winograd's minimal filtering, where it pays.

A tile of 4x4 results takes 36 products for each pair of channels instead of 144. The transforms of
images, weights and results cost memory traffic instead; a cost model of arithmetic and bytes
decides. Results differ from direct convolution in rounding: about 1e-5 of their size in f32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphc.base.source import written_at
from graphc.ir.graph import Graph
from graphc.ir.layouts import BLOCK
from graphc.ir.node import Node, reformed, remake
from graphc.ir.rewrite import rebuild
from graphc.ir.types import Dim, DType
from graphc.ops.einsum import einsum
from graphc.ops.views import reverse, transpose
from graphc.ops.winograd import (
    OUTPUT,
    POINTS,
    cropped,
    winograd_input,
    winograd_output,
    winograd_output_grad,
    winograd_weights,
    winograd_weights_grad,
)
from graphc.passes.base import Pass
from graphc.passes.block_channels import CONVOLUTIONS, is_wide

USUAL_BATCH = 4
FLOPS_A_BYTE = 4.0  # arithmetic that a processor does while it moves a byte
PASSES = 3  # what is written and read again moves three times: a write reads its lines first
WORTH = 0.9


@dataclass(frozen=True)
class Winograd(Pass):
    """Convolutions of wide networks with 3x3 windows and stride 1 become products of tiles.

    maps: as for `block_channels`. rate: how many times as fast as in f32 convolutions and gradients
    of images run otherwise; 2.0 in bf16.

    conv2d(x, w)  ->  winograd_output(einsum(winograd_input(x), winograd_weights(w)))
    """

    maps: int = BLOCK
    rate: float = 1.0
    name = "winograd"

    def run(self, graph: Graph) -> Graph:
        return rebuild(graph, self._rewritten) if is_wide(graph, self.maps) else graph

    def _rewritten(self, node: Node, inputs: tuple[Node, ...]) -> Node:
        rate = 1.0 if node.op.name == "conv2d_weight_grad" else self.rate
        if node.op.name not in CONVOLUTIONS or not _pays(node, rate):
            return remake(node, inputs)
        with written_at(node.location, reformed(node.origin, f"{node.op.name} in tiles")):
            return _in_tiles(node, *inputs)


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


def _pays(node: Node, rate: float) -> bool:
    """Whether tiles cost less than the convolution itself, and blocks of channels fit."""
    attrs = node.attrs
    images = node.inputs[1] if node.op.name == "conv2d_weight_grad" else node
    weights = node if node.op.name == "conv2d_weight_grad" else node.inputs[1]
    maps, channels, *window = (int(d) for d in weights.tensor.shape)  # type: ignore[arg-type]
    plain = attrs["stride"] == attrs["dilation"] == (1, 1) and attrs["groups"] == 1
    if not plain or window != [3, 3] or maps % BLOCK or channels % BLOCK:
        return False
    if max(attrs["padding"]) > 2 or node.tensor.dtype is not DType.f32:
        return False
    size = [int(d) for d in images.tensor.shape[2:]]  # type: ignore[arg-type]
    pixels, tiles = math.prod(size), math.prod(_tiles(size))
    direct = 2 * 9 * maps * channels * pixels
    moved = 4 * PASSES * POINTS * (tiles * (maps + channels) + maps * channels / USUAL_BATCH)
    indirect = 2 * POINTS * maps * channels * tiles + FLOPS_A_BYTE * moved
    return indirect < WORTH * direct / rate
