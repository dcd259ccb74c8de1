"""Losses of pairs of samples: the distance of two embeddings, and the contrastive loss on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import DType, TensorType
from graphc.ops.create import plain_number
from graphc.ops.elementwise import less, mul, neg, sub, where
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Op, sample
from graphc.ops.reductions import mean, sum
from graphc.ops.root import root
from graphc.ops.softplus import softplus


def _distance_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    a, b = inputs
    require_dtype("pair_distance", a, "float")
    if a.rank != 2 or a.shape != b.shape or a.dtype is not b.dtype:
        raise GraphcError(
            f"pair_distance: {a} and {b} are no pairs of embeddings",
            remedy="give two tensors [N,features] of one type",
        )
    return TensorType(a.dtype, a.shape[:1])


def pair_distance(a: Node, b: Node) -> Node:
    """The Euclidean distance of the rows of a and b [N,features]: [N].

    Its gradient where the rows are equal is 0.
    """
    return make(PAIR_DISTANCE, (a, b))


def _distance_decompose(a: Node, b: Node) -> Node:
    difference = sub(a, b)
    distance: Node = root(sum(mul(difference, difference), axes=1))
    return distance


PAIR_DISTANCE: Op = layer(
    "pair_distance", rule=_distance_rule, build=pair_distance, decompose=_distance_decompose,
    arity=2, numpy=lambda a, b, *, n: np.sqrt(((a - b) ** 2).sum(axis=1)),
    samples=(sample("f32[N,3]", "f32[N,3]"), sample("f64[4,2]", "f64[4,2]"),
             sample("f32[N,3]", "f32[N,2]", raises="no pairs")),
)  # fmt: skip


def _contrastive_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    distances, same = inputs
    require_dtype("contrastive", distances, "float")
    whole = same.dtype in (DType.i32, DType.i64)
    if distances.rank != 1 or same.shape != distances.shape or not whole:
        raise GraphcError(
            f"contrastive: distances {distances} and labels {same} do not fit",
            remedy="give distances [N] and labels i32[N]: 1 for the same, 0 for different",
        )
    return TensorType(distances.dtype, ())


def contrastive(distances: Node, same: Node, *, alpha: float = 1.0, beta: float = 1.0) -> Node:
    """log(1 + exp(delta (alpha d - beta))) for distances d [N], the mean over the pairs.

    delta is 1 for a pair of the same kind (`same` above 0) and -1 for others: distances of the same
    are pulled below beta / alpha, others pushed above it. Fan et al., "Learning deep face
    representation" (Pyramid CNN), 2014, where it is a sum over the pairs.
    """
    attrs = {
        "alpha": float(plain_number(alpha, "contrastive: alpha")),
        "beta": float(plain_number(beta, "contrastive: beta")),
    }
    return make(CONTRASTIVE, (distances, same), attrs)


def _contrastive_decompose(d: Node, same: Node, *, alpha: float, beta: float) -> Node:
    scaled = sub(mul(d, alpha), beta)
    return mean(softplus(where(less(0, same), scaled, neg(scaled))))


def _contrastive_numpy(d: Any, same: Any, *, n: int, alpha: float, beta: float) -> Any:
    delta = np.where(same > 0, 1, -1).astype(d.dtype)
    zero = d.dtype.type(0)
    return np.logaddexp(zero, delta * (d.dtype.type(alpha) * d - d.dtype.type(beta))).mean()


CONTRASTIVE: Op = layer(
    "contrastive", rule=_contrastive_rule, build=contrastive, decompose=_contrastive_decompose,
    numpy=_contrastive_numpy, arity=2,
    samples=(sample("f32[N]", "i32[N]", values=("positive", "labels:2"), alpha=1.0, beta=1.0),
             sample("f64[4]", "i64[4]", values=("positive", "labels:2"), alpha=2.0, beta=0.5),
             sample("f32[N,2]", "i32[N]", alpha=1.0, beta=1.0, raises="do not fit")),
)  # fmt: skip
