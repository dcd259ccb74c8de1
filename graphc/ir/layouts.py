"""Layouts: in which order the elements of a tensor lie in memory. A tensor's meaning never
depends on it.

* `batch_first`: row-major, the batch outermost.
* `batch_last`: row-major, the batch innermost, its stride rounded up to `BATCH_PADDING`.
* `blocked_1`: axis 1 is cut into blocks of `BLOCK`; the place within a block lies innermost. So
  images [N,C,H,W] are stored [N, C/16, H, W, 16]: sixteen channels of a pixel side by side.
* `blocked_1_0`: both axes are cut, the places within blocks lie innermost in that order. Weights
  [K,C,R,S] are stored [K/16, C/16, R, S, 16 c, 16 k]: what a convolution reads, in the order in
  which it reads. In bf16, [K/16, C/16, R, S, 8 pairs of c, 16 k, 2 c]: processors multiply and add
  neighbouring pairs.
* `channels_last`: axis 1 lies innermost, the others in their order. So images [N,C,H,W] are stored
  [N,H,W,C] and weights [K,C,R,S] as [K,R,S,C]: neighbouring threads of a graphics processor read
  neighbouring channels.
* `features_1_36`: axis 1 of a matrix holds the features of images of 36 pixels, which lie as those
  of images in `blocked_1` do. So [N, C H W] is stored [N, C/16, H W, 16], and a flatten moves
  nothing.

A shape that a layout does not fit (no batch, an axis that is no multiple of a block) is stored
`batch_first`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

BATCH_PADDING = 16
BLOCK = 16
PAIR = 2
ROW_MAJOR = "batch_first"
BATCH_LAST = "batch_last"
IMAGES = "blocked_1"
CHANNELS_LAST = "channels_last"
_BLOCKED = re.compile(r"blocked((?:_[0-9])+)")
_FEATURES = re.compile(r"features_([01])_([1-9][0-9]*)")


@cache
def blocked_axes(layout: str) -> tuple[int, ...]:
    """The axes that `layout` cuts into blocks, outermost place first; () if it cuts none.

    >>> blocked_axes("blocked_1_0")
    (1, 0)
    """
    match = _BLOCKED.fullmatch(layout)
    return tuple(map(int, match[1][1:].split("_"))) if match else ()


@cache
def features(layout: str) -> tuple[int, int] | None:
    """(axis, pixels) of a matrix whose axis holds the features of images in blocks; else None.

    >>> features("features_1_36")
    (1, 36)
    """
    match = _FEATURES.fullmatch(layout)
    return (int(match[1]), int(match[2])) if match else None


def is_layout(layout: object) -> bool:
    """Whether there is a layout of that name."""
    if layout in (ROW_MAJOR, BATCH_LAST, CHANNELS_LAST):
        return True
    if isinstance(layout, str) and features(layout):
        return True
    axes = blocked_axes(layout) if isinstance(layout, str) else ()
    return bool(axes) and len(set(axes)) == len(axes)


def fits(layout: str, shape: Sequence[object], batch_axis: int | None) -> bool:
    """Whether a tensor of that shape can be stored so."""
    if layout == ROW_MAJOR:
        return True
    if layout == BATCH_LAST:
        return batch_axis is not None
    found = features(layout)
    if found is not None:
        axis, pixels = found
        cut = len(shape) == 2 and batch_axis != axis and _divides(shape, axis, pixels * BLOCK)
        return cut and pixels > 1  # those of one pixel are row-major
    # Matrices never lie in blocks: cut, the channels of [N,C] would be row-major again.
    return (
        len(shape) > 2
        and batch_axis in (None, 0)
        and all(_divides(shape, axis) for axis in blocked_axes(layout))
    )


def _divides(shape: Sequence[object], axis: int, size: int = BLOCK) -> bool:
    extent = shape[axis] if axis < len(shape) else None
    return isinstance(extent, int) and extent > 0 and extent % size == 0


def common(layouts: Sequence[str]) -> str:
    """The layout of what is computed from tensors stored so: `batch_last` if one of them is,
    else that of the first that is not row-major.
    """
    if BATCH_LAST in layouts:
        return BATCH_LAST
    return next((each for each in layouts if each != ROW_MAJOR), ROW_MAJOR)
