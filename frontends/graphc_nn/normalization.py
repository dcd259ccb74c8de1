"""Batch normalisation, with PyTorch's semantics, built from primitives.

Ioffe and Szegedy, "Batch normalization", 2015. Knows nothing of how its states are stored.
"""

from __future__ import annotations

from graphc.base.errors import GraphcError
from graphc.ir.types import DType
from graphc.ops import views
from graphc.ops.create import batch_size, full
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import current_trace
from graphc_nn import functional, initializers
from graphc_nn.arguments import arguments_text, number
from graphc_nn.module import Layer


class BatchNorm(Layer):
    """(x - mean) / sqrt(variance + eps) * weight + bias for each channel (axis 1) of [N,C,...].

    In training mean and (biased) variance are the batch's, and the states ``running_mean`` and
    ``running_var`` move towards them: running = (1 - momentum) running + momentum batch, the
    variance unbiased (times n / (n - 1)). In evaluation the running values are used. Parameters
    ``weight`` (ones) and ``bias`` (zeros), all [C].
    """

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5) -> None:
        self.momentum = number("BatchNorm", "momentum", momentum, 0.0, 1.0 + 1e-9)
        self.eps = number("BatchNorm", "eps", eps, 0.0, float("inf"))

    def apply(self, x: Tensor) -> Tensor:
        """The normalised traced `x`, of the same type."""
        if len(x.shape) < 2 or not isinstance(x.shape[1], int) or not x.dtype.is_float:
            raise GraphcError(
                f"BatchNorm: the input {x.type} has no channels on axis 1",
                node=repr(self),
                remedy="give a float tensor [N,channels,...]",
            )
        trace = current_trace()
        shape = (x.shape[1],)
        weight = trace.parameter(self, "weight", shape, initializers.ones, x.dtype)
        bias = trace.parameter(self, "bias", shape, initializers.zeros, x.dtype)
        running_mean = trace.state(self, "running_mean", shape, initializers.zeros, x.dtype)
        running_var = trace.state(self, "running_var", shape, initializers.ones, x.dtype)
        if not trace.training:
            return self._normalised(x, running_mean, running_var, weight, bias)
        axes = [a for a in range(len(x.shape)) if a != 1]
        mean = x.mean(axes)
        centred = x - _along_channels(mean, x)
        variance = (centred * centred).mean(axes)
        count = _count(x, axes)
        unbiased = variance * (count / functional.maximum(count - 1.0, 1.0))
        keep = 1.0 - self.momentum
        trace.update(running_mean, running_mean * keep + mean * self.momentum)
        trace.update(running_var, running_var * keep + unbiased * self.momentum)
        return self._normalised(x, mean, variance, weight, bias)

    def _normalised(
        self, x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor
    ) -> Tensor:
        scale = weight / functional.sqrt(variance + self.eps)
        centred = x - _along_channels(mean, x)
        return centred * _along_channels(scale, x) + _along_channels(bias, x)

    def __repr__(self) -> str:
        changed: dict[str, tuple[object, object]] = {
            "momentum": (self.momentum, 0.1),
            "eps": (self.eps, 1e-5),
        }
        return "BatchNorm" + arguments_text((), changed)


def _along_channels(vector: Tensor, x: Tensor) -> Tensor:
    return Tensor(views.broadcast(vector.node, shape=x.shape, axes=(1,)))


def _count(x: Tensor, axes: list[int]) -> Tensor:
    """How many elements a channel has, as a scalar of x's dtype."""
    dtype: DType = x.dtype
    fixed = 1
    batched = False
    for axis in axes:
        extent = x.shape[axis]
        if isinstance(extent, int):
            fixed *= extent
        else:
            batched = True
    constant = Tensor(full(float(fixed), dtype=dtype))
    return Tensor(batch_size(dtype=dtype)) * constant if batched else constant
