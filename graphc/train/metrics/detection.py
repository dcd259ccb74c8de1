"""Average precision of object detection, as in the PASCAL VOC challenge.

Everingham et al., "The PASCAL visual object classes (VOC) challenge", 2010. A detection is right if
its IoU with the object of its class that it overlaps most reaches the threshold and no detection of
higher score has taken that object; further detections of it are false. A detection of an object
marked difficult counts neither way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number, check_whole
from graphc.base.errors import GraphcError
from graphc.train.detection.boxes import iou
from graphc.train.detection.objects import Detections, Objects

Array = np.ndarray[Any, Any]
METHODS = ("all_points", "eleven_points")


@dataclass(frozen=True, eq=False)
class Ranking:
    """Detections of one class over all images, best first, without those of difficult objects.

    scores: f64[n]. right: bool[n]. objects: how many there were to find.
    """

    scores: Array
    right: Array
    objects: int


@dataclass(frozen=True)
class DetectionScores:
    """The average precision of each class that has objects, and their mean."""

    mean: float
    by_class: dict[int, float]


def mean_average_precision(
    detections: Sequence[Detections],
    truths: Sequence[Objects],
    *,
    iou_threshold: float = 0.5,
    method: str = "all_points",
    pixels: bool = False,
) -> DetectionScores:
    """mAP of what was detected in each image against what is there.

    method: as for `average_precision`; pixels: as for `iou`. Classes without an object that is not
    difficult are left out of the mean. Raises GraphcError if the numbers of images differ or no
    image has an object.
    """
    _check_images(detections, truths)
    labels = {int(u) for truth in truths for u in truth.labels[~truth.difficult]}
    if not labels:
        raise GraphcError(
            f"none of the {len(truths)} images has an object that is not difficult",
            remedy="give at least one object to find",
        )
    found = {}
    for label in sorted(labels):
        ranking = rank_detections(
            detections, truths, label, iou_threshold=iou_threshold, pixels=pixels
        )
        found[label] = average_precision(
            ranking.scores, ranking.right, objects=ranking.objects, method=method
        )
    return DetectionScores(float(np.mean(list(found.values()))), found)


def rank_detections(
    detections: Sequence[Detections],
    truths: Sequence[Objects],
    label: int,
    *,
    iou_threshold: float = 0.5,
    pixels: bool = False,
) -> Ranking:
    """Which detections of class `label` are right, best score first; of equal scores the first.

    Raises GraphcError if the numbers of images differ or the threshold is not in (0, 1].
    """
    _check_images(detections, truths)
    if len(detections) != len(truths):
        raise GraphcError(
            f"detections of {len(detections)} images for {len(truths)} annotated ones",
            remedy="give one Detections and one Objects an image, empty ones too",
        )
    check_number("iou_threshold", iou_threshold, 0.0, 1.0)
    if iou_threshold == 0.0:
        raise GraphcError(f"iou_threshold {iou_threshold!r}", remedy="give one in (0, 1]")
    scores: list[float] = []
    places: list[tuple[int, int, float]] = []  # image, the object overlapped most (or -1), IoU
    for image, (found, truth) in enumerate(zip(detections, truths, strict=True)):
        own = found.labels == label
        overlaps = iou(found.boxes[own], truth.boxes[truth.labels == label], pixels=pixels)
        scores.extend(found.scores[own])
        for row in overlaps:
            best = int(row.argmax()) if row.size else -1
            places.append((image, best, float(row[best]) if row.size else 0.0))
    difficult = [truth.difficult[truth.labels == label] for truth in truths]
    taken: set[tuple[int, int]] = set()
    kept: list[int] = []
    right: list[bool] = []
    for k in np.argsort(-np.asarray(scores), kind="stable"):
        image, best, overlap = places[k]
        hit = best >= 0 and overlap >= iou_threshold
        if hit and difficult[image][best]:
            continue
        kept.append(int(k))
        right.append(hit and (image, best) not in taken)
        if hit:
            taken.add((image, best))
    objects = int(sum((~flags).sum() for flags in difficult))
    return Ranking(np.asarray(scores, np.float64)[kept], np.asarray(right, bool), objects)


def average_precision(
    scores: Any, right: Any, *, objects: int | None = None, method: str = "all_points"
) -> float:
    """The mean precision over recall of a ranking, in 0..1.

    scores: [n]. right: bool[n]. objects: how many there were to find, by default as many as were
    right. method: "all_points", the area under the curve of the largest precision at this recall or
    a higher one (VOC since 2010); "eleven_points", its mean at recall 0, 0.1, ..., 1 (VOC 2007).
    Raises GraphcError for another method and if there is nothing to find.
    """
    if method not in METHODS:
        raise GraphcError(f"average precision by {method!r}", remedy=f"use one of {METHODS}")
    precision, hits, objects = _curve(scores, right, objects)
    # The best precision at this rank or a later one; past the last rank it is 0.
    best = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    if method == "all_points":
        return float((best[:-1] * np.diff(hits, prepend=0)).sum() / objects)
    # hits / objects >= level / 10 in whole numbers: 3 of 10 reaches recall 0.3.
    reached = np.searchsorted(10 * hits, np.arange(11) * objects, side="left")
    return float(best[reached].mean())


def precision_recall_curve(
    scores: Any, right: Any, *, objects: int | None = None
) -> tuple[Array, Array]:
    """(precision, recall), f64[n] each: after the first detection, the first two, and so on.

    Arguments and errors as for `average_precision`.
    """
    precision, hits, objects = _curve(scores, right, objects)
    return precision, hits / objects


def _check_images(detections: object, truths: object) -> None:
    for name, given, kind in (("detections", detections, Detections), ("truths", truths, Objects)):
        if not isinstance(given, list | tuple) or not all(isinstance(i, kind) for i in given):
            raise GraphcError(
                f"{name} are {type(given).__name__}, not a list of {kind.__name__}",
                remedy=f"give one {kind.__name__} for each image, empty ones too",
            )


def _curve(scores: Any, right: Any, objects: int | None) -> tuple[Array, Array, int]:
    """(precision after each rank, number right until it, objects to find)."""
    values = as_numbers("scores", scores, np.float64)
    flags = as_numbers("right", right, bool)
    if values.ndim != 1 or values.shape != flags.shape or np.isnan(values).any():
        raise GraphcError(
            f"scores of shape {list(values.shape)} for {list(flags.shape)} detections, "
            f"{np.isnan(values).sum()} of them nan",
            remedy="give one score for each detection",
        )
    hits = flags[np.argsort(-values, kind="stable")].cumsum()
    total = int(flags.sum()) if objects is None else objects
    check_whole("objects", total, 0)
    if total < max(1, int(flags.sum())):
        raise GraphcError(
            f"{int(flags.sum())} detections are right but there are {total} objects",
            remedy="give the number of objects to find, at least one",
        )
    return hits / np.arange(1, len(hits) + 1), hits, total
