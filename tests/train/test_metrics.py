"""Metrics on plain arrays."""

from __future__ import annotations

import numpy as np
import pytest

import graphc as gc
from graphc.train.metrics import accuracy, confusion_matrix

SCORES = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
LABELS = np.array([1, 0, 0, 1])


def test_accuracy() -> None:
    assert accuracy(SCORES, LABELS) == 0.5
    assert accuracy(SCORES, np.eye(2)[LABELS]) == 0.5
    assert accuracy([1, 2, 3], [1, 2, 0]) == pytest.approx(2 / 3)


def test_confusion_matrix_has_true_classes_in_rows() -> None:
    assert confusion_matrix(SCORES, LABELS).tolist() == [[1, 1], [1, 1]]
    assert confusion_matrix([0, 0, 2], [0, 1, 1]).tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert confusion_matrix([0], [0], classes=3).shape == (3, 3)
    assert confusion_matrix(SCORES, LABELS).sum() == len(LABELS)


@pytest.mark.parametrize(
    "call",
    [
        lambda: accuracy(SCORES, LABELS[:2]),
        lambda: accuracy([], []),
        lambda: confusion_matrix([0, 5], [0, 1], classes=3),
        lambda: confusion_matrix([0, -1], [0, 1]),
        lambda: confusion_matrix(SCORES, [0, 1, 2, 0]),
    ],
)
def test_what_does_not_fit(call) -> None:
    with pytest.raises(gc.GraphcError):
        call()
