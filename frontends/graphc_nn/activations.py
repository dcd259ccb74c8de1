"""Activations as layers, each one op; as functions the same ops are in `functional`."""

from __future__ import annotations

from graphc.base.errors import GraphcError
from graphc.tracing.tensor import Tensor
from graphc_nn import functional
from graphc_nn.arguments import arguments_text, number
from graphc_nn.module import Layer


class ReLU(Layer):
    """max(x, 0); its derivative at 0 is 0."""

    def apply(self, x: Tensor) -> Tensor:
        """The activation of the traced `x`, element by element."""
        return functional.relu(x)

    def __repr__(self) -> str:
        return "ReLU()"


class LeakyReLU(Layer):
    """x where it is not below 0, slope * x elsewhere. Raises GraphcError for a negative slope."""

    def __init__(self, slope: float = 0.01) -> None:
        self.slope = number("LeakyReLU", "slope", slope, 0.0, float("inf"))

    def apply(self, x: Tensor) -> Tensor:
        """The activation of the traced `x`, element by element."""
        return functional.leaky_relu(x, slope=self.slope)

    def __repr__(self) -> str:
        return "LeakyReLU" + arguments_text((), {"slope": (self.slope, 0.01)})


class Tanh(Layer):
    """Hyperbolic tangent."""

    def apply(self, x: Tensor) -> Tensor:
        """The activation of the traced `x`, element by element."""
        return functional.tanh(x)

    def __repr__(self) -> str:
        return "Tanh()"


class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    def apply(self, x: Tensor) -> Tensor:
        """The activation of the traced `x`, element by element."""
        return functional.sigmoid(x)

    def __repr__(self) -> str:
        return "Sigmoid()"


class Softmax(Layer):
    """exp(x) / sum(exp(x)) along `axis`.

    A network for the "cross_entropy" loss ends without it: that loss takes logits.
    """

    def __init__(self, axis: int = 1) -> None:
        self.axis = _axis("Softmax", axis)

    def apply(self, x: Tensor) -> Tensor:
        """Probabilities along the axis of the traced `x`."""
        return functional.softmax(x, axis=self.axis)

    def __repr__(self) -> str:
        return "Softmax" + arguments_text((), {"axis": (self.axis, 1)})


class LogSoftmax(Layer):
    """The logarithm of softmax along `axis`."""

    def __init__(self, axis: int = 1) -> None:
        self.axis = _axis("LogSoftmax", axis)

    def apply(self, x: Tensor) -> Tensor:
        """Logarithms of probabilities along the axis of the traced `x`."""
        return functional.log_softmax(x, axis=self.axis)

    def __repr__(self) -> str:
        return "LogSoftmax" + arguments_text((), {"axis": (self.axis, 1)})


def _axis(layer: str, axis: int) -> int:
    if not isinstance(axis, int) or isinstance(axis, bool):
        raise GraphcError(f"{layer}: axis {axis!r}", remedy="give a whole number such as 1 or -1")
    return axis
