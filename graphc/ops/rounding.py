"""Rounding to whole numbers, kept as floats. Every derivative is 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ops.families import elementwise
from graphc.ops.op import Builder, sample
from graphc.ops.scalar import Value, Vocabulary

SAMPLES = (sample("f32[N,3]"), sample("f64[2,N,3]"), sample("i32[3]", raises="float"))

floor: Builder = elementwise(
    "floor", arity=1, samples=SAMPLES,
    numpy=np.floor, body=lambda s, x: s.floor(x),
    vjp=lambda g, y, x: (None,),
    doc="The greatest whole number not above x; its derivative is 0.",
).build  # fmt: skip

ceil: Builder = elementwise(
    "ceil", arity=1, samples=SAMPLES,
    numpy=np.ceil, body=lambda s, x: s.neg(s.floor(s.neg(x))),
    vjp=lambda g, y, x: (None,),
    doc="The least whole number not below x; its derivative is 0.",
).build  # fmt: skip


def _round_body(s: Vocabulary, x: Value) -> Value:
    """floor(|x|), and one more if the rest, which is exact, is at least a half."""
    size = s.abs(x)
    whole = s.floor(size)
    up = s.less_equal(s.constant(0.5, x), s.sub(size, whole))
    nearest = s.select(up, s.add(whole, s.constant(1.0, x)), whole)
    return s.select(s.less(x, s.constant(0.0, x)), s.neg(nearest), nearest)


def _round_numpy(x: Any) -> Any:
    whole = np.floor(np.abs(x))
    nearest = np.where(np.abs(x) - whole >= 0.5, whole + x.dtype.type(1), whole)
    return np.where(x < 0, -nearest, nearest)


round: Builder = elementwise(
    "round", arity=1, samples=SAMPLES,
    numpy=_round_numpy, body=_round_body,
    vjp=lambda g, y, x: (None,),
    doc="The nearest whole number, halves away from zero as C's round; its derivative is 0.",
).build  # fmt: skip
