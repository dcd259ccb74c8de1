"""Where a training stands: the epoch under way, sums over its steps, and what came before.

Plain numbers, as a checkpoint keeps them; the arrays are the engine's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from graphc.train.early_stopping import Best
from graphc.train.history import Epoch, History

Array = np.ndarray[Any, Any]


@dataclass
class Run:
    """The epoch under way (from 1) and the steps done in it.

    seen, loss_sum, correct, seconds: samples trained on in the epoch, the sum of their losses, how
    many were classified right, and how long it took. history: the epochs before. best: the best of
    them.
    """

    epoch: int = 1
    step: int = 0
    seen: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    history: History = field(default_factory=History)
    best: Best = field(default_factory=Best)

    @property
    def loss(self) -> float:
        """The mean over the samples of the epoch so far."""
        return self.loss_sum / self.seen

    def next_epoch(self, record: Epoch) -> None:
        """Notes the finished epoch and stands at the beginning of the one after it."""
        self.history.epochs.append(record)
        self.epoch, self.step, self.seen = record.number + 1, 0, 0
        self.loss_sum, self.correct, self.seconds = 0.0, 0, 0.0

    def state(self) -> dict[str, Any]:
        """Everything but the arrays, for JSON."""
        return {
            "position": [self.epoch, self.step, self.seen, self.correct],
            "sums": [self.loss_sum, self.seconds],
            "history": [asdict(epoch) for epoch in self.history.epochs],
            "best": [self.best.epoch, self.best.figure],
        }

    @staticmethod
    def of(state: Mapping[str, Any], best: dict[str, Array] | None) -> Run:
        """The run whose `state` was kept. Raises ValueError and the like if it is malformed."""
        epoch, step, seen, correct = (int(n) for n in state["position"])
        loss_sum, seconds = (float(n) for n in state["sums"])
        if min(epoch - 1, step, seen, correct) < 0 or bool(step) != bool(seen):
            raise ValueError(f"position {state['position']}")
        best_epoch, figure = state["best"]
        history = History([_epoch(r) for r in state["history"]], best_epoch=best_epoch or None)
        chosen = Best(int(best_epoch), None if figure is None else float(figure), best)
        return Run(epoch, step, seen, loss_sum, correct, seconds, history, chosen)


def _epoch(record: Mapping[str, Any]) -> Epoch:
    rates = tuple(float(rate) for rate in record["learning_rates"])
    return Epoch(**{**record, "learning_rates": rates})
