"""Dropout: a layer that acts in training only and draws from the trace's random key."""

from __future__ import annotations

from graphc.ops import regularization
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import current_trace
from graphc_nn.arguments import number
from graphc_nn.module import Layer


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
