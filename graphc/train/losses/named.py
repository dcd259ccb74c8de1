"""The losses that have a name, and how a user's words become a loss."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.base.errors import GraphcError
from graphc.ir.types import TensorType, parse_type
from graphc.train.losses.classification import (
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    NegativeLogLikelihood,
)
from graphc.train.losses.loss import CustomLoss, Loss
from graphc.train.losses.regression import KLDivergence, MeanSquaredError, SmoothL1, SquaredError
from graphc.train.losses.several import Contrastive, MultiTask

NAMED: dict[str, Loss] = {
    "cross_entropy": CrossEntropy(),
    "mse": MeanSquaredError(),
    "squared_error": SquaredError(),
    "binary_cross_entropy": BinaryCrossEntropy(),
    "nll": NegativeLogLikelihood(),
    "smooth_l1": SmoothL1(),
    "hinge": Hinge(),
    "contrastive": Contrastive(),
    "multi_task": MultiTask(),
    "kl_divergence": KLDivergence(),
}
TargetType = str | TensorType | Sequence[str | TensorType] | None


def loss_from(given: object, target_type: TargetType) -> Loss:
    """The loss that the user gave, named or wrote as a function. Raises GraphcError otherwise.

    target_type: of the targets of a function; several for several targets.
    """
    if isinstance(given, Loss):
        return given
    if isinstance(given, str) and given in NAMED:
        return NAMED[given]
    if isinstance(given, str | type) or not callable(given):
        raise GraphcError(
            f"there is no loss {given!r}",
            remedy="losses: " + ", ".join(NAMED) + ", one of graphc.losses such as "
            "losses.SmoothL1(beta=0.5), or a function of (output, target)",
        )
    if target_type is None:
        raise GraphcError(
            "the type of the targets is not known for a loss of your own",
            remedy='give target_type, for example target_type="f32[N,10]"',
        )
    listed = [target_type] if isinstance(target_type, str | TensorType) else target_type
    return CustomLoss(given, tuple(parse_type(t) if isinstance(t, str) else t for t in listed))
