"""The fit loop: epochs of shuffled batches, validation, progress, checkpoints, nan, and Ctrl-C.

Ctrl-C is put off while a step runs, so the weights are always those of a finished step. A loss that
is not finite stops training with good weights in place. Knows no graphs and no compiler.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from graphc.base.arguments import check_whole
from graphc.base.errors import GraphcError
from graphc.runtime.executable import as_array
from graphc.train.checkpoint import Checkpoint, settings_of
from graphc.train.dataset import Dataset, arrays_of
from graphc.train.early_stopping import EarlyStopping
from graphc.train.engine import Engine, Snapshot
from graphc.train.graphs import TARGET, numbered
from graphc.train.history import Epoch, History
from graphc.train.interrupts import Shield
from graphc.train.metrics import predicted_classes
from graphc.train.progress import Progress
from graphc.train.run import Run

Array = np.ndarray[Any, Any]
Evaluate = Callable[[Any, Any], dict[str, float]]
Results = Callable[[], tuple[float, Array | None]]
Augment = Callable[[Any, np.random.Generator], Any]


@dataclass(frozen=True)
class Plan:
    """What the user asked of a `fit`; see `Model.fit`. Raises GraphcError for bad values."""

    epochs: int
    batch_size: int
    seed: int
    progress: Progress
    augment: Augment | None = None
    early_stopping: EarlyStopping | None = None
    checkpoint: str | os.PathLike[str] | None = None
    checkpoint_every: int | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size)
        check_whole("epochs", self.epochs, 0)
        every = self.checkpoint_every
        if every is not None:
            check_whole("checkpoint_every", every)
        if self.checkpoint is None and (self.resume or every is not None):
            asked = "resume=True" if self.resume else f"checkpoint_every={every}"
            raise GraphcError(f"{asked} without a checkpoint", remedy='give checkpoint="run.ckpt"')
        if self.augment is not None and not callable(self.augment):
            raise GraphcError(
                f"augment {self.augment!r}", remedy="give a function of (x, generator)"
            )
        if not isinstance(self.early_stopping, EarlyStopping | None):
            raise GraphcError(
                f"early_stopping {self.early_stopping!r}",
                remedy="give gc.EarlyStopping(patience=5), for example",
            )


def fit(
    engine: Engine, train: Dataset, validation: Dataset | None, plan: Plan, evaluate: Evaluate
) -> History:
    """Trains `engine` in place.

    Raises GraphcError for data that does not fit, for a checkpoint that cannot be written or
    resumed, and when a loss is not finite: the message names epoch and step, and the weights are
    the last good ones.
    """
    _check_validation(engine, validation, plan)
    kind, data = _prepared(engine, train, "train", convert=plan.augment is None)
    if validation is not None:
        _, validation = _prepared(engine, validation, "evaluate", convert=True)
    run, checkpoint = Run(), None
    if plan.checkpoint is not None:
        settings = settings_of(
            engine.graph("forward"),
            engine.graph(f"train{kind}"),
            (*train.inputs, *train.targets),
            () if validation is None else (*validation.inputs, *validation.targets),
            batch_size=plan.batch_size,
            seed=plan.seed,
            accumulate=engine.options.accumulate,
            learning_rates=engine.rates,
            early_stopping=plan.early_stopping,
        )
        checkpoint = Checkpoint(plan.checkpoint, engine, settings)
        run = checkpoint.begin(resume=plan.resume)
    with Shield() as shield:
        loop = _Loop(engine, kind, data, validation, plan, evaluate, shield, checkpoint, run)
        try:
            loop.train()
        except KeyboardInterrupt:
            run.history.interrupted = True
            plan.progress.interrupted(run.epoch, run.step)
            if not loop.over:  # else it is saved, and the best weights may be back already
                loop.save()
        finally:
            plan.progress.close()
    return run.history


def _check_validation(engine: Engine, validation: Dataset | None, plan: Plan) -> None:
    """Raises GraphcError if something needs figures that there will not be."""
    if validation is None and engine.rates.observing:
        raise GraphcError(
            "the learning rate follows the validation loss, and there is no validation data",
            remedy="give fit validation=(x, y)",
        )
    rule = plan.early_stopping
    if rule is not None:
        loss = None if validation is None else 0.0
        rule.figure(Epoch(0, 0.0, None, loss, loss if engine.classifies else None, 0.0, 0))


def _prepared(engine: Engine, data: Dataset, task: str, *, convert: bool) -> tuple[str, Dataset]:
    """The data checked once and in the dtypes of the graph, so that no step converts again.

    task: "train" or "evaluate". convert: the inputs too; what an augmentation has yet to turn into
    the network's stays as it is. Returns the kind of target beside it.
    """
    kind, targets = engine.checked(data.y)
    graph = engine.graph(f"{task}{kind}")
    names = numbered(TARGET, len(targets))
    y = tuple(
        as_array(name, target, graph.input_named(name).tensor)
        for name, target in zip(names, targets, strict=True)
    )
    inputs = [i for i in engine.graphs["forward"].inputs if i.attrs["kind"] == "data"]
    if not convert:
        return kind, Dataset(data.x, y)
    if len(data.inputs) != len(inputs):
        raise GraphcError(
            f"{len(data.inputs)} arrays for a network of {len(inputs)} inputs",
            remedy="give a tuple with an array for each",
        )
    x = tuple(
        as_array(str(node.attrs["name"]), array, node.tensor)
        for node, array in zip(inputs, data.inputs, strict=True)
    )
    return kind, Dataset(x, y)


@dataclass
class _Loop:
    """A training under way; `run` says where it stands."""

    engine: Engine
    kind: str
    data: Dataset
    validation: Dataset | None
    plan: Plan
    evaluate: Evaluate
    shield: Shield
    checkpoint: Checkpoint | None
    run: Run
    waiting: deque[tuple[Results, tuple[Array, ...]]] = field(default_factory=deque)

    def train(self) -> None:
        """Every epoch that is still to do; then the best weights, if early stopping keeps them."""
        run, plan = self.run, self.plan
        while not self.over:
            plan.progress.epoch_begin(run.epoch, plan.epochs, -(-len(self.data) // plan.batch_size))
            record = self.validated(self.epoch())
            with self.shield:
                self.note(record)
                if plan.checkpoint_every is None or self.over:
                    self.save()
            plan.progress.epoch_end(record)
        if plan.early_stopping is not None:
            run.history.stopped_early = run.epoch <= plan.epochs
            with self.shield:
                self.engine.write(run.best.arrays or {})

    @property
    def over(self) -> bool:
        """Whether the last epoch is done, or one too many has brought no improvement."""
        rule, done = self.plan.early_stopping, self.run.epoch - 1
        stalled = rule is not None and done - self.run.best.epoch >= rule.patience
        return done >= self.plan.epochs or stalled

    def epoch(self) -> Epoch:
        """The rest of one pass over the data and its record, without validation."""
        engine, run, plan, shield = self.engine, self.run, self.plan, self.shield
        good = None if engine.not_finite() else engine.snapshot()
        steps = -(-len(self.data) // plan.batch_size)
        begin = time.perf_counter() - run.seconds
        batches = self.data.batches(plan.batch_size, (plan.seed, run.epoch), first=run.step)
        ahead = engine.ahead(self.kind)
        try:
            for number, (x, y) in enumerate(batches, run.step + 1):
                inputs = x if plan.augment is None else self.augmented(x, number)
                with shield:
                    last = number == steps
                    results = engine.begin(self.kind, inputs, y, last=last)
                    self.waiting.append((results, y))
                    saves = plan.checkpoint_every and engine.steps % plan.checkpoint_every == 0
                    self.settle(0 if saves or last else ahead, good)
                    run.seconds = time.perf_counter() - begin
                    if saves:
                        self.save()
                if run.step:
                    plan.progress.step(run.step, run.loss, self.accuracy, run.seen)
        except KeyboardInterrupt:
            with shield:
                self.settle(0, good)  # what was begun has changed the weights
            raise
        rates = engine.rates.numbers(max(engine.updates - 1, 0))
        return Epoch(run.epoch, run.loss, self.accuracy, None, None, run.seconds, run.seen, rates)

    def settle(self, ahead: int, good: Snapshot | None) -> None:
        """Notes the results of the steps that were begun, except for the last `ahead` of them."""
        run = self.run
        while len(self.waiting) > ahead:
            results, y = self.waiting.popleft()
            loss, scores = results()
            if not math.isfinite(loss):
                self.waiting.clear()
                self.stop(loss, good)
            samples = len(y[0])
            run.step += 1
            run.seen += samples
            run.loss_sum += loss * samples
            if scores is not None:
                right = predicted_classes(scores) == predicted_classes(y[0])
                run.correct += int(np.count_nonzero(right))

    @property
    def accuracy(self) -> float | None:
        """The share of the epoch's samples so far that were classified right."""
        return self.run.correct / self.run.seen if self.engine.classifies else None

    def augmented(self, x: Any, step: int) -> tuple[Array, ...]:
        """What is trained on instead of the batch `x`, the same for the same seed and step."""
        assert self.plan.augment is not None
        place = (self.plan.seed, self.run.epoch, step)
        return arrays_of(self.plan.augment(x, np.random.default_rng(place)))

    def validated(self, record: Epoch) -> Epoch:
        """The record with the validation figures."""
        if self.validation is None:
            return record
        found = self.evaluate(self.validation.x, self.validation.y)
        return replace(
            record, validation_loss=found["loss"], validation_accuracy=found.get("accuracy")
        )

    def note(self, record: Epoch) -> None:
        """What follows from an epoch: the best so far, the next learning rate, the next epoch."""
        if self.plan.early_stopping is not None:
            held = {name: self.engine.arrays[name] for name in self.engine.exported}
            self.run.best.take(record, self.plan.early_stopping, held)
            self.run.history.best_epoch = self.run.best.epoch or None
        if record.validation_loss is not None:
            self.engine.rates.observe(record.validation_loss)
        self.run.next_epoch(record)

    def save(self) -> None:
        """Writes the checkpoint, if there is one to write."""
        if self.checkpoint is not None:
            with self.shield:
                self.checkpoint.save(self.run)

    def stop(self, loss: float, good: Snapshot | None) -> None:
        """Raises the error for a loss that is not finite, with good weights in place."""
        wrong = self.engine.not_finite()
        kept = "the weights are those of the last step that was finite"
        if wrong is not None and good is not None:
            self.engine.restore(good)
            kept = f"{wrong!r} was not finite either, so the weights are those before the epoch"
        raise GraphcError(
            f"the loss is {loss} in epoch {self.run.epoch}, step {self.run.step + 1}: {kept}",
            remedy="lower the learning rate, or look for nan or very large values in the data",
        )
