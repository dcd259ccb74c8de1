"""softplus, a smooth relu, and the example of docs/adding_an_op.md: an op in one file.

Dugas et al., "Incorporating second-order functional knowledge for better option pricing", 2001.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ops.elementwise import mul, sigmoid
from graphc.ops.families import elementwise
from graphc.ops.op import Builder, Op
from graphc.ops.scalar import Value, Vocabulary


def _body(s: Vocabulary, x: Value) -> Value:
    """max(x, 0) + log(1 + exp(-|x|)): exp never overflows."""
    zero, one = s.constant(0.0, x), s.constant(1.0, x)
    rest = s.log(s.add(one, s.exp(s.neg(s.abs(x)))))
    return s.add(s.maximum(x, zero), rest)


def _numpy(x: Any) -> Any:
    return np.logaddexp(x.dtype.type(0), x)


SOFTPLUS: Op = elementwise(
    "softplus",
    arity=1,
    numpy=_numpy,
    body=_body,
    vjp=lambda g, y, x: (mul(g, sigmoid(x)),),
    doc="log(1 + exp(x)), within 1e-7 of it in f32; its derivative is sigmoid(x).",
)
softplus: Builder = SOFTPLUS.build
