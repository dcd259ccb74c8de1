"""AdaGrad's update (Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011)."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.node import Node, make
from graphc.ops.elementwise import add, div, mul, sqrt, sub
from graphc.ops.families import layer
from graphc.ops.op import Op, sample
from graphc.ops.optimizers.rule import update_type


def adagrad_update(
    w: Node,
    g: Node,
    squares: Node,
    lr: Node,
    *,
    eps: float = 1e-10,
    initial: float = 0.0,
    weight_decay: float = 0.0,
) -> Node:
    """(new w, new sum of squares), where s = s + g^2 and w = w - lr g / (sqrt(s + initial) + eps).

    g includes the weight decay.
    """
    attrs = {"eps": float(eps), "initial": float(initial), "weight_decay": float(weight_decay)}
    return make(ADAGRAD_UPDATE, (w, g, squares, lr), attrs)


def _decompose(
    w: Node, g: Node, squares: Node, lr: Node, *, eps: float, initial: float, weight_decay: float
) -> tuple[Node, ...]:
    if weight_decay:
        g = add(g, mul(w, weight_decay))
    squares = add(squares, mul(g, g))
    started = add(squares, initial) if initial else squares
    return sub(w, mul(lr, div(g, add(sqrt(started), eps)))), squares


def _numpy(
    w: Any,
    g: Any,
    squares: Any,
    lr: Any,
    *,
    n: int,
    eps: float,
    initial: float,
    weight_decay: float,
) -> Any:
    kind = w.dtype.type
    g = g + kind(weight_decay) * w
    squares = squares + g**2
    return w - lr * g / (np.sqrt(squares + kind(initial)) + kind(eps)), squares


ADAGRAD_UPDATE: Op = layer(
    "adagrad_update", rule=lambda inputs, attrs: update_type("adagrad_update", inputs, 1),
    build=adagrad_update, decompose=_decompose, numpy=_numpy, arity=4,
    samples=(sample("f32[4,3]", "f32[4,3]", "f32[4,3]", "f32[]", eps=1e-10, initial=0.0,
                    weight_decay=0.0, values="positive"),
             sample("f64[7]", "f64[7]", "f64[7]", "f64[]", eps=1e-6, initial=0.1,
                    weight_decay=0.01, values=("normal", "normal", "positive", "positive")),
             sample("f32[4]", "f32[4]", "f32[4]", "f32[4]", eps=1e-10, initial=0.0,
                    weight_decay=0.0, raises="do not fit"),
             sample("i32[4]", "i32[4]", "i32[4]", "i32[]", eps=1e-10, initial=0.0,
                    weight_decay=0.0, raises="float")),
)  # fmt: skip
