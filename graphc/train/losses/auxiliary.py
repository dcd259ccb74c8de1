"""One loss on several outputs, weighted: networks with auxiliary classifiers, such as GoogLeNet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from graphc.base.errors import GraphcError
from graphc.ir.node import Node
from graphc.ir.types import TensorType
from graphc.ops.elementwise import add, mul
from graphc.train.losses.loss import Array, Loss, option
from graphc.train.losses.named import loss_from


@dataclass(frozen=True)
class Auxiliary(Loss):
    """The sum of weights[k] times `loss` of output k, all against the same targets.

    A network returns as many outputs as there are weights in training, the main one first, and may
    return the main one only in evaluation. The default weights are those of Szegedy et al., "Going
    deeper with convolutions", 2015. Raises GraphcError if `loss` is no loss or name of one, or if
    a weight is negative.
    """

    loss: Loss | str = "cross_entropy"
    weights: tuple[float, ...] = (1.0, 0.3, 0.3)

    def __post_init__(self) -> None:
        loss_from(self.loss, None)
        if not isinstance(self.weights, tuple | list) or not self.weights:
            raise GraphcError(
                f"Auxiliary: weights {self.weights!r}",
                remedy="give one for each output, the main one's first, as (1.0, 0.3, 0.3)",
            )
        for weight in self.weights:
            option("Auxiliary", "weight", weight)

    def target_types(self, outputs: Sequence[Node], kind: str) -> tuple[TensorType, ...]:
        """Those of the loss on the main output."""
        if len(outputs) not in (1, len(self.weights)):
            raise GraphcError(
                f"Auxiliary: the network has {len(outputs)} outputs for "
                f"{len(self.weights)} weights",
                remedy="return the main output and the auxiliary ones, or the main one only",
            )
        found = [self._each.target_types([output], kind) for output in outputs]
        other = next((types for types in found if types != found[0]), None)
        if other is not None:
            raise GraphcError(
                f"Auxiliary: outputs {', '.join(str(o.tensor) for o in outputs)} differ",
                remedy="give all outputs the same number of classes",
            )
        return found[0]

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        weighted = zip(self.weights, outputs, strict=False)  # in evaluation there is one output
        first, *rest = [mul(self._each.build([o], targets), w) for w, o in weighted]
        total: Node = first
        for term in rest:
            total = add(total, term)
        return total

    def checked(self, y: Any, outputs: Sequence[Node]) -> tuple[str, tuple[Array, ...]]:
        """As the loss on the main output does."""
        return self._each.checked(y, outputs[:1])

    @property
    def classifies(self) -> bool:
        """As the loss does."""
        return self._each.classifies

    @property
    def _each(self) -> Loss:
        return loss_from(self.loss, None)
