"""Losses whose targets are of the output's own type: numbers, and distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from graphc.ir.node import Node
from graphc.ir.types import TensorType
from graphc.ops import losses
from graphc.train.losses.loss import Loss, option, single


class Matching(Loss):
    """A loss of one output and a target of its type."""

    name: ClassVar[str]

    def target_types(self, outputs: Sequence[Node], kind: str) -> tuple[TensorType, ...]:
        """The output's type."""
        return (single(self.name, outputs),)


@dataclass(frozen=True)
class MeanSquaredError(Matching):
    """Mean over all elements of (output - target)^2."""

    name: ClassVar[str] = "mse"

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        return losses.mean_squared_error(outputs[0], targets[0])


@dataclass(frozen=True)
class SquaredError(Matching):
    """1/2 sum (output - target)^2 of each sample, the mean over the batch."""

    name: ClassVar[str] = "squared_error"

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        return losses.squared_error(outputs[0], targets[0])


@dataclass(frozen=True)
class SmoothL1(Matching):
    """0.5 d^2 / beta where |d| < beta, else |d| - 0.5 beta; the mean over all elements.

    Raises GraphcError for a negative beta.
    """

    name: ClassVar[str] = "smooth_l1"
    beta: float = 1.0

    def __post_init__(self) -> None:
        option("SmoothL1", "beta", self.beta)

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        return losses.smooth_l1(outputs[0], targets[0], beta=self.beta)


@dataclass(frozen=True)
class KLDivergence(Matching):
    """sum t (log t - output) of each sample, the mean over the batch.

    The output holds log-probabilities, the targets t probabilities, as in PyTorch's KLDivLoss with
    reduction "batchmean".
    """

    name: ClassVar[str] = "kl_divergence"

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        return losses.kl_divergence(outputs[0], targets[0])
