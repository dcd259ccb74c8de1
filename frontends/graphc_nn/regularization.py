"""Regularisation: dropout, and penalties that training adds to the loss (sparsity, L1).

All of it acts in training only. L2 is the optimiser's: ``weight_decay``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from graphc.base.errors import GraphcError
from graphc.ops import regularization
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import Owner, current_trace
from graphc_nn import functional
from graphc_nn.arguments import arguments_text, number
from graphc_nn.module import Layer, Module


class Dropout(Layer):
    """In training each element is zeroed with probability `rate`, the rest divided by 1 - rate.

    In evaluation it is the identity. The key advances with every step, so that a run replays from
    its seed. Raises GraphcError unless 0 <= rate < 1.
    """

    def __init__(self, rate: float) -> None:
        self.rate = number("Dropout", "rate", rate, 0.0, 1.0)

    def apply(self, x: Tensor) -> Tensor:
        """The traced `x` with some elements dropped, or itself in evaluation."""
        trace = current_trace()
        if not trace.training or self.rate == 0.0:
            return x
        key, stream = trace.random_key()
        return Tensor(regularization.dropout(x.node, key.node, rate=self.rate, stream=stream))

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})"


class Sparsity(Layer):
    """Hands its input on; in training it adds ``weight * sum_j KL(rho || m_j)`` to the loss.

    m_j is the mean over the batch of unit j of the input [N,...], an activation in (0, 1) such as
    a sigmoid's. So the gradient of unit j has the extra term weight (-rho / m_j + (1 - rho) /
    (1 - m_j)) / N. Ng, "Sparse autoencoder", 2011. Raises GraphcError unless 0 < rho < 1 and weight
    is at least 0.
    """

    def __init__(self, rho: float = 0.05, weight: float = 3.0) -> None:
        self.rho = number("Sparsity", "rho", rho, 0.0, 1.0)
        self.weight = number("Sparsity", "weight", weight, 0.0, float("inf"))
        if self.rho == 0.0:
            raise GraphcError("Sparsity: rho 0.0 is not above 0", remedy="use for example 0.05")

    def apply(self, x: Tensor) -> Tensor:
        """The traced `x`."""
        trace = current_trace()
        if trace.training:
            trace.penalty(functional.sparsity(x, rho=self.rho) * self.weight)
        return x

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "rho": (self.rho, 0.05),
            "weight": (self.weight, 3.0),
        }
        return "Sparsity" + arguments_text((), changed)


class L1(Layer):
    """In training it adds ``weight`` times a sum of absolute values to the loss.

    ``L1(1e-4)`` hands its input [N,...] on; the sum is that of the input's elements, the mean over
    the batch. ``L1(1e-4, Dense(10))`` computes what the module does; the sum is that of its
    parameters whose own name is among `parameters`, biases left out by default, and counts once
    however often the module is used. The names of parameters stay what they are without it. Raises
    GraphcError for a negative weight, for what is no module, and for a module that has no such
    parameter.
    """

    def __init__(
        self,
        weight: float,
        module: Callable[[Tensor], Tensor] | None = None,
        parameters: tuple[str, ...] = ("weight",),
    ) -> None:
        self.weight = number("L1", "weight", weight, 0.0, float("inf"))
        if module is not None and not isinstance(module, Module):
            raise GraphcError(
                f"L1: {module!r} is not a module", remedy="give a layer, or a network of layers"
            )
        if isinstance(parameters, str) or not all(isinstance(p, str) for p in parameters):
            raise GraphcError(
                f"L1: parameters {parameters!r} are not names",
                remedy='give a tuple of names, such as ("weight",)',
            )
        self.module = module
        self.parameters = tuple(parameters)

    def children(self) -> Iterator[tuple[str, Owner]]:
        """The module, under the name of this layer."""
        if isinstance(self.module, Module):
            yield "", self.module

    def apply(self, x: Tensor) -> Tensor:
        """The traced `x`, or what the module makes of it."""
        trace = current_trace()
        y = x if self.module is None else self.module(x)
        if trace.training:
            penalty = self._size(x) * self.weight
            if self.module is None or penalty.node not in trace.penalties:
                trace.penalty(penalty)
        return y

    def _size(self, x: Tensor) -> Tensor:
        if self.module is None:
            return abs(x).sum(range(1, len(x.shape))).mean()
        held = current_trace().parameters_of(self)
        chosen = [t for name, t in held.items() if name.rpartition(".")[2] in self.parameters]
        if not chosen:
            raise GraphcError(
                f"L1: no parameter of the module is named {' or '.join(self.parameters)}",
                node=repr(self),
                remedy="its parameters: " + (", ".join(held) or "none"),
            )
        first, *rest = [abs(parameter).sum() for parameter in chosen]
        return sum(rest, first)

    def __repr__(self) -> str:
        positional = [f"{self.weight:g}", *([] if self.module is None else [self.module])]
        return "L1" + arguments_text(positional, {"parameters": (self.parameters, ("weight",))})
