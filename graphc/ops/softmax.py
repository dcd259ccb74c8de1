"""softmax and log_softmax along an axis: layer ops with their gradients written out."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import TensorType, normalize_axis
from graphc.ops.elementwise import div, exp, log, mul, sub
from graphc.ops.families import layer, require_dtype
from graphc.ops.op import Op, sample
from graphc.ops.reductions import max, sum
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
