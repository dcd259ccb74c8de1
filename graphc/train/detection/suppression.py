"""From overlapping scored boxes to detections: greedy non-maximum suppression."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number, check_whole
from graphc.base.errors import GraphcError
from graphc.train.detection.boxes import as_boxes, iou
from graphc.train.detection.objects import Detections

Array = np.ndarray[Any, Any]


def non_maximum_suppression(
    boxes: Any, scores: Any, threshold: float = 0.3, *, labels: Any = None, pixels: bool = False
) -> Array:
    """i64[kept]: the boxes that overlap no kept box of a higher score, best first.

    boxes: [n,4]. scores: [n]; of equal ones the first wins. threshold: a box goes if its IoU with a
    kept one is larger. labels: [n], then only boxes of one class compete. Raises GraphcError if the
    lengths differ, a score is nan, or the threshold is not in [0, 1].
    """
    array, values = as_boxes(boxes), as_numbers("scores", scores, np.float64)
    classes = np.zeros(len(array), np.int64) if labels is None else as_numbers("labels", labels)
    lengths = (len(array),)
    if array.ndim != 2 or not values.shape == classes.shape == lengths or np.isnan(values).any():
        raise GraphcError(
            f"boxes {list(array.shape)}, scores {list(values.shape)} ({np.isnan(values).sum()} of "
            f"them nan), labels {list(classes.shape)}",
            remedy="give one score (and label) for each box",
        )
    check_number("threshold", threshold, 0.0, 1.0)
    waiting = np.argsort(-values, kind="stable")
    kept = []
    while waiting.size:
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        overlaps = iou(array[best : best + 1], array[waiting], pixels=pixels)[0]
        waiting = waiting[(overlaps <= threshold) | (classes[waiting] != classes[best])]
    return np.asarray(kept, np.int64)


def detect(
    boxes: Any,
    probabilities: Any,
    *,
    least: float = 0.05,
    threshold: float = 0.3,
    most: int = 100,
    pixels: bool = False,
) -> Detections:
    """The detections in one image from what a head says about each region.

    boxes: [n,4], or [n,classes,4] with a box of each class. probabilities: [n,classes], column 0
    the background. least: the smallest score that counts. threshold: of the suppression, done class
    by class. most: how many are kept at the end, the best. Raises GraphcError if the shapes do not
    fit each other.
    """
    check_number("least", least, -np.inf)
    check_whole("most", most, 0)
    scores, array = as_numbers("probabilities", probabilities, np.float64), as_boxes(boxes)
    by_class = (*scores.shape, 4)
    if scores.ndim != 2 or (array.shape != (len(scores), 4) and array.shape != by_class):
        raise GraphcError(
            f"boxes {list(array.shape)} with probabilities {list(scores.shape)}",
            remedy="give boxes [n,4] or [n,classes,4] and probabilities [n,classes]",
        )
    region, label = np.nonzero(scores[:, 1:] >= least)
    label += 1
    found = array[region, label] if array.ndim == 3 else array[region]
    values = scores[region, label]
    kept = non_maximum_suppression(found, values, threshold, labels=label, pixels=pixels)[:most]
    return Detections(found[kept], label[kept], values[kept])
