"""Metrics of classifiers on plain arrays, against scikit-learn and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc
from graphc.train.metrics import accuracy, confusion_matrix, scores_by_class, top_k

SCORES = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
LABELS = np.array([1, 0, 0, 1])


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "fixtures" / "sklearn.npz") as stored:
        return {name.split("/")[1]: stored[name] for name in stored if "classes/" in name}


def test_accuracy() -> None:
    assert accuracy(SCORES, LABELS) == 0.5
    assert accuracy(SCORES, np.eye(2)[LABELS]) == 0.5
    assert accuracy([1, 2, 3], [1, 2, 0]) == pytest.approx(2 / 3)


def test_confusion_matrix_has_true_classes_in_rows() -> None:
    assert confusion_matrix(SCORES, LABELS).tolist() == [[1, 1], [1, 1]]
    assert confusion_matrix([0, 0, 2], [0, 1, 1]).tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 0]]
    assert confusion_matrix([0], [0], classes=3).shape == (3, 3)
    assert confusion_matrix(SCORES, LABELS).sum() == len(LABELS)


def test_scores_by_class_equal_scikit_learns(expected) -> None:
    """Class 3 is never predicted, class 5 has no samples: what would be 0 / 0 is 0."""
    found = scores_by_class(expected["scores"], expected["labels"])
    for name in ("precision", "recall", "f1", "support"):
        np.testing.assert_allclose(getattr(found, name), expected[name], rtol=1e-14, err_msg=name)
    assert found.precision[3] == 0 and found.recall[5] == 0


def test_top_k_equals_scikit_learns(expected) -> None:
    found = [top_k(expected["scores"], expected["labels"], k) for k in expected["k"].tolist()]
    np.testing.assert_allclose(found, expected["top"], rtol=1e-14)
    assert found[0] == accuracy(expected["scores"], expected["labels"])


def test_top_k_of_ties_takes_the_smaller_class_as_accuracy_does() -> None:
    tied = np.array([[1.0, 1.0, 0.0]])
    assert [top_k(tied, [1], k) for k in (1, 2, 3)] == [0, 1, 1]
    assert top_k(tied, [0], 1) == accuracy(tied, [0]) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: accuracy(SCORES, LABELS[:2]),
        lambda: accuracy([], []),
        lambda: confusion_matrix([0, 5], [0, 1], classes=3),
        lambda: confusion_matrix([0, -1], [0, 1]),
        lambda: confusion_matrix(SCORES, [0, 1, 2, 0]),
        lambda: scores_by_class(SCORES, [0, 1, 2, 0]),
        lambda: top_k(SCORES, LABELS, 3),
        lambda: top_k(SCORES, LABELS, 0),
        lambda: top_k(LABELS, LABELS, 1),
        lambda: top_k(SCORES, [0, 1, 2, 0], 1),
        lambda: top_k(np.full((4, 2), np.nan), LABELS, 1),
    ],
)
def test_what_does_not_fit(call) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        call()
    assert caught.value.remedy
