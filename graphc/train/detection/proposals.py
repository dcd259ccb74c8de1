"""Region proposals without learning: windows on a grid, and copies of boxes moved at random."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number, check_whole
from graphc.base.errors import GraphcError
from graphc.train.detection.boxes import areas, as_boxes, clip

Array = np.ndarray[Any, Any]


def sliding_windows(
    height: int,
    width: int,
    sizes: Sequence[float],
    *,
    step: float = 0.25,
    ratios: Sequence[float] = (1.0,),
) -> Array:
    """f64[n,4]: windows of each size and ratio on a grid over an image, all inside of it.

    sizes: square roots of areas, in pixels. ratios: height / width. step: between neighbours, as a
    share of the window's own extent; the last of a row and of a column touches the edge. Raises
    GraphcError if no window fits or a number is not positive.
    """
    numbers = as_numbers("sliding_windows", [height, width, step, *sizes, *ratios], np.float64)
    if not (np.isfinite(numbers) & (numbers > 0)).all():
        raise GraphcError(
            f"sliding_windows: image {height}x{width}, sizes {sizes}, step {step}, ratios {ratios}",
            remedy="give finite numbers above 0",
        )
    found: list[Array] = []
    for size in sizes:
        for ratio in ratios:
            tall, wide = size * ratio**0.5, size / ratio**0.5
            if tall > height or wide > width:
                continue
            top, left = np.meshgrid(
                _places(height - tall, step * tall), _places(width - wide, step * wide)
            )
            corner = np.stack([left.ravel(), top.ravel()], axis=1)
            found.append(np.concatenate([corner, corner + [wide, tall]], axis=1))
    if not found:
        raise GraphcError(
            f"sliding_windows: no window of sizes {sizes} fits {height}x{width}",
            remedy="give smaller sizes",
        )
    return np.concatenate(found)


def jittered(
    boxes: Any,
    count: int,
    height: int,
    width: int,
    generator: np.random.Generator,
    *,
    spread: float = 0.2,
) -> Array:
    """f64[m,4]: `count` copies of each of `boxes` [n,4], moved and scaled at random, in the image.

    Centres move by a Gaussian of deviation `spread` times the box's size, the logarithms of the
    sizes by one of deviation `spread`. Copies that have left the image are dropped, so m <= n *
    count. Raises GraphcError for a negative `count` or `spread`.
    """
    check_whole("jittered: count", count, 0)
    check_number("jittered: spread", spread, 0.0)
    copies = as_boxes(boxes).repeat(count, axis=0)
    size = copies[:, 2:] - copies[:, :2]
    moved = (copies[:, 2:] + copies[:, :2]) / 2 + spread * size * generator.normal(size=size.shape)
    half = size * np.exp(spread * generator.normal(size=size.shape)) / 2
    inside = clip(np.concatenate([moved - half, moved + half], axis=1), height, width)
    return inside[areas(inside) > 0]


def _places(room: float, step: float) -> Array:
    """From 0 to `room` in equal steps of at most `step`."""
    return np.linspace(0.0, room, int(np.ceil(room / step)) + 1)
