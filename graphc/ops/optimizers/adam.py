"""Adam's update (Kingma and Ba, 2015) and AdamW's (Loshchilov and Hutter, "Decoupled weight decay
regularization", 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.node import Node, make
from graphc.ir.types import DType
from graphc.ops.create import full
from graphc.ops.elementwise import add, cast, div, mul, power, sqrt, sub
from graphc.ops.families import layer
from graphc.ops.op import Op, sample
from graphc.ops.optimizers.rule import update_type


def adam_update(
    w: Node,
    g: Node,
    first: Node,
    second: Node,
    step: Node,
    lr: Node,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> Node:
    """(new w, new first moment, new second moment); `step` counts from 1 (Kingma and Ba, 2015).

    g includes the weight decay; where it is `decoupled`, w is multiplied by 1 - lr weight_decay
    instead (AdamW).
    """
    attrs = {
        "beta1": float(beta1),
        "beta2": float(beta2),
        "eps": float(eps),
        "weight_decay": float(weight_decay),
        "decoupled": bool(decoupled),
    }
    return make(ADAM_UPDATE, (w, g, first, second, step, lr), attrs)


def _decompose(
    w: Node,
    g: Node,
    first: Node,
    second: Node,
    step: Node,
    lr: Node,
    *,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> tuple[Node, ...]:
    if weight_decay and decoupled:
        w = mul(w, sub(1.0, mul(lr, weight_decay)))
    if weight_decay and not decoupled:
        g = add(g, mul(w, weight_decay))
    first = add(mul(first, beta1), mul(g, 1.0 - beta1))
    second = add(mul(second, beta2), mul(mul(g, g), 1.0 - beta2))
    bias1, bias2 = _bias(beta1, step), _bias(beta2, step)
    denominator = add(div(sqrt(second), sqrt(bias2)), eps)
    return sub(w, mul(div(lr, bias1), div(first, denominator))), first, second


def _bias(beta: float, step: Node) -> Node:
    """1 - beta^step: a difference of near numbers at first, so it is taken in f64."""
    exact = sub(1.0, power(full(beta, dtype=DType.f64), cast(step, dtype=DType.f64)))
    return cast(exact, dtype=step.tensor.dtype)


def _numpy(
    w: Any,
    g: Any,
    first: Any,
    second: Any,
    step: Any,
    lr: Any,
    *,
    n: int,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
) -> Any:
    kind = w.dtype.type
    w, g = (w * (1 - lr * kind(weight_decay)), g) if decoupled else (w, g + kind(weight_decay) * w)
    first = kind(beta1) * first + kind(1 - beta1) * g
    second = kind(beta2) * second + kind(1 - beta2) * g * g
    bias1, bias2 = (kind(1 - np.float64(beta) ** np.float64(step)) for beta in (beta1, beta2))
    return w - lr / bias1 * first / (np.sqrt(second) / np.sqrt(bias2) + kind(eps)), first, second


ADAM_UPDATE: Op = layer(
    "adam_update", rule=lambda inputs, attrs: update_type("adam_update", inputs, 2),
    build=adam_update, decompose=_decompose, numpy=_numpy, arity=6,
    samples=(sample("f32[4,3]", "f32[4,3]", "f32[4,3]", "f32[4,3]", "f32[]", "f32[]", beta1=0.9,
                    beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False, values="positive"),
             sample("f64[7]", "f64[7]", "f64[7]", "f64[7]", "f64[]", "f64[]", beta1=0.8, beta2=0.99,
                    eps=1e-6, weight_decay=0.01, decoupled=False, values="positive"),
             sample("f32[20]", "f32[20]", "f32[20]", "f32[20]", "f32[]", "f32[]", beta1=0.9,
                    beta2=0.99, eps=1e-8, weight_decay=0.1, decoupled=True, values="positive"),
             sample("f32[4]", "f32[4]", "f32[4]", "f32[3]", "f32[]", "f32[]", beta1=0.9,
                    beta2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False,
                    raises="do not fit")),
)  # fmt: skip
