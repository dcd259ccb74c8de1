"""Optimisers: what one training step does with each gradient, as nodes of the training graph.

The update is compiled with the step it belongs to. The learning rate is an input of the graph, so a
schedule (a function of the step's number) never recompiles. Formulas are PyTorch's. Knows neither
networks nor losses.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc.base.errors import GraphcError
from graphc.ir.graph import make_input
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType
from graphc.ops.elementwise import add, cast, mul, sub
from graphc.ops.optimizers import adam_update, sgd_update
from graphc.ops.structure import get

LearningRate = float | Callable[[int], float]
STEP_NAME = "optimizer.step"


@dataclass(frozen=True)
class Update:
    """Nodes of one optimiser step.

    parameters: the next value of each parameter. states: (input, its next value) of what the
    optimiser keeps between steps; all of it starts at zero.
    """

    parameters: tuple[Node, ...]
    states: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True)
class Optimizer(ABC):
    """A rule that turns gradients into new parameters.

    lr: the learning rate, a number or a function of the step's number (from 0).
    """

    lr: LearningRate

    @abstractmethod
    def update(self, parameters: Sequence[Node], gradients: Sequence[Node], lr: Node) -> Update:
        """The nodes of one step. `lr` is a scalar; parameters are input nodes."""

    def rate(self, step: int) -> float:
        """The learning rate of step number `step`.

        Raises GraphcError if a schedule gives something that is no finite number of at least 0.
        """
        if not callable(self.lr):
            return self.lr
        value = self.lr(step)
        return _number(f"the learning rate at step {step}", value, 0.0, math.inf)


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum v + g, w = w - lr v.

    With `nesterov` w = w - lr (g + momentum v). g includes weight_decay * w. Without momentum
    nothing is kept between steps. Raises GraphcError for a value out of range.
    """

    lr: LearningRate = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_rate("SGD", self.lr)
        _number("SGD: momentum", self.momentum, 0.0, 1.0)
        _number("SGD: weight_decay", self.weight_decay, 0.0, math.inf)
        if not isinstance(self.nesterov, bool):
            raise GraphcError(f"SGD: nesterov {self.nesterov!r}", remedy="give True or False")
        if self.nesterov and self.momentum == 0:
            raise GraphcError("SGD: nesterov without momentum", remedy="give momentum=0.9, say")

    def update(self, parameters: Sequence[Node], gradients: Sequence[Node], lr: Node) -> Update:
        """The nodes of one step."""
        new, states = [], []
        for w, g in zip(parameters, gradients, strict=True):
            rate = cast(lr, dtype=w.tensor.dtype)
            if self.momentum == 0:
                decayed = add(g, mul(w, self.weight_decay)) if self.weight_decay else g
                new.append(sub(w, mul(decayed, rate)))
                continue
            velocity = _state(w, "velocity")
            both = sgd_update(
                w,
                g,
                velocity,
                rate,
                momentum=self.momentum,
                nesterov=self.nesterov,
                weight_decay=self.weight_decay,
            )
            new.append(get(both, 0))
            states.append((velocity, get(both, 1)))
        return Update(tuple(new), tuple(states))


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba, "Adam: a method for stochastic optimization", 2015).

    weight_decay is added to the gradient, as in torch.optim.Adam. The step count is a state that
    the graph itself advances. Raises GraphcError for a value out of range.
    """

    lr: LearningRate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check_rate("Adam", self.lr)
        if not isinstance(self.betas, tuple | list) or len(self.betas) != 2:
            raise GraphcError(f"Adam: betas {self.betas!r}", remedy="give two, as (0.9, 0.999)")
        for beta in self.betas:
            _number("Adam: beta", beta, 0.0, 1.0)
        _number("Adam: eps", self.eps, 0.0, math.inf)
        _number("Adam: weight_decay", self.weight_decay, 0.0, math.inf)

    def update(self, parameters: Sequence[Node], gradients: Sequence[Node], lr: Node) -> Update:
        """The nodes of one step."""
        before = make_input(STEP_NAME, TensorType(DType.f32, ()), "state")
        after = add(before, 1.0)
        new, states = [], [(before, after)]
        for w, g in zip(parameters, gradients, strict=True):
            first, second = _state(w, "first_moment"), _state(w, "second_moment")
            dtype = w.tensor.dtype
            several = adam_update(
                w,
                g,
                first,
                second,
                cast(after, dtype=dtype),
                cast(lr, dtype=dtype),
                beta1=self.betas[0],
                beta2=self.betas[1],
                eps=self.eps,
                weight_decay=self.weight_decay,
            )
            new.append(get(several, 0))
            states.extend([(first, get(several, 1)), (second, get(several, 2))])
        return Update(tuple(new), tuple(states))


def _state(parameter: Node, name: str) -> Node:
    """A state of the parameter's type, named after it: ``0.weight.velocity``."""
    return make_input(f"{parameter.attrs['name']}.{name}", parameter.tensor, "state")


def _check_rate(optimizer: str, lr: LearningRate) -> None:
    if not callable(lr):
        _number(f"{optimizer}: lr", lr, 0.0, math.inf)


def _number(what: str, value: object, low: float, high: float) -> float:
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    if not is_number or not low <= float(value) < high:  # type: ignore[arg-type]
        bound = f"in [{low:g}, {high:g})" if math.isfinite(high) else f"of at least {low:g}"
        raise GraphcError(f"{what} is {value!r}", remedy=f"give a finite number {bound}")
    return float(value)  # type: ignore[arg-type]
