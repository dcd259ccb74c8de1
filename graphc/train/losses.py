"""Losses that a `Model` trains on: "cross_entropy", "mse", or a function of traced tensors.

A loss says which targets it takes, checks those it is fed, and builds its scalar. What the formulas
are is the ops' business.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType, parse_type
from graphc.ops.losses import mean_squared_error, softmax_cross_entropy
from graphc.tracing.tensor import Tensor

Array = np.ndarray[Any, Any]
SOFT = "_soft"


class Loss(ABC):
    """What is minimised.

    Targets come in kinds, each with a graph of its own: "" is the usual one.
    """

    @abstractmethod
    def target_type(self, outputs: Sequence[Node], kind: str) -> TensorType:
        """The type of the targets of that kind. Raises GraphcError if the outputs do not fit."""

    @abstractmethod
    def build(self, outputs: Sequence[Node], target: Node) -> Node:
        """The scalar loss of the network's outputs."""

    def checked(self, y: Any, outputs: Sequence[Node]) -> tuple[str, Any]:
        """(kind, targets) for what the user fed. Raises GraphcError for targets out of range."""
        return "", y

    @property
    def classifies(self) -> bool:
        """Whether accuracy has a meaning: the output holds one score for each class."""
        return False


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Mean of -log softmax(output)[label], for an output [N,classes] of logits.

    Targets are class numbers [N], or probabilities [N,classes] (kind "_soft").
    """

    def target_type(self, outputs: Sequence[Node], kind: str) -> TensorType:
        """i32[N], or the output's own type for probabilities."""
        output = _single("cross_entropy", outputs)
        if output.rank != 2 or not output.dtype.is_float:
            raise GraphcError(
                f"cross_entropy: the network's output is {output}, not logits [N,classes]",
                remedy="end the network with Flatten() and Dense(classes)",
            )
        return output if kind == SOFT else TensorType(DType.i32, output.shape[:1])

    def build(self, outputs: Sequence[Node], target: Node) -> Node:
        """The scalar loss."""
        return softmax_cross_entropy(outputs[0], target)

    def checked(self, y: Any, outputs: Sequence[Node]) -> tuple[str, Any]:
        """Class numbers within range, or probabilities."""
        labels = np.asarray(y)
        if labels.ndim == 2 and labels.dtype.kind == "f":
            return SOFT, labels
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise GraphcError(
                f"labels of dtype {labels.dtype} and shape {list(labels.shape)}",
                remedy="give class numbers (integers, shape [n]) or probabilities "
                "(floats, shape [n, classes])",
            )
        classes = outputs[0].tensor.shape[1]
        if labels.size and isinstance(classes, int):
            if labels.min() < 0 or labels.max() >= classes:
                position = int(np.flatnonzero((labels < 0) | (labels >= classes))[0])
                raise GraphcError(
                    f"label {labels[position]} at position {position} is not one of the "
                    f"{classes} classes",
                    remedy=f"labels are whole numbers in 0..{classes - 1}; "
                    "or give the last layer more features",
                )
        return "", labels

    @property
    def classifies(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """Mean over all elements of (output - target)^2; targets are of the output's type."""

    def target_type(self, outputs: Sequence[Node], kind: str) -> TensorType:
        """The output's type."""
        return _single("mse", outputs)

    def build(self, outputs: Sequence[Node], target: Node) -> Node:
        """The scalar loss."""
        return mean_squared_error(outputs[0], target)


@dataclass(frozen=True)
class CustomLoss(Loss):
    """``function(*outputs, target)`` on traced tensors, for targets of type `target`."""

    function: Callable[..., Tensor]
    target: TensorType

    def target_type(self, outputs: Sequence[Node], kind: str) -> TensorType:
        """As the user said."""
        return self.target

    def build(self, outputs: Sequence[Node], target: Node) -> Node:
        """What the user's function makes of them."""
        result = self.function(*map(Tensor, outputs), Tensor(target))
        if not isinstance(result, Tensor):
            raise GraphcError(
                f"the loss returned {type(result).__name__}, not a traced tensor",
                remedy="compute it from the output and the target it is given",
            )
        return result.node


NAMED: dict[str, Loss] = {"cross_entropy": CrossEntropy(), "mse": MeanSquaredError()}


def loss_from(given: object, target_type: str | TensorType | None) -> Loss:
    """The loss that the user named or wrote. Raises GraphcError if it is neither."""
    if isinstance(given, str) and given in NAMED:
        return NAMED[given]
    if isinstance(given, str) or not callable(given):
        raise GraphcError(
            f"there is no loss {given!r}",
            remedy="losses: " + ", ".join(NAMED) + ", or a function of (output, target)",
        )
    if target_type is None:
        raise GraphcError(
            "the type of the targets is not known for a loss of your own",
            remedy='give target_type, for example target_type="f32[N,10]"',
        )
    parsed = parse_type(target_type) if isinstance(target_type, str) else target_type
    return CustomLoss(given, parsed)


def _single(loss: str, outputs: Sequence[Node]) -> TensorType:
    if len(outputs) != 1:
        raise GraphcError(
            f"{loss}: the network has {len(outputs)} outputs",
            remedy="write the loss as a function of (*outputs, target)",
        )
    return outputs[0].tensor
