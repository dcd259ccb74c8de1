"""Metrics of a classifier: accuracy, top-k, confusion matrix, precision and recall by class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_whole
from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]


def predicted_classes(scores: Any) -> Array:
    """The class of the largest score of each row of [n,classes]; class numbers [n] pass through."""
    array = as_numbers("the scores", scores)
    return array.argmax(axis=1) if array.ndim == 2 else array


def accuracy(scores: Any, labels: Any) -> float:
    """The share of samples whose largest score is that of their label.

    scores: [n,classes], or predicted class numbers [n]. labels: class numbers [n], or probabilities
    [n,classes], of which the largest counts. Raises GraphcError if the numbers of samples differ or
    there are none.
    """
    predicted, expected = _pair(scores, labels)
    return float((predicted == expected).mean())


def top_k(scores: Any, labels: Any, k: int = 5) -> float:
    """The share of samples whose label is among the k classes of largest score.

    scores: [n,classes]. labels as for `accuracy`. Of equal scores the smaller class number comes
    first, so that top_k(k=1) is `accuracy`. Raises GraphcError for scores that are nan, a label
    that is no class, and k outside of 1..classes.
    """
    array = as_numbers("top_k: scores", scores)
    if array.ndim != 2 or np.isnan(array).any():
        shown = "nan" if array.ndim == 2 else f"of shape {list(array.shape)}"
        raise GraphcError(
            f"top_k: scores {shown}", remedy="give one finite score a class: [n,classes]"
        )
    classes = array.shape[1]
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= classes:
        raise GraphcError(
            f"top_k: k {k!r} of {classes} classes", remedy=f"give a whole number in 1..{classes}"
        )
    _, expected = _pair(array, labels)
    check_classes(expected, classes)
    own = array[np.arange(len(array)), expected][:, None]
    earlier = np.arange(classes) < expected[:, None]
    before = (array > own) | ((array == own) & earlier)
    return float((before.sum(axis=1) < k).mean())


def confusion_matrix(scores: Any, labels: Any, classes: int | None = None) -> Array:
    """i64[classes,classes]: how many samples of the row's class were given the column's class.

    scores and labels as for `accuracy`. classes: by default the number of columns of `scores`, or
    one more than the largest class seen. Raises GraphcError for a class outside of it.
    """
    predicted, expected = _pair(scores, labels)
    array = np.asarray(scores)
    if classes is None:
        seen = int(max(predicted.max(), expected.max())) + 1
        classes = array.shape[1] if array.ndim == 2 else seen
    check_classes(np.concatenate([predicted, expected]), classes)
    counts = np.bincount(expected * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


@dataclass(frozen=True, eq=False)
class ClassScores:
    """Of each class, f64[classes]: precision, recall, their harmonic mean f1, and true samples."""

    precision: Array
    recall: Array
    f1: Array
    support: Array


def scores_by_class(scores: Any, labels: Any, classes: int | None = None) -> ClassScores:
    """precision = TP / (TP + FP), recall = TP / (TP + FN), f1 = 2 TP / (2 TP + FP + FN).

    Arguments as for `confusion_matrix`. What would be 0 / 0 (a class that was never predicted, or
    has no samples) is 0. Raises GraphcError for a class outside of `classes`.
    """
    counts = confusion_matrix(scores, labels, classes)
    right, given, support = counts.diagonal(), counts.sum(axis=0), counts.sum(axis=1)
    return ClassScores(
        _ratio(right, given), _ratio(right, support), _ratio(2 * right, given + support), support
    )


def _ratio(part: Array, whole: Array) -> Array:
    return part / np.maximum(whole, 1)


def _pair(scores: Any, labels: Any) -> tuple[Array, Array]:
    predicted, expected = predicted_classes(scores), predicted_classes(labels)
    alike = predicted.shape == expected.shape and predicted.ndim == 1
    if not alike or predicted.size == 0 or {predicted.dtype.kind, expected.dtype.kind} - {*"iubf"}:
        raise GraphcError(
            f"predictions {predicted.dtype}{list(predicted.shape)} for labels "
            f"{expected.dtype}{list(expected.shape)}",
            remedy="give one label for each prediction, at least one",
        )
    return predicted.astype(np.int64), expected.astype(np.int64)


def check_classes(found: Array, classes: int) -> None:
    """Raises GraphcError, naming the first, for class numbers outside of 0..classes-1."""
    check_whole("classes", classes)
    wrong = found[(found < 0) | (found >= classes)]
    if wrong.size:
        raise GraphcError(
            f"class {wrong[0]} is not one of the {classes} classes",
            remedy="give a larger number of classes, or correct the labels",
        )
