"""Activations as layers, each one op; as functions the same ops are in `functional`.

They take tensors of any shape and have no parameters; defaults are PyTorch's.
"""

from __future__ import annotations

from graphc.base.errors import GraphcError
from graphc.ops.activations import GELU_FORMS
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


class ScaledTanh(Layer):
    """1.7159 tanh(2 x / 3), LeCun's sigmoid: close to 1 at 1, so that targets of 1 do not saturate.

    LeCun et al., "Efficient backprop", 1998.
    """

    def apply(self, x: Tensor) -> Tensor:
        """The activation of the traced `x`, element by element."""
        return functional.scaled_tanh(x)

    def __repr__(self) -> str:
        return "ScaledTanh()"


class ELU(Layer):
    """x above 0, alpha (exp(x) - 1) elsewhere. Raises GraphcError for a negative alpha.

    Clevert et al., "Fast and accurate deep network learning by exponential linear units", 2016.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number("ELU", "alpha", alpha, 0.0, float("inf"))

    def apply(self, x: Tensor) -> Tensor:
        """The activation of the traced `x`, element by element."""
        return functional.elu(x, alpha=self.alpha)

    def __repr__(self) -> str:
        return "ELU" + arguments_text((), {"alpha": (self.alpha, 1.0)})


class GELU(Layer):
    """0.5 x (1 + erf(x / sqrt(2))), exactly, or with approximate="tanh" by a tanh.

    Hendrycks and Gimpel, "Gaussian error linear units", 2016. Raises GraphcError for another
    `approximate` than "none" and "tanh".
    """

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in GELU_FORMS:
            raise GraphcError(
                f"GELU: approximate {approximate!r}", remedy='use "none" (exact) or "tanh"'
            )
        self.approximate = approximate

    def apply(self, x: Tensor) -> Tensor:
        """The activation of the traced `x`, element by element."""
        return functional.gelu(x, approximate=self.approximate)

    def __repr__(self) -> str:
        return "GELU()" if self.approximate == "none" else 'GELU(approximate="tanh")'


class SiLU(Layer):
    """x sigmoid(x), also called swish.

    Elfwing et al., "Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning", 2018.
    """

    def apply(self, x: Tensor) -> Tensor:
        """The activation of the traced `x`, element by element."""
        return functional.silu(x)

    def __repr__(self) -> str:
        return "SiLU()"


class Softplus(Layer):
    """log(1 + exp(x)), a smooth ReLU whose derivative is the sigmoid."""

    def apply(self, x: Tensor) -> Tensor:
        """The activation of the traced `x`, element by element."""
        return functional.softplus(x)

    def __repr__(self) -> str:
        return "Softplus()"


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
