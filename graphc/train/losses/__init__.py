"""``graphc.losses``: what a `Model` can be trained on, by name or with options of its own.

The names only; each is explained where it is defined, and the formulas are those of
`graphc.ops.losses`.
"""

from graphc.train.losses.auxiliary import Auxiliary
from graphc.train.losses.classification import (
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    NegativeLogLikelihood,
)
from graphc.train.losses.loss import CustomLoss, Loss
from graphc.train.losses.named import NAMED, TargetType, loss_from
from graphc.train.losses.regression import KLDivergence, MeanSquaredError, SmoothL1, SquaredError
from graphc.train.losses.several import Contrastive, MultiTask

__all__ = [
    "NAMED",
    "Auxiliary",
    "BinaryCrossEntropy",
    "Contrastive",
    "CrossEntropy",
    "CustomLoss",
    "Hinge",
    "KLDivergence",
    "Loss",
    "MeanSquaredError",
    "MultiTask",
    "NegativeLogLikelihood",
    "SmoothL1",
    "SquaredError",
    "TargetType",
    "loss_from",
]
