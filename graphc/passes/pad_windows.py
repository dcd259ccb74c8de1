"""Padding made explicit, where loops would stumble over it.

Lanes along a row of pixels, and register blocks of several pixels, have no ends to test for. So
convolutions of images that are not stored `batch_last` read a padded copy, and the gradient of a
convolution's input reads a padded gradient: every window then lies inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphc.ir.graph import Graph
from graphc.ir.node import Node, remake
from graphc.ir.rewrite import rebuild
from graphc.ops.contractions import conv2d
from graphc.ops.views import pad, reshape, reverse, transpose
from graphc.passes.base import Pass


@dataclass(frozen=True)
class PadWindows(Pass):
    """Convolutions that lanes along a row cannot run at its ends read a padded copy instead.

    conv2d(x, w) {padding=1}             ->  conv2d(pad(x), w) {padding=0}
    conv2d_input_grad(g, w) {padding=1}  ->  conv2d_input_grad(pad(g), w) {padding=2}
    """

    name = "pad_windows"

    def run(self, graph: Graph) -> Graph:
        return rebuild(graph, padded_window)


def padded_window(node: Node, inputs: tuple[Node, ...]) -> Node:
    """`node` with other inputs, padded first if it is a convolution that asks for it."""
    attrs = dict(node.attrs)
    if node.op.name == "conv2d_input_grad":
        return _padded_gradient(node, inputs[0], inputs[1], attrs)
    needs_padding = node.op.name == "conv2d_weight_grad" or (
        node.op.name == "conv2d" and inputs[0].tensor.layout != "batch_last"
    )
    if not needs_padding or not any(attrs["padding"]):
        return remake(node, inputs)
    top, bottom, left, right = attrs["padding"]
    x = pad(inputs[0], low=(0, 0, top, left), high=(0, 0, bottom, right))
    return remake(node, (x, inputs[1]), attrs | {"padding": (0, 0, 0, 0)})


def _padded_gradient(node: Node, g: Node, w: Node, attrs: dict[str, Any]) -> Node:
    """The gradient of a convolution's input, its rows and columns all inside the padded `g`.

    A pixel y is reached by the rows (y + low) // S - j of g, 0 <= j < taps: rows before the first
    and behind the last become padding, as if the image had as many more pixels, times S.
    """
    strides, dilations = attrs["stride"], attrs["dilation"]
    if max(strides) > 1 and max(dilations) > 1:
        return _as_convolution(g, w, **attrs)
    if g.tensor.layout == "batch_last":
        return remake(node, (g, w))
    sizes = [int(s) for s in attrs["size"]]
    if any(size % stride for size, stride in zip(sizes, strides, strict=True)):
        return _as_convolution(g, w, **attrs)
    low, high, padding = [0, 0], [0, 0], list(attrs["padding"])
    for a in range(2):
        window, rows = w.tensor.shape[2 + a], g.tensor.shape[2 + a]
        assert isinstance(window, int) and isinstance(rows, int)
        reach = dilations[a] * (window - 1) if strides[a] == 1 else -(-window // strides[a]) - 1
        before = padding[2 * a]
        low[a] = max(0, reach - before // strides[a])
        high[a] = max(0, (sizes[a] - 1 + before) // strides[a] - (rows - 1))
        padding[2 * a] += low[a] * strides[a]
        padding[2 * a + 1] += high[a] * strides[a]
    if not any((*low, *high)):
        return remake(node, (g, w))
    wide = pad(g, low=(0, 0, *low), high=(0, 0, *high))
    return remake(node, (wide, w), attrs | {"padding": tuple(padding)})


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
