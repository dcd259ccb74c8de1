"""Optimiser updates as ops, one file each: the update is part of the training graph, so it fuses
with the gradients it reads.

Each takes a parameter, its gradient and what is kept between steps, all of one shape, then scalars,
the learning rate last; it returns the new parameter and what is kept next. Formulas are PyTorch's
(`torch.optim`), so that results compare digit for digit.
"""

from graphc.ops.optimizers.adagrad import adagrad_update
from graphc.ops.optimizers.adam import adam_update
from graphc.ops.optimizers.rmsprop import rmsprop_update
from graphc.ops.optimizers.sgd import sgd_update

__all__ = ["adagrad_update", "adam_update", "rmsprop_update", "sgd_update"]
