"""What a loss is: which outputs and targets it takes, and how it makes a scalar of them.

Knows no particular loss but the one that a user writes as a function.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import as_numbers
from graphc.base.errors import GraphcError
from graphc.ir.node import Node
from graphc.ir.types import TensorType
from graphc.tracing.tensor import Tensor
from graphc.tracing.trace import misfit_of

Array = np.ndarray[Any, Any]


class Loss(ABC):
    """What is minimised: a scalar made of the network's outputs and one or more targets.

    Targets come in kinds, each with a graph of its own: "" is the usual one.
    """

    @abstractmethod
    def target_types(self, outputs: Sequence[Node], kind: str) -> tuple[TensorType, ...]:
        """The types of the targets of that kind. Raises GraphcError if the outputs do not fit."""

    @abstractmethod
    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss of the network's outputs."""

    def checked(self, y: Any, outputs: Sequence[Node]) -> tuple[str, tuple[Array, ...]]:
        """(kind, targets) for what the user fed: an array, or a tuple of them.

        Raises GraphcError for targets of the wrong number or out of range.
        """
        return "", arrays(y, len(self.target_types(outputs, "")))

    @property
    def classifies(self) -> bool:
        """Whether accuracy has a meaning: the first output scores classes, the first target names
        them.
        """
        return False


@dataclass(frozen=True)
class CustomLoss(Loss):
    """``function(*outputs, *targets)`` on traced tensors, for targets of the types `targets`."""

    function: Callable[..., Tensor]
    targets: tuple[TensorType, ...]

    def target_types(self, outputs: Sequence[Node], kind: str) -> tuple[TensorType, ...]:
        """As the user said."""
        return self.targets

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """What the user's function makes of them."""
        misfit = misfit_of(self.function, len(outputs) + len(targets))
        if misfit is not None:
            raise GraphcError(
                f"the loss takes {misfit[0]}, but there are {len(outputs)} outputs and "
                f"{len(targets)} targets: {misfit[1]}",
                remedy="write a function of all outputs, then all targets; where training has more "
                "outputs than evaluation it is called with both, or use losses.Auxiliary",
            )
        result = self.function(*map(Tensor, outputs), *map(Tensor, targets))
        if not isinstance(result, Tensor):
            raise GraphcError(
                f"the loss returned {type(result).__name__}, not a traced tensor",
                remedy="compute it from the output and the target it is given",
            )
        return result.node


def arrays(y: Any, count: int) -> tuple[Array, ...]:
    """The targets that the user fed, as `count` arrays. Raises GraphcError for another number."""
    several = y if isinstance(y, tuple) else (y,)
    found = tuple(as_numbers("the targets", each) for each in several)
    if len(found) != count:
        raise GraphcError(
            f"{len(found)} target{'s' if len(found) != 1 else ''} for a loss of {count}",
            remedy="give one array, or a tuple of arrays in the order of the targets",
        )
    return found


def labels(given: Array, output: TensorType, least: int = 0) -> Array:
    """Class numbers [n] for scores of the type `output`, each at least `least`.

    Raises GraphcError for anything else, naming the first label that is wrong.
    """
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise GraphcError(
            f"labels of dtype {given.dtype} and shape {list(given.shape)}",
            remedy="give class numbers (integers, shape [n])",
        )
    classes = output.shape[1]
    if given.size and isinstance(classes, int):
        if given.min() < least or given.max() >= classes:
            position = int(np.flatnonzero((given < least) | (given >= classes))[0])
            raise GraphcError(
                f"label {given[position]} at position {position} is not one of the "
                f"{classes} classes",
                remedy=f"labels are whole numbers in {least}..{classes - 1}; "
                "or give the last layer more features",
            )
    return given


def single(loss: str, outputs: Sequence[Node]) -> TensorType:
    """The type of the only output. Raises GraphcError if there are several."""
    if len(outputs) != 1:
        raise GraphcError(
            f"{loss}: the network has {len(outputs)} outputs",
            remedy="write the loss as a function of (*outputs, target), or weigh the outputs with "
            "losses.Auxiliary",
        )
    return outputs[0].tensor


def scores(loss: str, output: TensorType, meaning: str = "logits") -> TensorType:
    """`output` if it can score classes. Raises GraphcError unless it is a float [N,classes]."""
    if output.rank != 2 or not output.dtype.is_float:
        raise GraphcError(
            f"{loss}: the network's output is {output}, not {meaning} [N,classes]",
            remedy="end the network with Flatten() and Dense(classes)",
        )
    return output


def option(loss: str, name: str, value: object, *, positive: bool = False) -> None:
    """Raises GraphcError unless `value` is a finite number of at least 0, or above 0."""
    is_number = isinstance(value, float | int) and not isinstance(value, bool)
    if not is_number or not 0 <= value < math.inf or (positive and value == 0):  # type: ignore[operator]
        bound = "above 0" if positive else "of at least 0"
        raise GraphcError(f"{loss}: {name} {value!r}", remedy=f"give a finite number {bound}")
