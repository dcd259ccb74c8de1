"""Padding made explicit: every window lies inside, and the answer is what it was."""

from __future__ import annotations

import pytest

from graphc.ir.graph import Graph, make_input
from graphc.ir.node import Node
from graphc.ir.types import parse_type
from graphc.ops.contractions import conv2d, conv2d_input_grad, conv2d_weight_grad
from graphc.passes.base import Pipeline
from graphc.passes.instruments import Check, Verify
from graphc.passes.pad_windows import PadWindows

CHECKED = Pipeline((PadWindows(),))


def _x(name: str, type: str) -> Node:
    return make_input(name, parse_type(type))


def _padded(node: Node, *inputs: Node) -> list[Node]:
    """The nodes that stand for `node`, which keep its answer."""
    graph = CHECKED(Graph("g", inputs, [node]), [Verify(), Check()])
    assert PadWindows().run(graph) is graph, "padding twice is padding once"
    return [n for n in graph.nodes if n.op.name != "input"]


IMAGE, WEIGHTS = _x("x", "f32[N,2,7,6]"), _x("w", "f32[4,2,3,3]")


def test_a_convolution_reads_a_padded_image() -> None:
    padding = (1, 0, 2, 1)
    pad, conv = _padded(conv2d(IMAGE, WEIGHTS, padding=padding, stride=2), IMAGE, WEIGHTS)
    assert str(pad.type) == "f32[N,2,8,9]"
    assert conv.op.name == "conv2d"
    assert conv.attrs["padding"] == (0, 0, 0, 0)


def test_without_padding_nothing_changes() -> None:
    plain = conv2d(IMAGE, WEIGHTS)
    assert _padded(plain, IMAGE, WEIGHTS) == [plain]


def test_lanes_of_samples_need_no_padding_but_for_the_gradient_of_weights() -> None:
    x, g = _x("x", "f32[N,2,7,6]{batch_last}"), _x("g", "f32[N,4,7,6]{batch_last}")
    forward = conv2d(x, WEIGHTS, padding=1)
    backward = conv2d_input_grad(g, WEIGHTS, size=(7, 6), padding=1)
    assert _padded(forward, x, WEIGHTS) == [forward]
    assert _padded(backward, g, WEIGHTS) == [backward]
    pad, _ = _padded(conv2d_weight_grad(x, g, window=(3, 3), padding=1), x, g)
    assert str(pad.type) == "f32[N,2,9,8]{batch_last}"


SIZES = [(7, 6), (8, 8), (5, 9)]
WINDOWS = [
    # window, stride, padding, dilation
    ((3, 3), 1, 1, 1), ((3, 3), 1, 0, 1), ((3, 3), 2, 1, 1), ((5, 2), (2, 1), (2, 1, 0, 1), 1),
    ((1, 1), 2, 0, 1), ((2, 2), 3, 0, 1), ((3, 3), 1, 2, 2), ((2, 3), 2, 1, 2), ((4, 4), 4, 3, 1),
]  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("window", "stride", "padding", "dilation"), WINDOWS)
@pytest.mark.parametrize("groups", [1, 2])
def test_a_gradient_of_images_reads_nothing_outside(
    size: tuple[int, int], window: tuple[int, int], stride: int, padding: int, dilation: int,
    groups: int,
) -> None:  # fmt: skip
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w = (
        _x("x", f"f32[N,2,{size[0]},{size[1]}]"),
        _x("w", f"f32[4,{2 // groups},{window[0]},{window[1]}]"),
    )
    g = make_input("g", conv2d(x, w, **attrs).tensor)
    *_, last = _padded(conv2d_input_grad(g, w, size=size, **attrs), g, w)
    if last.op.name == "conv2d":
        assert last.attrs["padding"] == (0, 0, 0, 0)
        return
    for axis in range(2):
        rows, taps = _reached(last, axis)
        assert all(0 <= row < last.inputs[0].tensor.shape[2 + axis] for row in rows), taps


def _reached(grad: Node, axis: int) -> tuple[list[int], int]:
    """The rows of its gradient that the pixels of an image meet along an axis, and their number."""
    stride, dilation = grad.attrs["stride"][axis], grad.attrs["dilation"][axis]
    low, taps = grad.attrs["padding"][2 * axis], grad.inputs[1].tensor.shape[2 + axis]
    assert isinstance(taps, int)
    met = [
        (pixel + low - tap * dilation) // stride
        for pixel in range(grad.attrs["size"][axis])
        for tap in range(taps)
        if (pixel + low - tap * dilation) % stride == 0
    ]
    return met, taps
