"""L2 pooling: the Euclidean norm of each window, of one feature map or of several together.

Le et al., "Tiled convolutional neural networks", 2010: the square root of the sum of the squares
of a pooling region.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import TensorType, whole_numbers
from graphc.ops.contractions import Pair
from graphc.ops.elementwise import mul
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Op, sample
from graphc.ops.pooling.average import sum_pool2d
from graphc.ops.pooling.windows import (
    elements_at,
    numpy_taps,
    pool_rule,
    pooled_extents,
    window_attrs,
)
from graphc.ops.reductions import sum
from graphc.ops.root import root
from graphc.ops.views import reshape


def l2_pool2d(
    x: Node, *, window: Pair, stride: Pair | None = None, padding: Pair = 0, maps: int = 1
) -> Node:
    """The square root of the sum of squares over each window, of `maps` feature maps at a time.

    Windows over maps do not overlap: [N,C,H,W] gives [N,C/maps,H',W']. The gradient at a window of
    zeros is 0.
    """
    attrs = window_attrs("l2_pool2d", x.tensor.shape[2:], window, stride, padding, False)
    return make(L2_POOL2D, (x,), attrs | {"maps": maps})


def _rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    require_dtype("l2_pool2d", inputs[0], "float")
    (maps,) = whole_numbers((attrs["maps"],), "l2_pool2d: maps", least=1)
    pooled = pool_rule("l2_pool2d", inputs, attrs)
    batch, channels, *size = pooled.shape
    if not isinstance(channels, int) or channels % maps:
        raise GraphcError(
            f"l2_pool2d: the {channels} feature maps of {inputs[0]} do not divide into {maps}",
            remedy="choose a number of maps that divides the channels",
        )
    return TensorType(pooled.dtype, (batch, channels // maps, *size)).with_layout(pooled.layout)


def _decompose(x: Node, *, maps: int, **attrs: Any) -> Node:
    squares = mul(x, x)
    if maps > 1:
        batch, channels, *size = x.tensor.shape
        assert isinstance(channels, int)
        together = reshape(squares, shape=(batch, channels // maps, maps, *size))
        squares = sum(together, axes=2)
    pooled: Node = root(sum_pool2d(squares, **attrs))
    return pooled


def _numpy(x: Any, *, n: int, maps: int, **attrs: Any) -> Any:
    batch, channels, *size = x.shape
    together = (x * x).reshape(batch, channels // maps, maps, *size).sum(2)
    out = pooled_extents("l2_pool2d", size, attrs)
    total = np.zeros((batch, channels // maps, *out), x.dtype)
    for _, to, source in numpy_taps((size[0], size[1]), out, attrs):
        total[:, :, to[0], to[1]] += elements_at(together, source)
    return np.sqrt(total)


L2_POOL2D: Op = layer(
    "l2_pool2d", rule=_rule, numpy=_numpy, build=l2_pool2d, decompose=_decompose, arity=1,
    samples=(
        sample("f32[N,2,6,5]", window=(2, 2), stride=(2, 1), padding=(0, 1, 1, 0), maps=1),
        sample("f64[2,6,5,5]", window=(3, 2), stride=(2, 2), padding=(0,) * 4, maps=3),
        sample("f32[N,3,6,6]", window=(2, 2), stride=(2, 2), padding=(0,) * 4, maps=2,
               raises="do not divide"),
    ),
)  # fmt: skip
