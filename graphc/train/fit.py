"""The fit loop: epochs of shuffled batches, validation, progress, nan, and Ctrl-C.

Ctrl-C is put off while a step runs, so the weights are always those of a finished step. A loss that
is not finite stops training with good weights in place. Knows no graphs and no compiler.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import numpy as np

from graphc.base.errors import GraphcError
from graphc.ir.graph import Graph
from graphc.runtime.executable import as_array
from graphc.train.dataset import Dataset, check_batch_size
from graphc.train.engine import Engine
from graphc.train.graphs import TARGET
from graphc.train.history import Epoch, History
from graphc.train.metrics import predicted_classes
from graphc.train.progress import Progress

Evaluate = Callable[[Any, Any], dict[str, float]]


def fit(
    engine: Engine,
    train: Dataset,
    validation: Dataset | None,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    progress: Progress,
    evaluate: Evaluate,
) -> History:
    """Trains `engine` in place.

    Raises GraphcError for data that does not fit, and when a loss is not finite: the message names
    epoch and step, and the weights are the last good ones.
    """
    check_batch_size(batch_size)
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 0:
        raise GraphcError(f"epochs {epochs!r}", remedy="give a whole number of at least 0")
    kind, data = _prepared(engine, train)
    loop = _Loop(engine, kind, data, batch_size, progress)
    history = History()
    with _ShieldedSteps() as shield:
        try:
            for number in range(1, epochs + 1):
                progress.epoch_begin(number, epochs, -(-len(data) // batch_size))
                record = loop.epoch(number, (seed, number), shield)
                if validation is not None:
                    found = evaluate(validation.x, validation.y)
                    record = replace(
                        record,
                        validation_loss=found["loss"],
                        validation_accuracy=found.get("accuracy"),
                    )
                history.epochs.append(record)
                progress.epoch_end(record)
        except KeyboardInterrupt:
            history.interrupted = True
            progress.interrupted(loop.number, loop.step)
        finally:
            progress.close()
    return history


def _prepared(engine: Engine, data: Dataset) -> tuple[str, Dataset]:
    """The data checked once and in the dtypes of the graph, so that no step converts again."""
    kind, targets = engine.checked(data.y)
    graph: Graph = engine.graph(f"train{kind}")
    source = graph.inputs[0]
    x = as_array(str(source.attrs["name"]), data.x, source.tensor)
    return kind, Dataset(x, as_array(TARGET, targets, graph.input_named(TARGET).tensor))


@dataclass
class _Loop:
    """Where training stands: the epoch's number and the steps done in it."""

    engine: Engine
    kind: str
    data: Dataset
    batch_size: int
    progress: Progress
    number: int = 0
    step: int = 0

    def epoch(self, number: int, seed: tuple[int, int], shield: _ShieldedSteps) -> Epoch:
        """One pass over the data and its record, without validation."""
        self.number, self.step = number, 0
        good = None if self.engine.storage.not_finite() else self.engine.storage.snapshot()
        begin = time.perf_counter()
        total = correct = 0.0
        seen = 0
        accuracy: float | None = None
        for x, y in self.data.batches(self.batch_size, seed):
            with shield:
                loss, scores = self.engine.advance(self.kind, x, y)
                self.step += 1
            if not math.isfinite(loss):
                self._stop(loss, good)
            seen += len(x)
            total += loss * len(x)
            if scores is not None:
                correct += np.count_nonzero(predicted_classes(scores) == predicted_classes(y))
                accuracy = correct / seen
            self.progress.step(self.step, total / seen, accuracy, seen)
        seconds = time.perf_counter() - begin
        return Epoch(number, total / seen, accuracy, None, None, seconds, seen)

    def _stop(self, loss: float, good: np.ndarray[Any, Any] | None) -> None:
        """Raises the error for a loss that is not finite, with good weights in place."""
        wrong = self.engine.storage.not_finite()
        kept = "the weights are those of the step before"
        if wrong is not None and good is not None:
            self.engine.storage.restore(good)
            kept = f"{wrong!r} was not finite either, so the weights are those before the epoch"
        raise GraphcError(
            f"the loss is {loss} in epoch {self.number}, step {self.step}: {kept}",
            remedy="lower the learning rate, or look for nan or very large values in the data",
        )


class _ShieldedSteps:
    """Puts Ctrl-C off while a step runs.

    The outer ``with`` (in `fit`) installs the handler, inner ones shield a step. Outside the main
    thread, or where the program has its own handler, it leaves everything as it is.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.pending = False
        self.installed = False

    def __enter__(self) -> _ShieldedSteps:
        self.depth += 1
        if self.depth == 1:
            self.installed = (
                threading.current_thread() is threading.main_thread()
                and signal.getsignal(signal.SIGINT) is signal.default_int_handler
            )
            if self.installed:
                signal.signal(signal.SIGINT, self._arrived)
        return self

    def __exit__(self, *exception: object) -> None:
        self.depth -= 1
        if self.depth == 0 and self.installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if self.depth < 2:
            raise KeyboardInterrupt
        self.pending = True
