"""What is in an image, and what was found in it: boxes with labels. Checks, and nothing more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers
from graphc.base.errors import GraphcError
from graphc.train.detection.boxes import as_boxes

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Objects:
    """The annotated objects of one image.

    boxes: [n,4]. labels: [n], class numbers from 1. difficult: bool[n], those that `gc.metrics`
    neither asks for nor holds against a detector; none by default. Raises GraphcError if the
    lengths differ.
    """

    boxes: Any
    labels: Any
    difficult: Any = None

    def __post_init__(self) -> None:
        boxes = as_boxes(self.boxes)
        given = np.zeros(len(boxes), bool) if self.difficult is None else self.difficult
        _set(self, boxes=boxes, labels=_labels(self.labels), difficult=np.asarray(given, bool))
        _check_lengths(self, "boxes", "labels", "difficult")

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one image: boxes [n,4], labels [n] from 1, scores [n].

    Raises GraphcError if the lengths differ or a score is nan.
    """

    boxes: Any
    labels: Any
    scores: Any

    def __post_init__(self) -> None:
        scores = as_numbers("scores", self.scores, np.float64)
        _set(self, boxes=as_boxes(self.boxes), labels=_labels(self.labels), scores=scores)
        _check_lengths(self, "boxes", "labels", "scores")
        if np.isnan(scores).any():
            raise GraphcError(
                f"the score of detection {int(np.isnan(scores).argmax())} of {len(scores)} is nan",
                remedy="look for nan in the network",
            )

    def __len__(self) -> int:
        return len(self.boxes)


def _labels(labels: Any) -> Array:
    array = as_numbers("labels", labels)
    if array.size == 0:
        return np.zeros(0, np.int64)
    if array.dtype.kind not in "iu" or array.min() < 1:
        least = f", the smallest {array.min()}" if array.dtype.kind in "iuf" else ""
        raise GraphcError(
            f"labels of dtype {array.dtype}{least}",
            remedy="number the classes from 1; 0 is the background",
        )
    return array.astype(np.int64)


def _set(record: object, **fields: Array) -> None:
    for name, value in fields.items():
        object.__setattr__(record, name, value)


def _check_lengths(record: object, *names: str) -> None:
    lengths = {name: list(getattr(record, name).shape) for name in names}
    expected = lengths["boxes"][:1]
    if len(lengths["boxes"]) != 2 or any(lengths[name] != expected for name in names[1:]):
        shown = ", ".join(f"{name} {shape}" for name, shape in lengths.items())
        raise GraphcError(f"{type(record).__name__}: {shown}", remedy="give one of each a box")
