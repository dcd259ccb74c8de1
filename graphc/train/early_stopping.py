"""Early stopping: when to end a training whose validation figures no longer improve.

Knows figures and arrays, neither networks nor the loop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from graphc.base.arguments import check_number, check_whole
from graphc.base.errors import GraphcError
from graphc.train.history import Epoch

Array = np.ndarray[Any, Any]
MONITORS = ("loss", "accuracy")


@dataclass(frozen=True)
class EarlyStopping:
    """Ends `Model.fit` after `patience` epochs in a row without improvement.

    monitor: the validation "loss" (lower is better) or "accuracy" (higher is better).
    minimum_delta: an epoch improves if it is better than the best by more than this. restore_best:
    parameters and running averages are those of the best epoch when training ends, whether early or
    after its last epoch. Raises GraphcError for a value out of range.
    """

    patience: int = 5
    minimum_delta: float = 0.0
    monitor: str = "loss"
    restore_best: bool = True

    def __post_init__(self) -> None:
        check_whole("patience", self.patience)
        check_number("minimum_delta", self.minimum_delta, 0.0)
        if self.monitor not in MONITORS:
            raise GraphcError(
                f"monitor is {self.monitor!r}", remedy=f"one of: {', '.join(MONITORS)}"
            )

    def figure(self, record: Epoch) -> float:
        """What is watched of an epoch. Raises GraphcError if there is none."""
        loss = self.monitor == "loss"
        found = record.validation_loss if loss else record.validation_accuracy
        if found is None:
            raise GraphcError(
                f"early stopping watches the validation {self.monitor}, and there is none",
                remedy="give fit validation data, and for the accuracy a loss that classifies",
            )
        return found

    def improves(self, figure: float, best: float | None) -> bool:
        """Whether `figure` is better than the best so far; nan never is."""
        if best is None:
            return math.isfinite(figure)
        gain = best - figure if self.monitor == "loss" else figure - best
        return gain > self.minimum_delta


@dataclass
class Best:
    """The best epoch so far: its number (0: none yet), its figure, and a copy of its arrays."""

    epoch: int = 0
    figure: float | None = None
    arrays: dict[str, Array] | None = None

    def take(self, record: Epoch, rule: EarlyStopping, arrays: Mapping[str, Array]) -> None:
        """Makes the epoch the best one if it is. arrays: what to copy, if it is to be restored."""
        figure = rule.figure(record)
        if not rule.improves(figure, self.figure):
            return
        self.epoch, self.figure = record.number, figure
        if rule.restore_best:
            self.arrays = {name: array.copy() for name, array in arrays.items()}
