"""What a convolution costs in each layout, in the time of one multiply-add at the peak.

A sample's share; what does not depend on the batch is left out. The figures were measured with
AVX-512 and hold in their order elsewhere; docs/kernels.md has them in a table.
"""

from __future__ import annotations

import math

from graphc.ir.layouts import BATCH_PADDING, BLOCK
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType
from graphc.ops.winograd import OUTPUT, POINTS

CONVOLUTIONS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
MOVED = 20  # a number is read and written elsewhere
FUSED = 5  # a number that its reader would have had in a register
START = 30_000  # a kernel of its own, for the whole batch
ROWS = 1 / 0.7  # lanes along a row, all of them full
GATHER = 14  # a number that is read alone
SHARING = 5  # maps that use what was read for one of them
BLOCKS = 1.05  # channels in blocks
FAR = 1.25  # samples side by side, a window's rows of which the second cache does not hold
FAR_AGAIN = 1.9  # the same, read again for every few taps
SECOND_CACHE = 512 << 10

USUAL_BATCH = 4
FLOPS_A_BYTE = 4.0  # arithmetic that a processor does while it moves a byte
PASSES = 3  # what is written and read again moves three times: a write reads its lines first
WORTH = 0.9  # of what tiles may cost of the direct way


def weights_of(node: Node) -> Node:
    """The weights of a convolution or of a gradient of one; their gradient has their type."""
    return node if node.op.name == "conv2d_weight_grad" else node.inputs[1]


def results_of(node: Node) -> Node:
    """The results of a convolution; their gradient has their type."""
    places = {"conv2d_input_grad": 0, "conv2d_weight_grad": 1}
    return node.inputs[places[node.op.name]] if node.op.name in places else node


def images_of(node: Node) -> TensorType:
    """The type of what a convolution reads, or of its gradient."""
    return node.tensor if node.op.name == "conv2d_input_grad" else node.inputs[0].tensor


def products(node: Node) -> int:
    """Multiply-adds of a convolution, or a gradient of one, with one sample."""
    weights = weights_of(node).tensor.shape
    return results_of(node).tensor.count(1) * math.prod(map(_extent, weights[1:]))


def in_rows(node: Node) -> float:
    """With pixels of a row in lanes; with a stride they are read one by one."""
    lost = products(node) * (1 + lost_at_ends(node))
    if node.attrs["stride"] == (1, 1):
        return lost * ROWS
    maps = _extent(weights_of(node).tensor.shape[0]) // int(node.attrs["groups"])
    return lost * (1 + GATHER / max(1, min(maps, SHARING)))


def in_rows_pooled(node: Node) -> float:
    """What is no convolution, with pixels of a row in lanes: only windows with strides cost more
    than elsewhere, their taps one by one.
    """
    if "window" not in node.attrs or math.prod(node.attrs.get("stride", (1,))) == 1:
        return 0.0
    fewest = min(t.tensor.count(1) for t in (node, *node.inputs))
    return float(GATHER * fewest * math.prod(node.attrs["window"]))


def lost_at_ends(node: Node) -> float:
    """How many times as many lanes are beyond the ends of rows as are on them."""
    written = results_of(node).tensor if node.op.name == "conv2d_weight_grad" else node.tensor
    row = max(_extent(written.shape[3]), 1)
    return float(-row % BATCH_PADDING) / row


def in_samples(node: Node) -> float:
    """With samples in lanes: products with padding never run, but for the gradient of weights."""
    cost, sample = float(products(node)), 4 * BATCH_PADDING
    if node.op.name == "conv2d_weight_grad":
        pixels = map(_extent, results_of(node).tensor.shape[2:])
        return cost * (FAR_AGAIN if SHARING * math.prod(pixels) * sample > SECOND_CACHE else 1.0)
    cost *= _inside(node, 0) * _inside(node, 1)
    channels, height, width = map(_extent, images_of(node).shape[1:])
    rows = min(_extent(weights_of(node).tensor.shape[2]), height)
    held = channels // node.attrs["groups"] * rows * width * sample
    return cost * (FAR if held > SECOND_CACHE else 1.0)


def _inside(node: Node, axis: int) -> float:
    """The share of a window's taps along an axis that fall on the image, not on its padding."""
    taps, results = (
        _extent(t.tensor.shape[2 + axis]) for t in (weights_of(node), results_of(node))
    )
    size = _extent(images_of(node).shape[2 + axis])
    stride, dilation = int(node.attrs["stride"][axis]), int(node.attrs["dilation"][axis])
    first = -int(node.attrs["padding"][2 * axis])
    places = [first + y * stride + t * dilation for y in range(results) for t in range(taps)]
    return sum(0 <= place < size for place in places) / max(len(places), 1)


def in_channels(node: Node) -> float | None:
    """With channels in blocks, products with padding included; None if maps or channels are no
    whole blocks.
    """
    maps, channels = map(_extent, weights_of(node).tensor.shape[:2])
    groups = node.attrs["groups"]
    each = maps // groups
    if maps % BLOCK:
        return None
    if groups == 1:
        whole = node.op.name != "conv2d_input_grad" or channels % BLOCK == 0
    else:
        whole = each == channels == 1 or (each % BLOCK == 0 and channels % BLOCK == 0)
    return BLOCKS * products(node) if whole else None


def in_tiles(node: Node) -> float | None:
    """How much of the direct way, channels in blocks, Winograd's algorithm takes; None if it cannot
    be.
    """
    attrs = node.attrs
    maps, channels, *window = map(_extent, weights_of(node).tensor.shape)
    plain = attrs["stride"] == attrs["dilation"] == (1, 1) and attrs["groups"] == 1
    if not plain or window != [3, 3] or maps % BLOCK or channels % BLOCK:
        return None
    if max(attrs["padding"]) > 2 or node.tensor.dtype is not DType.f32:
        return None
    written = results_of(node) if node.op.name == "conv2d_weight_grad" else node
    size = [_extent(d) for d in written.tensor.shape[2:]]
    tiles = math.prod(-(-s // OUTPUT) for s in size)
    moved = 4 * PASSES * POINTS * (tiles * (maps + channels) + maps * channels / USUAL_BATCH)
    cost = 2 * POINTS * maps * channels * tiles + FLOPS_A_BYTE * moved
    return cost / (2 * 9 * maps * channels * math.prod(size))


def tiles_share(node: Node, rate: float = 1.0) -> float | None:
    """As `in_tiles`, but None where it does not pay. rate: how many times as fast as in f32 the
    direct way runs.
    """
    share = in_tiles(node)
    return share if share is not None and share < WORTH / rate else None


def _extent(dim: object) -> int:
    assert isinstance(dim, int)
    return dim
