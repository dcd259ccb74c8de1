"""The optimisers, one frozen dataclass each. Formulas and defaults are PyTorch's.

`weight_decay` is L2: weight_decay * w is added to each gradient before anything else happens to it.
AdamW alone takes it from the weight itself. Every state starts at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphc.base.errors import GraphcError
from graphc.ir.graph import make_input
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType
from graphc.ops.elementwise import add, cast, mul, sub
from graphc.ops.optimizers import adagrad_update, adam_update, rmsprop_update, sgd_update
from graphc.ops.structure import get
from graphc.train.optim.optimizer import (
    STEP_NAME,
    LearningRate,
    Optimizer,
    Update,
    check_rate,
    checked_number,
    state,
)

Change = tuple[Node, tuple[tuple[Node, Node], ...]]


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum v + g, w = w - lr v.

    With `nesterov` w = w - lr (g + momentum v). Without momentum nothing is kept between steps.
    Raises GraphcError for a value out of range.
    """

    lr: LearningRate = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_rate("SGD", self.lr)
        checked_number("SGD: momentum", self.momentum, high=1.0)
        checked_number("SGD: weight_decay", self.weight_decay)
        _check_switch("SGD: nesterov", self.nesterov)
        if self.nesterov and self.momentum == 0:
            raise GraphcError("SGD: nesterov without momentum", remedy="give momentum=0.9, say")

    def update(self, parameters: Sequence[Node], gradients: Sequence[Node], lr: Node) -> Update:
        """The nodes of one step."""

        def change(w: Node, g: Node, rate: Node) -> Change:
            if self.momentum == 0:
                decayed = add(g, mul(w, self.weight_decay)) if self.weight_decay else g
                return sub(w, mul(decayed, rate)), ()
            velocity = state(w, "velocity")
            updated = sgd_update(
                w,
                g,
                velocity,
                rate,
                momentum=self.momentum,
                nesterov=self.nesterov,
                weight_decay=self.weight_decay,
            )
            return _results(updated, velocity)

        return _each(change, parameters, gradients, lr)


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """AdaGrad (Duchi, Hazan and Singer, 2011): s = s + g^2, w = w - lr g / (sqrt(s) + eps).

    initial: what s starts from. PyTorch's `lr_decay` is a schedule here:
    ``lr=lambda step: 0.01 / (1 + decay * step)``. Raises GraphcError for a value out of range.
    """

    lr: LearningRate = 0.01
    eps: float = 1e-10
    initial: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_rate("AdaGrad", self.lr)
        checked_number("AdaGrad: eps", self.eps)
        checked_number("AdaGrad: initial", self.initial)
        checked_number("AdaGrad: weight_decay", self.weight_decay)

    def update(self, parameters: Sequence[Node], gradients: Sequence[Node], lr: Node) -> Update:
        """The nodes of one step."""

        def change(w: Node, g: Node, rate: Node) -> Change:
            squares = state(w, "sum_of_squares")
            updated = adagrad_update(
                w,
                g,
                squares,
                rate,
                eps=self.eps,
                initial=self.initial,
                weight_decay=self.weight_decay,
            )
            return _results(updated, squares)

        return _each(change, parameters, gradients, lr)


@dataclass(frozen=True)
class RMSProp(Optimizer):
    """RMSProp (Tieleman and Hinton, 2012): s = alpha s + (1 - alpha) g^2,
    w = w - lr g / (sqrt(s) + eps).

    centered: s is divided by its variance, s - m^2 with m the running mean of g (Graves, 2013).
    momentum: of the steps g / (sqrt(s) + eps). Raises GraphcError for a value out of range.
    """

    lr: LearningRate = 0.01
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0
    centered: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        check_rate("RMSProp", self.lr)
        checked_number("RMSProp: alpha", self.alpha, high=1.0)
        checked_number("RMSProp: eps", self.eps)
        checked_number("RMSProp: momentum", self.momentum, high=1.0)
        checked_number("RMSProp: weight_decay", self.weight_decay)
        _check_switch("RMSProp: centered", self.centered)

    def update(self, parameters: Sequence[Node], gradients: Sequence[Node], lr: Node) -> Update:
        """The nodes of one step."""
        names = ["mean_square"] + ["mean"] * self.centered + ["velocity"] * (self.momentum > 0)

        def change(w: Node, g: Node, rate: Node) -> Change:
            states = [state(w, name) for name in names]
            updated = rmsprop_update(
                w,
                g,
                *states,
                rate,
                alpha=self.alpha,
                eps=self.eps,
                momentum=self.momentum,
                centered=self.centered,
                weight_decay=self.weight_decay,
            )
            return _results(updated, *states)

        return _each(change, parameters, gradients, lr)


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
        _check_adam("Adam", self)

    def update(self, parameters: Sequence[Node], gradients: Sequence[Node], lr: Node) -> Update:
        """The nodes of one step."""
        return _adam(self, parameters, gradients, lr, decoupled=False)


@dataclass(frozen=True)
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019): w = (1 - lr weight_decay) w
    before Adam's step, whose gradient knows nothing of the decay.

    Raises GraphcError for a value out of range.
    """

    lr: LearningRate = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        _check_adam("AdamW", self)

    def update(self, parameters: Sequence[Node], gradients: Sequence[Node], lr: Node) -> Update:
        """The nodes of one step."""
        return _adam(self, parameters, gradients, lr, decoupled=True)


def _adam(
    optimizer: Adam | AdamW,
    parameters: Sequence[Node],
    gradients: Sequence[Node],
    lr: Node,
    *,
    decoupled: bool,
) -> Update:
    before = make_input(STEP_NAME, TensorType(DType.f32, ()), "state")
    after = add(before, 1.0)

    def change(w: Node, g: Node, rate: Node) -> Change:
        first, second = state(w, "first_moment"), state(w, "second_moment")
        updated = adam_update(
            w,
            g,
            first,
            second,
            cast(after, dtype=w.tensor.dtype),
            rate,
            beta1=optimizer.betas[0],
            beta2=optimizer.betas[1],
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
            decoupled=decoupled,
        )
        return _results(updated, first, second)

    update = _each(change, parameters, gradients, lr)
    return Update(update.parameters, ((before, after), *update.states))


def _each(
    change: Callable[[Node, Node, Node], Change],
    parameters: Sequence[Node],
    gradients: Sequence[Node],
    lr: Node,
) -> Update:
    """`change` of every (parameter, its gradient, the rate in its dtype)."""
    changes = [
        change(w, g, cast(lr, dtype=w.tensor.dtype))
        for w, g in zip(parameters, gradients, strict=True)
    ]
    return Update(
        tuple(new for new, _ in changes), tuple(pair for _, pairs in changes for pair in pairs)
    )


def _results(updated: Node, *states: Node) -> Change:
    """The new parameter, and each state with its next value, of an op that returns them all."""
    return get(updated, 0), tuple((s, get(updated, k)) for k, s in enumerate(states, 1))


def _check_switch(what: str, value: object) -> None:
    if not isinstance(value, bool):
        raise GraphcError(f"{what} {value!r}", remedy="give True or False")


def _check_adam(name: str, optimizer: Adam | AdamW) -> None:
    check_rate(name, optimizer.lr)
    betas: object = optimizer.betas
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise GraphcError(f"{name}: betas {betas!r}", remedy="give two, as (0.9, 0.999)")
    for beta in betas:
        checked_number(f"{name}: beta", beta, high=1.0)
    checked_number(f"{name}: eps", optimizer.eps)
    checked_number(f"{name}: weight_decay", optimizer.weight_decay)
