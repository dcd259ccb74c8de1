"""The gradient of a convolution's weights in pieces: a sum for each so many rows of the images.

Weights are few and pixels many, so that one sum for each weight keeps few processors busy. What the
pieces add up to is `conv2d_weight_grad`. A pass makes them after gradients are taken, so they have
none themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, TensorType
from graphc.ops.contractions import CONV2D_WEIGHT_GRAD, At, Pair, conv2d_weight_grad
from graphc.ops.op import Contraction, Op, sample


def _of_all(attrs: Attrs) -> dict[str, Any]:
    """The attributes of the gradient that is one sum."""
    return {key: value for key, value in attrs.items() if key != "pieces"}


def _rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    type = CONV2D_WEIGHT_GRAD.rule(inputs, _of_all(attrs))
    rows, pieces = inputs[1].shape[2], attrs["pieces"]
    if not isinstance(rows, int) or not isinstance(pieces, int) or pieces < 1 or rows % pieces:
        raise GraphcError(
            f"conv2d_weight_grad_pieces: {rows} rows do not divide into {pieces} pieces",
            remedy="choose a number that divides the rows of the output",
        )
    assert isinstance(type, TensorType)
    shape = (*type.shape[:2], pieces, *type.shape[2:])
    return TensorType(type.dtype, shape).with_layout(type.layout)


def conv2d_weight_grad_pieces(
    x: Node,
    g: Node,
    *,
    pieces: int,
    window: Sequence[Dim],
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Node:
    """[K,C,pieces,R,S]: `conv2d_weight_grad` of each of `pieces` equal parts of the rows."""
    whole = conv2d_weight_grad(
        x, g, window=window, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return make(CONV2D_WEIGHT_GRAD_PIECES, (x, g), {"pieces": pieces, **whole.attrs})


def _contraction(inputs: tuple[TensorType, ...], attrs: Attrs) -> Contraction:
    assert CONV2D_WEIGHT_GRAD.contraction is not None
    whole = CONV2D_WEIGHT_GRAD.contraction(inputs, _of_all(attrs))
    pieces = attrs["pieces"]
    rows = int(inputs[1].shape[2]) // pieces  # type: ignore[arg-type]

    def access(at: At) -> Any:
        out, left, right = whole.access({**at, "y": at["piece"] * rows + at["y"]})
        return (*out[:2], at["piece"], *out[2:]), left, right

    reduced = tuple((name, rows if name == "y" else extent) for name, extent in whole.reduced)
    return Contraction((("piece", pieces), *whole.axes), reduced, access)


def _numpy(x: Any, g: Any, *, pieces: int, **attrs: Any) -> Any:
    assert CONV2D_WEIGHT_GRAD.numpy is not None
    found = []
    for rows in np.split(np.arange(g.shape[2]), pieces):
        own = np.zeros_like(g)
        own[:, :, rows] = g[:, :, rows]
        found.append(CONV2D_WEIGHT_GRAD.numpy(x, own, **attrs))
    return np.stack(found, 2)


CONV2D_WEIGHT_GRAD_PIECES: Op = Op(
    "conv2d_weight_grad_pieces", "contraction", _rule, _numpy, conv2d_weight_grad_pieces,
    contraction=_contraction, arity=2,
    samples=(
        sample("f32[N,2,6,6]", "f32[N,3,4,4]", pieces=2, window=(3, 3), stride=(1, 1),
               padding=(0,) * 4, dilation=(1, 1), groups=1, differentiable=()),
        sample("f32[N,4,8,8]", "f32[N,6,4,4]", pieces=4, window=(3, 3), stride=(2, 2),
               padding=(1, 1, 1, 1), dilation=(1, 1), groups=2, differentiable=()),
        sample("f32[N,2,6,6]", "f32[N,3,4,4]", pieces=3, window=(3, 3), stride=(1, 1),
               padding=(0,) * 4, dilation=(1, 1), groups=1, raises="do not divide"),
    ),
)  # fmt: skip
