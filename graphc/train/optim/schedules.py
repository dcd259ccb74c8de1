"""Schedules: the learning rate as a function of the number of training steps done.

A schedule counts steps, not epochs: an epoch is ``steps(len(train), batch_size)`` of them, and the
first step is number 0. Where PyTorch has the schedule, the figures are its own. Knows neither
optimisers nor graphs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from graphc.base.arguments import check_whole
from graphc.base.errors import GraphcError
from graphc.train.optim.optimizer import LearningRate, checked_number


class Schedule(ABC):
    """A learning rate that depends on the step's number and, for some, on the validation loss."""

    @abstractmethod
    def rate(self, step: int) -> float:
        """The learning rate of step number `step`, from 0."""

    def __call__(self, step: int) -> float:
        return self.rate(step)

    def observe(self, validation_loss: float) -> None:  # noqa: B027
        """Takes note of the validation loss after an epoch. Most schedules have no use for it."""

    def state(self) -> dict[str, float]:
        """What the schedule remembers of the training so far, to be kept in a checkpoint."""
        return {}

    def restore(self, state: Mapping[str, float]) -> None:
        """Takes up what `state` returned. Raises GraphcError if that was another schedule's."""
        if state.keys() != self.state().keys():
            raise GraphcError(
                f"{type(self).__name__} remembers {', '.join(self.state()) or 'nothing'}, "
                f"not {', '.join(state) or 'nothing'}",
                remedy="resume with the schedule that the training began with",
            )


def steps(samples: int, batch_size: int, epochs: int = 1) -> int:
    """The training steps of that many epochs; the last batch of an epoch may be smaller.

    Raises GraphcError for numbers below 1.
    """
    for name, value in (("samples", samples), ("batch_size", batch_size), ("epochs", epochs)):
        check_whole(f"steps: {name}", value)
    return epochs * -(-samples // batch_size)


@dataclass(frozen=True)
class Step(Schedule):
    """lr * factor^(step // every): PyTorch's StepLR.

    An exponential decay by epochs is a `Step` with `every` the steps of an epoch. Raises
    GraphcError for a value out of range.
    """

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        checked_number("Step: lr", self.lr)
        check_whole("Step: every", self.every)
        checked_number("Step: factor", self.factor)

    def rate(self, step: int) -> float:
        return _scaled(self.lr, self.factor, step // self.every)


@dataclass(frozen=True)
class MultiStep(Schedule):
    """lr, multiplied by `factor` at each of the steps `at`: PyTorch's MultiStepLR.

    Raises GraphcError for a value out of range and steps that do not ascend.
    """

    lr: float
    at: tuple[int, ...]
    factor: float = 0.1

    def __post_init__(self) -> None:
        checked_number("MultiStep: lr", self.lr)
        checked_number("MultiStep: factor", self.factor)
        for step in self.at if isinstance(self.at, tuple | list) else (self.at,):
            check_whole("MultiStep: at", step)
        if not isinstance(self.at, tuple | list) or list(self.at) != sorted(set(self.at)):
            raise GraphcError(
                f"MultiStep: at {self.at!r}", remedy="give ascending step numbers, as (1000, 2000)"
            )

    def rate(self, step: int) -> float:
        return _scaled(self.lr, self.factor, bisect_right(self.at, step))


@dataclass(frozen=True)
class Exponential(Schedule):
    """lr * factor^step: PyTorch's ExponentialLR, stepped after every batch.

    Raises GraphcError for a value out of range.
    """

    lr: float
    factor: float

    def __post_init__(self) -> None:
        checked_number("Exponential: lr", self.lr)
        checked_number("Exponential: factor", self.factor)

    def rate(self, step: int) -> float:
        return _scaled(self.lr, self.factor, step)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From lr down to `final` in `steps` along half a cosine, and `final` from then on.

    Until then it is PyTorch's CosineAnnealingLR (Loshchilov and Hutter, "SGDR", 2017), which
    afterwards rises again. Raises GraphcError for a value out of range.
    """

    lr: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        checked_number("Cosine: lr", self.lr)
        check_whole("Cosine: steps", self.steps)
        checked_number("Cosine: final", self.final)

    def rate(self, step: int) -> float:
        return _along_cosine(self.lr, self.final, step / self.steps)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to `peak` along half a cosine, then down, in `steps` altogether: PyTorch's OneCycleLR
    (Smith and Topin, "Super-convergence", 2018).

    rise: the share of the steps that lead up. It starts at peak / initial_divisor; that divided by
    `final_divisor` is where it ends and stays. The momentum does not cycle. Raises GraphcError for
    a value out of range.
    """

    peak: float
    steps: int
    rise: float = 0.3
    initial_divisor: float = 25.0
    final_divisor: float = 1e4

    def __post_init__(self) -> None:
        checked_number("OneCycle: peak", self.peak)
        check_whole("OneCycle: steps", self.steps)
        checked_number("OneCycle: rise", self.rise, high=1.0)
        checked_number("OneCycle: initial_divisor", self.initial_divisor, low=1.0)
        checked_number("OneCycle: final_divisor", self.final_divisor, low=1.0)

    def rate(self, step: int) -> float:
        begin, top, last = (
            self.peak / self.initial_divisor,
            self.rise * self.steps - 1,
            self.steps - 1,
        )
        if step < top:
            return _along_cosine(begin, self.peak, step / top)
        end = begin / self.final_divisor
        return _along_cosine(self.peak, end, (step - top) / (last - top))


@dataclass(frozen=True)
class Warmup(Schedule):
    """`schedule`, a schedule or a number, multiplied by (step + 1) / steps in the first `steps`.

    The steps of `schedule` are counted from the very first one (Goyal et al., "Accurate, large
    minibatch SGD", 2017). Raises GraphcError for a value out of range.
    """

    schedule: LearningRate
    steps: int

    def __post_init__(self) -> None:
        if not callable(self.schedule):
            checked_number("Warmup: schedule", self.schedule)
        check_whole("Warmup: steps", self.steps)

    def rate(self, step: int) -> float:
        whole = self.schedule(step) if callable(self.schedule) else self.schedule
        return whole * min(1.0, (step + 1) / self.steps)

    def observe(self, validation_loss: float) -> None:
        if isinstance(self.schedule, Schedule):
            self.schedule.observe(validation_loss)

    def state(self) -> dict[str, float]:
        return self.schedule.state() if isinstance(self.schedule, Schedule) else {}

    def restore(self, state: Mapping[str, float]) -> None:
        super().restore(state)
        if isinstance(self.schedule, Schedule):
            self.schedule.restore(state)


@dataclass(eq=False)
class Plateau(Schedule):
    """lr, multiplied by `factor` when the validation loss has not improved for more than
    `patience` epochs: PyTorch's ReduceLROnPlateau.

    An epoch improves on the best one if its loss is lower by more than `threshold` of the best.
    cooldown: epochs after a cut that do not count. least: the rate never falls below. It remembers
    one training, so each model takes a copy of its own. Raises GraphcError for a value out of
    range.
    """

    lr: float
    factor: float = 0.5
    patience: int = 10
    threshold: float = 1e-4
    cooldown: int = 0
    least: float = 0.0
    _state: dict[str, float] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        checked_number("Plateau: lr", self.lr)
        checked_number("Plateau: factor", self.factor, high=1.0)
        check_whole("Plateau: patience", self.patience, least=0)
        checked_number("Plateau: threshold", self.threshold, high=1.0)
        check_whole("Plateau: cooldown", self.cooldown, least=0)
        checked_number("Plateau: least", self.least)
        self._state = {"rate": self.lr, "best": math.inf, "stalled": 0.0, "cooling": 0.0}

    def rate(self, step: int) -> float:
        return self._state["rate"]

    def observe(self, validation_loss: float) -> None:
        now = self._state
        best = now["best"]
        margin = self.threshold * abs(best) if math.isfinite(best) else 0.0
        if validation_loss < best - margin:
            now["best"], now["stalled"] = validation_loss, 0.0
        else:
            now["stalled"] += 1
        if now["cooling"]:
            now["cooling"], now["stalled"] = now["cooling"] - 1, 0.0
        if now["stalled"] > self.patience:
            now["rate"] = max(now["rate"] * self.factor, self.least)
            now["stalled"], now["cooling"] = 0.0, float(self.cooldown)

    def state(self) -> dict[str, float]:
        return dict(self._state)

    def restore(self, state: Mapping[str, float]) -> None:
        super().restore(state)
        self._state = {name: float(value) for name, value in state.items()}


def _scaled(lr: float, factor: float, times: int) -> float:
    """lr * factor^times; infinite where no float is large enough, which no training accepts."""
    try:
        return lr * factor**times
    except OverflowError:
        return math.inf


def _along_cosine(begin: float, end: float, share: float) -> float:
    """From `begin` to `end` along half a cosine, `share` of the way; `end` beyond."""
    return end + (begin - end) * (1.0 + math.cos(math.pi * min(share, 1.0))) / 2.0
