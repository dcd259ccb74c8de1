"""Average pooling to a given size, whatever the input's: bins instead of windows.

Bin i of n along an axis of extent w goes from floor(i w / n) up to ceil((i + 1) w / n), as in
PyTorch: it holds every element that it touches when the axis is cut in n equal parts. Touching is
mutual, so `adaptive_sum_pool2d` back to the input's size is its own transpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import Dim, TensorType
from graphc.ops.contractions import Pair, pair
from graphc.ops.create import full
from graphc.ops.elementwise import div
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Access, Bound, Op, common_layout, sample
from graphc.ops.pooling.average import avg_pool2d
from graphc.ops.pooling.windows import Indices, image_size

Size = tuple[int, int]
SAMPLES = (
    sample("f32[N,2,5,7]", size=(2, 3)),
    sample("f32[N,1,3,4]", size=(5, 4)),
    sample("f64[2,2,6,1]", size=(4, 1)),
    sample("f32[N,2,6]", size=(2, 3), raises="not an image batch"),
    sample("f32[N,2,6,6]", size=(2, 0), raises="size"),
)


def _rule(name: str, inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    require_dtype(name, inputs[0], "float")
    size = pair(attrs["size"], f"{name}: size", 1)
    if 0 in image_size(name, inputs[0]):
        raise GraphcError(f"{name}: {inputs[0]} has no pixels", remedy="give a larger image")
    shape = (*inputs[0].shape[:2], *size)
    return TensorType(inputs[0].dtype, shape).with_layout(common_layout(inputs))


def _bin(number: Any, extent: int, bins: int) -> tuple[Any, Any]:
    """(first element, one past the last) of a bin; the number may be an index."""
    return number * extent // bins, ((number + 1) * extent + (bins - 1)) // bins


def _longest(extent: int, bins: int) -> int:
    """Elements of the longest bin."""
    ends = (_bin(i, extent, bins) for i in range(bins))
    return max(int(high - low) for low, high in ends)


def _domain(inputs: tuple[TensorType, ...], attrs: Attrs) -> tuple[Dim, ...]:
    size = image_size("adaptive_sum_pool2d", inputs[0])
    return tuple(_longest(extent, bins) for extent, bins in zip(size, attrs["size"], strict=True))


def _access(out: Indices, taps: Indices, inputs: tuple[TensorType, ...], attrs: Attrs) -> Access:
    size = image_size("adaptive_sum_pool2d", inputs[0])
    places, bounds = [], []
    for number, tap, extent, bins in zip(out[2:], taps, size, attrs["size"], strict=True):
        low, high = _bin(number, extent, bins)
        places.append(low + tap)
        bounds.append(Bound(high - low - tap, 1, extent + 1))
    return Access(((*out[:2], *places),), tuple(bounds))


def adaptive_sum_pool2d(x: Node, *, size: Pair) -> Node:
    """The sum of each of `size` bins, which overlap where they do not divide the image."""
    return make(ADAPTIVE_SUM_POOL2D, (x,), {"size": pair(size, "adaptive_sum_pool2d: size", 1)})


def _numpy_bins(x: Any, size: Size) -> Iterator[tuple[int, int, Any]]:
    """(row, column, the elements) of each bin."""
    for row, column in np.ndindex(size):
        (top, bottom), (left, right) = (
            _bin(i, extent, bins)
            for i, extent, bins in zip((row, column), x.shape[2:], size, strict=True)
        )
        yield row, column, x[:, :, top:bottom, left:right]


def _sum_numpy(x: Any, *, n: int, size: Size) -> Any:
    found = np.empty((*x.shape[:2], *size), x.dtype)
    for row, column, elements in _numpy_bins(x, size):
        found[:, :, row, column] = elements.sum((2, 3))
    return found


ADAPTIVE_SUM_POOL2D: Op = Op(
    "adaptive_sum_pool2d", "reduction", lambda i, a: _rule("adaptive_sum_pool2d", i, a), _sum_numpy,
    adaptive_sum_pool2d,
    vjp=lambda g, y, x, *, size: (
        adaptive_sum_pool2d(g, size=image_size("adaptive_sum_pool2d", x.tensor)),
    ),
    body=lambda s, at, taps, x, **_: x, access=_access, domain=_domain, combine="sum", arity=1,
    samples=SAMPLES,
)  # fmt: skip


def adaptive_avg_pool2d(x: Node, *, size: Pair) -> Node:
    """The mean of each of `size` bins: bin i of n holds floor(i w / n) up to ceil((i+1) w / n)."""
    return make(ADAPTIVE_AVG_POOL2D, (x,), {"size": pair(size, "adaptive_avg_pool2d: size", 1)})


def _average_decompose(x: Node, *, size: Size) -> Node:
    """Plain windows where the bins divide the image; else sums, divided by how many elements."""
    extents = image_size("adaptive_avg_pool2d", x.tensor)
    window = (extents[0] // size[0], extents[1] // size[1])
    if extents == (window[0] * size[0], window[1] * size[1]):
        return avg_pool2d(x, window=window)
    ones = full(1.0, shape=(1, 1, *extents), dtype=x.tensor.dtype)
    mean: Node = div(adaptive_sum_pool2d(x, size=size), adaptive_sum_pool2d(ones, size=size))
    return mean


def _average_numpy(x: Any, *, n: int, size: Size) -> Any:
    found = np.empty((*x.shape[:2], *size), x.dtype)
    for row, column, elements in _numpy_bins(x, size):
        found[:, :, row, column] = elements.mean((2, 3))
    return found


ADAPTIVE_AVG_POOL2D: Op = layer(
    "adaptive_avg_pool2d", rule=lambda i, a: _rule("adaptive_avg_pool2d", i, a),
    numpy=_average_numpy, build=adaptive_avg_pool2d, decompose=_average_decompose, arity=1,
    samples=(*SAMPLES, sample("f32[N,2,6,4]", size=(3, 2))),
)  # fmt: skip
