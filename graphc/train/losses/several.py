"""Losses of several outputs or several targets: pairs of embeddings, classes with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.node import Node
from graphc.ir.types import DType, TensorType
from graphc.ops import losses
from graphc.train.losses.loss import Array, Loss, arrays, labels, option, scores

CORNERS = 4


@dataclass(frozen=True)
class Contrastive(Loss):
    """log(1 + exp(delta (alpha d - beta))), the mean over the pairs; delta = 1 for the same, else
    -1.

    d is the Euclidean distance of the network's two outputs [N,features], or its only output [N].
    Targets are 1 for a pair of the same, 0 (or -1) for different ones. Distances below beta / alpha
    mean the same. To train alpha and beta, let the network output alpha d - beta and give
    ``Contrastive(1.0, 0.0)``. Raises GraphcError unless alpha is above 0.
    """

    alpha: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        option("Contrastive", "alpha", self.alpha, positive=True)
        option("Contrastive", "beta", self.beta)

    def target_types(self, outputs: Sequence[Node], kind: str) -> tuple[TensorType, ...]:
        """i32[N]."""
        types = [output.tensor for output in outputs]
        distances = len(types) == 1 and types[0].rank == 1
        embeddings = len(types) == 2 and types[0].rank == 2 and types[0] == types[1]
        if not (distances or embeddings):
            raise GraphcError(
                f"contrastive: the network's outputs are {', '.join(map(str, types))}",
                remedy="return two embeddings [N,features], or their distances [N]",
            )
        return (TensorType(DType.i32, types[0].shape[:1]),)

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        distances = outputs[0] if len(outputs) == 1 else losses.pair_distance(*outputs)
        return losses.contrastive(distances, targets[0], alpha=self.alpha, beta=self.beta)

    def checked(self, y: Any, outputs: Sequence[Node]) -> tuple[str, tuple[Array, ...]]:
        """1, 0 and -1, or booleans."""
        (given,) = arrays(y, 1)
        if given.dtype == bool:
            given = given.astype(np.int32)
        wrong = given[~np.isin(given, (-1, 0, 1))]
        if given.dtype.kind not in "iu" or wrong.size:
            shown = f", such as {wrong[0]}" if wrong.size else ""
            raise GraphcError(
                f"contrastive: targets of dtype {given.dtype}{shown}, not 1, 0 and -1",
                remedy="give 1 for pairs of the same, 0 for different ones",
            )
        return "", (given,)


@dataclass(frozen=True)
class MultiTask(Loss):
    """Cross entropy of the class plus `weight` times smooth L1 of its box: Fast R-CNN's loss.

    Outputs: logits [N,K+1], class 0 being the background; boxes [N,4K], or [N,4(K+1)] with unused
    ones for the background. Targets: labels i32[N] and boxes f32[N,4]. Only the box of the true
    class counts, that of the background never. `beta`: where smooth L1 becomes linear. Both terms
    are means over the batch. Raises GraphcError for a negative weight or beta.
    """

    weight: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        option("MultiTask", "weight", self.weight)
        option("MultiTask", "beta", self.beta)

    def target_types(self, outputs: Sequence[Node], kind: str) -> tuple[TensorType, ...]:
        """i32[N] and the boxes' dtype [N,4]."""
        if len(outputs) != 2:
            raise GraphcError(
                f"multi_task: the network has {len(outputs)} outputs",
                remedy="return logits [N,K+1] and boxes [N,4K]",
            )
        logits, boxes = scores("multi_task", outputs[0].tensor), outputs[1].tensor
        batch = logits.shape[:1]
        return TensorType(DType.i32, batch), TensorType(boxes.dtype, (*batch, CORNERS))

    def build(self, outputs: Sequence[Node], targets: Sequence[Node]) -> Node:
        """The scalar loss."""
        return losses.multi_task(*outputs, *targets, weight=self.weight, beta=self.beta)

    def checked(self, y: Any, outputs: Sequence[Node]) -> tuple[str, tuple[Array, ...]]:
        """Class numbers within range, and boxes."""
        classes, boxes = arrays(y, 2)
        return "", (labels(classes, outputs[0].tensor), boxes)

    @property
    def classifies(self) -> bool:
        """Always."""
        return True
