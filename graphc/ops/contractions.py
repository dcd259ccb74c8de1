"""Contractions: matrix product, convolution and its two gradients.

All four are one shape of loop nest.

Convolution is correlation, NCHW activations and OIHW weights:
out[n,k,y,x] = sum over c,r,s of in[n, c, y*stride + r*dilation - low, ...] * weight[k,c,r,s].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from graphc.base.errors import GraphcError
from graphc.ir.index import Index
from graphc.ir.layouts import CHANNELS_LAST, blocked_axes, common, features
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, DType, TensorType, shape_text, whole_numbers, window_extent
from graphc.ops.families import product_dtype
from graphc.ops.op import Contraction, Op, common_layout, sample
from graphc.ops.views import transpose

At = Mapping[str, Index]
Pair = int | Sequence[int]

# -- matmul ----------------------------------------------------------------------------------------


def _matmul_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    a, b = inputs
    dtype = product_dtype("matmul", inputs)
    if a.rank != 2 or b.rank != 2 or a.shape[1] != b.shape[0]:
        raise GraphcError(
            f"matmul: {a} times {b}: the inner extents differ" if a.rank == b.rank == 2
            else f"matmul: {a} times {b} are not both matrices",
            remedy="the columns of the first must be the rows of the second; flatten images first",
        )  # fmt: skip
    # Each axis of the product lies as in the operand that it comes from.
    kept = [i.layout for k, i in enumerate(inputs) if (features(i.layout) or (k,))[0] == k]
    return TensorType(dtype, (a.shape[0], b.shape[1])).with_layout(common(kept))


def matmul(a: Node, b: Node) -> Node:
    """The matrix product of a [m,k] and b [k,n]."""
    return make(MATMUL, (a, b))


def _matmul_contraction(inputs: tuple[TensorType, ...], attrs: Attrs) -> Contraction:
    a, b = inputs

    def access(at: At) -> tuple[tuple[Index, ...], tuple[Index, ...], tuple[Index, ...]]:
        return (at["m"], at["n"]), (at["m"], at["k"]), (at["k"], at["n"])

    return Contraction((("m", a.shape[0]), ("n", b.shape[1])), (("k", a.shape[1]),), access)


MATMUL: Op = Op(
    "matmul", "contraction", _matmul_rule, lambda a, b: a @ b, matmul,
    vjp=lambda g, y, a, b: (matmul(g, transpose(b)), matmul(transpose(a), g)),
    contraction=_matmul_contraction, arity=2,
    samples=(sample("f32[N,5]", "f32[5,3]"), sample("f32[4,N]", "f32[N,7]"),
             sample("f64[20,33]", "f64[33,18]"),
             sample("f32[N,5]", "f32[4,3]", raises="inner extents"),
             sample("f32[5]", "f32[5,3]", raises="not both")),
)  # fmt: skip

# -- convolution -----------------------------------------------------------------------------------


def pair(value: Pair, what: str, least: int) -> tuple[int, int]:
    """Two whole numbers from one or two. Raises GraphcError if one is below `least`."""
    first, second = whole_numbers(value, what, least=least, count=2)
    return first, second


def padding4(value: Pair) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) from one number, (vertical, horizontal), or all four."""
    if isinstance(value, tuple | list) and len(value) == 2:
        value = (value[0], value[0], value[1], value[1])
    top, bottom, left, right = whole_numbers(value, "padding", least=0, count=4)
    return top, bottom, left, right


def check_window_attrs(what: str, attrs: Attrs) -> None:
    """Raises GraphcError unless stride, dilation, window and padding are whole numbers in range."""
    for name in ("stride", "dilation", "window", "size"):
        if name in attrs:
            pair(attrs[name], f"{what}: {name}", 1)
    padding4(attrs["padding"])


def _conv_extents(
    what: str, size: tuple[Dim, ...], window: tuple[Dim, ...], attrs: Attrs
) -> tuple[int, int]:
    top, bottom, left, right = attrs["padding"]
    sides = ((top, bottom), (left, right))
    found = []
    for axis, (low, high) in enumerate(sides):
        extent, reach = size[axis], window[axis]
        if not isinstance(extent, int) or not isinstance(reach, int) or reach < 1:
            raise GraphcError(
                f"{what}: an image of {shape_text(size)} and a window of {shape_text(window)}: "
                "height and width must be numbers, those of the window above 0",
                remedy="put N first, and use a window of at least 1x1",
            )
        found.append(
            window_extent(
                extent, reach, stride=attrs["stride"][axis], low=low, high=high,
                dilation=attrs["dilation"][axis], what=what,
            )
        )  # fmt: skip
    return found[0], found[1]


def _channels(what: str, channels: Dim, per_group: Dim, maps: Dim, groups: int) -> None:
    if not isinstance(channels, int) or not isinstance(maps, int) or not isinstance(per_group, int):
        raise GraphcError(
            f"{what}: {channels} input channels, {maps} maps that read {per_group}: "
            "channels must be numbers",
            remedy="put N first",
        )
    if not isinstance(groups, int) or groups < 1 or channels % groups or maps % groups:
        raise GraphcError(
            f"{what}: {channels} input channels and {maps} maps do not divide into {groups} groups",
            remedy="choose groups that divide both",
        )
    if per_group * groups != channels:
        raise GraphcError(
            f"{what}: the input has {channels} channels "
            f"but the weights expect {per_group} x {groups} groups",
            remedy="give weights of shape (maps, channels / groups, height, width)",
        )


def _product_dtype(what: str, inputs: Sequence[TensorType]) -> DType:
    """The dtype of a convolution of two tensors; raises GraphcError unless both have four axes."""
    dtype = product_dtype(what, inputs)
    for type in inputs:
        if type.rank != 4:
            raise GraphcError(
                f"{what}: {type} has {type.rank} axes, not 4",
                remedy="images are [N,channels,height,width], weights [maps,channels,height,width]",
            )
    return dtype


def _conv_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    dtype = _product_dtype("conv2d", inputs)
    check_window_attrs("conv2d", attrs)
    x, w = inputs
    _channels("conv2d", x.shape[1], w.shape[1], w.shape[0], attrs["groups"])
    height, width = _conv_extents("conv2d", x.shape[2:], w.shape[2:], attrs)
    return TensorType(dtype, (x.shape[0], w.shape[0], height, width)).with_layout(
        _image_layout(inputs)
    )


def _image_layout(inputs: Sequence[TensorType]) -> str:
    """Images computed from blocked images or blocked weights have their channels in blocks."""
    layout = common_layout(inputs)
    return "blocked_1" if blocked_axes(layout) else layout


def _conv_attrs(stride: Pair, padding: Pair, dilation: Pair, groups: int) -> dict[str, Any]:
    whole_numbers((groups,), "conv2d: groups", least=1)
    return {
        "stride": pair(stride, "conv2d: stride", 1),
        "padding": padding4(padding),
        "dilation": pair(dilation, "conv2d: dilation", 1),
        "groups": groups,
    }


def conv2d(
    x: Node, w: Node, *, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: int = 1
) -> Node:
    """Correlation of x [N,C,H,W] with w [K,C/groups,R,S].

    The result is [N,K,H',W'] with H' = (H - R + 2P)/S + 1.
    """
    return make(CONV2D, (x, w), _conv_attrs(stride, padding, dilation, groups))


def _grouped(at: At, group: str, inner: str, size: int) -> Index:
    return at[group] * size + at[inner]


def _conv_contraction(inputs: tuple[TensorType, ...], attrs: Attrs) -> Contraction:
    x, w = inputs
    groups, (sy, sx), (dy, dx) = attrs["groups"], attrs["stride"], attrs["dilation"]
    top, _, left, _ = attrs["padding"]
    out = _conv_rule(inputs, attrs)
    k, c = int(w.shape[0]) // groups, int(w.shape[1])  # type: ignore[arg-type]

    def access(at: At) -> tuple[tuple[Index, ...], tuple[Index, ...], tuple[Index, ...]]:
        maps = _grouped(at, "g", "k", k)
        rows, columns = at["y"] * sy + at["r"] * dy - top, at["x"] * sx + at["s"] * dx - left
        return (
            (at["n"], maps, at["y"], at["x"]),
            (at["n"], _grouped(at, "g", "c", c), rows, columns),
            (maps, at["c"], at["r"], at["s"]),
        )

    axes = (("g", groups), ("k", k), ("y", out.shape[2]), ("x", out.shape[3]), ("n", x.shape[0]))
    return Contraction(axes, (("c", c), ("r", w.shape[2]), ("s", w.shape[3])), access)


def _padded(x: Any, padding: tuple[int, int, int, int]) -> Any:
    top, bottom, left, right = padding
    return np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))


def _windows(x: Any, window: tuple[int, int], attrs: Attrs) -> Any:
    """[N,C,H',W',R,S]: every window of the padded input."""
    (sy, sx), (dy, dx) = attrs["stride"], attrs["dilation"]
    reach = tuple(d * (w - 1) + 1 for w, d in zip(window, (dy, dx), strict=True))
    return sliding_window_view(_padded(x, attrs["padding"]), reach, (2, 3))[
        :, :, ::sy, ::sx, ::dy, ::dx
    ]


def _conv_numpy(x: Any, w: Any, *, groups: int, **attrs: Any) -> Any:
    views = _windows(x, w.shape[2:], attrs)
    n, c = views.shape[:2]
    grouped = views.reshape(n, groups, c // groups, *views.shape[2:])
    weights = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    out = np.einsum("ngcyxrs,gkcrs->ngkyx", grouped, weights, optimize=True)
    return np.ascontiguousarray(out).reshape(n, w.shape[0], *views.shape[2:4])


CONV2D: Op = Op(
    "conv2d", "contraction", _conv_rule, _conv_numpy, conv2d,
    vjp=lambda g, y, x, w, **attrs: (
        conv2d_input_grad(g, w, size=x.tensor.shape[2:], **attrs),
        conv2d_weight_grad(x, g, window=w.tensor.shape[2:], **attrs),
    ),
    contraction=_conv_contraction, arity=2,
    samples=tuple(
        sample(*types, stride=stride, padding=padding, dilation=dilation, groups=groups,
               raises=raises)
        for types, stride, padding, dilation, groups, raises in (
            (("f32[N,2,6,6]", "f32[3,2,3,3]"), (1, 1), (0, 0, 0, 0), (1, 1), 1, None),
            (("f32[N,2,7,5]", "f32[3,2,3,2]"), (2, 1), (1, 1, 0, 1), (1, 1), 1, None),
            (("f32[N,4,7,7]", "f32[6,2,3,3]"), (2, 2), (1, 1, 1, 1), (1, 1), 2, None),
            (("f64[2,2,9,9]", "f64[2,2,3,3]"), (1, 2), (0, 0, 2, 2), (2, 2), 1, None),
            (("f32[N,1,28,28]", "f32[18,1,5,5]"), (1, 1), (0, 0, 0, 0), (1, 1), 1, None),
            (("f32[N,2,3,3]", "f32[3,2,5,5]"), (1, 1), (0, 0, 0, 0), (1, 1), 1, "does not fit"),
            (("f32[N,2,6,6]", "f32[3,4,3,3]"), (1, 1), (0, 0, 0, 0), (1, 1), 1, "channels"),
            (("f32[N,2,6,6]", "f32[3,2,3,3]"), (0, 1), (0, 0, 0, 0), (1, 1), 1, "stride"),
            (("f32[N,2,6,6]", "f32[3,2,3,3]"), (-1, 1), (0, 0, 0, 0), (1, 1), 1, "stride"),
        )
    ),
)  # fmt: skip


def _input_grad_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    dtype = _product_dtype("conv2d_input_grad", inputs)
    check_window_attrs("conv2d_input_grad", attrs)
    g, w = inputs
    per_group = w.shape[1]
    channels = per_group * attrs["groups"] if isinstance(per_group, int) else per_group
    _channels("conv2d_input_grad", channels, w.shape[1], w.shape[0], attrs["groups"])
    expected = _conv_extents("conv2d_input_grad", attrs["size"], w.shape[2:], attrs)
    if g.shape[1:] != (w.shape[0], *expected):
        raise GraphcError(
            f"conv2d_input_grad: the gradient is {g} "
            f"but the output is {w.shape[0]} maps of {expected}",
            remedy="give the gradient of that convolution's output",
        )
    return TensorType(dtype, (g.shape[0], channels, *attrs["size"])).with_layout(
        _image_layout(inputs)
    )


def conv2d_input_grad(
    g: Node,
    w: Node,
    *,
    size: Sequence[Dim],
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Node:
    """The gradient of ``conv2d(x, w)`` for x, given that of its output.

    size: height and width of x.
    """
    attrs = {"size": tuple(size), **_conv_attrs(stride, padding, dilation, groups)}
    return make(CONV2D_INPUT_GRAD, (g, w), attrs)


def _input_grad_contraction(inputs: tuple[TensorType, ...], attrs: Attrs) -> Contraction:
    """With stride S only every S-th tap reaches a pixel.

    That is r = (y + low) mod S + S * j, and the row is (y + low)/S - j. If the taps are dilated
    too, all are tried; where S does not divide, the row is moved outside, where nothing counts.
    """
    g, w = inputs
    groups, strides, dilations = attrs["groups"], attrs["stride"], attrs["dilation"]
    lows = attrs["padding"][0], attrs["padding"][2]
    k, c = int(w.shape[0]) // groups, int(w.shape[1])  # type: ignore[arg-type]
    windows = [int(d) for d in w.shape[2:]]  # type: ignore[arg-type]
    rows = [int(d) for d in g.shape[2:]]  # type: ignore[arg-type]
    taps = [
        -(-r // s) if d == 1 else r for r, s, d in zip(windows, strides, dilations, strict=True)
    ]

    def along(at: At, place: str, tap: str, axis: int) -> tuple[Index, Index]:
        reached, stride, dilation = at[place] + lows[axis], strides[axis], dilations[axis]
        behind = reached - at[tap] * dilation
        if stride == 1:
            return behind, at[tap]
        if dilation == 1:
            return reached // stride - at[tap], reached % stride + at[tap] * stride
        outside = rows[axis] + (windows[axis] - 1) * dilation
        return behind // stride + behind % stride * outside, at[tap]

    def access(at: At) -> tuple[tuple[Index, ...], tuple[Index, ...], tuple[Index, ...]]:
        maps = _grouped(at, "g", "k", k)
        row, r = along(at, "y", "r", 0)
        column, s = along(at, "x", "s", 1)
        return (
            (at["n"], _grouped(at, "g", "c", c), at["y"], at["x"]),
            (at["n"], maps, row, column),
            (maps, at["c"], r, s),
        )

    axes = (
        ("g", groups),
        ("c", c),
        ("y", attrs["size"][0]),
        ("x", attrs["size"][1]),
        ("n", g.shape[0]),
    )
    return Contraction(axes, (("k", k), ("r", taps[0]), ("s", taps[1])), access)


def _input_grad_numpy(g: Any, w: Any, *, size: tuple[int, int], groups: int, **attrs: Any) -> Any:
    (sy, sx), (dy, dx) = attrs["stride"], attrs["dilation"]
    top, bottom, left, right = attrs["padding"]
    n, k = g.shape[:2]
    c, taps_y, taps_x = w.shape[1:]
    grouped = g.reshape(n, groups, k // groups, *g.shape[2:])
    spread = np.einsum(
        "ngkyx,gkcrs->ngcrsyx", grouped, w.reshape(groups, -1, c, taps_y, taps_x), optimize=True
    )
    spread = spread.reshape(n, groups * c, taps_y, taps_x, *g.shape[2:])
    out = np.zeros((n, groups * c, size[0] + top + bottom, size[1] + left + right), g.dtype)
    for r in range(taps_y):
        for s in range(taps_x):
            rows = np.s_[r * dy : r * dy + sy * g.shape[2] : sy]
            columns = np.s_[s * dx : s * dx + sx * g.shape[3] : sx]
            out[:, :, rows, columns] += spread[:, :, r, s]
    return out[:, :, top : top + size[0], left : left + size[1]]


CONV2D_INPUT_GRAD: Op = Op(
    "conv2d_input_grad", "contraction", _input_grad_rule, _input_grad_numpy, conv2d_input_grad,
    vjp=lambda h, y, g, w, *, size, **attrs: (
        conv2d(h, w, **attrs),
        conv2d_weight_grad(h, g, window=w.tensor.shape[2:], **attrs),
    ),
    contraction=_input_grad_contraction, arity=2,
    samples=(
        sample("f32[N,3,4,4]", "f32[3,2,3,3]", size=(6, 6), stride=(1, 1), padding=(0,) * 4,
               dilation=(1, 1), groups=1),
        sample("f32[N,3,4,5]", "f32[3,2,3,2]", size=(7, 5), stride=(2, 1), padding=(1, 1, 0, 1),
               dilation=(1, 1), groups=1),
        sample("f32[N,6,4,4]", "f32[6,2,3,3]", size=(8, 8), stride=(2, 2), padding=(1, 1, 1, 1),
               dilation=(1, 1), groups=2),
        sample("f64[2,2,5,5]", "f64[2,2,3,3]", size=(9, 9), stride=(1, 1), padding=(0,) * 4,
               dilation=(2, 2), groups=1),
        sample("f64[2,2,5,5]", "f64[2,2,3,3]", size=(13, 13), stride=(2, 2), padding=(0,) * 4,
               dilation=(2, 2), groups=1),
        sample("f32[N,2,4,3]", "f32[2,2,3,2]", size=(9, 8), stride=(2, 3), padding=(1, 0, 1, 0),
               dilation=(1, 2), groups=1),
        sample("f32[N,3,4,4]", "f32[3,2,3,3]", size=(9, 9), stride=(1, 1), padding=(0,) * 4,
               dilation=(1, 1), groups=1,
               raises="gradient"),
    ),
)  # fmt: skip


def _weight_grad_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    dtype = _product_dtype("conv2d_weight_grad", inputs)
    check_window_attrs("conv2d_weight_grad", attrs)
    x, g = inputs
    groups = attrs["groups"]
    channels, maps = x.shape[1], g.shape[1]
    per_group = channels // groups if isinstance(channels, int) and groups >= 1 else channels
    _channels("conv2d_weight_grad", channels, per_group, maps, groups)
    expected = _conv_extents("conv2d_weight_grad", x.shape[2:], attrs["window"], attrs)
    if g.shape[0] != x.shape[0] or g.shape[2:] != expected:
        raise GraphcError(
            f"conv2d_weight_grad: the gradient is {g} but the output of {x} is {expected}",
            remedy="give the gradient of that convolution's output",
        )
    type = TensorType(dtype, (maps, per_group, *attrs["window"]))
    if g.layout == CHANNELS_LAST:
        return type.with_layout(CHANNELS_LAST)
    if not blocked_axes(g.layout):
        return type
    both = type.with_layout("blocked_1_0")
    return both if blocked_axes(both.layout) else type.with_layout("blocked_0")


def conv2d_weight_grad(
    x: Node,
    g: Node,
    *,
    window: Sequence[Dim],
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Node:
    """The gradient of ``conv2d(x, w)`` for w, given that of its output.

    window: height and width of w.
    """
    attrs = {"window": tuple(window), **_conv_attrs(stride, padding, dilation, groups)}
    return make(CONV2D_WEIGHT_GRAD, (x, g), attrs)


def _weight_grad_contraction(inputs: tuple[TensorType, ...], attrs: Attrs) -> Contraction:
    x, g = inputs
    groups, (sy, sx), (dy, dx) = attrs["groups"], attrs["stride"], attrs["dilation"]
    top, _, left, _ = attrs["padding"]
    k, c = int(g.shape[1]) // groups, int(x.shape[1]) // groups  # type: ignore[arg-type]

    def access(at: At) -> tuple[tuple[Index, ...], tuple[Index, ...], tuple[Index, ...]]:
        maps = _grouped(at, "g", "k", k)
        rows, columns = at["y"] * sy + at["r"] * dy - top, at["x"] * sx + at["s"] * dx - left
        return (
            (maps, at["c"], at["r"], at["s"]),
            (at["n"], _grouped(at, "g", "c", c), rows, columns),
            (at["n"], maps, at["y"], at["x"]),
        )

    axes = (("g", groups), ("k", k), ("c", c), ("r", attrs["window"][0]), ("s", attrs["window"][1]))
    return Contraction(axes, (("y", g.shape[2]), ("x", g.shape[3]), ("n", x.shape[0])), access)


def _weight_grad_numpy(
    x: Any, g: Any, *, window: tuple[int, int], groups: int, **attrs: Any
) -> Any:
    height, width = g.shape[2:]
    views = _windows(x, window, attrs)[:, :, :height, :width]
    n, c = views.shape[:2]
    grouped = views.reshape(n, groups, c // groups, *views.shape[2:])
    gradient = g.reshape(n, groups, -1, height, width)
    out = np.einsum("ngcyxrs,ngkyx->gkcrs", grouped, gradient, optimize=True)
    return np.ascontiguousarray(out).reshape(g.shape[1], c // groups, *window)


CONV2D_WEIGHT_GRAD: Op = Op(
    "conv2d_weight_grad", "contraction", _weight_grad_rule, _weight_grad_numpy, conv2d_weight_grad,
    vjp=lambda h, y, x, g, *, window, **attrs: (
        conv2d_input_grad(g, h, size=x.tensor.shape[2:], **attrs),
        conv2d(x, h, **attrs),
    ),
    contraction=_weight_grad_contraction, arity=2,
    samples=(
        sample("f32[N,2,6,6]", "f32[N,3,4,4]", window=(3, 3), stride=(1, 1), padding=(0,) * 4,
               dilation=(1, 1), groups=1),
        sample("f32[N,2,7,5]", "f32[N,3,4,5]", window=(3, 2), stride=(2, 1), padding=(1, 1, 0, 1),
               dilation=(1, 1), groups=1),
        sample("f32[N,4,8,8]", "f32[N,6,4,4]", window=(3, 3), stride=(2, 2), padding=(1, 1, 1, 1),
               dilation=(1, 1), groups=2),
        sample("f64[2,2,9,9]", "f64[2,2,5,5]", window=(3, 3), stride=(1, 1), padding=(0,) * 4,
               dilation=(2, 2), groups=1),
    ),
)  # fmt: skip
