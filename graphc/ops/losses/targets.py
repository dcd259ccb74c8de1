"""What losses share: targets that are like the output, and labels that choose among its columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node
from graphc.ir.types import DType, Shape, TensorType
from graphc.ops.create import full, iota
from graphc.ops.elementwise import equal
from graphc.ops.families import require_dtype
from graphc.ops.views import broadcast

Rule = Callable[[tuple[TensorType, ...], Attrs], TensorType]


def alike(loss: str, least_rank: int = 0) -> Rule:
    """The shape rule of a loss whose target has the output's type: a scalar of its dtype."""

    def rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
        x, target = inputs
        require_dtype(loss, x, "float")
        if x.shape != target.shape or x.dtype is not target.dtype:
            raise GraphcError(
                f"{loss}: {x} and {target} differ", remedy="give targets of the output's type"
            )
        if x.rank < least_rank:
            raise GraphcError(f"{loss}: {x} has no batch axis", remedy="give a tensor [N,...]")
        if 0 in x.shape:
            raise GraphcError(
                f"{loss}: {x} has no element", remedy="give at least one output and one sample"
            )
        return TensorType(x.dtype, ())

    return rule


def labelled(loss: str) -> Rule:
    """The shape rule of a loss of scores [N,classes] and labels [N]: a scalar."""

    def rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
        scores, labels = inputs
        require_dtype(loss, scores, "float")
        whole = labels.dtype in (DType.i32, DType.i64)
        if scores.rank != 2 or labels.shape != scores.shape[:1] or not whole:
            raise GraphcError(
                f"{loss}: labels {labels} do not fit scores {scores}",
                remedy="scores are [N,classes], labels class numbers i32[N] or i64[N]",
            )
        if 0 in scores.shape:
            raise GraphcError(
                f"{loss}: scores {scores} have no class or no sample", remedy="give at least one"
            )
        return TensorType(scores.dtype, ())

    return rule


def chosen(labels: Node, shape: Shape) -> Node:
    """bool of `shape`: where the position along axis 1 is the sample's label."""
    positions = iota(axis=1, shape=shape, dtype=labels.tensor.dtype)
    hit: Node = equal(positions, broadcast(labels, shape=shape, axes=(0,)))
    return hit


def chosen_numpy(labels: Any, classes: int) -> Any:
    """`chosen` for arrays, [n,classes]."""
    return labels[:, None] == np.arange(classes)


def zeros_like(x: Node) -> Node:
    """Zeros of x's type."""
    return full(0.0, shape=x.tensor.shape, dtype=x.tensor.dtype)
