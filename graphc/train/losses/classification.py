"""Losses of classifiers: the output scores the classes, the targets are class numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from graphc.base.errors import GraphcError
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType
from graphc.ops import losses
from graphc.train.losses.loss import Array, Loss, arrays, labels, option, scores, single
from graphc.train.losses.regression import Matching

SOFT = "_soft"


class Classifying(Loss):
    """A loss of scores [N,classes] and class numbers i32[N]."""

    name: ClassVar[str]

    def target_types(self, outputs: Sequence[Node], kind: str) -> tuple[TensorType, ...]:
        """i32[N]."""
        output = scores(self.name, single(self.name, outputs))
        return (TensorType(DType.i32, output.shape[:1]),)

    def checked(self, y: Any, outputs: Sequence[Node]) -> tuple[str, tuple[Array, ...]]:
        """Class numbers within range."""
        (given,) = arrays(y, 1)
        return "", (labels(given, outputs[0].tensor),)

    @property
    def classifies(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True)
class CrossEntropy(Classifying):
    """Mean of -log softmax(output)[label], for an output [N,classes] of logits.

    Targets are class numbers [N], or probabilities [N,classes] (kind "_soft").
    """

    name: ClassVar[str] = "cross_entropy"

    def target_types(self, outputs: Sequence[Node], kind: str) -> tuple[TensorType, ...]:
        """i32[N], or the output's own type for probabilities."""
        usual = super().target_types(outputs, kind)
        return (outputs[0].tensor,) if kind == SOFT else usual

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        return losses.softmax_cross_entropy(outputs[0], targets[0])

    def checked(self, y: Any, outputs: Sequence[Node]) -> tuple[str, tuple[Array, ...]]:
        """Class numbers within range, or probabilities."""
        (given,) = arrays(y, 1)
        if given.ndim == 2 and given.dtype.kind == "f":
            return SOFT, (given,)
        if given.ndim != 1 or given.dtype.kind not in "iu":
            raise GraphcError(
                f"labels of dtype {given.dtype} and shape {list(given.shape)}",
                remedy="give class numbers (integers, shape [n]) or probabilities "
                "(floats, shape [n, classes])",
            )
        return super().checked(given, outputs)


@dataclass(frozen=True)
class NegativeLogLikelihood(Classifying):
    """Mean of -output[label], for an output [N,classes] of log-probabilities (`LogSoftmax`)."""

    name: ClassVar[str] = "nll"

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        return losses.negative_log_likelihood(outputs[0], targets[0])


@dataclass(frozen=True)
class Hinge(Classifying):
    """The loss of linear support vector machines, for an output [N,classes] of scores.

    form: "multiclass" (Crammer and Singer; PyTorch's MultiMarginLoss) or "one_against_rest" (a
    machine for each class, whose labels may be -1: none of them). squared: each term is squared.
    With weight decay in the optimiser the last layer is a support vector machine. Raises
    GraphcError for another form and a margin that is not above 0.
    """

    name: ClassVar[str] = "hinge"
    margin: float = 1.0
    squared: bool = False
    form: str = "multiclass"

    def __post_init__(self) -> None:
        option("Hinge", "margin", self.margin, positive=True)
        if self.form not in losses.HINGE_FORMS:
            raise GraphcError(
                f"Hinge: form {self.form!r}", remedy="use " + " or ".join(losses.HINGE_FORMS)
            )

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        return losses.hinge(
            outputs[0], targets[0], margin=self.margin, squared=self.squared, form=self.form
        )

    def checked(self, y: Any, outputs: Sequence[Node]) -> tuple[str, tuple[Array, ...]]:
        """Class numbers within range; -1 too if each class is against the rest."""
        (given,) = arrays(y, 1)
        least = -1 if self.form == "one_against_rest" else 0
        return "", (labels(given, outputs[0].tensor, least),)


@dataclass(frozen=True)
class BinaryCrossEntropy(Matching):
    """Mean of -t log p - (1 - t) log(1 - p), where p is the sigmoid of the output, a logit.

    Targets t are probabilities, of the output's type: several labels may be true at once.
    """

    name: ClassVar[str] = "binary_cross_entropy"

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        return losses.binary_cross_entropy(outputs[0], targets[0])
