"""How the operands and attributes of convolutions and poolings are drawn for a random graph."""

from __future__ import annotations

from typing import Any

from graphc.ir.node import Node, make
from graphc.ir.types import Dim, N, Shape, TensorType, window_extent
from graphc.ops.op import Op
from graphc.ops.pooling import pooled_extents
from graphc.ops.pooling.maximum import number_type
from graphc.testing.draft import MAPS, Draft


def _image(draft: Draft) -> Node:
    def fits(type: TensorType) -> bool:
        return type.rank == 4 and all(isinstance(d, int) and d > 0 for d in type.shape[1:])

    return draft.value(fits, lambda: draft.shape(4))


def _fit(draft: Draft, extent: int, dilated: bool) -> tuple[int, int, int, int, int]:
    """(window, stride, low, high, dilation) of one axis; the window fits."""
    low, high = draft.pick((0, 0, 1, 2)), draft.pick((0, 0, 1, 2))
    room = extent + low + high
    window = draft.between(1, min(room, 4))
    dilation = draft.pick((1, 1, 2, 3)) if dilated else 1
    if dilation * (window - 1) + 1 > room:
        dilation = 1
    return window, draft.between(1, 3), low, high, dilation


def _convolution(draft: Draft) -> tuple[Node, tuple[int, int], TensorType, dict[str, Any]]:
    """(x, window, type of the output for some number of maps, attributes)."""
    x = _image(draft)
    batch, channels, height, width = x.tensor.shape
    assert isinstance(channels, int) and isinstance(height, int) and isinstance(width, int)
    groups, maps = _groups_and_maps(draft, channels)
    vertical, horizontal = _fit(draft, height, True), _fit(draft, width, True)
    attrs: dict[str, Any] = {
        "stride": (vertical[1], horizontal[1]),
        "padding": (vertical[2], vertical[3], horizontal[2], horizontal[3]),
        "dilation": (vertical[4], horizontal[4]),
        "groups": groups,
    }
    extents = [
        window_extent(size, w, stride=s, low=low, high=high, dilation=d, what="conv2d")
        for size, (w, s, low, high, d) in ((height, vertical), (width, horizontal))
    ]
    out = TensorType(x.tensor.dtype, (batch, maps, *extents))
    return x, (vertical[0], horizontal[0]), out, attrs


def _groups_and_maps(draft: Draft, channels: int) -> tuple[int, int]:
    """Into how many groups channels are parted, and a number of maps that the groups share."""
    if not draft.wide or draft.chance(20):
        groups = draft.pick([g for g in range(1, channels + 1) if channels % g == 0])
        return groups, groups * draft.between(1, 3)
    if draft.chance(20):
        return channels, channels
    groups = channels // 16 if channels % 16 == 0 and draft.chance(20) else 1
    return groups, groups * draft.pick(MAPS)


def _weights(x: Node, window: tuple[int, int], out: TensorType, groups: int) -> TensorType:
    channels = x.tensor.shape[1]
    assert isinstance(channels, int)
    return TensorType(x.tensor.dtype, (out.shape[1], channels // groups, *window))


def conv2d(draft: Draft, op: Op) -> Node | None:
    """A convolution with random window, stride, padding, dilation and groups."""
    x, window, out, attrs = _convolution(draft)
    w = draft.of(_weights(x, window, out, attrs["groups"]))
    built: Node = op.build(x, w, **attrs)
    return built


def input_grad(draft: Draft, op: Op) -> Node | None:
    """The gradient of such a convolution for its input."""
    x, window, out, attrs = _convolution(draft)
    w = draft.of(_weights(x, window, out, attrs["groups"]))
    built: Node = op.build(draft.of(out), w, size=x.tensor.shape[2:], **attrs)
    return built


def weight_grad(draft: Draft, op: Op) -> Node | None:
    """The gradient of such a convolution for its weights."""
    x, window, out, attrs = _convolution(draft)
    built: Node = op.build(x, draft.of(out), window=window, **attrs)
    return built


def _window(draft: Draft, size: Shape) -> dict[str, Any]:
    """Window, stride and padding of a pooling over images of `size`.

    Padding stays below the window.
    """
    sides = []
    for extent in size:
        assert isinstance(extent, int)
        window = draft.between(1, min(extent, 3))
        low, high = draft.below(window), draft.below(window)
        sides.append((window, draft.between(1, 3), low, high))
    (r, sy, top, bottom), (s, sx, left, right) = sides
    return {"window": (r, s), "stride": (sy, sx), "padding": (top, bottom, left, right)}


def pool(draft: Draft, op: Op) -> Node | None:
    """A pooling with random window, stride, padding and rounding."""
    x = _image(draft)
    attrs = _window(draft, x.tensor.shape[2:])
    if op.name == "avg_pool2d":
        attrs["count_include_pad"] = draft.chance(50)
    built: Node = op.build(x, ceil_mode=draft.chance(30), **attrs)
    return built


def unpool(draft: Draft, op: Op) -> Node | None:
    """The gradient of a pooling over images of a drawn size.

    With an index, any tap may have won.
    """
    size = (draft.extent(), draft.extent())
    attrs = _window(draft, size)
    batch: Dim = N if draft.chance(70) else 2
    shape = (batch, draft.between(1, 3), *pooled_extents(op.name, size, attrs))
    operands = [draft.of(TensorType(draft.dtype, shape))]
    if op.arity == 2:
        operands.insert(0, draft.of(TensorType(number_type(attrs["window"]), shape)))
    built: Node = op.build(*operands, size=size, **attrs)
    return built


def take(draft: Draft, op: Op) -> Node | None:
    """What a max pooling's index picks from another image."""
    x = _image(draft)
    attrs = _window(draft, x.tensor.shape[2:])
    sizes = [int(d) for d in x.tensor.shape[2:] if isinstance(d, int)]
    shape = (*x.tensor.shape[:2], *pooled_extents(op.name, sizes, attrs))
    index = draft.of(TensorType(number_type(attrs["window"]), shape))
    return make(op, (index, x), attrs)
