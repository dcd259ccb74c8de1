"""The linear SVM: scikit-learn's solution, its dual's conditions, and the digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graphc as gc


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(Path(__file__).parents[1] / "fixtures" / "sklearn.npz") as stored:
        return {name.split("/")[1]: stored[name] for name in stored if "svm/" in name}


@pytest.mark.parametrize("position", [0, 1])
def test_weights_are_those_of_scikit_learns_linear_svc(expected, position: int) -> None:
    svm = gc.LinearSVM(float(expected["costs"][position]), tolerance=1e-9)
    svm.fit(expected["x"], expected["labels"])
    assert svm.classes.tolist() == [1, 2, 3]
    np.testing.assert_allclose(svm.weight, expected["weights"][position], atol=1e-7)
    np.testing.assert_allclose(svm.bias, expected["biases"][position], atol=1e-7)


def test_the_widest_margin_between_two_points() -> None:
    """x = +-2 and, as the bias is a weight too, w = 1/2: both lie on the margin."""
    svm = gc.LinearSVM(100.0, tolerance=1e-9).fit([[2.0], [-2.0]], [1, 0])
    np.testing.assert_allclose(svm.weight, [[-0.5], [0.5]], atol=1e-6)
    np.testing.assert_allclose(svm.decision_function([[2.0], [6.0]])[:, 1], [1, 3], atol=1e-6)


def test_the_seed_changes_the_way_and_not_the_end(expected) -> None:
    first, other = (
        gc.LinearSVM(tolerance=1e-9, seed=seed).fit(expected["x"], expected["labels"])
        for seed in (0, 1)
    )
    np.testing.assert_allclose(first.weight, other.weight, atol=1e-6)
    assert (first.weight != other.weight).any()


def test_digits() -> None:
    train, test = gc.data.digits(1)
    svm = gc.LinearSVM(0.01).fit(train.x.reshape(len(train), -1), train.y)
    assert gc.metrics.accuracy(svm.predict(test.x.reshape(len(test), -1)), test.y) > 0.94


X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gc.LinearSVM(0.0), "cost 0.0"),
        (lambda: gc.LinearSVM().fit(X, Y[:3]), "with labels int64[3]"),
        (lambda: gc.LinearSVM().fit(X, Y * 0.5), "with labels float64"),
        (lambda: gc.LinearSVM().fit(X, Y * 0), "the only class is [0]"),
        (lambda: gc.LinearSVM().fit(X * np.nan, Y), "not finite"),
        (lambda: gc.LinearSVM().fit(X[:, 0], Y), "features of shape [6]"),
        (lambda: gc.LinearSVM().predict(X), "trained on nothing yet"),
        (lambda: gc.LinearSVM().fit(X, Y).predict(X[:, :1]), "trained on 2 features"),
        (lambda: gc.LinearSVM(1e6, tolerance=1e-9, passes=2).fit(X, Y), "after 2 passes"),
    ],
)
def test_what_does_not_fit(call, message: str) -> None:
    with pytest.raises(gc.GraphcError) as caught:
        call()
    assert message in caught.value.what
    assert caught.value.remedy
