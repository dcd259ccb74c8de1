"""The update of stochastic gradient descent, with momentum and Nesterov's variant."""

from __future__ import annotations

from typing import Any

from graphc.ir.node import Node, make
from graphc.ops.elementwise import add, mul, sub
from graphc.ops.families import layer
from graphc.ops.op import Op, sample
from graphc.ops.optimizers.rule import update_type


def sgd_update(
    w: Node,
    g: Node,
    velocity: Node,
    lr: Node,
    *,
    momentum: float,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> Node:
    """(new w, new velocity), where v = momentum v + g and w = w - lr v.

    Nesterov: w = w - lr (g + momentum v). g includes the weight decay.
    """
    attrs = {
        "momentum": float(momentum),
        "nesterov": bool(nesterov),
        "weight_decay": float(weight_decay),
    }
    return make(SGD_UPDATE, (w, g, velocity, lr), attrs)


def _sgd_decompose(
    w: Node,
    g: Node,
    velocity: Node,
    lr: Node,
    *,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> tuple[Node, ...]:
    if weight_decay:
        g = add(g, mul(w, weight_decay))
    velocity = add(mul(velocity, momentum), g) if momentum else g
    step = add(g, mul(velocity, momentum)) if nesterov else velocity
    return sub(w, mul(step, lr)), velocity


def _sgd_numpy(
    w: Any,
    g: Any,
    velocity: Any,
    lr: Any,
    *,
    n: int,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> Any:
    g = g + w.dtype.type(weight_decay) * w
    velocity = w.dtype.type(momentum) * velocity + g
    return w - lr * (g + w.dtype.type(momentum) * velocity if nesterov else velocity), velocity


SGD_UPDATE: Op = layer(
    "sgd_update", rule=lambda inputs, attrs: update_type("sgd_update", inputs, 1), build=sgd_update,
    decompose=_sgd_decompose,
    numpy=_sgd_numpy, arity=4,
    samples=(sample("f32[4,3]", "f32[4,3]", "f32[4,3]", "f32[]", momentum=0.9, nesterov=False,
                    weight_decay=0.0),
             sample("f32[20]", "f32[20]", "f32[20]", "f32[]", momentum=0.9, nesterov=True,
                    weight_decay=0.01),
             sample("f64[4]", "f64[4]", "f64[4]", "f64[]", momentum=0.0, nesterov=False,
                    weight_decay=0.1),
             sample("f32[4]", "f32[3]", "f32[4]", "f32[]", momentum=0.9, nesterov=False,
                    weight_decay=0.0,
                    raises="do not fit")),
)  # fmt: skip
