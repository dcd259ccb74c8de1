"""Max pooling of regions of interest to a fixed grid.

Girshick, "Fast R-CNN", 2015, section 2.1; rounding and bins are those of its program, which
torchvision.ops.roi_pool keeps. A box is pooled in two stages: over the columns of each bin for
every row of its image, then over the rows of each bin. Both take the first maximum, so together
they take the first in row-major order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import DType, Shape, TensorType
from graphc.ops.contractions import Pair, pair
from graphc.ops.create import iota, plain_number
from graphc.ops.elementwise import (
    add,
    cast,
    div,
    less,
    less_equal,
    logical_and,
    maximum,
    minimum,
    mul,
    sub,
    where,
)
from graphc.ops.families import layer, require_dtype, same_dtype
from graphc.ops.op import Op, sample
from graphc.ops.range_max import range_max
from graphc.ops.rounding import ceil, floor, round
from graphc.ops.views import broadcast, reshape, slice, transpose


def roi_max_pool(features: Node, boxes: Node, *, size: Pair, scale: float = 1.0) -> Node:
    """The maximum of each bin of each box: features [B,C,H,W] and boxes [N,5] to [N,C,size...].

    A box is (image index, x1, y1, x2, y2), both corners inside; times `scale` and rounded, halves
    away from zero, it is in pixels of the features. Bin i of n over w pixels goes from floor(i w/n)
    up to ceil((i+1) w/n); bins overlap where that does. What is outside of the image does not
    count, and a bin without pixels gives 0, so does a box of no image. A box has no gradient.
    """
    attrs = {
        "size": pair(size, "roi_max_pool: size", 1),
        "scale": float(plain_number(scale, "roi_max_pool: scale")),
    }
    return make(ROI_MAX_POOL, (features, boxes), attrs)


def _rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    features, boxes = inputs
    same_dtype("roi_max_pool", inputs)
    require_dtype("roi_max_pool", features, "float")
    size = pair(attrs["size"], "roi_max_pool: size", 1)
    if features.rank != 4 or features.batch_axis is not None or 0 in features.shape:
        raise GraphcError(
            f"roi_max_pool: features {features} are not a known number of images",
            remedy="give [images,channels,height,width], all numbers: N counts the boxes",
        )
    if boxes.rank != 2 or boxes.shape[1] != 5:
        raise GraphcError(
            f"roi_max_pool: {boxes} are no boxes",
            remedy="give [N,5]: (image index, x1, y1, x2, y2) of each",
        )
    if not 0.0 < attrs["scale"] < math.inf:
        raise GraphcError(
            f"roi_max_pool: scale {attrs['scale']} is not above 0",
            remedy="give pixels of the features for each pixel of the boxes, such as 1/16",
        )
    return TensorType(features.dtype, (boxes.shape[0], features.shape[1], *size)).with_layout(
        boxes.layout
    )


def _bins(boxes: Node, first: int, bins: int, scale: float, extent: int) -> tuple[Node, Node]:
    """(low, high) [N,bins]: the pixels of each bin along one axis, clipped to the image.

    first: the column of the box's lower end; its higher end is two columns on.
    """
    start, end = (round(mul(_column(boxes, c), scale)) for c in (first, first + 2))
    width = div(maximum(add(sub(end, start), 1.0), 1.0), float(bins))
    shape: Shape = (boxes.tensor.shape[0], bins)
    bin = iota(axis=1, shape=shape, dtype=boxes.tensor.dtype)
    low = add(start, floor(mul(bin, width)))
    high = add(start, ceil(mul(add(bin, 1.0), width)))
    # nan is not above 0, so a box that has one has empty bins
    ends = (where(less(0.0, edge), minimum(edge, float(extent)), 0.0) for edge in (low, high))
    return cast(next(ends), dtype=DType.i32), cast(next(ends), dtype=DType.i32)


def _column(boxes: Node, number: int) -> Node:
    return slice(boxes, start=(0, number), stop=(None, number + 1), step=(1, 1))


def _decompose(features: Node, boxes: Node, *, size: tuple[int, int], scale: float) -> Node:
    images, channels, height, width = features.tensor.concrete(1)
    number = round(_column(boxes, 0))
    known = logical_and(less_equal(0.0, number), less(number, float(images)))
    image = cast(where(known, number, 0.0), dtype=DType.i32)
    top, bottom = _bins(boxes, 2, size[0], scale, height)
    # One axis holds the columns of all images, so that a range says which image it is of.
    left, right = (add(edge, mul(image, width)) for edge in _bins(boxes, 1, size[1], scale, width))
    right = where(known, right, left)
    columns = reshape(
        transpose(features, axes=(1, 2, 0, 3)), shape=(1, channels, height, images * width)
    )
    rows = range_max(columns, left, right, axis=3)
    found = range_max(rows, top, bottom, axis=2)
    shape = found.tensor.shape
    pixels = logical_and(
        broadcast(less(top, bottom), shape=shape, axes=(0, 2)),
        broadcast(less(left, right), shape=shape, axes=(0, 3)),
    )
    pooled: Node = where(pixels, found, 0.0)
    return pooled


def _numpy(features: Any, boxes: Any, *, n: int, size: tuple[int, int], scale: float) -> Any:
    images, channels, *extents = features.shape
    found = np.zeros((len(boxes), channels, *size), features.dtype)
    for number, box in enumerate(boxes):
        image = _rounded(box[0])
        rows = _numpy_bins(box[2], box[4], size[0], scale, extents[0])
        columns = _numpy_bins(box[1], box[3], size[1], scale, extents[1])
        for p, (top, bottom) in enumerate(rows):
            for q, (left, right) in enumerate(columns):
                if 0 <= image < images and top < bottom and left < right:
                    bin = features[int(image), :, top:bottom, left:right]
                    found[number, :, p, q] = bin.max(axis=(1, 2))
    return found


def _rounded(x: Any) -> Any:
    """The nearest whole number, halves away from zero."""
    return np.copysign(np.floor(np.abs(x)) + (np.abs(x) - np.floor(np.abs(x)) >= 0.5), x)


def _numpy_bins(
    first: Any, last: Any, bins: int, scale: float, extent: int
) -> list[tuple[int, int]]:
    start, end = (_rounded(x * x.dtype.type(scale)) for x in (first, last))
    width = np.maximum(end - start + 1, 1) / start.dtype.type(bins)
    edges = [(start + np.floor(i * width), start + np.ceil((i + 1) * width)) for i in range(bins)]
    inside = np.clip(np.nan_to_num(edges), 0, extent).astype(int)
    return [(low, high) for low, high in inside.tolist()]


ROI_MAX_POOL: Op = layer(
    "roi_max_pool", rule=_rule, numpy=_numpy, build=roi_max_pool, decompose=_decompose, arity=2,
    samples=(
        sample("f32[2,3,6,5]", "f32[N,5]", size=(2, 3), scale=3.0, values=("distinct", "normal"),
               differentiable=(0,)),
        sample("f64[1,2,4,7]", "f64[4,5]", size=(3, 2), scale=4.0, values=("distinct", "positive"),
               differentiable=(0,)),
        sample("f32[N,3,6,5]", "f32[4,5]", size=(2, 3), scale=1.0, raises="number of images"),
        sample("f32[2,3,6,5]", "f32[N,4]", size=(2, 3), scale=1.0, raises="no boxes"),
        sample("f32[2,3,6,5]", "f32[N,5]", size=(2, 3), scale=0.0, raises="not above 0"),
    ),
)  # fmt: skip
