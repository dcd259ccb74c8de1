"""Boxes (x1, y1, x2, y2): areas, overlap, clipping, and the targets of box regression.

Coordinates are continuous: pixel column j covers j to j + 1, and a box is x2 - x1 wide. With
``pixels=True`` they are the first and last pixel, as in Fast R-CNN and PASCAL VOC, and a box is
x2 - x1 + 1 wide.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number
from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]
SCALE = (1.0, 1.0, 1.0, 1.0)


def as_boxes(boxes: Any, what: str = "boxes") -> Array:
    """`boxes` as f64[...,4]; an empty sequence as f64[0,4].

    Raises GraphcError if the last axis is not 4 long.
    """
    array = as_numbers(what, boxes, np.float64)
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim < 2 or array.shape[-1] != 4:
        raise GraphcError(
            f"{what} of shape {list(array.shape)}", remedy="give (x1, y1, x2, y2) a box: [n,4]"
        )
    return array


def areas(boxes: Any, *, pixels: bool = False) -> Array:
    """f64[n]: the area of each box [n,4]; 0 if it ends before it begins."""
    array = as_boxes(boxes)
    extents = array[..., 2:] - array[..., :2] + int(pixels)
    return np.asarray(np.maximum(extents, 0.0).prod(axis=-1))


def iou(boxes: Any, others: Any, *, pixels: bool = False) -> Array:
    """f64[n,m]: intersection over union of each of `boxes` [n,4] with each of `others` [m,4].

    Two boxes without area have 0.
    """
    a, b = as_boxes(boxes)[:, None], as_boxes(others)[None]
    shared = np.concatenate(
        [np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])], axis=-1
    )
    inside = areas(shared, pixels=pixels).reshape(shared.shape[:2])
    union = areas(a, pixels=pixels).reshape(-1, 1) + areas(b, pixels=pixels).reshape(1, -1) - inside
    return np.asarray(np.divide(inside, union, out=np.zeros_like(inside), where=union > 0))


def clip(boxes: Any, height: int, width: int, *, pixels: bool = False) -> Array:
    """`boxes` [...,4] with the parts outside of an image of that size cut off."""
    check_number("clip: height", height, 0)
    check_number("clip: width", width, 0)
    last = np.array([width, height, width, height], np.float64) - int(pixels)
    return np.clip(as_boxes(boxes), 0.0, last)


def encode(
    boxes: Any, truths: Any, *, pixels: bool = False, deviations: Sequence[float] = SCALE
) -> Array:
    """f64[n,4]: what takes each of `boxes` [n,4] to the box of `truths` [n,4] beside it.

    (tx, ty) = (centre of truth - centre of box) / size of box, (tw, th) = log(size of truth / size
    of box), each divided by its one of `deviations`: Girshick et al., "Rich feature hierarchies for
    accurate object detection and semantic segmentation", 2014, appendix C. Raises GraphcError for
    different numbers of boxes and for boxes without area.
    """
    array, goal = as_boxes(boxes), as_boxes(truths, "truths")
    if array.shape != goal.shape:
        raise GraphcError(
            f"{len(array)} boxes but {len(goal)} truths", remedy="give one truth for each box"
        )
    centre, size = _centre_form(array, pixels)
    goal_centre, goal_size = _centre_form(goal, pixels)
    for name, boxed, extents in (("box", array, size), ("truth", goal, goal_size)):
        flat = np.flatnonzero((extents <= 0).any(axis=-1))
        if flat.size:
            corners = boxed.reshape(-1, 4)[flat[0]].tolist()
            raise GraphcError(
                f"{name} {flat[0]}, {corners}, has no area, so it has no targets",
                remedy="leave it out before encode",
            )
    targets = np.concatenate([(goal_centre - centre) / size, np.log(goal_size / size)], axis=-1)
    return np.asarray(targets / _checked_deviations(deviations))


def decode(
    boxes: Any, targets: Any, *, pixels: bool = False, deviations: Sequence[float] = SCALE
) -> Array:
    """The boxes that `targets` lead to from `boxes` [n,4]: the inverse of `encode`.

    targets: [n,4], or [n,classes,4] for a box of each class; the result has their shape. A target
    too large for exp gives an infinite box, which `clip` puts into the image.
    """
    moves = as_boxes(targets, "targets") * _checked_deviations(deviations)
    array = as_boxes(boxes)
    if len(array) != len(moves):
        raise GraphcError(
            f"{len(array)} boxes but {len(moves)} targets", remedy="give targets for each box"
        )
    array = array.reshape(len(array), *[1] * (moves.ndim - 2), 4)
    centre, size = _centre_form(array, pixels)
    with np.errstate(over="ignore"):
        half = size * np.exp(moves[..., 2:]) / 2
    centre = centre + moves[..., :2] * size
    return np.concatenate([centre - half, centre + half - int(pixels)], axis=-1)


def _centre_form(boxes: Array, pixels: bool) -> tuple[Array, Array]:
    """(centres, sizes), each [...,2]."""
    size = boxes[..., 2:] - boxes[..., :2] + int(pixels)
    return boxes[..., :2] + size / 2, size


def _checked_deviations(deviations: Any) -> Array:
    """f64[4]. Raises GraphcError for anything else, and for a deviation that is not above 0."""
    found = as_numbers("deviations", deviations, np.float64)
    if found.shape != (4,) or not (np.isfinite(found) & (found > 0)).all():
        raise GraphcError(f"deviations {deviations!r}", remedy="give four numbers above 0")
    return found
