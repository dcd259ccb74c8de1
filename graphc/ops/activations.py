"""Activations beyond the first generation: ELU, GELU, SiLU and LeCun's scaled tanh, element by
element.

relu, leaky_relu, sigmoid and tanh are in `elementwise`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Node
from graphc.ops.create import plain_number
from graphc.ops.elementwise import (
    add,
    erf,
    erf_numpy,
    exp,
    less,
    minimum,
    mul,
    sigmoid,
    sub,
    tanh,
    where,
)
from graphc.ops.families import elementwise
from graphc.ops.op import Builder, Op, sample
from graphc.ops.scalar import Value, Vocabulary

# -- ELU -------------------------------------------------------------------------------------------


def _elu_body(s: Vocabulary, x: Value, *, alpha: float) -> Value:
    """exp(x) - 1 is 2 t / (1 - t) for t = tanh(x / 2), which keeps the digits of small x."""
    zero = s.constant(0.0, x)
    t = s.tanh(s.mul(s.minimum(x, zero), s.constant(0.5, x)))
    below = s.div(s.mul(t, s.constant(2.0 * alpha, x)), s.sub(s.constant(1.0, x), t))
    return s.select(s.less(zero, x), x, below)


def _elu_vjp(g: Node, y: Node, x: Node, *, alpha: float) -> tuple[Node]:
    slope = mul(exp(minimum(x, 0.0)), alpha)
    return (where(less(0.0, x), g, mul(g, slope)),)


ELU: Op = elementwise(
    "elu", arity=1,
    samples=(sample("f32[N,3]", alpha=1.0), sample("f64[4]", alpha=0.5)),
    numpy=lambda x, *, alpha: np.where(
        x > 0, x, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0))
    ),
    body=_elu_body, vjp=_elu_vjp,
    doc="x above 0, alpha (exp(x) - 1) elsewhere.",
)  # fmt: skip


def elu(x: Node, *, alpha: float = 1.0) -> Node:
    """x above 0, alpha (exp(x) - 1) elsewhere.

    Clevert et al., "Fast and accurate deep network learning by exponential linear units", 2016.
    """
    built: Node = ELU.build(x, alpha=float(plain_number(alpha, "elu: alpha")))
    return built


# -- GELU ------------------------------------------------------------------------------------------

GELU_FORMS = ("none", "tanh")
ROOT_TWO_OVER_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715


def _gelu_body(s: Vocabulary, x: Value, *, approximate: str) -> Value:
    if approximate == "none":
        curve = s.erf(s.mul(x, s.constant(math.sqrt(0.5), x)))
    else:
        cube = s.mul(s.mul(s.mul(x, x), x), s.constant(CUBIC, x))
        curve = s.tanh(s.mul(s.add(x, cube), s.constant(ROOT_TWO_OVER_PI, x)))
    return s.mul(s.mul(x, s.constant(0.5, x)), s.add(s.constant(1.0, x), curve))


def _gelu_numpy(x: Any, *, approximate: str) -> Any:
    one, half, cubic, root = (x.dtype.type(c) for c in (1.0, 0.5, CUBIC, ROOT_TWO_OVER_PI))
    if approximate == "none":
        return half * x * (one + erf_numpy(x * np.sqrt(half)))
    return half * x * (one + np.tanh(root * (x + cubic * x * x * x)))


def _gelu_vjp(g: Node, y: Node, x: Node, *, approximate: str) -> tuple[Node]:
    """y = x p(x), so the slope is p(x) + x p'(x)."""
    square = mul(x, x)
    if approximate == "none":
        share = mul(add(erf(mul(x, math.sqrt(0.5))), 1.0), 0.5)
        density = mul(exp(mul(square, -0.5)), 1 / math.sqrt(2 * math.pi))
        return (mul(g, add(share, mul(x, density))),)
    curve = tanh(mul(add(x, mul(mul(square, x), CUBIC)), ROOT_TWO_OVER_PI))
    inner = mul(add(mul(square, 3 * CUBIC), 1.0), 0.5 * ROOT_TWO_OVER_PI)
    slope = mul(mul(x, inner), sub(1.0, mul(curve, curve)))
    return (mul(g, add(mul(add(curve, 1.0), 0.5), slope)),)


GELU: Op = elementwise(
    "gelu", arity=1,
    samples=(sample("f32[N,3]", approximate="none"), sample("f64[4]", approximate="none"),
             sample("f32[4]", approximate="tanh"), sample("f64[N,3]", approximate="tanh")),
    numpy=_gelu_numpy, body=_gelu_body, vjp=_gelu_vjp,
    doc="x times the share of a standard normal below x: 0.5 x (1 + erf(x / sqrt(2))).",
)  # fmt: skip


def gelu(x: Node, *, approximate: str = "none") -> Node:
    """x times the share of a standard normal below x: 0.5 x (1 + erf(x / sqrt(2))).

    approximate: "none", or "tanh" for 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), at most
    5e-4 away. Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """
    if approximate not in GELU_FORMS:
        raise GraphcError(
            f"gelu: approximate {approximate!r}", remedy='use "none" (exact) or "tanh"'
        )
    built: Node = GELU.build(x, approximate=approximate)
    return built


# -- SiLU and the scaled tanh ----------------------------------------------------------------------


def _silu_vjp(g: Node, y: Node, x: Node) -> tuple[Node]:
    s = sigmoid(x)
    return (mul(g, mul(s, add(mul(x, sub(1.0, s)), 1.0))),)


SILU: Op = elementwise(
    "silu", arity=1,
    numpy=lambda x: x * np.exp(-np.logaddexp(x.dtype.type(0), -x)),
    body=lambda s, x: s.mul(x, s.sigmoid(x)),
    vjp=_silu_vjp,
    doc="x sigmoid(x), also called swish. Elfwing et al., 2018.",
)  # fmt: skip
silu: Builder = SILU.build

HEIGHT, SLOPE = 1.7159, 2 / 3

SCALED_TANH: Op = elementwise(
    "scaled_tanh", arity=1,
    numpy=lambda x: x.dtype.type(HEIGHT) * np.tanh(x.dtype.type(SLOPE) * x),
    body=lambda s, x: s.mul(s.tanh(s.mul(x, s.constant(SLOPE, x))), s.constant(HEIGHT, x)),
    vjp=lambda g, y, x: (mul(g, sub(HEIGHT * SLOPE, mul(mul(y, y), SLOPE / HEIGHT))),),
    doc='1.7159 tanh(2 x / 3), which is close to 1 at 1. LeCun et al., "Efficient backprop", 1998.',
)  # fmt: skip
scaled_tanh: Builder = SCALED_TANH.build
