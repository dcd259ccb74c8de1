"""Box regression in closed form, as in R-CNN: ridge regression from features to box targets.

Girshick et al., "Rich feature hierarchies for accurate object detection and semantic segmentation",
2014, appendix C.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers, check_number
from graphc.base.errors import GraphcError
from graphc.train.detection.boxes import decode, encode

Array = np.ndarray[Any, Any]


def ridge(features: Any, targets: Any, penalty: float) -> Array:
    """f64[d,k]: W that minimises sum (targets - features W)^2 + penalty * sum W^2.

    features: [n,d]. targets: [n,k]. Solved in f64 by the normal equations, in the smaller of the
    two forms (X'X + pI)^-1 X'T and X'(XX' + pI)^-1 T. Raises GraphcError for shapes that do not
    fit, numbers that are not finite, and a penalty that is not positive.
    """
    x = as_numbers("ridge: features", features, np.float64)
    t = as_numbers("ridge: targets", targets, np.float64)
    if x.ndim != 2 or t.ndim != 2 or len(x) != len(t) or x.size == 0:
        raise GraphcError(
            f"ridge: features {list(x.shape)} with targets {list(t.shape)}",
            remedy="give features [n,d] and targets [n,k]",
        )
    wrong = [a.size - int(np.isfinite(a).sum()) for a in (x, t)]
    check_number("ridge: penalty", penalty, 0.0)
    if penalty == 0 or any(wrong):
        raise GraphcError(
            f"ridge: penalty {penalty!r}, {wrong[0]} features and {wrong[1]} targets not finite",
            remedy="give a penalty above 0, such as R-CNN's 1000, and finite numbers",
        )
    n, d = x.shape
    if d <= n:
        return np.linalg.solve(x.T @ x + penalty * np.eye(d), x.T @ t)
    return np.asarray(x.T @ np.linalg.solve(x @ x.T + penalty * np.eye(n), t))


@dataclass
class BoxRegression:
    """A ridge regression for each class from a region's features to its box.

    penalty: R-CNN's default. bias: appends a feature that is always 1, penalised as the others (as
    R-CNN's program does). weights: f64[d,4] of each class, after `fit`.
    """

    penalty: float = 1000.0
    bias: bool = True
    pixels: bool = False
    weights: dict[int, Array] = field(default_factory=dict)

    def fit(self, features: Any, boxes: Any, truths: Any, labels: Any) -> BoxRegression:
        """Learns from regions: features [n,d], boxes [n,4], the objects' boxes [n,4], labels [n].

        R-CNN takes regions whose IoU with the object is above 0.6. Returns itself.
        """
        x, classes = self._features(features, labels)
        targets = encode(boxes, truths, pixels=self.pixels)
        self.weights = {
            int(label): ridge(x[classes == label], targets[classes == label], self.penalty)
            for label in np.unique(classes)
        }
        return self

    def predict(self, features: Any, boxes: Any, labels: Any) -> Array:
        """f64[n,4]: each of `boxes` moved by the regression of its label.

        Raises GraphcError for a label that `fit` has not seen.
        """
        x, classes = self._features(features, labels)
        unknown = set(classes.tolist()) - self.weights.keys()
        if unknown:
            raise GraphcError(
                f"labels {sorted(unknown)} are unknown to the box regression, "
                f"which knows {sorted(self.weights)}",
                remedy="call fit with regions of every class",
            )
        targets = np.zeros((len(x), 4))
        for label in np.unique(classes):
            targets[classes == label] = x[classes == label] @ self.weights[int(label)]
        return decode(boxes, targets, pixels=self.pixels)

    def _features(self, features: Any, labels: Any) -> tuple[Array, Array]:
        x, classes = as_numbers("features", features, np.float64), as_numbers("labels", labels)
        if x.ndim != 2 or classes.shape != x.shape[:1] or classes.dtype.kind not in "iu":
            raise GraphcError(
                f"features {list(x.shape)} with labels {classes.dtype}{list(classes.shape)}",
                remedy="give features [n,d] and class numbers [n]",
            )
        return (np.hstack([x, np.ones((len(x), 1))]) if self.bias else x), classes
