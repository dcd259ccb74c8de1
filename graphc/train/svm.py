"""A linear support vector machine, one class against the rest, trained on features.

min_w 1/2 |w|^2 + cost * sum_i max(0, 1 - y_i w x_i), solved in its dual, one sample at a time:
Hsieh et al., "A dual coordinate descent method for large-scale linear SVM", 2008. The bias is the
weight of a feature that is always 1, so it is kept small as the others are. Runs in f64 on plain
arrays; all classes are solved side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number, check_whole
from graphc.base.errors import GraphcError

Array = np.ndarray[Any, Any]


class LinearSVM:
    """A linear SVM with the hinge loss.

    cost: of a violated margin; R-CNN uses 0.001 on features whose length is about 20. tolerance: it
    stops when the duality gap is below this share of the objective. passes: over the data, at most.
    seed: of the order of the samples, which changes how soon it stops, not where. After `fit`:
    classes [k], the labels; weight f64[k,d] and bias f64[k]. Raises GraphcError for numbers that
    are not positive.
    """

    def __init__(
        self, cost: float = 1.0, *, tolerance: float = 1e-2, passes: int = 1000, seed: int = 0
    ) -> None:
        check_number("LinearSVM: cost", cost, 0.0)
        check_number("LinearSVM: tolerance", tolerance, 0.0)
        check_whole("LinearSVM: passes", passes)
        check_whole("LinearSVM: seed", seed, 0)
        if 0.0 in (cost, tolerance):
            raise GraphcError(
                f"LinearSVM: cost {cost}, tolerance {tolerance}", remedy="give numbers above 0"
            )
        self.cost, self.tolerance, self.passes, self.seed = cost, tolerance, passes, seed
        self.classes: Array = np.zeros(0, np.int64)
        self.weight: Array = np.zeros((0, 0))
        self.bias: Array = np.zeros(0)

    def fit(self, features: Any, labels: Any) -> LinearSVM:
        """Learns from features [n,d] and class numbers [n]; returns itself.

        Raises GraphcError for arrays that do not fit, a single class, and if the duality gap is
        still too large after the last pass.
        """
        x, y = _features(features), as_numbers("LinearSVM: labels", labels)
        if y.shape != x.shape[:1] or y.dtype.kind not in "iu":
            raise GraphcError(
                f"LinearSVM: features {list(x.shape)} with labels {y.dtype}{list(y.shape)}",
                remedy="give features [n,d] and class numbers [n]",
            )
        self.classes = np.unique(y)
        if len(self.classes) < 2:
            raise GraphcError(
                f"LinearSVM: the only class is {self.classes.tolist()}",
                remedy="give samples of two classes at least",
            )
        signs = np.where(y[:, None] == self.classes, 1.0, -1.0)
        weight = self._solve(np.hstack([x, np.ones((len(x), 1))]), signs)
        self.weight, self.bias = weight[:, :-1].copy(), weight[:, -1].copy()
        return self

    def decision_function(self, features: Any) -> Array:
        """f64[n,k]: how far on the positive side of each class, in `classes` order.

        Raises GraphcError before `fit` and for another number of features.
        """
        x = _features(features)
        if not len(self.classes) or x.shape[1] != self.weight.shape[1]:
            known = f"{self.weight.shape[1]} features" if len(self.classes) else "nothing yet"
            raise GraphcError(
                f"LinearSVM: features {list(x.shape)}, but it was trained on {known}",
                remedy="call fit with features of the same kind",
            )
        return x @ self.weight.T + self.bias

    def predict(self, features: Any) -> Array:
        """[n]: the label of the largest decision value."""
        return np.asarray(self.classes[self.decision_function(features).argmax(axis=1)])

    def _solve(self, x: Array, signs: Array) -> Array:
        """f64[k,d]: the weights, with those of the bias feature last.

        alpha [n,k] are the dual variables, in 0..cost; w = sum_i alpha_i y_i x_i throughout.
        """
        alpha = np.zeros_like(signs)
        weight = np.zeros((signs.shape[1], x.shape[1]))
        curvature = (x * x).sum(axis=1)
        generator = np.random.default_rng(self.seed)
        gap = np.inf
        for _ in range(self.passes):
            slopes = signs * (x @ weight.T) - 1.0
            length = (weight * weight).sum(axis=1)
            slack = self.cost * np.maximum(-slopes, 0.0).sum(axis=0)
            gap = float(((length + slack - alpha.sum(axis=0)) / (length / 2 + slack)).max())
            if gap <= self.tolerance:
                return weight
            # Only what can move is worth a visit: most samples are no support vectors.
            movable = ((slopes < 0) & (alpha < self.cost)) | ((slopes > 0) & (alpha > 0))
            for i in generator.permutation(np.flatnonzero(movable.any(axis=1))):
                slope = signs[i] * (weight @ x[i]) - 1.0
                after = np.minimum(np.maximum(alpha[i] - slope / curvature[i], 0.0), self.cost)
                weight += np.outer((after - alpha[i]) * signs[i], x[i])
                alpha[i] = after
        raise GraphcError(
            f"LinearSVM: after {self.passes} passes the duality gap is {gap:.2g} of the objective, "
            f"not {self.tolerance:g}",
            remedy="standardise the features, lower cost, or raise tolerance or passes",
        )


def _features(features: Any) -> Array:
    x = as_numbers("LinearSVM: features", features, np.float64)
    if x.ndim != 2 or x.size == 0 or not np.isfinite(x).all():
        wrong = x.size - int(np.isfinite(x).sum())
        raise GraphcError(
            f"LinearSVM: features of shape {list(x.shape)}, {wrong} of them not finite",
            remedy="give finite numbers [n,d], such as the output of a network cut before its head",
        )
    return x
