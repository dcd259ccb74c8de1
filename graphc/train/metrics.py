"""Metrics of a classifier, on plain arrays. Knows neither graphs nor models."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]


def predicted_classes(scores: Any) -> Array:
    """The class of the largest score of each row of [n,classes]; class numbers [n] pass through."""
    array = np.asarray(scores)
    return array.argmax(axis=1) if array.ndim == 2 else array


def accuracy(scores: Any, labels: Any) -> float:
    """The share of samples whose largest score is that of their label.

    scores: [n,classes], or predicted class numbers [n]. labels: class numbers [n], or probabilities
    [n,classes], of which the largest counts. Raises GraphcError if the numbers of samples differ or
    there are none.
    """
    predicted, expected = _pair(scores, labels)
    return float((predicted == expected).mean())


def confusion_matrix(scores: Any, labels: Any, classes: int | None = None) -> Array:
    """i64[classes,classes]: how many samples of the row's class were given the column's class.

    scores and labels as for `accuracy`. classes: by default the number of columns of `scores`, or
    one more than the largest class seen. Raises GraphcError for a class outside of it.
    """
    predicted, expected = _pair(scores, labels)
    array = np.asarray(scores)
    largest = int(max(predicted.max(), expected.max()))
    if classes is None:
        classes = array.shape[1] if array.ndim == 2 else largest + 1
    if min(predicted.min(), expected.min()) < 0 or largest >= classes:
        raise GraphcError(
            f"class {largest if largest >= classes else min(predicted.min(), expected.min())} "
            f"is not one of the {classes} classes",
            remedy="give a larger number of classes, or correct the labels",
        )
    counts = np.bincount(expected * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes)


def _pair(scores: Any, labels: Any) -> tuple[Array, Array]:
    predicted, expected = predicted_classes(scores), predicted_classes(labels)
    if len(predicted) != len(expected) or len(predicted) == 0:
        raise GraphcError(
            f"{len(predicted)} predictions for {len(expected)} labels",
            remedy="give one label for each prediction, at least one",
        )
    return predicted.astype(np.int64), expected.astype(np.int64)
