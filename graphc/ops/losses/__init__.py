"""Losses: scalars made of outputs and targets, the mean over the batch; each one op.

They are layer ops: a loss means its decomposition, and fuses with what precedes it. Formulas only:
which targets a model may be fed is `graphc.train.losses`' business.
"""

from graphc.ops.losses.classification import (
    HINGE_FORMS,
    binary_cross_entropy,
    hinge,
    negative_log_likelihood,
    softmax_cross_entropy,
)
from graphc.ops.losses.detection import box_regression, multi_task
from graphc.ops.losses.pairs import contrastive, pair_distance
from graphc.ops.losses.regression import kl_divergence, mean_squared_error, smooth_l1, squared_error

__all__ = [
    "HINGE_FORMS",
    "binary_cross_entropy",
    "box_regression",
    "contrastive",
    "hinge",
    "kl_divergence",
    "mean_squared_error",
    "multi_task",
    "negative_log_likelihood",
    "pair_distance",
    "smooth_l1",
    "softmax_cross_entropy",
    "squared_error",
]
