"""RMSProp's update (Tieleman and Hinton, lecture 6.5, 2012; centred: Graves, "Generating sequences
with recurrent neural networks", 2013)."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import TensorType, TupleType
from graphc.ops.elementwise import add, div, maximum, mul, sqrt, sub
from graphc.ops.families import layer
from graphc.ops.op import Op, sample
from graphc.ops.optimizers.rule import update_type


def rmsprop_update(
    w: Node,
    g: Node,
    *rest: Node,
    alpha: float = 0.99,
    eps: float = 1e-8,
    momentum: float = 0.0,
    centered: bool = False,
    weight_decay: float = 0.0,
) -> Node:
    """(new w, and each new state), where s = alpha s + (1 - alpha) g^2, v = momentum v +
    g / (sqrt(s) + eps) and w = w - lr v.

    rest: the mean square s, the mean of g if `centered` (s - mean^2 then stands for s), the
    velocity v if there is momentum, the learning rate. g includes the weight decay. Where rounding
    makes s - mean^2 negative it counts as 0.
    """
    attrs = {
        "alpha": float(alpha),
        "eps": float(eps),
        "momentum": float(momentum),
        "centered": bool(centered),
        "weight_decay": float(weight_decay),
    }
    return make(RMSPROP_UPDATE, (w, g, *rest), attrs)


def _rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TupleType:
    states = 1 + attrs["centered"] + (attrs["momentum"] > 0)
    if len(inputs) != 3 + states:
        raise GraphcError(
            f"rmsprop_update with momentum {attrs['momentum']:g}"
            f"{' and centred' if attrs['centered'] else ''} takes {3 + states} inputs, "
            f"not {len(inputs)}",
            remedy="give parameter, gradient, mean square, mean if centred, velocity if there is "
            "momentum, learning rate",
        )
    return update_type("rmsprop_update", inputs, states)


def _decompose(
    w: Node,
    g: Node,
    square: Node,
    *rest: Node,
    alpha: float,
    eps: float,
    momentum: float,
    centered: bool,
    weight_decay: float,
) -> tuple[Node, ...]:
    if weight_decay:
        g = add(g, mul(w, weight_decay))
    square = add(mul(square, alpha), mul(mul(g, g), 1.0 - alpha))
    states, spread = [square], square
    if centered:
        mean = add(mul(rest[0], alpha), mul(g, 1.0 - alpha))
        spread = maximum(sub(square, mul(mean, mean)), 0.0)
        states.append(mean)
    step = div(g, add(sqrt(spread), eps))
    if momentum:
        step = add(mul(rest[-2], momentum), step)
        states.append(step)
    return sub(w, mul(rest[-1], step)), *states


def _numpy(
    w: Any,
    g: Any,
    square: Any,
    *rest: Any,
    n: int,
    alpha: float,
    eps: float,
    momentum: float,
    centered: bool,
    weight_decay: float,
) -> Any:
    kind = w.dtype.type
    *kept, lr = rest
    g = g + kind(weight_decay) * w
    square = kind(alpha) * square + kind(1 - alpha) * g**2
    new, spread = [square], square
    if centered:
        new.append(kind(alpha) * kept.pop(0) + kind(1 - alpha) * g)
        spread = np.maximum(square - new[1] ** 2, 0)
    step = g / (np.sqrt(spread) + kind(eps))
    if momentum:
        step = kind(momentum) * kept.pop(0) + step
        new.append(step)
    return w - lr * step, *new


RMSPROP_UPDATE: Op = layer(
    "rmsprop_update", rule=_rule, build=rmsprop_update, decompose=_decompose, numpy=_numpy,
    samples=(sample("f32[4,3]", "f32[4,3]", "f32[4,3]", "f32[]", alpha=0.99, eps=1e-8,
                    momentum=0.0, centered=False, weight_decay=0.0, values="positive"),
             sample("f32[20]", "f32[20]", "f32[20]", "f32[20]", "f32[]", alpha=0.9, eps=1e-6,
                    momentum=0.9, centered=False, weight_decay=0.01, values="positive"),
             sample("f64[4]", "f64[4]", "f64[4]", "f64[4]", "f64[]", alpha=0.5, eps=1e-3,
                    momentum=0.0, centered=True, weight_decay=0.1,
                    values=("normal", "normal", "positive", "unit", "positive")),
             sample("f64[7]", "f64[7]", "f64[7]", "f64[7]", "f64[7]", "f64[]", alpha=0.5, eps=1e-3,
                    momentum=0.5, centered=True, weight_decay=0.0,
                    values=("normal", "normal", "positive", "unit", "normal", "positive")),
             sample("f32[4]", "f32[4]", "f32[4]", "f32[]", alpha=0.99, eps=1e-8, momentum=0.9,
                    centered=False, weight_decay=0.0, raises="takes 5 inputs, not 4"),
             sample("f32[4]", "f32[4]", "f32[3]", "f32[]", alpha=0.99, eps=1e-8, momentum=0.0,
                    centered=False, weight_decay=0.0, raises="do not fit")),
)  # fmt: skip
