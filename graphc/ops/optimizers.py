"""Optimiser updates as ops: the update is part of the training graph, so it fuses with the
gradients it reads.

Formulas are PyTorch's (`torch.optim.SGD`, `torch.optim.Adam`), so that results compare digit for
digit.
"""

from __future__ import annotations

from typing import Any

from graphc.base.errors import GraphcError
from graphc.ir.node import Attrs, Node, make
from graphc.ir.types import TensorType, TupleType
from graphc.ops.elementwise import add, div, mul, power, sqrt, sub
from graphc.ops.families import layer, same_dtype
from graphc.ops.op import Op, sample


def _parameter_rule(name: str, tensors: int, results: int) -> Any:
    """`tensors` inputs of the parameter's type, then scalars of its dtype.

    `results` of the parameter's type.
    """

    def rule(inputs: tuple[TensorType, ...], attrs: Attrs) -> TupleType:
        same_dtype(name, inputs)
        first = inputs[0]
        if any(i.shape != first.shape for i in inputs[:tensors]) or any(
            i.shape != () for i in inputs[tensors:]
        ):
            listed = " and ".join(map(str, inputs))
            raise GraphcError(
                f"{name}: {listed} do not fit",
                remedy="parameter, gradient and state have one shape",
            )
        return TupleType((first,) * results)

    return rule


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
    "sgd_update", rule=_parameter_rule("sgd_update", 3, 2), build=sgd_update,
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
) -> Node:
    """(new w, new first moment, new second moment); `step` counts from 1 (Kingma and Ba, 2015)."""
    attrs = {
        "beta1": float(beta1),
        "beta2": float(beta2),
        "eps": float(eps),
        "weight_decay": float(weight_decay),
    }
    return make(ADAM_UPDATE, (w, g, first, second, step, lr), attrs)


def _adam_decompose(
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
) -> tuple[Node, ...]:
    if weight_decay:
        g = add(g, mul(w, weight_decay))
    first = add(mul(first, beta1), mul(g, 1.0 - beta1))
    second = add(mul(second, beta2), mul(mul(g, g), 1.0 - beta2))
    correction1 = sub(1.0, power(_like(beta1, step), step))
    correction2 = sqrt(sub(1.0, power(_like(beta2, step), step)))
    denominator = add(div(sqrt(second), correction2), eps)
    return sub(w, mul(div(lr, correction1), div(first, denominator))), first, second


def _like(value: float, x: Node) -> Node:
    from graphc.ops.create import full

    return full(value, dtype=x.tensor.dtype)


def _adam_numpy(
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
) -> Any:
    kind = w.dtype.type
    g = g + kind(weight_decay) * w
    first = kind(beta1) * first + kind(1 - beta1) * g
    second = kind(beta2) * second + kind(1 - beta2) * g * g
    bias1, bias2 = 1 - kind(beta1) ** step, 1 - kind(beta2) ** step
    return w - lr / bias1 * first / ((second**0.5) / (bias2**0.5) + kind(eps)), first, second


ADAM_UPDATE: Op = layer(
    "adam_update", rule=_parameter_rule("adam_update", 4, 3), build=adam_update,
    decompose=_adam_decompose,
    numpy=_adam_numpy, arity=6,
    samples=(sample("f32[4,3]", "f32[4,3]", "f32[4,3]", "f32[4,3]", "f32[]", "f32[]", beta1=0.9,
                    beta2=0.999,
                    eps=1e-8, weight_decay=0.0, values="positive"),
             sample("f64[7]", "f64[7]", "f64[7]", "f64[7]", "f64[]", "f64[]", beta1=0.8, beta2=0.99,
                    eps=1e-6, weight_decay=0.01, values="positive")),
)  # fmt: skip
