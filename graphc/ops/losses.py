"""Softmax and losses: layer ops whose meaning is their decomposition.

The gradients that matter are written out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import DType, TensorType, normalize_axis
from graphc.ops.create import batch_size, full, iota
from graphc.ops.elementwise import div, equal, exp, log, mul, neg, sub, where
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Op, sample
from graphc.ops.reductions import max, mean, sum
from graphc.ops.views import broadcast

SOFTMAX_SAMPLES = (
    sample("f32[N,5]", axis=1), sample("f64[3,4]", axis=0), sample("f32[N,2,3]", axis=2),
    sample("i32[N,5]", axis=1, raises="float"),
)  # fmt: skip


def _softmax_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    require_dtype("softmax", inputs[0], "float")
    normalize_axis(attrs["axis"], inputs[0].rank, "softmax")
    return inputs[0]


def _shifted(x: Node, axis: int) -> Node:
    return sub(x, broadcast(max(x, axes=axis, keepdims=True), shape=x.tensor.shape))


def _softmax_decompose(x: Node, *, axis: int) -> Node:
    powers = exp(_shifted(x, axis))
    return div(powers, sum(powers, axes=axis, keepdims=True))


def _log_softmax_decompose(x: Node, *, axis: int) -> Node:
    shifted = _shifted(x, axis)
    return sub(shifted, log(sum(exp(shifted), axes=axis, keepdims=True)))


def _log_softmax_numpy(x: Any, *, n: int, axis: int) -> Any:
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def softmax(x: Node, *, axis: int = 1) -> Node:
    """exp(x) / sum(exp(x)) along `axis`, safe for large x."""
    return make(SOFTMAX, (x,), {"axis": normalize_axis(axis, x.tensor.rank, "softmax")})


def log_softmax(x: Node, *, axis: int = 1) -> Node:
    """The logarithm of softmax along `axis`, safe for large x."""
    return make(LOG_SOFTMAX, (x,), {"axis": normalize_axis(axis, x.tensor.rank, "log_softmax")})


SOFTMAX: Op = layer(
    "softmax", rule=_softmax_rule, build=softmax, decompose=_softmax_decompose, arity=1,
    samples=SOFTMAX_SAMPLES,
    numpy=lambda x, *, n, axis: np.exp(_log_softmax_numpy(x, n=n, axis=axis)),
    vjp=lambda g, y, x, *, axis: (mul(y, sub(g, sum(mul(g, y), axes=axis, keepdims=True))),),
)  # fmt: skip

LOG_SOFTMAX: Op = layer(
    "log_softmax", rule=_softmax_rule, build=log_softmax, decompose=_log_softmax_decompose, arity=1,
    samples=SOFTMAX_SAMPLES, numpy=_log_softmax_numpy,
    vjp=lambda g, y, x, *, axis: (sub(g, mul(exp(y), sum(g, axes=axis, keepdims=True))),),
)  # fmt: skip

# -- cross entropy ---------------------------------------------------------------------------------


def _cross_entropy_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    logits, labels = inputs
    require_dtype("softmax_cross_entropy", logits, "float")
    soft = labels.dtype.is_float
    if logits.shape[-1:] == (0,):
        raise GraphcError(
            f"softmax_cross_entropy: logits {logits} have no class", remedy="give at least one"
        )
    fits = (
        labels == logits
        if soft
        else labels.shape == logits.shape[:1] and labels.dtype is not DType.bool
    )
    if logits.rank != 2 or not (
        fits or (soft and labels.shape == logits.shape and labels.dtype is logits.dtype)
    ):
        raise GraphcError(
            f"softmax_cross_entropy: labels {labels} do not fit logits {logits}",
            remedy="logits are [N,classes]; labels are class numbers i32[N] or i64[N], "
            "or probabilities [N,classes]",
        )
    return TensorType(logits.dtype, ())


def softmax_cross_entropy(logits: Node, labels: Node) -> Node:
    """-log softmax(logits)[label], the mean over the batch.

    Labels are class numbers or probabilities.
    """
    return make(SOFTMAX_CROSS_ENTROPY, (logits, labels))


def _targets(logits: Node, labels: Node) -> Node:
    """Probabilities from labels of either kind."""
    if labels.tensor.dtype.is_float:
        return labels
    shape = logits.tensor.shape
    hit = equal(
        iota(axis=1, shape=shape, dtype=labels.tensor.dtype),
        broadcast(labels, shape=shape, axes=(0,)),
    )
    dtype = logits.tensor.dtype
    return where(hit, full(1.0, shape=shape, dtype=dtype), full(0.0, shape=shape, dtype=dtype))


def _cross_entropy_decompose(logits: Node, labels: Node) -> Node:
    surprise = log_softmax(logits)
    if labels.tensor.dtype.is_float:
        picked = mul(labels, surprise)
    else:
        hit = equal(_targets(logits, labels), 1.0)
        picked = where(
            hit, surprise, full(0.0, shape=surprise.tensor.shape, dtype=surprise.tensor.dtype)
        )
    return neg(mean(sum(picked, axes=1), axes=0))


def _cross_entropy_vjp(g: Node, y: Node, logits: Node, labels: Node) -> tuple[Node | None, ...]:
    """d/d logits = (p * sum(t) - t) / N for targets t; sum(t) is 1 for class numbers."""
    count = logits.tensor.shape[0]
    scale = (
        div(g, batch_size(dtype=g.tensor.dtype))
        if not isinstance(count, int)
        else mul(g, 1.0 / count)
    )
    targets = _targets(logits, labels)
    p = softmax(logits)
    if not labels.tensor.dtype.is_float:
        return mul(sub(p, targets), scale), None
    mass = sum(targets, axes=1, keepdims=True)
    return mul(sub(mul(p, mass), targets), scale), mul(neg(log_softmax(logits)), scale)


def _cross_entropy_numpy(logits: Any, labels: Any, *, n: int) -> Any:
    surprise = _log_softmax_numpy(logits, n=n, axis=1)
    if labels.dtype.kind == "f":
        return -(labels * surprise).sum(axis=1).mean()
    inside = (labels >= 0) & (labels < logits.shape[1])
    picked = surprise[np.arange(len(labels)), np.where(inside, labels, 0)]
    return -np.where(inside, picked, 0).mean()


SOFTMAX_CROSS_ENTROPY: Op = layer(
    "softmax_cross_entropy", rule=_cross_entropy_rule, build=softmax_cross_entropy,
    decompose=_cross_entropy_decompose, vjp=_cross_entropy_vjp, numpy=_cross_entropy_numpy, arity=2,
    samples=(sample("f32[N,5]", "i32[N]", values=("normal", "labels:5")),
             sample("f64[N,5]", "i64[N]", values=("normal", "labels:5")),
             sample("f64[4,3]", "f64[4,3]", values=("normal", "probability")),
             sample("f32[N,5]", "i32[N,5]", values=("normal", "labels:5"), raises="labels")),
)  # fmt: skip

# -- squared error ---------------------------------------------------------------------------------


def _squared_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    x, target = inputs
    require_dtype("mean_squared_error", x, "float")
    if x.shape != target.shape or x.dtype is not target.dtype:
        raise GraphcError(
            f"mean_squared_error: {x} and {target} differ",
            remedy="give targets of the output's type",
        )
    return TensorType(x.dtype, ())


def mean_squared_error(x: Node, target: Node) -> Node:
    """The mean of (x - target)^2 over all elements."""
    return make(MEAN_SQUARED_ERROR, (x, target))


def _squared_decompose(x: Node, target: Node) -> Node:
    error = sub(x, target)
    return mean(mul(error, error))


MEAN_SQUARED_ERROR: Op = layer(
    "mean_squared_error", rule=_squared_rule, build=mean_squared_error,
    decompose=_squared_decompose, arity=2,
    numpy=lambda x, t, *, n: ((x - t) ** 2).mean(),
    samples=(sample("f32[N,3]", "f32[N,3]"), sample("f64[4]", "f64[4]"),
             sample("f32[N,3]", "f32[N,2]", raises="differ")),
)  # fmt: skip
