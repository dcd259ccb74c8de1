"""Losses of numbers and of distributions: squared errors, smooth L1, Kullback-Leibler divergence.

Targets are of the output's type.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import TensorType
from graphc.ops.create import plain_number
from graphc.ops.elementwise import absolute, less, log, mul, sub, where
from graphc.ops.families import layer
from graphc.ops.losses.targets import alike, zeros_like
from graphc.ops.op import Op, sample
from graphc.ops.reductions import mean, sum

# -- squared errors --------------------------------------------------------------------------------


def mean_squared_error(x: Node, target: Node) -> Node:
    """The mean of (x - target)^2 over all elements."""
    return make(MEAN_SQUARED_ERROR, (x, target))


def squared_error(x: Node, target: Node) -> Node:
    """1/2 sum (x - target)^2 of each sample, the mean over the batch (axis 0)."""
    return make(SQUARED_ERROR, (x, target))


def _square(x: Node, target: Node) -> Node:
    error = sub(x, target)
    squared: Node = mul(error, error)
    return squared


MEAN_SQUARED_ERROR: Op = layer(
    "mean_squared_error", rule=alike("mean_squared_error"), build=mean_squared_error,
    decompose=lambda x, target: mean(_square(x, target)), arity=2,
    numpy=lambda x, t, *, n: ((x - t) ** 2).mean(),
    samples=(sample("f32[N,3]", "f32[N,3]"), sample("f64[4]", "f64[4]"),
             sample("f32[N,3]", "f32[N,2]", raises="differ"),
             sample("f32[N,0]", "f32[N,0]", raises="no element")),
)  # fmt: skip

SQUARED_ERROR: Op = layer(
    "squared_error", rule=alike("squared_error", 1), build=squared_error,
    decompose=lambda x, target: mul(mean(_per_sample(_square(x, target)), axes=0), 0.5), arity=2,
    numpy=lambda x, t, *, n: ((x - t) ** 2).sum() / (2 * len(x)),
    samples=(sample("f32[N,3]", "f32[N,3]"), sample("f64[N,2,3]", "f64[N,2,3]"),
             sample("f64[4]", "f64[4]"), sample("f32[]", "f32[]", raises="no batch axis"),
             sample("f32[N,3]", "f64[N,3]", raises="differ")),
)  # fmt: skip


def _per_sample(x: Node) -> Node:
    total: Node = sum(x, axes=tuple(range(1, x.tensor.rank)))
    return total


# -- smooth L1 -------------------------------------------------------------------------------------

_smooth_targets = alike("smooth_l1")


def checked_beta(loss: str, beta: float) -> None:
    """Raises GraphcError unless `beta` is finite and at least 0."""
    if not 0.0 <= beta < float("inf"):
        raise GraphcError(f"{loss}: beta {beta!r}", remedy="give a finite number of at least 0")


def _smooth_rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TensorType:
    checked_beta("smooth_l1", attrs["beta"])
    return _smooth_targets(inputs, attrs)


def smooth_l1(x: Node, target: Node, *, beta: float = 1.0) -> Node:
    """0.5 d^2 / beta where |d| < beta, else |d| - 0.5 beta, for d = x - target; the mean over all
    elements.

    With beta 0 it is |d|. Girshick, "Fast R-CNN", 2015 (beta 1); PyTorch's SmoothL1Loss.
    """
    return make(SMOOTH_L1, (x, target), {"beta": float(plain_number(beta, "smooth_l1: beta"))})


def smoothed(difference: Node, beta: float) -> Node:
    """Smooth L1 of each element."""
    size: Node = absolute(difference)
    if beta == 0.0:
        return size
    square = mul(mul(difference, difference), 0.5 / beta)
    return where(less(size, beta), square, sub(size, 0.5 * beta))


def smoothed_numpy(difference: Any, beta: float) -> Any:
    """`smoothed` for arrays."""
    size = np.abs(difference)
    return np.where(size < beta, 0.5 * size**2 / (beta or 1.0), size - 0.5 * beta)


SMOOTH_L1: Op = layer(
    "smooth_l1", rule=_smooth_rule, build=smooth_l1, arity=2,
    decompose=lambda x, target, *, beta: mean(smoothed(sub(x, target), beta)),
    numpy=lambda x, t, *, n, beta: smoothed_numpy(x - t, beta).mean(),
    samples=(sample("f32[N,4]", "f32[N,4]", beta=1.0), sample("f64[5]", "f64[5]", beta=0.3),
             sample("f64[N,2,2]", "f64[N,2,2]", beta=0.0),
             sample("f32[N,4]", "f32[N,3]", beta=1.0, raises="differ"),
             sample("f32[N,4]", "f32[N,4]", beta=-1.0, raises="beta")),
)  # fmt: skip

# -- divergence ------------------------------------------------------------------------------------


def kl_divergence(log_probabilities: Node, target: Node) -> Node:
    """sum t (log t - x) of each sample, the mean over the batch: KL(t || exp(x)).

    x holds log-probabilities, t probabilities, as in PyTorch's KLDivLoss(reduction="batchmean").
    Where t is 0 the term is 0.
    """
    return make(KL_DIVERGENCE, (log_probabilities, target))


def _divergence_decompose(x: Node, t: Node) -> Node:
    there = less(0.0, t)
    entropy = mul(t, log(where(there, t, 1.0)))
    return mean(_per_sample(where(there, sub(entropy, mul(t, x)), zeros_like(t))), axes=0)


def _divergence_numpy(x: Any, t: Any, *, n: int) -> Any:
    safe = np.where(t > 0, t, 1)
    return np.where(t > 0, t * (np.log(safe) - x), 0).sum() / t.dtype.type(len(t))


KL_DIVERGENCE: Op = layer(
    "kl_divergence", rule=alike("kl_divergence", 1), build=kl_divergence,
    decompose=_divergence_decompose, numpy=_divergence_numpy, arity=2,
    samples=(sample("f32[N,5]", "f32[N,5]", values=("normal", "probability")),
             sample("f64[N,2,3]", "f64[N,2,3]", values=("normal", "probability")),
             sample("f32[N,5]", "f32[N]", raises="differ")),
)  # fmt: skip
