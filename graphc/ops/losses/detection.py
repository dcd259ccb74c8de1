"""The losses of Fast R-CNN: regression of the true class's box, and its sum with classification.

Girshick, "Fast R-CNN", 2015: L_cls + lambda [u >= 1] L_loc, where class 0 is the background.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import DType, TensorType
from graphc.ops.create import plain_number
from graphc.ops.elementwise import add, less, logical_and, mul, sub, where
from graphc.ops.families import layer, require_dtype
from graphc.ops.losses.classification import softmax_cross_entropy
from graphc.ops.losses.regression import checked_beta, smoothed, smoothed_numpy
from graphc.ops.losses.targets import chosen, chosen_numpy, zeros_like
from graphc.ops.op import Op, sample
from graphc.ops.reductions import mean, sum
from graphc.ops.views import broadcast, reshape

CORNERS = 4


def _boxes_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    boxes, labels, targets = inputs
    require_dtype("box_regression", boxes, "float")
    checked_beta("box_regression", attrs["beta"])
    width = boxes.shape[1] if boxes.rank == 2 else 0
    fits = (
        isinstance(width, int) and width >= CORNERS and width % CORNERS == 0
        and labels.shape == boxes.shape[:1] and labels.dtype in (DType.i32, DType.i64)
        and targets.shape == (*boxes.shape[:1], CORNERS) and targets.dtype is boxes.dtype
    )  # fmt: skip
    if not fits:
        raise GraphcError(
            f"box_regression: boxes {boxes}, labels {labels} and targets {targets} do not fit",
            remedy="boxes are [N,4 classes], labels i32[N], targets [N,4]",
        )
    if attrs["first"] not in (0, 1):
        raise GraphcError(
            f"box_regression: first {attrs['first']!r}",
            remedy="give 1 if the boxes begin with class 1, 0 if with the background",
        )
    return TensorType(boxes.dtype, ())


def box_regression(
    boxes: Node, labels: Node, targets: Node, *, first: int = 1, beta: float = 1.0
) -> Node:
    """Smooth L1 of the true class's box, summed over its four numbers, the mean over the batch.

    boxes: [N,4K], four numbers for each class from class `first` on. labels: i32[N], 0 is the
    background, whose boxes count nothing. targets: [N,4].
    """
    attrs = {"first": first, "beta": float(plain_number(beta, "box_regression: beta"))}
    return make(BOX_REGRESSION, (boxes, labels, targets), attrs)


def _boxes_decompose(boxes: Node, labels: Node, targets: Node, *, first: int, beta: float) -> Node:
    count, width = boxes.tensor.shape
    assert isinstance(width, int)
    shape = (count, width // CORNERS, CORNERS)
    errors = sub(reshape(boxes, shape=shape), broadcast(targets, shape=shape, axes=(0, 2)))
    foreground = broadcast(less(0, labels), shape=shape, axes=(0,))
    mine = logical_and(chosen(sub(labels, first), shape), foreground)
    lost = where(mine, smoothed(errors, beta), zeros_like(errors))
    return mean(sum(lost, axes=(1, 2)), axes=0)


def _boxes_numpy(boxes: Any, labels: Any, targets: Any, *, n: int, first: int, beta: float) -> Any:
    grouped = boxes.reshape(len(boxes), -1, CORNERS)
    lost = smoothed_numpy(grouped - targets[:, None], beta).sum(axis=2)
    mine = chosen_numpy(labels - first, grouped.shape[1]) & (labels > 0)[:, None]
    return np.where(mine, lost, 0).sum(axis=1).mean().astype(boxes.dtype)


BOX_REGRESSION: Op = layer(
    "box_regression", rule=_boxes_rule, build=box_regression, decompose=_boxes_decompose,
    numpy=_boxes_numpy, arity=3,
    samples=(sample("f32[N,8]", "i32[N]", "f32[N,4]", values=("normal", "labels:3", "normal"),
                    first=1, beta=1.0),
             sample("f64[N,12]", "i64[N]", "f64[N,4]", values=("normal", "labels:3", "normal"),
                    first=0, beta=0.5),
             sample("f32[N,6]", "i32[N]", "f32[N,4]", first=1, beta=1.0, raises="do not fit"),
             sample("f32[N,8]", "i32[N]", "f32[N,4]", first=2, beta=1.0, raises="first"),
             sample("f32[N,8]", "i32[N]", "f32[N,4]", first=1, beta=-1.0, raises="beta")),
)  # fmt: skip


def multi_task(
    logits: Node,
    boxes: Node,
    labels: Node,
    targets: Node,
    *,
    weight: float = 1.0,
    beta: float = 1.0,
) -> Node:
    """Cross entropy of the class plus `weight` times the regression of its box, if it has one.

    logits: [N,K+1], class 0 is the background. boxes: [N,4K], or [N,4(K+1)] with unused ones for
    the background. labels: i32[N]. targets: [N,4]; those of the background are not read. Both terms
    are means over the batch. Raises GraphcError if the boxes are neither.
    """
    classes, width = logits.tensor.shape[-1:], boxes.tensor.shape[-1:]
    first = next((f for f in (1, 0) if [CORNERS * (c - f) for c in classes] == [*width]), None)  # type: ignore[operator]
    if first is None:
        raise GraphcError(
            f"multi_task: boxes {boxes.tensor} do not fit logits {logits.tensor}",
            remedy="give four numbers for each class, with or without the background",
        )
    located = box_regression(boxes, labels, targets, first=first, beta=beta)
    total: Node = add(softmax_cross_entropy(logits, labels), mul(located, weight))
    return total
