"""Locally connected layers: convolution whose weights differ from place to place; its gradients.

Weights are [Y,X,K,C,R,S]: those of an ordinary convolution for each block of output positions (a
single position if `block` is 1):
out[n,k,y,x] = sum over c,r,s of in[n, c, y*stride + r, x*stride + s] * w[y//block,x//block,k,c,r,s]
There is no padding: pad the image. Taigman et al., "DeepFace", 2014; shared within blocks: Sun et
al., "Deep learning face representation from predicting 10,000 classes", 2014.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from graphc.base.errors import GraphcError
from graphc.ir.index import Index
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, DType, TensorType, shape_text, window_extent
from graphc.ops.contractions import Pair, pair
from graphc.ops.families import product_dtype
from graphc.ops.op import Contraction, Op, common_layout, sample

At = Mapping[str, Index]
Accesses = tuple[tuple[Index, ...], tuple[Index, ...], tuple[Index, ...]]
Extents = tuple[int, int]


def blocks(size: Sequence[int], block: Extents) -> Extents:
    """How many blocks an output of `size` has, vertically and horizontally; the last may be cut."""
    return -(-size[0] // block[0]), -(-size[1] // block[1])


def output_size(size: Sequence[int], window: Sequence[int], stride: Extents) -> Extents:
    """Height and width of the output. Raises GraphcError if the window does not fit."""
    found = [
        window_extent(size[a], window[a], stride=stride[a], low=0, high=0, what="local_conv2d")
        for a in (0, 1)
    ]
    return found[0], found[1]


def _attrs(stride: Pair, block: Pair) -> dict[str, Any]:
    return {
        "stride": pair(stride, "local_conv2d: stride", 1),
        "block": pair(block, "local_conv2d: block", 1),
    }


def _check(what: str, inputs: tuple[TensorType, ...], attrs: Attrs, ranks: Extents) -> DType:
    """The dtype of the result. Raises GraphcError for what is no product of such tensors."""
    dtype = product_dtype(what, inputs)
    for type, rank in zip(inputs, ranks, strict=True):
        fixed = type.shape if rank == 6 else type.shape[1:]
        if type.rank != rank or not all(isinstance(d, int) and d > 0 for d in fixed):
            raise GraphcError(
                f"{what}: {type} is not of {rank} axes, all numbers but the batch",
                remedy="images are [N,channels,height,width], weights [blocks down, blocks across, "
                "maps,channels,height,width]",
            )
    for name in ("stride", "block", "size", "window"):
        if name in attrs:
            pair(attrs[name], f"{what}: {name}", 1)
    return dtype


def _expect(what: str, name: str, found: Sequence[Dim], expected: Sequence[Dim]) -> None:
    if tuple(found) != tuple(expected):
        raise GraphcError(
            f"{what}: the {name} are {shape_text(tuple(found))}, not {shape_text(tuple(expected))}",
            remedy="weights are [blocks down, blocks across, maps,channels,height,width]",
        )


# -- forward ---------------------------------------------------------------------------------------


def local_conv2d(x: Node, w: Node, *, stride: Pair = 1, block: Pair = 1) -> Node:
    """Correlation of x [N,C,H,W] with weights w [Y,X,K,C,R,S] of each `block` of output positions.

    The result is [N,K,H',W'] with H' = (H - R)/S + 1.
    """
    return make(LOCAL_CONV2D, (x, w), _attrs(stride, block))


def _rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    dtype = _check("local_conv2d", inputs, attrs, (4, 6))
    x, w = inputs
    size = output_size(x.concrete(1)[2:], w.concrete(1)[4:], attrs["stride"])
    _expect("local_conv2d", "blocks of the weights", w.shape[:2], blocks(size, attrs["block"]))
    _expect("local_conv2d", "channels of the weights", w.shape[3:4], x.shape[1:2])
    return TensorType(dtype, (x.shape[0], w.shape[2], *size)).with_layout(common_layout(inputs))


def _contraction(inputs: tuple[TensorType, ...], attrs: Attrs) -> Contraction:
    x, w = inputs
    (sy, sx), (by, bx) = attrs["stride"], attrs["block"]
    out = _rule(inputs, attrs)

    def access(at: At) -> Accesses:
        rows, columns = at["y"] * sy + at["r"], at["x"] * sx + at["s"]
        place = at["y"] // by, at["x"] // bx
        return (
            (at["n"], at["k"], at["y"], at["x"]),
            (at["n"], at["c"], rows, columns),
            (*place, at["k"], at["c"], at["r"], at["s"]),
        )

    axes = (("y", out.shape[2]), ("x", out.shape[3]), ("k", w.shape[2]), ("n", x.shape[0]))
    return Contraction(axes, (("c", w.shape[3]), ("r", w.shape[4]), ("s", w.shape[5])), access)


def _windows(x: Any, window: Sequence[int], stride: Extents) -> Any:
    """[N,C,H',W',R,S]: every window of x."""
    return sliding_window_view(x, window, (2, 3))[:, :, :: stride[0], :: stride[1]]


def _at_each_place(w: Any, size: Sequence[int], block: Extents) -> Any:
    """[H',W',K,C,R,S]: the weights that each output position uses."""
    return w.repeat(block[0], 0).repeat(block[1], 1)[: size[0], : size[1]]


def _numpy(x: Any, w: Any, *, stride: Extents, block: Extents) -> Any:
    windows = _windows(x, w.shape[4:], stride)
    each = _at_each_place(w, windows.shape[2:4], block)
    return np.ascontiguousarray(np.einsum("ncyxrs,yxkcrs->nkyx", windows, each, optimize=True))


LOCAL_CONV2D: Op = Op(
    "local_conv2d", "contraction", _rule, _numpy, local_conv2d,
    vjp=lambda g, y, x, w, **attrs: (
        local_conv2d_input_grad(g, w, size=x.tensor.shape[2:], **attrs),
        local_conv2d_weight_grad(x, g, window=w.tensor.shape[4:], **attrs),
    ),
    contraction=_contraction, arity=2,
    samples=(
        sample("f32[N,2,5,4]", "f32[3,2,3,2,3,3]", stride=(1, 1), block=(1, 1)),
        sample("f32[N,1,7,6]", "f32[3,3,2,1,2,2]", stride=(2, 1), block=(1, 2)),
        sample("f64[2,2,6,6]", "f64[2,2,2,2,2,3]", stride=(1, 1), block=(3, 2)),
        sample("f32[N,2,5,4]", "f32[3,3,3,2,3,3]", stride=(1, 1), block=(1, 1), raises="blocks"),
        sample("f32[N,2,5,4]", "f32[3,2,3,1,3,3]", stride=(1, 1), block=(1, 1), raises="channels"),
        sample("f32[N,2,2,4]", "f32[3,2,3,2,3,3]", stride=(1, 1), block=(1, 1), raises="fit"),
        sample("f32[N,2,5,4]", "f32[3,2,3,3]", stride=(1, 1), block=(1, 1), raises="6 axes"),
        sample("f32[N,2,5,4]", "f32[3,2,3,2,3,3]", stride=(1, 1), block=(0, 1), raises="block"),
    ),
)  # fmt: skip

# -- gradient of the input -------------------------------------------------------------------------


def local_conv2d_input_grad(
    g: Node, w: Node, *, size: Sequence[Dim], stride: Pair = 1, block: Pair = 1
) -> Node:
    """The gradient of ``local_conv2d(x, w)`` for x, given that of its output.

    size: height and width of x.
    """
    return make(LOCAL_INPUT_GRAD, (g, w), {"size": tuple(size), **_attrs(stride, block)})


def _input_grad_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    what = "local_conv2d_input_grad"
    dtype = _check(what, inputs, attrs, (4, 6))
    g, w = inputs
    size = output_size(attrs["size"], w.concrete(1)[4:], attrs["stride"])
    _expect(what, "extents of the gradient", g.shape[1:], (w.shape[2], *size))
    _expect(what, "blocks of the weights", w.shape[:2], blocks(size, attrs["block"]))
    shape = (g.shape[0], w.shape[3], *attrs["size"])
    return TensorType(dtype, shape).with_layout(common_layout(inputs))


def _input_grad_contraction(inputs: tuple[TensorType, ...], attrs: Attrs) -> Contraction:
    """Tap r = y mod S + S * j of the output row y/S - j reads row y; rows outside do not count."""
    g, w = inputs
    strides, block = attrs["stride"], attrs["block"]
    taps = [-(-r // s) for r, s in zip(w.concrete(1)[4:], strides, strict=True)]

    def along(at: At, place: str, tap: str, axis: int) -> tuple[Index, Index, Index]:
        stride = strides[axis]
        row = at[place] // stride - at[tap]
        return row, at[place] % stride + at[tap] * stride, row // block[axis]

    def access(at: At) -> Accesses:
        row, r, down = along(at, "y", "r", 0)
        column, s, across = along(at, "x", "s", 1)
        return (
            (at["n"], at["c"], at["y"], at["x"]),
            (at["n"], at["k"], row, column),
            (down, across, at["k"], at["c"], r, s),
        )

    height, width = attrs["size"]
    axes = (("y", height), ("x", width), ("c", w.shape[3]), ("n", g.shape[0]))
    return Contraction(axes, (("k", w.shape[2]), ("r", taps[0]), ("s", taps[1])), access)


def _input_grad_numpy(g: Any, w: Any, *, size: Extents, stride: Extents, block: Extents) -> Any:
    each = _at_each_place(w, g.shape[2:], block)
    spread = np.einsum("nkyx,yxkcrs->ncrsyx", g, each, optimize=True)
    out = np.zeros((g.shape[0], w.shape[3], *size), g.dtype)
    (height, width), (sy, sx) = g.shape[2:], stride
    for r in range(w.shape[4]):
        for s in range(w.shape[5]):
            out[:, :, r : r + sy * height : sy, s : s + sx * width : sx] += spread[:, :, r, s]
    return out


LOCAL_INPUT_GRAD: Op = Op(
    "local_conv2d_input_grad", "contraction", _input_grad_rule, _input_grad_numpy,
    local_conv2d_input_grad,
    vjp=lambda h, y, g, w, *, size, **attrs: (
        local_conv2d(h, w, **attrs),
        local_conv2d_weight_grad(h, g, window=w.tensor.shape[4:], **attrs),
    ),
    contraction=_input_grad_contraction, arity=2,
    samples=(
        sample("f32[N,3,3,2]", "f32[3,2,3,2,3,3]", size=(5, 4), stride=(1, 1), block=(1, 1)),
        sample("f32[N,2,3,5]", "f32[3,3,2,1,2,2]", size=(7, 6), stride=(2, 1), block=(1, 2)),
        sample("f64[2,2,3,3]", "f64[2,2,2,2,2,3]", size=(7, 7), stride=(2, 2), block=(2, 2)),
        sample("f32[N,3,3,3]", "f32[3,2,3,2,3,3]", size=(5, 4), stride=(1, 1), block=(1, 1),
               raises="extents of the gradient"),
        sample("f32[N,3,3,2]", "f32[3,2,3,2,3,3]", size=(5, 4), stride=(1, 1), block=(2, 1),
               raises="blocks"),
    ),
)  # fmt: skip

# -- gradient of the weights -----------------------------------------------------------------------


def local_conv2d_weight_grad(
    x: Node, g: Node, *, window: Sequence[Dim], stride: Pair = 1, block: Pair = 1
) -> Node:
    """The gradient of ``local_conv2d(x, w)`` for w, given that of its output.

    window: height and width of the windows.
    """
    return make(LOCAL_WEIGHT_GRAD, (x, g), {"window": tuple(window), **_attrs(stride, block)})


def _weight_grad_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    what = "local_conv2d_weight_grad"
    dtype = _check(what, inputs, attrs, (4, 4))
    x, g = inputs
    size = output_size(x.concrete(1)[2:], attrs["window"], attrs["stride"])
    _expect(what, "extents of the gradient", (g.shape[0], *g.shape[2:]), (x.shape[0], *size))
    shape = (*blocks(size, attrs["block"]), g.shape[1], x.shape[1], *attrs["window"])
    return TensorType(dtype, shape)


def _weight_grad_contraction(inputs: tuple[TensorType, ...], attrs: Attrs) -> Contraction:
    """Sums over a block's positions (v, u); those beyond the output's edge do not count."""
    (sy, sx), (by, bx) = attrs["stride"], attrs["block"]
    out = _weight_grad_rule(inputs, attrs)
    names = ("y", "x", "k", "c", "r", "s")

    def access(at: At) -> Accesses:
        row, column = at["y"] * by + at["v"], at["x"] * bx + at["u"]
        return (
            tuple(at[name] for name in names),
            (at["n"], at["c"], row * sy + at["r"], column * sx + at["s"]),
            (at["n"], at["k"], row, column),
        )

    axes = tuple(zip(names, out.shape, strict=True))
    return Contraction(axes, (("v", by), ("u", bx), ("n", inputs[0].shape[0])), access)


def _weight_grad_numpy(x: Any, g: Any, *, window: Extents, stride: Extents, block: Extents) -> Any:
    each = np.einsum("ncyxrs,nkyx->yxkcrs", _windows(x, window, stride), g, optimize=True)
    rows, columns = (np.arange(0, each.shape[a], block[a]) for a in (0, 1))
    return np.add.reduceat(np.add.reduceat(each, rows, axis=0), columns, axis=1)


LOCAL_WEIGHT_GRAD: Op = Op(
    "local_conv2d_weight_grad", "contraction", _weight_grad_rule, _weight_grad_numpy,
    local_conv2d_weight_grad,
    vjp=lambda h, y, x, g, *, window, **attrs: (
        local_conv2d_input_grad(g, h, size=x.tensor.shape[2:], **attrs),
        local_conv2d(x, h, **attrs),
    ),
    contraction=_weight_grad_contraction, arity=2,
    samples=(
        sample("f32[N,2,5,4]", "f32[N,3,3,2]", window=(3, 3), stride=(1, 1), block=(1, 1)),
        sample("f32[N,1,7,6]", "f32[N,2,3,5]", window=(2, 2), stride=(2, 1), block=(1, 2)),
        sample("f64[2,2,7,7]", "f64[2,2,3,3]", window=(2, 3), stride=(2, 2), block=(2, 2)),
        sample("f32[N,2,5,4]", "f32[N,3,3,3]", window=(3, 3), stride=(1, 1), block=(1, 1),
               raises="extents of the gradient"),
    ),
)  # fmt: skip
